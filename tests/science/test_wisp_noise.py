"""Noise along rows, columns and tilted lines is measured and told from background."""

import numpy as np
import pytest

from webbmosaic.science.wisp_frames import polynomials
from webbmosaic.science.wisp_lines import CELL, PIECES, Layout
from webbmosaic.science.wisp_noise import ReadNoise, measure_noise, noise_and_sky

ROWS, COLUMNS = 96, 128


def layout(outputs=4):
    return Layout(ROWS, COLUMNS, outputs, ROWS * PIECES)


def tilted(rng, rms, sign):
    """Lines at 30 degrees either way."""
    y, x = np.mgrid[:ROWS, :COLUMNS]
    line = np.rint(y + sign * np.tan(np.radians(30)) * x).astype(int)
    return (rms * rng.normal(size=4 * COLUMNS)[line + COLUMNS]).astype(np.float32)


def test_sums_are_the_transpose_of_spreading():
    rng = np.random.default_rng(1)
    image = rng.normal(size=(1, COLUMNS, ROWS)).astype(np.float32)
    levels = rng.normal(size=(1, layout().parts[-1].stop)).astype(np.float32)
    sums, _ = layout().sums(list(image))
    assert np.sum(sums * levels) == pytest.approx(
        np.sum(layout().spread(levels) * image), rel=1e-3
    )


def test_cells_add_up_their_blocks():
    image = np.random.default_rng(2).normal(size=(COLUMNS, ROWS)).astype(np.float32)
    _, (cells,) = layout().sums([image])
    shape = COLUMNS // CELL, CELL, ROWS // CELL, CELL
    np.testing.assert_allclose(cells, image.reshape(shape).sum(axis=(1, 3)), atol=1e-4)


def test_neighbouring_outputs_are_read_in_opposite_directions():
    levels = np.zeros((1, layout().parts[-1].stop), np.float32)
    width = COLUMNS // 4
    levels[0, :2] = 1, 2  # the first output
    levels[0, ROWS * PIECES : ROWS * PIECES + 2] = 1, 2  # the second
    first_row = layout().spread(levels)[0, :, 0]
    np.testing.assert_array_equal(first_row[: 2 * width], first_row[: 2 * width][::-1])
    assert first_row[0] == 1
    assert first_row[width // PIECES] == 2


def test_the_strength_of_lines_is_measured():
    rng = np.random.default_rng(3)
    noise = rng.normal(0, 1, (ROWS, COLUMNS)) + tilted(rng, 0.8, 1)
    noise += 0.5 * rng.normal(size=COLUMNS)
    weight = np.ones((ROWS, COLUMNS), np.float32)
    column, rising, falling = measure_noise(noise.astype(np.float32), weight, 4).lines
    assert column == pytest.approx(0.25, rel=0.4)
    assert max(rising, falling) == pytest.approx(0.64, rel=0.4)
    assert min(rising, falling) < 0.06


@pytest.mark.parametrize("sign", [-1, 1])
def test_lines_are_found_through_masks(sign):
    rng = np.random.default_rng(4)
    lines = tilted(rng, 1.0, sign)
    image = lines + 0.5 * rng.normal(size=lines.shape).astype(np.float32)
    weight = np.full(lines.shape, 4, np.float32)
    weight[40:60, 40:60] = 0
    noise = ReadNoise(4, lines=(0.0, 1.0, 1.0))
    pattern, _ = noise_and_sky(image[None], weight, noise)
    masked = weight == 0
    assert np.std((pattern[0] - lines)[masked]) < 0.45 * np.std(lines[masked])


@pytest.mark.parametrize("tolerance", [0.3, 1e-3])
def test_nothing_of_the_background_is_left(tolerance):
    """However roughly the noise is inverted, the terms are gone."""
    rng = np.random.default_rng(5)
    terms = polynomials(tuple(n // CELL for n in (ROWS, COLUMNS)), 2)
    large = np.repeat(np.repeat(terms, CELL, axis=1), CELL, axis=2)
    weight = rng.uniform(0, 1, (ROWS, COLUMNS)).astype(np.float32)
    noise = ReadNoise(4, (0.2, 0.0), (0.01, 0.01), (0.1, 0.1, 0.1))
    image = rng.normal(size=weight.shape).astype(np.float32)
    pattern, sky = noise_and_sky(
        image[None], weight, noise, terms=terms, tolerance=tolerance
    )
    left = (image - pattern[0] - sky[0]) * weight
    assert np.abs(np.tensordot(large, left, axes=2)).max() < 0.05


def test_without_noise_there_is_no_pattern():
    image = np.random.default_rng(6).normal(size=(1, ROWS, COLUMNS)).astype(np.float32)
    pattern, sky = noise_and_sky(image, np.ones_like(image[0]), ReadNoise(4))
    assert not pattern.any()
    assert not sky.any()
