"""Nothing jumps: frames swept across each limit, none made worse than it was."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from webbmosaic.science.frame import StripeOptions, fit_stripes, make_readout

SIZE = 512
READOUT = make_readout((SIZE, SIZE), outputs=4)
TILTED = StripeOptions(angles=(30.0, -30.0))
MOST = 1.03
JUMP = 0.25


def pink(rng, count):
    """A series of power 1/frequency and standard deviation 1."""
    waves = np.fft.rfft(rng.standard_normal(count))
    waves[1:] /= np.sqrt(np.arange(1, waves.size))
    waves[0] = 0
    series = np.fft.irfft(waves, count)
    return series / series.std()


def noise(seed):
    """1/f noise of four outputs, 0.35 common and 0.1 each one's own, and columns."""
    rng = np.random.default_rng(seed)
    width = SIZE // 4
    common = 0.35 * pink(rng, SIZE * width)
    parts = []
    for k in range(4):
        rows = (common + 0.1 * pink(rng, common.size)).reshape(SIZE, width)
        parts.append(rows[:, ::-1] if k % 2 else rows)
    return (np.hstack(parts) + rng.normal(0, 0.1, SIZE)).astype(np.float32)


def bands(seed, angle):
    """Lines of all widths along an angle, of rms 1, 20 % brighter at one end."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIZE, :SIZE]
    turn = np.radians(angle)
    across = y * np.cos(turn) - x * np.sin(turn)
    profile = gaussian_filter(pink(rng, 4 * SIZE), 2)
    image = np.interp(across, np.arange(4 * SIZE) - 2 * SIZE, profile)
    return (image / image.std() * (1 + 0.2 * (x / SIZE - 0.5))).astype(np.float32)


def stars(seed, number):
    """Moffat-like stars, ten times fewer for each ten times brighter."""
    rng = np.random.default_rng(seed)
    light = np.zeros((SIZE, SIZE), np.float32)
    flux = 20 * rng.uniform(1e-3, 1, number) ** -0.8
    np.add.at(light, tuple(rng.integers(0, SIZE, (2, number))), flux)
    return 0.8 * gaussian_filter(light, 1.2) + 0.2 * gaussian_filter(light, 4)


def galaxy(radius):
    """An exponential disc with arms, 20 sigma in its middle."""
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE / 2.2
    distance = np.hypot(y / 0.7, x)
    arms = 1 + 0.3 * np.cos(2 * np.arctan2(y, x) - 5 * np.log(distance + 10))
    return (20 * arms * np.exp(-distance / radius)).astype(np.float32)


def shares(scenes, options=TILTED):
    """Of stripes planted into scenes, what is left where there is little light."""
    left = []
    for light, stripes in scenes:
        white = np.random.default_rng(99).standard_normal(light.shape)
        data = (light + stripes + white).astype(np.float32)
        good = np.ones(light.shape, bool)
        fit = fit_stripes(data, good, readout=READOUT, options=options)
        dark = light <= max(0.1, np.quantile(light, 0.2))
        left.append(
            float(np.std((stripes - fit.pattern)[dark]) / np.std(stripes[dark]))
        )
    return np.array(left)


def gradual(left):
    return left.max() <= MOST and np.abs(np.diff(left)).max() <= JUMP


def test_tilted_lines_from_none_to_bright():
    dark = np.zeros((SIZE, SIZE), np.float32)
    both = bands(1, 30) + bands(2, -30)
    heights = (0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.5)
    left = shares([(dark, noise(3) + height * both) for height in heights])
    assert gradual(left), left
    assert left[-1] < 0.35


@pytest.mark.slow
def test_fields_from_empty_to_crowded():
    numbers = (100, 300, 1000, 2000, 4000, 8000)
    left = shares([(stars(4, number), noise(5)) for number in numbers])
    assert gradual(left), left
    assert left[0] < 0.7


def test_galaxies_from_small_to_larger_than_the_frame():
    radii = (10, 20, 40, 60, 90, 140, 220, 400)
    left = shares([(galaxy(radius), noise(6)) for radius in radii])
    assert gradual(left), left
    assert left[0] < 0.7


def test_spikes_of_bright_stars_are_no_tilted_lines():
    """Spikes lie along the angles that are looked for."""
    y, x = np.mgrid[:320, :320] - 150.0
    light = np.zeros((320, 320))
    for angle in (30, 90, 150):
        turn = np.radians(angle)
        along = np.abs(x * np.cos(turn) + y * np.sin(turn))
        across = np.abs(y * np.cos(turn) - x * np.sin(turn))
        light += 3000 * np.exp(-across / 1.5) / (1 + (along / 8) ** 1.8)
    found = []
    for seed in range(4):
        white = np.random.default_rng(seed).standard_normal(light.shape)
        data = (light + white).astype(np.float32)
        good = light < 500
        fit = fit_stripes(data, good, options=TILTED)
        found.append(max(fit.significance.values()))
        assert fit.pattern.std() < 0.15
    assert np.median(found) < 5
