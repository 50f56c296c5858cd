"""Wisps are planted in frames with stripes and sources, and found again."""

import numpy as np
import pytest
from scipy import ndimage

from webbmosaic.science.wisps import fit_wisps, wisp_model

SIDE = 512
Y, X = np.mgrid[:SIDE, :SIDE].astype(np.float32)


def ridge(slope=0.5, middle=250.0, width=30.0):
    """A bright filament across the frame, peak 1."""
    across = (Y - middle - slope * (X - SIDE / 2)) / width
    along = (X - SIDE / 2) / 150
    return np.exp(-0.5 * across**2 - 0.5 * along**4).astype(np.float32)


def stripes(rng, rms=0.3):
    """Row offsets with memory, shared by the outputs in part, plus their own."""
    common = ndimage.gaussian_filter1d(rng.normal(0, 1, SIDE), 1.0)
    rows = [common + 0.4 * rng.normal(0, 1, SIDE) for _ in range(4)]
    pattern = np.repeat(np.array(rows).T, SIDE // 4, axis=1)
    return (rms * pattern / pattern.std()).astype(np.float32)


def galaxy(y0, x0, flux=30.0, size=12.0):
    return flux * np.exp(-np.hypot(Y - y0, X - x0) / size)


def stars(rng, count, brightest=200.0):
    image = np.zeros((SIDE, SIDE), np.float32)
    at = rng.integers(8, SIDE - 8, (count, 2))
    image[at[:, 0], at[:, 1]] = brightest * rng.random(count) ** 3 + 5
    return ndimage.gaussian_filter(image, 1.2) * 4


def frame(seed, sources=0.0, amplitude=1.0, template=None):
    """White noise of 1, stripes of 0.3, sky of 5 with a gradient."""
    rng = np.random.default_rng(seed)
    wisp = amplitude * (ridge() if template is None else template)
    noise = rng.normal(0, 1, (SIDE, SIDE)) + stripes(rng)
    return (5 + 0.2 * X / SIDE + noise + wisp + sources).astype(np.float32)


ERR = np.ones((SIDE, SIDE), np.float32)


@pytest.mark.parametrize("seed", range(3))
def test_amplitude_comes_back_through_stripes(seed):
    fit = fit_wisps(frame(seed), ERR, [ridge()])
    assert fit.accepted
    assert fit.amplitudes[0] == pytest.approx(1, abs=0.04)
    assert abs(fit.amplitudes[0] - 1) < 4 * fit.errors[0] < 0.3


def tilted(seed, rms):
    """Lines at 30 degrees either way, each of its own level."""
    rng, rise = np.random.default_rng(seed), np.tan(np.radians(30)) * X
    levels = rng.normal(0, rms / 2**0.5, (2, 4 * SIDE))
    lines = (np.rint(Y + sign * rise).astype(int) + SIDE for sign in (-1, 1))
    return sum(level[line] for level, line in zip(levels, lines, strict=True))


def test_tilted_stripes_hardly_matter():
    """The ridge runs nearly along them: taken for white noise, they cost 7 %."""
    fits = [fit_wisps(frame(s, tilted(s, 0.4)), ERR, [ridge()]) for s in range(8)]
    found = np.array([f.amplitudes[0] for f in fits])
    assert np.sqrt(np.mean((found - 1) ** 2)) < 0.04


@pytest.mark.parametrize("amplitude", [0.3, 5.0, 30.0])
def test_faint_and_bright_wisps(amplitude):
    fit = fit_wisps(frame(2, amplitude=amplitude), ERR, [ridge()])
    assert fit.accepted
    assert fit.amplitudes[0] == pytest.approx(amplitude, abs=0.05, rel=0.02)


def test_amplitude_in_a_crowded_field():
    fields = [stars(np.random.default_rng(s), 900) for s in range(3)]
    fits = [fit_wisps(frame(s, f), ERR, [ridge()]) for s, f in enumerate(fields)]
    assert np.mean([f.amplitudes[0] for f in fits]) == pytest.approx(1, abs=0.05)


def test_a_big_galaxy_on_the_wisp_does_not_bias_it():
    field = galaxy(260, 240, flux=30, size=15)
    fits = [fit_wisps(frame(s, field), ERR, [ridge()]) for s in range(4, 8)]
    assert np.mean([f.amplitudes[0] for f in fits]) == pytest.approx(1, abs=0.05)


def test_the_errors_are_those_that_the_amplitudes_have():
    fits = [fit_wisps(frame(s), ERR, [ridge()]) for s in range(8)]
    scatter = np.std([f.amplitudes[0] for f in fits])
    typical = np.median([f.errors[0] for f in fits])
    assert 0.4 * scatter < typical < 4 * scatter


@pytest.mark.parametrize("scale", [0.01, 100.0])
def test_the_unit_of_the_template_does_not_matter(scale):
    data = frame(2)
    fit = fit_wisps(data, ERR, [scale * ridge()])
    plain = fit_wisps(data, ERR, [ridge()])
    assert fit.amplitudes[0] * scale == pytest.approx(plain.amplitudes[0], rel=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_without_a_wisp_the_data_are_left_alone(seed):
    field = stars(np.random.default_rng(seed), 200)
    fit = fit_wisps(frame(seed, field, amplitude=0.0), ERR, [ridge()])
    assert not fit.accepted
    assert "no significant wisp" in fit.verdict


@pytest.mark.parametrize("shift", [0, 10, 20, 40, 80])
def test_a_shifted_template_never_makes_it_worse(shift):
    wrong = np.roll(ridge(), shift, axis=0)
    fit = fit_wisps(frame(3), ERR, [wrong])
    left = ridge() - (wisp_model(fit, [wrong])[0] if fit.accepted else 0)
    before = np.sqrt(np.mean(ridge() ** 2))
    assert np.sqrt(np.mean(left**2)) <= 1.001 * before


def test_a_negative_template_is_not_used():
    fit = fit_wisps(frame(4), ERR, [-ridge()])
    assert fit.amplitudes[0] == 0
    assert not fit.accepted


def test_components_are_told_apart():
    one, two = ridge(), ridge(slope=-0.5, middle=300, width=20)
    data = frame(5, template=one + 0.5 * two)
    fit = fit_wisps(data, ERR, [one, two])
    np.testing.assert_allclose(fit.amplitudes, [1, 0.5], atol=0.06)
    assert fit.covariance[0, 1] != 0


def test_a_component_that_is_not_there_is_dropped():
    absent = ridge(slope=-0.5, middle=150, width=20)
    fits = [fit_wisps(frame(s), ERR, [ridge(), absent]) for s in range(4)]
    assert np.median([f.amplitudes[1] for f in fits]) == 0
    assert np.mean([f.amplitudes[0] for f in fits]) == pytest.approx(1, abs=0.04)


def test_bad_pixels_do_not_count():
    data, usable = frame(6), np.ones((SIDE, SIDE), bool)
    data[100:160], usable[100:160] = 1e6, False
    data[200, 100:300] = np.nan
    fit = fit_wisps(data, ERR, [ridge()], usable=usable)
    assert fit.amplitudes[0] == pytest.approx(1, abs=0.06)


def test_a_single_output_and_odd_sides():
    cut = (slice(3, 500), slice(0, 501))
    fit = fit_wisps(frame(7)[cut], ERR[cut], [ridge()[cut]], outputs=1)
    assert fit.amplitudes[0] == pytest.approx(1, abs=0.06)


def test_model_and_its_variance():
    template = ridge()
    template[:20] = np.nan
    fit = fit_wisps(frame(8), ERR, [template])
    model, variance = wisp_model(fit, [template])
    expected = fit.errors[0] ** 2 * np.nan_to_num(template) ** 2
    np.testing.assert_allclose(variance, expected, rtol=1e-4, atol=1e-12)
    np.testing.assert_allclose(
        model, fit.amplitudes[0] * np.nan_to_num(template), rtol=1e-5
    )


def test_an_empty_template_is_refused_in_words():
    fit = fit_wisps(frame(9), ERR, [np.zeros_like(ERR)])
    assert not fit.accepted
    assert "empty" in fit.verdict


def test_hardly_any_usable_pixels():
    usable = np.zeros((SIDE, SIDE), bool)
    usable[:4] = True
    fit = fit_wisps(frame(9), ERR, [ridge()], usable=usable)
    assert "too few" in fit.verdict


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="differ in shape"):
        fit_wisps(frame(0), ERR, [ridge()[:-2]])
    with pytest.raises(ValueError, match="at least one"):
        fit_wisps(frame(0), ERR, [])


def test_a_frame_without_a_usable_pixel_under_the_template():
    """Nothing can be said, and nothing is subtracted."""
    rng = np.random.default_rng(8)
    data = rng.normal(0, 1, (160, 160)).astype(np.float32)
    y, x = np.mgrid[:160, :160]
    template = np.exp(-((x - 80.0) ** 2 + (y - 80.0) ** 2) / 800).astype(np.float32)
    usable = template < 0.01
    usable[5:, :] = False
    found = fit_wisps(data, np.ones_like(data), [template], usable=usable, outputs=1)
    assert not found.accepted
