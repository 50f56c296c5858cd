"""Stars keep their flux and place wherever they stand on the pixels."""

import numpy as np
import pytest
from scipy import fft

from webbmosaic.simulate.psf import OVERSAMPLING, encircled_energy, make_psf


@pytest.fixture(scope="module")
def f200w():
    return make_psf(1.9886, 0.4571, 0.031, kind="SHORT", rotation=0.0)


@pytest.fixture(scope="module")
def f770w():
    return make_psf(7.6364, 1.9674, 0.11, kind="MIRI", rotation=4.8)


@pytest.fixture(scope="module")
def f444w():
    return make_psf(4.4037, 1.0314, 0.063, kind="LONG", rotation=0.0)


PLACES = np.random.default_rng(3).uniform(40, 42, (12, 2))


def test_flux_does_not_depend_on_the_place(f200w):
    flux = [f200w.stamp(x, y)[0].sum() for x, y in PLACES]
    assert np.ptp(flux) < 1e-5
    assert 0.99 < np.mean(flux) <= 1.0


@pytest.mark.parametrize(("x", "y"), PLACES[:5])
def test_stamp_is_the_shifted_star(f200w, x, y):
    """The exact shift of a band-limited image is a phase ramp of its spectrum."""
    shift = (np.array([x, y]) - np.round([x, y])) * OVERSAMPLING
    n = len(f200w.samples)
    ramp = [np.exp(-2j * np.pi * fft.fftfreq(n) * s) for s in shift]
    spectrum = fft.fft2(f200w.samples) * ramp[1][:, None] * ramp[0][None, :]
    exact = fft.ifft2(spectrum).real
    first = (n - 1) // 2 - f200w.radius * OVERSAMPLING
    exact = exact[first::OVERSAMPLING, first::OVERSAMPLING]
    stamp, x0, y0 = f200w.stamp(x, y)
    size = len(stamp)
    # The ramp wraps around at the border of the grid: judge the bright part.
    inner = slice(size // 4, -(size // 4))
    error = stamp[inner, inner] - exact[:size, :size][inner, inner]
    assert np.abs(error).max() < 5e-5 * stamp.max()
    assert (x0, y0) == (round(x) - f200w.radius, round(y) - f200w.radius)


@pytest.mark.parametrize(("dx", "dy"), [(0.13, -0.41), (0.5, 0.5), (-0.27, 0.02)])
def test_position_to_a_few_microarcseconds(f200w, dx, dy):
    """Fit the shift with the star's own gradient: below 0.05 mas, 0.0016 px."""
    stamp, x0, y0 = f200w.stamp(10 + dx, 20 + dy)
    step = 0.01
    slopes = [
        _at(f200w, 10 + dx + a, 20 + dy + b, x0, y0)
        - _at(f200w, 10 + dx - a, 20 + dy - b, x0, y0)
        for a, b in ((step, 0.0), (0.0, step))
    ]
    guess = _at(f200w, 10 + dx - 0.003, 20 + dy + 0.004, x0, y0)
    design = np.stack([s.ravel() / (2 * step) for s in slopes], axis=1)
    found = np.linalg.lstsq(design, (stamp - guess).ravel(), rcond=None)[0]
    assert np.abs(found - [0.003, -0.004]).max() < 1e-4


def _at(psf, x, y, x0, y0):
    """A stamp on the pixels of another whose corner is given."""
    stamp, left, bottom = psf.stamp(x, y)
    return np.roll(stamp, (bottom - y0, left - x0), (0, 1))


def test_star_is_symmetric_about_its_place(f770w):
    samples = f770w.samples
    assert np.allclose(samples, samples[::-1, ::-1], atol=1e-12)
    assert samples.argmax() == samples.size // 2


def test_width_is_that_of_a_6_5_m_telescope(f200w, f444w):
    """FWHM from JDox, "NIRCam Point Spread Functions": 0.064 and 0.140 arcsec."""
    for psf, scale, wanted in ((f200w, 0.031, 0.066), (f444w, 0.063, 0.145)):
        line = psf.samples[len(psf.samples) // 2]
        wide = np.count_nonzero(line > line.max() / 2) / OVERSAMPLING * scale
        assert wide == pytest.approx(wanted, rel=0.15)


def test_six_spikes_and_two_more(f444w):
    """Segment edges make spikes every 60 degrees from the vertical, one strut two."""
    image = f444w.samples
    centre = (len(image) - 1) // 2
    radius = np.arange(40, 100) * OVERSAMPLING

    def brightness(angle):
        x = centre + radius * np.cos(np.deg2rad(angle))
        y = centre + radius * np.sin(np.deg2rad(angle))
        return image[y.round().astype(int), x.round().astype(int)].mean()

    between = np.median([brightness(a) for a in (15, 45, 75, 105, 135, 165)])
    for spike in (0, 30, 90, 150):
        assert brightness(spike) > 3 * between


def test_spikes_turn_with_the_telescope(f770w):
    turned = make_psf(7.6364, 1.9674, 0.11, kind="MIRI", rotation=64.8)
    # The pupil repeats itself every 60 degrees, but for the struts.
    assert np.corrcoef(turned.samples.ravel(), f770w.samples.ravel())[0, 1] > 0.99
    assert np.abs(turned.samples - f770w.samples).max() > 1e-5


def test_encircled_energy_grows_to_one(f200w):
    radii = np.array([1.0, 2.0, 3.0, 5.0, 10.0, 30.0, 100.0])
    energy = encircled_energy(f200w, radii)
    assert (np.diff(energy) > 0).all()
    assert 0.98 < energy[-1] < 1
    assert (encircled_energy(f200w, radii[:3], extra_pixels=2) < energy[:3]).all()


def test_encircled_energy_is_what_aperture_photometry_measures(f444w):
    from photutils.aperture import CircularAperture, aperture_photometry

    sums = []
    for x, y in PLACES:
        stamp, x0, y0 = f444w.stamp(x, y)
        place = CircularAperture((x - x0, y - y0), 3.0)
        sums.append(aperture_photometry(stamp, place)["aperture_sum"][0])
    wanted = encircled_energy(f444w, np.array([3.0]))[0]
    assert np.mean(sums) == pytest.approx(wanted, rel=3e-3)
