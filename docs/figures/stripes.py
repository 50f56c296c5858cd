"""Draw docs/algorithms/stripes.png: a simulated frame, corrected, and its stripes."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from webbmosaic.science.frame import StripeOptions, fit_stripes, make_readout
from webbmosaic.simulate.effects import Streams
from webbmosaic.simulate.rates import RateLevels, make_rate


def sources(shape: tuple[int, int]) -> np.ndarray:
    """Blobs for stars and galaxies, e-/s."""
    rng = np.random.default_rng(7)
    y, x = np.indices(shape, dtype=np.float32)
    image = 4 * np.exp(-np.hypot((y - 760) / 0.6, x - 700) / 22)
    for _ in range(150):
        row, column = rng.integers(20, shape[0] - 20, 2)
        box = (slice(row - 16, row + 17), slice(column - 16, column + 17))
        radius = np.hypot(y[box] - row, x[box] - column)
        image[box] += rng.exponential(4) * np.exp(-radius / rng.uniform(1, 3))
    return image


def main() -> None:
    """Simulate, correct, draw."""
    frame = make_rate(
        sources((2048, 2048)),
        Streams(1, "figure"),
        levels=RateLevels(tilted=0.33),
    )
    data, sigma = frame.data, frame.sigma
    fit = fit_stripes(
        data,
        frame.dq & 1 == 0,
        variance=frame.err**2,
        readout=make_readout(data.shape, outputs=4),
        options=StripeOptions(angles=(30.0, -30.0)),
    )
    tilted = fit.families["+30"] + fit.families["-30"]
    panels = {
        "rate": data - np.nanmedian(data),
        "corrected": data - fit.pattern - np.nanmedian(data),
        "source mask": fit.sources * 2 * sigma,
        "readout noise": fit.families["readout"],
        "columns": fit.families["columns"],
        "tilted lines": tilted,
    }
    figure, axes = plt.subplots(2, 3, figsize=(7.2, 5), layout="constrained")
    crop = (slice(450, 1050), slice(350, 950))
    for axis, (title, image) in zip(axes.flat, panels.items(), strict=True):
        small = image[crop].reshape(300, 2, 300, 2)
        shown = np.nanmean(small, axis=(1, 3)) / sigma
        axis.imshow(shown, cmap="gray", vmin=-1.2, vmax=1.6, origin="lower")
        axis.set_title(title)
        axis.set_axis_off()
    target = Path(__file__).parent.parent / "algorithms" / "stripes.png"
    figure.savefig(target, dpi=72)
    Image.open(target).convert("P", colors=64).save(target, optimize=True)


if __name__ == "__main__":
    main()
