"""Draw docs/algorithms/persistence.png: how long pixels are flagged."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from PIL import Image

from webbmosaic.science.persistence import FAINTEST, persistence_strength


def main() -> None:
    """Follow three pixels through an hour."""
    times = np.linspace(-200, 3400, 361)
    figure, axis = plt.subplots(figsize=(5.4, 3), layout="constrained")
    for name, past in {
        "saturated throughout": [(0.0, 1.0)],
        "saturated late in the ramp": [(0.0, 0.3)],
        "the same, and again 900 s later": [(0.0, 0.3), (900.0, 0.3)],
    }.items():
        strength = [
            persistence_strength(
                [(t - end, np.full((1, 1), level, np.float32)) for end, level in past],
                (1, 1),
            )[0, 0]
            for t in times
        ]
        axis.plot(times, np.where(np.array(strength) > 0, strength, np.nan), label=name)
    axis.axhline(FAINTEST, color="0.6", lw=0.8)
    axis.set(xlabel="s after the end of the exposure", ylabel="strength", yscale="log")
    axis.legend(fontsize=8)
    target = Path(__file__).parent.parent / "algorithms" / "persistence.png"
    figure.savefig(target, dpi=80)
    Image.open(target).convert("P", colors=64).save(target, optimize=True)


if __name__ == "__main__":
    main()
