"""Draw docs/algorithms/masks.png: a claw in one dither, in five, and as a mask."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from webbmosaic.science.fixed_light import find_fixed_residuals
from webbmosaic.science.masks import outlines
from webbmosaic.simulate.effects import Streams
from webbmosaic.simulate.geometry import aperture
from webbmosaic.simulate.light import claw_pattern
from webbmosaic.simulate.rates import RateLevels, make_rate

CLAW = claw_pattern(aperture("NRCB4"), np.random.default_rng(3))
CLAW /= CLAW.max()


def dither(number: int) -> tuple[np.ndarray, np.ndarray]:
    """One exposure: other stars, the same claw."""
    rng = np.random.default_rng(number)
    image = np.zeros((2048, 2048), np.float32)
    y, x = np.mgrid[-24:25, -24:25]
    for _ in range(500):
        row, column = rng.integers(28, 2020, 2)
        box = (slice(row - 24, row + 25), slice(column - 24, column + 25))
        image[box] += rng.exponential(4) * np.exp(-np.hypot(y, x) / rng.uniform(1, 5))
    levels = RateLevels(one_over_f=0.2)
    frame = make_rate(image, Streams(number, "claw"), levels=levels)
    return frame.data + np.float32(0.8 * frame.sigma) * CLAW, frame.dq & 1 == 0


def main() -> None:
    """Simulate, look, draw."""
    found = find_fixed_residuals(dither, [(300 * n, 170 * n) for n in range(5)])
    one, usable = dither(0)
    level = np.median(one[usable])
    noise = 1.4826 * np.median(np.abs(one[usable] - level))
    figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.7), layout="constrained")
    small = np.nanmean((one - level)[4:-4, 4:-4].reshape(255, 8, 255, 8), axis=(1, 3))
    for axis, image in zip(axes, (small / noise, found.level / noise), strict=True):
        axis.imshow(
            image,
            cmap="gray",
            vmin=-0.6,
            vmax=1,
            origin="lower",
            extent=(0, 2048, 0, 2048),
        )
        axis.set_axis_off()
    for line in outlines(found.mask):
        axes[1].plot(*np.vstack([line, line[:1]]).T, color="tab:orange", lw=1.2)
    axes[0].set_title("one of five dithers", fontsize=9)
    axes[1].set_title("what all have in common, and the proposed region", fontsize=9)
    target = Path(__file__).parent.parent / "algorithms" / "masks.png"
    figure.savefig(target, dpi=80)
    Image.open(target).convert("P", colors=64).save(target, optimize=True)


if __name__ == "__main__":
    main()
