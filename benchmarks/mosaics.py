"""
How well outliers are told from stars.

    python benchmarks/mosaics.py outliers [--filters F115W ...] [--dithers 2 3 4 8]

Exposures are arrays of electrons: stars of 17 to 24 mag drawn with the simulator's
point-spread functions, galaxies, noise of the sky and of the readout, dithers of some
ten pixels with random sub-pixel phases, a residual shift that the geometry does not
know of, stripes along rows that were left in, cosmic rays and hot pixels of 8 to 80
sigma.
Pixels that saturate keep the groups before, with the noise of these. "bias" is the flux
of a star in the mosaic, outliers rejected, over that with only the planted pixels left
out: the largest median of a magnitude bin, and the worst single star, per cent.
"""

from __future__ import annotations

import argparse
import itertools
import time
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from drizzle.resample import Drizzle

from webbmosaic.science.mosaic.frames import Frame
from webbmosaic.science.mosaic.outliers import Options, find_outliers, neighbour
from webbmosaic.simulate.filters import (
    electrons_per_mjy,
    filter_facts,
    filters,
    nominal_pixel_area,
)
from webbmosaic.simulate.instruments import detector_facts
from webbmosaic.simulate.observe import psf_of

SIDE = 400
TIME = 311.0  # s
READ = 9.0  # e-, of a whole ramp
DETECTORS = ("NRCB1", "NRCBLONG", "MIRIMAGE", "NIS")


@dataclass
class Scene:
    """Exposures and what is true about them."""

    frames: list[Frame]
    light: list[np.ndarray]  # what the sky sends, electrons
    planted: list[np.ndarray]  # cosmic rays and hot pixels
    touched: list[np.ndarray]  # these, and where they spill over
    stars: np.ndarray  # x, y (of the first exposure), magnitude
    fwhm: float  # pixels
    offsets: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))


def make_scene(
    detector: str,
    name: str,
    *,
    dithers: int,
    shift_mas: float = 1.0,
    stripes: bool = False,
    seed: int = 1,
    psf: Any = None,
    side: int = SIDE,
    stars: int = 70,
) -> Scene:
    """Draw exposures; ``psf`` (a function of x, y giving stamps) replaces our own."""
    rng = np.random.default_rng(seed)
    scale = np.sqrt(nominal_pixel_area(detector))
    facts = filter_facts(detector, name)
    draw = psf or psf_of(detector, name).stamp
    per_mag0 = electrons_per_mjy(detector, name) * 3.631e-3 * TIME
    per_mjysr = TIME * detector_facts(detector).gain / facts.photmjsr
    truth = np.column_stack(
        [rng.uniform(12, side - 12, (stars, 2)), rng.uniform(17, 24.5, stars)]
    )
    galaxies = np.column_stack(
        [rng.uniform(30, side - 30, (12, 2)), rng.uniform(19, 22, 12)]
    )
    # Dithers of about ten pixels, whatever the phase, and what alignment left.
    offsets = rng.uniform(-10, 10, (dithers, 2))
    offsets[0] = 0
    left = rng.normal(0, shift_mas / 1000 / scale, (dithers, 2)) / np.sqrt(2)
    hot = rng.random((side, side)) < 3e-4
    hot_level = np.exp(rng.uniform(np.log(8), np.log(80), (side, side)))
    scene = Scene(
        [], [], [], [], truth, 1.03 * facts.pivot * 1e-6 / 6.5 * 206265 / scale
    )
    sky = max(facts.sky * per_mjysr, 1.0)
    for offset, error in zip(offsets, left, strict=True):
        light = np.zeros((side, side))
        for x, y, mag in truth:
            _add(
                light, draw, x + offset[0], y + offset[1], per_mag0 * 10 ** (-0.4 * mag)
            )
        yy, xx = np.mgrid[:side, :side]
        for x, y, mag in galaxies:
            radius = np.hypot(xx - x - offset[0], (yy - y - offset[1]) / 0.6)
            profile = np.exp(-radius / 4)
            light += profile / (2 * np.pi * 16 * 0.6) * per_mag0 * 10 ** (-0.4 * mag)
        well = detector_facts(detector).full_well
        groups = np.clip(np.floor(9 * well / np.maximum(light + sky, 1)), 0, 9)
        short = 9 / np.maximum(groups, 1)
        variance = (light + sky) * short + READ**2 * short**3
        noise = rng.normal(0, 1, light.shape) * np.sqrt(variance)
        if stripes:
            noise += rng.normal(0, 0.35, (side, 1)) * np.sqrt(np.median(variance))
        hits = rng.random((side, side)) < 1e-3
        level = np.exp(rng.uniform(np.log(8), np.log(80), (side, side)))
        added = np.where(hits, level, np.where(hot, hot_level, 0)) * np.sqrt(variance)
        spill = np.roll(added * hits, 1, axis=1) * rng.choice([0, 0, 0.4], added.shape)
        variance = variance + added + spill
        frame = Frame(
            (light + noise + added + spill).astype(np.float32),
            variance.astype(np.float32),
            groups > 0,
            *_geometry(offset + error, scale),
        )
        scene.frames.append(frame)
        scene.light.append(light)
        scene.planted.append(added > 0)
        scene.touched.append(added + spill > 0)
    scene.offsets = offsets
    return scene


