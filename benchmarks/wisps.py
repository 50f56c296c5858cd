"""
How well and how fast wisps are fitted, templates built and masks made.

    python benchmarks/wisps.py [fit] [template] [masks] [--seeds 1 2 3]

Frames are simulated rate images of NRCB4 in F200W with 1/f noise, stars and galaxies,
and a wisp whose peak is the white noise of a sky pixel. "left" is the rms of the wisp
that stays, over the wisp (template above 0.05) and after removing one constant, in
percent of the white noise; "flux" the median bias of sources in the wisp, from what
stays; "cpu", the least of three runs, excludes imports and compilation.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from stage1_steps import make_frame
from webbmosaic.science.masks import rasterise
from webbmosaic.science.wisp_templates import build_wisp_template
from webbmosaic.science.wisps import fit_wisps, wisp_model
from webbmosaic.simulate.geometry import aperture
from webbmosaic.simulate.light import wisp_pattern

TEMPLATE = wisp_pattern(aperture("NRCB4"))
WISP = TEMPLATE > 0.05


def with_wisp(frame: dict[str, Any], amplitude: float = 1.0) -> np.ndarray:
    """Add a wisp, in units of the white noise."""
    return np.asarray(frame["data"] + np.float32(amplitude * frame["sigma"]) * TEMPLATE)


# --------------------------------------------------------------------------- tools


def by_webbmosaic(data: np.ndarray, frame: dict[str, Any]) -> float:
    """As in stage 1."""
    fit = fit_wisps(data, frame["err"], [TEMPLATE], usable=frame["usable"])
    return float(fit.amplitudes[0]) if fit.accepted else 0.0


def by_weighted_mean(data: np.ndarray, frame: dict[str, Any]) -> float:
    """Least squares on the brightest part, the background a fixed median, no mask."""
    good = np.isfinite(data) & frame["usable"]
    level = np.median(data[good]) - np.median(TEMPLATE[good])
    limit = TEMPLATE.mean() + 2 * TEMPLATE.std()
    bright = good & (limit < TEMPLATE)
    weight = TEMPLATE[bright] / frame["err"][bright] ** 2
    above = data[bright] - level
    return float((weight * above).sum() / (weight * TEMPLATE[bright]).sum())


def by_variance(data: np.ndarray, frame: dict[str, Any]) -> float:
    """The factor at which the clipped scatter of the frame is smallest."""
    good = np.isfinite(data) & frame["usable"]
    values, template = data[good][::7], TEMPLATE[good][::7]
    factors = np.linspace(0, 2 * frame["sigma"], 201)

    def scatter(factor: float) -> float:
        left = values - factor * template
        middle = np.median(left)
        return float(np.median(np.abs(left - middle)))

    return float(factors[np.argmin([scatter(f) for f in factors])])


TOOLS: dict[str, Callable[[np.ndarray, dict[str, Any]], float]] = {
    "webbmosaic": by_webbmosaic,
    "weighted mean": by_weighted_mean,
    "variance minimum": by_variance,
}


# ------------------------------------------------------------------------- judging


def left_over(frame: dict[str, Any], model: np.ndarray, amplitude: float) -> np.ndarray:
    """The wisp that stays, in units of the white noise, without one constant."""
    left = amplitude * TEMPLATE - model / frame["sigma"]
    return np.asarray(left - np.median(left[~WISP]))


def flux_bias(frame: dict[str, Any], left: np.ndarray) -> float:
    """Median bias of sources in the wisp, in percent."""
    errors = []
    for x, y in zip(frame["x"], frame["y"], strict=True):
        row, column = round(float(y)), round(float(x))
        if not (5 <= row < 2043 and 5 <= column < 2043 and WISP[row, column]):
            continue
        box = slice(row - 5, row + 6), slice(column - 5, column + 6)
        light = float(frame["light"][box].sum())
        if light > 300:
            errors.append(100 * float(left[box].sum()) / light)
    return float(np.median(errors)) if errors else float("nan")


def fit_table(seeds: list[int]) -> None:
    """Amplitudes in sparse and crowded fields."""
    print(f"{'field':>16} {'seed':>4} {'tool':>17} {'amplitude':>10}", end="")
    print(f" {'left':>6} {'flux':>7} {'without':>8} {'cpu':>5}")
    for crowded in (False, True):
        for tilted in (False, True):
            for seed in seeds:
                frame = make_frame(seed, crowded=crowded, tilted=tilted)
                name = "crowded" if crowded else "sparse"
                name += " + tilted" if tilted else ""
                for tool, measure in TOOLS.items():
                    _fit_line(name, seed, frame, (tool, measure))


def _fit_line(name: str, seed: int, frame: dict[str, Any], tool: Any) -> None:
    data = with_wisp(frame)
    spent = np.inf
    for _ in range(3):
        begin = time.process_time()
        found = tool[1](data, frame)
        spent = min(spent, time.process_time() - begin)
    sigma = frame["sigma"]
    left = left_over(frame, np.float32(found) * TEMPLATE, 1.0)
    without = tool[1](frame["data"], frame) / sigma
    print(
        f"{name:>16} {seed:4d} {tool[0]:>17} {100 * (found / sigma - 1):+9.2f}%"
        f" {100 * left[WISP].std():6.2f} {flux_bias(frame, left):+6.3f}%"
        f" {100 * without:+7.2f}% {spent:5.2f}"
    )


def template_table(count: int = 20) -> None:
    """How much of a wisp a template from some exposures leaves."""
    amplitudes = np.random.default_rng(5).uniform(0.7, 1.4, count)
    frames = [make_frame(100 + k, crowded=False, tilted=False) for k in range(count)]
    images = [with_wisp(f, a) for f, a in zip(frames, amplitudes, strict=True)]
    begin = time.process_time()
    made = build_wisp_template(lambda k: (images[k], frames[k]["usable"]), count)
    spent = time.process_time() - begin
    print(f"\ntemplate from {count} exposures: {spent:.0f} s CPU")
    for crowded in (False, True):
        frame = make_frame(1, crowded=crowded, tilted=False)
        data, err = with_wisp(frame), frame["err"]
        fit = fit_wisps(data, err, [made.template], usable=frame["usable"])
        left = left_over(frame, wisp_model(fit, [made.template])[0], 1.0)
        share = np.sqrt(np.mean(left[WISP] ** 2) / np.mean(TEMPLATE[WISP] ** 2))
        name = "crowded" if crowded else "sparse"
        print(f"  {name:>8}: its use leaves {100 * share:.1f} % of a wisp")


def mask_table() -> None:
    """How long region files take."""
    from regions import PixCoord, PolygonPixelRegion

    rng = np.random.default_rng(1)
    shapes = []
    for _ in range(160):
        angle = np.sort(rng.uniform(0, 2 * np.pi, 12))
        y, x = rng.uniform(0, 2048, 2)
        reach = rng.uniform(20, 150)
        corners = PixCoord(x + reach * np.cos(angle), y + reach * np.sin(angle))
        shapes.append(PolygonPixelRegion(corners))
    rasterise(shapes[:2], (2048, 2048))
    begin = time.process_time()
    mask = rasterise(shapes, (2048, 2048))
    spent = time.process_time() - begin
    print(f"\n160 polygons, {mask.mean():.0%} of 2048 x 2048 pixels: {spent:.2f} s CPU")


def main() -> None:
    """Print the tables asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=["fit", "template", "masks"])
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    given = parser.parse_args()
    warm = np.random.default_rng(0).normal(size=(256, 256)).astype(np.float32)
    fit_wisps(warm, np.ones_like(warm), [np.ones_like(warm)])
    if "masks" in given.what:
        mask_table()
    if "fit" in given.what:
        fit_table(given.seeds)
    if "template" in given.what:
        template_table()


if __name__ == "__main__":
    main()
