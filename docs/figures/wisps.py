"""Draw docs/algorithms/wisps.png: a wisp under stripes and stars, fitted and gone."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from webbmosaic.science.wisps import fit_wisps, wisp_model
from webbmosaic.simulate.effects import Streams
from webbmosaic.simulate.rates import RateLevels, make_rate


def stars() -> np.ndarray:
    """Light of stars, e-/s."""
    rng = np.random.default_rng(7)
    image = np.zeros((2048, 2048), np.float32)
    y, x = np.mgrid[-16:17, -16:17]
    for _ in range(400):
        row, column = rng.integers(20, 2028, 2)
        box = (slice(row - 16, row + 17), slice(column - 16, column + 17))
        image[box] += rng.exponential(4) * np.exp(-np.hypot(y, x) / rng.uniform(1, 3))
    return image


def main() -> None:
    """Simulate, fit, draw."""
    frame = make_rate(stars(), Streams(2, "figure"), levels=RateLevels(wisp=1.5))
    fit = fit_wisps(frame.data, frame.err, [frame.template], usable=frame.dq & 1 == 0)
    model, _ = wisp_model(fit, [frame.template])
    panels = {
        "rate": frame.data,
        f"fitted wisp ({fit.amplitudes[0] / frame.amplitude:.3f} of the truth)": model,
        "without it": frame.data - model,
    }
    figure, axes = plt.subplots(1, 3, figsize=(7.2, 2.7), layout="constrained")
    for axis, (title, image) in zip(axes, panels.items(), strict=True):
        level = 0 if image is model else frame.sky
        small = np.nanmean(
            (image[4:-4, 4:-4] - level).reshape(255, 8, 255, 8), axis=(1, 3)
        )
        axis.imshow(
            small / frame.sigma, cmap="gray", vmin=-0.8, vmax=1.5, origin="lower"
        )
        axis.set_title(title, fontsize=9)
        axis.set_axis_off()
    target = Path(__file__).parent.parent / "algorithms" / "wisps.png"
    figure.savefig(target, dpi=80)
    Image.open(target).convert("P", colors=64).save(target, optimize=True)


if __name__ == "__main__":
    main()
