"""A template is made from exposures whose wisps differ only in brightness."""

import numpy as np
import pytest
from scipy import ndimage

from webbmosaic.science.wisp_frames import smooth_at_noise
from webbmosaic.science.wisp_templates import build_wisp_template
from webbmosaic.science.wisps import fit_wisps, wisp_model

SIDE = 256
Y, X = np.mgrid[:SIDE, :SIDE].astype(np.float32)
WISP = np.exp(-0.5 * ((Y - 120 - 0.4 * (X - 128)) / 18) ** 2 - ((X - 128) / 80) ** 4)


def frame(seed, amplitude):
    rng = np.random.default_rng(seed)
    rows = ndimage.gaussian_filter1d(rng.normal(0, 1, SIDE), 1.0)[:, None]
    stars = np.zeros((SIDE, SIDE))
    stars[tuple(rng.integers(4, SIDE - 4, (2, 40)))] = rng.exponential(300, 40)
    sky = 4 + rng.normal(0, 1, (SIDE, SIDE)) + 0.3 * rows / rows.std()
    data = sky + ndimage.gaussian_filter(stars, 1.3) + amplitude * WISP
    return data.astype(np.float32)


AMPLITUDES = np.random.default_rng(9).uniform(1.0, 2.0, 16)


def read(i):
    return frame(i, AMPLITUDES[i]), np.ones((SIDE, SIDE), bool)


@pytest.fixture(scope="module")
def built():
    return build_wisp_template(read, len(AMPLITUDES), rounds=2)


def test_the_template_has_the_shape_of_the_wisp(built):
    scale = np.sum(built.template * WISP) / np.sum(built.template**2)
    apart = scale * built.template - WISP
    bright = WISP > 0.1
    assert np.std(apart[bright]) < 0.12
    assert np.abs(np.mean(apart[~bright])) < 0.05


def test_its_peak_is_one_and_the_amplitudes_are_of_each_exposure(built):
    assert np.percentile(built.template, 99.9) == pytest.approx(1, abs=0.02)
    np.testing.assert_allclose(built.amplitudes / AMPLITUDES, 1, atol=0.35)
    assert np.std(built.amplitudes / AMPLITUDES) < 0.12


def test_its_use_removes_a_new_wisp(built):
    data, err = frame(99, 1.5), np.ones((SIDE, SIDE), np.float32)
    fit = fit_wisps(data, err, [built.template])
    assert fit.accepted
    left = 1.5 * WISP - wisp_model(fit, [built.template])[0]
    left -= np.median(left)
    # A small frame: 10 % is what 20 full frames leave (benchmarks/wisps.py).
    assert np.sqrt(np.mean(left**2)) < 0.25 * np.sqrt(np.mean((1.5 * WISP) ** 2))


def test_pixels_never_seen_are_unknown():
    def half(i):
        data, usable = read(i)
        usable[:8] = False
        return data, usable

    found = build_wisp_template(half, 4, rounds=1)
    assert np.isnan(found.template[:2]).all()
    assert (found.weight[:8] == 0).all()


def test_exposures_without_wisps_make_no_template():
    with pytest.raises(ValueError, match="no exposure"):
        build_wisp_template(lambda i: (frame(i, 0.0), np.ones((SIDE, SIDE), bool)), 4)


def test_two_exposures_are_too_few():
    with pytest.raises(ValueError, match="3 exposures"):
        build_wisp_template(read, 2)


def test_smoothing_takes_noise_and_keeps_the_shape():
    noisy = (WISP + np.random.default_rng(1).normal(0, 0.2, WISP.shape)).astype("f4")
    weight = np.full(WISP.shape, 25, np.float32)
    weight[50:54, 50:54] = 0
    apart = smooth_at_noise(noisy, weight) - WISP
    assert np.std(apart) < 0.03


def test_sharp_detail_above_the_noise_stays():
    sharp = WISP.astype(np.float32)
    sharp[100, 100] += 1
    kept = smooth_at_noise(sharp, np.full(WISP.shape, 1e6, np.float32))
    assert kept[100, 100] - WISP[100, 100] == pytest.approx(1, abs=0.1)
