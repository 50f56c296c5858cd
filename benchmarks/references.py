"""
Measure how long the references of a large programme take to find.

Needs no network and no CRDS cache: rules as long as the real ones are made, and headers
of 13,000 exposures. Prints, for a programme and for a survey of many programmes, the
number of configurations and the seconds from headers to names of references; and how
many headers are read per second.

    python benchmarks/references.py
"""

from __future__ import annotations

import itertools
import os
import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.io import fits

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "archives"))
from conftest import CONTEXT, PLAIN_KINDS, FakeCache
from webbmosaic.archives.gather import resolve
from webbmosaic.archives.reftypes import keyword_of_parkey, reference_types
from webbmosaic.files.headers import NEEDED_KEYWORDS, Header, read_headers

EXPOSURES = 13_000
DETECTORS = [f"NRC{m}{n}" for m in "AB" for n in ("1", "2", "3", "4", "LONG")]
FILTERS = [f"F{n:03}{w}" for n in range(70, 480, 14) for w in "WM"]
SUBARRAYS = ["FULL", *(f"SUB{n}" for n in range(16, 640, 32))]
PATTERNS = ["RAPID", "BRIGHT1", "BRIGHT2", *(f"{n}{k}" for n in
            ("SHALLOW", "MEDIUM", "DEEP") for k in (2, 4, 8))]  # fmt: skip
KEYS = [f"META.{k}" for k in ("INSTRUMENT.DETECTOR", "SUBARRAY.NAME",
        "EXPOSURE.READPATT", "INSTRUMENT.FILTER", "EXPOSURE.TYPE")]  # fmt: skip


def dates(rng: random.Random) -> list[str]:
    days = (f"{rng.randint(2022, 2025)}-{m:02}-{rng.randint(1, 28):02}" for m in (3, 6))
    return ["2021-01-01 00:00:00", *(f"{day} 00:00:00" for day in sorted(days))]


def long_rules(cache: FakeCache) -> None:
    """
    Write rules about as long as NIRCam's, with three dates in each row.

    2,400 rows for darks, 300 for flats and area maps, 200 for superbias and saturation,
    10 for other kinds, 30 for each step's parameters; nothing for other instruments'.
    """
    rng = random.Random(1)
    short = (DETECTORS,)
    columns = {
        "dark": (DETECTORS, SUBARRAYS, PATTERNS),
        "superbias": (DETECTORS, SUBARRAYS),
        "saturation": (DETECTORS, SUBARRAYS),
        "flat": (DETECTORS, ["N/A"], ["N/A"], FILTERS),
        "area": (DETECTORS, ["N/A"], ["N/A"], FILTERS),
        **dict.fromkeys((*PLAIN_KINDS, "mask", "linearity", "ipc", "photom"), short),
        **dict.fromkeys(("refpix", "sirskernel", "filteroffset", "specwcs"), short),
    }
    for kind in reference_types():
        if kind.startswith("pars-"):
            columns[kind] = (["N/A"], ["N/A"], ["N/A"], FILTERS, ["NRC_IMAGE"])
    for kind, values in columns.items():
        rows = {
            row: {date: f"jwst_nircam_{kind}_{n:05}.fits" for date in dates(rng)}
            for n, row in enumerate(itertools.product(*values))
        }
        cache.rule("nircam", kind, rows=rows, keys=tuple(KEYS))
    cache.write(references=False)


def headers(filters: int, days: int) -> dict[str, Header]:
    """Make the headers of a programme: some filters, over some days."""
    rng = random.Random(2)
    found: dict[str, Header] = {}
    for n in range(EXPOSURES):
        day = np.datetime64("2023-01-01") + rng.randrange(days)
        found[f"exposure{n}"] = {
            "INSTRUME": "NIRCAM",
            "DETECTOR": rng.choice(DETECTORS),
            "FILTER": rng.choice(FILTERS[:filters]),
            "SUBARRAY": rng.choice(SUBARRAYS[:2]),
            "READPATT": rng.choice(PATTERNS[:4]),
            "EXP_TYPE": "NRC_IMAGE",
            "DATE-OBS": str(day),
            "TIME-OBS": f"{rng.randrange(24):02}:00:00.123",
        }
    return found


def time_resolution(title: str, programme: dict[str, Header]) -> None:
    from webbmosaic.archives.rules import _rules

    _rules.cache_clear()
    start = time.perf_counter(), time.process_time()
    found = resolve(programme, CONTEXT)
    took = time.perf_counter() - start[0], time.process_time() - start[1]
    print(f"{title:28}{len(programme):9}{found.configurations:16}{len(found.needs):12}"
          f"{took[0]:10.1f}{took[1]:10.1f}")  # fmt: skip


def time_headers(folder: Path, files: int) -> None:
    """Read files with as many keywords as real uncals have (300 and 60)."""
    primary, sci = fits.PrimaryHDU(), fits.ImageHDU(np.zeros((9, 64, 64), "u2"))
    sci.name = "SCI"
    primary.header.update(dict.fromkeys(NEEDED_KEYWORDS, 1))
    primary.header.update({"EXP_TYPE": "NRC_IMAGE", "PUPIL": "CLEAR"})
    primary.header.update({f"WORD{n}": "some text in a header" for n in range(270)})
    sci.header.update({f"NUMBER{n}": n / 7 for n in range(60)})
    units = [primary, sci, fits.ImageHDU(np.zeros(99), name="GROUP")]
    units.append(fits.ImageHDU(np.zeros(9, "u1"), name="ASDF"))
    paths = [folder / f"{n}_uncal.fits" for n in range(files)]
    for path in paths:
        fits.HDUList(units).writeto(path)
    start = time.perf_counter()
    read_headers(paths)
    print(f"\nheaders read per second: {files / (time.perf_counter() - start):.0f}")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.environ["CRDS_PATH"] = str(folder / "crds")
        start = time.perf_counter()
        print(f"{len(reference_types())} kinds of reference;", end=" ")
        assert keyword_of_parkey()
        print(f"asking jwst for them: {time.perf_counter() - start:.1f} s\n")
        long_rules(FakeCache(folder / "crds"))
        print(f"{'':28}{'exposures':>9}{'configurations':>16}{'references':>12}"
              f"{'seconds':>10}{'CPU s':>10}")  # fmt: skip
        time_resolution("8 filters, 60 days", headers(8, 60))
        time_resolution("30 filters, 3 years", headers(30, 1000))
        time_headers(folder, 2000)


if __name__ == "__main__":
    main()
