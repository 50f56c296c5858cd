"""
How well alignment finds what is off, on images and tables made with nothing of ours.

    python benchmarks/alignment.py [images] [tables] [wrong] [--seeds 4]

"images": Moffat stars on 512 x 512 pixels (tests/sky_images.py), three visits of four
dithers, the second off by 0.4 arcsec or by 15 arcsec and 0.1 degree, against a
catalogue with errors of 5 mas for each star, and without one. "offset" is the mean over
the exposures of measured minus true position of their middles, "expected" its standard
error as recorded, "scatter" the rms over the exposures about the mean, all in mas for
each axis. "tables": 16 tables, each off by 0.15 arcsec by itself, with errors of 9 mas,
60 % complete, 30 % junk, and a catalogue of 20,000 stars. "wrong": how often a
catalogue of another field is met, of as many tries.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from fields import catalogue_of, observe  # type: ignore[import-not-found]
from sky_images import (  # type: ignore[import-not-found]
    CENTRE,
    make_cal,
    make_sky,
    write_catalogue,
)
from webbmosaic.files.models import open_image
from webbmosaic.science.astrometry import (
    Catalogue,
    Image,
    Search,
    link,
    solve,
)
from webbmosaic.settings import Alignment
from webbmosaic.stages.alignment import align
from webbmosaic.stages.tangent_plane import on_plane

VISITS = {
    "0.4 arcsec": [((0.02, -0.03), 0.0), ((0.4, -0.2), 0.0), ((0.05, 0.04), 0.0)],
    "15 arcsec, 0.1 deg": [((0, 0), 0.0), ((12.0, -9.0), 0.1), ((0.04, 0.05), 0.0)],
}


def images(seeds: int) -> None:
    print(f"{'visits':20} catalogue  offset  expected  scatter  seconds")
    for name, visits in VISITS.items():
        for with_catalogue in (True, False):
            rows = [_one(seed, visits, with_catalogue) for seed in range(seeds)]
            for offset, expected, scatter, seconds in rows:
                said = "5 mas" if with_catalogue else "none"
                told = f"{offset:7.2f} {expected:9.2f}" if with_catalogue else " " * 17
                print(f"{name:20} {said:9} {told} {scatter:8.2f} {seconds:8.1f}")


def _one(seed: int, visits: Any, with_catalogue: bool) -> tuple[float, ...]:
    rng = np.random.default_rng(seed)
    sky = make_sky(rng, n=500, half=26.0)
    with tempfile.TemporaryDirectory() as folder:
        paths, places = [], []
        for v, (off, turn) in enumerate(visits):
            for k in range(4):
                place = rng.uniform(-4, 4, 2)
                places.append(place)
                paths.append(
                    make_cal(
                        folder,
                        f"jw01345001{v + 1:03d}_02101_{k + 1:05d}_nrcblong",
                        sky,
                        dither=place,
                        off=np.asarray(off) + rng.normal(0, 0.003, 2),
                        turn=turn,
                        pa=20 + 30 * v,
                        size=512,
                        rng=rng,
                    )
                )
        refcat = ""
        if with_catalogue:
            path = write_catalogue(
                Path(folder) / "r.ecsv", sky[:200], rng=rng, error=0.005
            )
            refcat = str(path)
        start = time.perf_counter()
        models = [open_image(p) for p in paths]
        done = align(models, paths, Alignment(abs_refcat=refcat), "benchmark")
        seconds = time.perf_counter() - start
        middle = np.array([[255.5, 255.5]])
        found = [
            on_plane(m.meta.wcs, middle, CENTRE)[0] - p
            for m, p in zip(done.models, places, strict=True)
        ]
        errors = 1000 * np.array(found)
    mean = errors.mean(axis=0)
    expected = float(np.mean([o["shift_error_mas"] for o in done.exposures]))
    scatter = float(np.sqrt(((errors - mean) ** 2).mean()))
    return float(np.sqrt((mean**2).mean())), expected, scatter, seconds


def tables(seeds: int) -> None:
    print("each its own visit: worst offset found minus planted, mas, and its error")
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        sky = rng.uniform(-108, 108, (20000, 2))
        square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * 32
        some, planted = [], []
        for k in range(16):
            middle, off = rng.uniform(-36, 36, 2), rng.normal(0, 0.15, 2)
            inside = (np.abs(sky - middle) < 32).all(axis=1)
            inside &= rng.uniform(size=len(sky)) < 0.6
            seen = sky[inside] + off + rng.normal(0, 0.0093, (inside.sum(), 2))
            junk = rng.uniform(-32, 32, (int(0.3 * len(seen)), 2)) + middle
            positions = np.concatenate([seen, junk])
            errors = np.full(len(positions), 0.01)
            some.append(Image(positions, errors, square + middle + off, "1", f"v{k}"))
            planted.append(off)
        catalogue = Catalogue(sky, np.full(len(sky), 0.005))
        start = time.perf_counter()
        linked = link(some, catalogue, Search())
        solution = solve(some, linked, catalogue, tolerance=0.1)
        worst = max(
            float(
                np.abs((solution.moved(k, i.corners) - i.corners).mean(0) + off).max()
            )
            for k, (i, off) in enumerate(zip(some, planted, strict=True))
        )
        error = 1000 * float(solution.shift_errors.mean())
        seconds = time.perf_counter() - start
        print(f"{1000 * worst:8.2f} {error:8.2f}   {seconds:.1f} s")


def wrong(seeds: int) -> None:
    met, tries = 0, 0
    for seed in range(5 * seeds):
        rng = np.random.default_rng(seed)
        for n, m in ((60, 20), (400, 60), (1500, 1500), (3000, 10)):
            some, _, _ = observe(rng, n=n)
            other = catalogue_of(rng, rng.uniform(-60, 60, (m, 2)), n=m)
            met += bool(link(some, other, Search()).catalogue)
            tries += 1
    print(f"catalogues of other fields met: {met} of {tries}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=["images", "tables", "wrong"])
    parser.add_argument("--seeds", type=int, default=4)
    given = parser.parse_args()
    for what in given.what:
        {"images": images, "tables": tables, "wrong": wrong}[what](given.seeds)


if __name__ == "__main__":
    main()