def _add(light: np.ndarray, draw: Any, x: float, y: float, flux: float) -> None:
    stamp, x0, y0 = draw(x, y)
    # Farther out the pupil's sampling gives ghosts in NIRISS's bluest filters.
    beyond = max(0, stamp.shape[0] // 2 - 60)
    stamp = stamp[beyond : len(stamp) - beyond, beyond : len(stamp) - beyond]
    x0, y0 = x0 + beyond, y0 + beyond
    ny, nx = light.shape
    y1, x1 = max(0, y0), max(0, x0)
    y2, x2 = min(ny, y0 + stamp.shape[0]), min(nx, x0 + stamp.shape[1])
    if y1 < y2 and x1 < x2:
        light[y1:y2, x1:x2] += flux * stamp[y1 - y0 : y2 - y0, x1 - x0 : x2 - x0]


def _geometry(offset: np.ndarray, scale: float) -> tuple[Any, Any]:
    step = scale / 3600

    def to_sky(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (x - offset[0]) * step, (y - offset[1]) * step

    def to_pixels(a: np.ndarray, d: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return a / step + offset[0], d / step + offset[1]

    return to_sky, to_pixels


def rejected(scene: Scene, options: Options | None = None) -> list[Any]:
    """Find the outliers of every exposure."""
    ready = [neighbour(frame) for frame in scene.frames]
    return [
        find_outliers(one, ready[:k] + ready[k + 1 :], options)
        for k, one in enumerate(ready)
    ]


def drizzled(scene: Scene, masks: list[np.ndarray]) -> np.ndarray:
    """Combine at two pixels an input pixel, all exposures alike."""
    side = 2 * scene.frames[0].data.shape[0]
    driz = Drizzle(out_shape=(side, side), disable_ctx=True, fillval="0")
    for frame, mask, offset in zip(scene.frames, masks, scene.offsets, strict=True):
        y, x = np.indices(frame.data.shape, dtype=float)
        pixmap = 2 * np.dstack([x - offset[0], y - offset[1]]) + 0.5
        weight = (frame.good & ~mask).astype(np.float32)
        driz.add_image(
            frame.data, exptime=1.0, pixmap=pixmap, weight_map=weight, in_units="cps"
        )
    return np.asarray(driz.out_img)


def star_biases(scene: Scene, masks: list[np.ndarray]) -> np.ndarray:
    """Magnitude and flux bias (per cent) of each star, saturated or not."""
    ours = drizzled(scene, masks)
    ideal = drizzled(scene, scene.touched)
    yy, xx = np.indices(ours.shape)
    rows = []
    for x, y, mag in scene.stars:
        near = np.hypot(xx - 2 * x - 0.5, yy - 2 * y - 0.5) < 2 * max(2.5, scene.fwhm)
        full = all(
            frame.good[round(y + o[1]), round(x + o[0])]
            for frame, o in zip(scene.frames, scene.offsets, strict=True)
            if 0 <= round(y + o[1]) < frame.good.shape[0]
            and 0 <= round(x + o[0]) < frame.good.shape[1]
        )
        flux = ideal[near].sum()
        error = np.sqrt(near.sum() / 4 * np.median(scene.frames[0].variance))
        if full and flux > 15 * error:
            rows.append((mag, 100 * (ours[near].sum() / flux - 1)))
    return np.array(rows)


def rates(scene: Scene, found: list[Any]) -> dict[str, np.ndarray]:
    """Count what was planted and found, on blank sky and within light."""
    counts = {k: np.zeros(2) for k in ("blank", "light", "false")}
    for frame, light, planted, result, offset in zip(
        scene.frames, scene.light, scene.planted, found, scene.offsets, strict=True
    ):
        sigma = np.sqrt(np.median(frame.variance))
        core = np.zeros(light.shape, bool)
        yy, xx = np.indices(light.shape)
        for x, y, _ in scene.stars:
            core |= np.hypot(xx - x - offset[0], yy - y - offset[1]) < max(
                3, 2 * scene.fwhm
            )
        inside = np.zeros(light.shape, bool)
        inside[22:-22, 22:-22] = True  # all dithers cover it
        inside &= frame.good
        blank = inside & (light < 0.5 * sigma)
        near = np.zeros_like(planted)
        for dy, dx in itertools.product((-1, 0, 1), repeat=2):
            near |= np.roll(planted, (dy, dx), axis=(0, 1))
        for key, where in (
            ("blank", blank & planted),
            ("light", inside & planted & (light > 2 * sigma) & ~core),
            ("false", blank & ~near),
        ):
            counts[key] += (result.mask[where].sum(), where.sum())
    return counts


def outliers(chosen: list[str], dithers: list[int], seeds: list[int]) -> None:
    print("filter  dithers shift stripes | bias % worst saturated | "
          "found % blank light | false 1e-4 | s a frame")  # fmt: skip
    cases = [(d, f) for d in DETECTORS for f in filters(d) if not chosen or f in chosen]
    for (detector, name), count, shift, stripes in itertools.product(
        cases, dithers, (1.0, 20.0), (False, True)
    ):
        biases, total, cpu = [], {}, 0.0
        for seed in seeds:
            scene = make_scene(
                detector,
                name,
                dithers=count,
                shift_mas=shift,
                stripes=stripes,
                seed=seed,
            )
            start = time.process_time()
            found = rejected(scene)
            cpu += time.process_time() - start
            biases.append(star_biases(scene, [f.mask for f in found]))
            for key, value in rates(scene, found).items():
                total[key] = total.get(key, 0) + value
        print(
            f"{detector:9s}{name:6s} {count} {shift:4.0f} {('no', 'yes')[stripes]:4s}|"
            f"{_summary(np.concatenate(biases))}|"
            + " ".join(f"{100 * total[k][0] / max(1, total[k][1]):6.2f}"
                       for k in ("blank", "light"))
            + f" | {1e4 * total['false'][0] / total['false'][1]:.2f}"
            + f" | {cpu / len(seeds) / count:.2f}",
            flush=True,
        )  # fmt: skip


def _summary(biases: np.ndarray) -> str:
    bins = [
        np.median(b)
        for low in range(17, 24)
        if len(b := biases[(biases[:, 0] >= low) & (biases[:, 0] < low + 1), 1])
    ]
    extreme = max(bins, key=abs)
    worst = biases[np.argmax(np.abs(biases[:, 1]))]
    return f" {extreme:6.2f} {worst[1]:7.2f} ({worst[0]:.1f} mag)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("what", choices=["outliers"])
    parser.add_argument("--filters", nargs="*", default=[])
    parser.add_argument("--dithers", nargs="*", type=int, default=[2, 3, 4, 8])
    parser.add_argument("--seeds", nargs="*", type=int, default=[1])
    given = parser.parse_args()
    outliers(given.filters, given.dithers, given.seeds)


if __name__ == "__main__":
    main()
