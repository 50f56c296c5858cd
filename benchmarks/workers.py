"""Shared workers against one Python process for each stage and exposure.

    python benchmarks/workers.py RAW [--full]

RAW is a folder made by ``webbmosaic simulate``, of one detector and filter; its
``environment.sh`` must have been sourced. Wall and CPU seconds include imports. With
``--full`` one exposure is reduced by bare calwebb_detector1 and calwebb_image2 and by
stages 1 and 2, and CPU seconds without imports are compared.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BARE = """
import sys, time, resource
from jwst.pipeline import Detector1Pipeline, Image2Pipeline
start = time.process_time()
jump = dict(min_jump_area=100.0, expand_factor=1.5, sat_required_snowball=False,
            expand_large_events=True)
rate = Detector1Pipeline.call(sys.argv[1], steps={"jump": jump}, configure_log=False)
if sys.argv[2] != "rate":
    skip = {"resample": {"skip": True}}
    Image2Pipeline.call(rate, steps=skip, configure_log=False)
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(time.process_time() - start, peak)
"""
IMAGE2 = """
import sys
from jwst.pipeline import Image2Pipeline
Image2Pipeline.call(sys.argv[1], save_results=True, output_dir=sys.argv[2],
                    steps={"resample": {"skip": True}}, configure_log=False)
"""
DETECTOR1 = """
import sys
from jwst.pipeline import Detector1Pipeline
Detector1Pipeline.call(sys.argv[1], save_results=True, output_dir=sys.argv[2],
                       configure_log=False)
"""
IMAGE3 = """
import sys
from jwst.associations.asn_from_list import asn_from_list
from jwst.associations.lib.rules_level3_base import DMS_Level3_Base
from jwst.pipeline import Image3Pipeline
asn = asn_from_list(sys.argv[2:], rule=DMS_Level3_Base, product_name="bare")
path = sys.argv[1] + "/asn.json"
open(path, "w").write(asn.dump()[1])
Image3Pipeline.call(path, save_results=True, output_dir=sys.argv[1],
                    steps={"resample": {"weight_type": "exptime"}}, configure_log=False)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("raw", type=Path)
    parser.add_argument("--full", action="store_true")
    given = parser.parse_args()
    os.environ |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    uncals = sorted(given.raw.glob("mastDownload/JWST/*/*_uncal.fits"))
    with tempfile.TemporaryDirectory() as folder:
        if given.full:
            compare_cpu(uncals[0], Path(folder))
        else:
            compare_processes(uncals, Path(folder))


def compare_processes(uncals: list[Path], folder: Path) -> None:
    print(f"{len(uncals)} exposures, stages 1 to 3, one at a time\n")
    print(f"{'':44}{'wall s':>8}{'CPU s':>8}")
    bare = timed("one process for each stage and exposure", bare_chain, uncals, folder)
    ours = timed("webbmosaic run -j 1", our_chain, uncals, folder)
    print(f"\nshared workers: {bare / ours:.2f} times faster")


def timed(label: str, work, *arguments) -> float:
    wall, cpu = time.monotonic(), children()
    work(*arguments)
    wall = time.monotonic() - wall
    print(f"{label:44}{wall:8.1f}{children() - cpu:8.1f}", flush=True)
    return wall


def children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def bare_chain(uncals: list[Path], folder: Path) -> None:
    cals = []
    for uncal in uncals:
        python(DETECTOR1, uncal, folder)
        rate = folder / uncal.name.replace("_uncal", "_rate")
        python(IMAGE2, rate, folder)
        cals.append(folder / uncal.name.replace("_uncal", "_cal"))
    python(IMAGE3, folder, *cals)


def our_chain(uncals: list[Path], folder: Path) -> None:
    work = folder / "work"
    typed("prepare", *uncals, "-C", work)
    typed("run", "-C", work, "-j", 1)


def compare_cpu(uncal: Path, folder: Path) -> None:
    seconds, peak = map(float, python(BARE, uncal, "cal").split()[-2:])
    work = folder / "work"
    typed("prepare", uncal, "-C", work)
    typed("stage1", "-C", work, "-j", 1)
    typed("stage2", "-C", work, "-j", 1)
    print(f"{uncal.name}\n\n{'':36}{'CPU s':>8}{'peak MB':>9}")
    print(f"{'calwebb_detector1 + calwebb_image2':36}{seconds:8.1f}{peak:9.0f}")
    total = 0.0
    for stage in ("stage1", "stage2"):
        record = json.loads(next(work.glob(f"jw*/state/{stage}.json")).read_text())
        total += record["cpu_seconds"]
        print(f"{stage:36}{record['cpu_seconds']:8.1f}{record['peak_memory_mb']:9.0f}")
    print(f"{'both':36}{total:8.1f}   {total / seconds:.2f} times the bare pipelines")


def python(code: str, *arguments: object) -> str:
    words = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr[-2000:])
    return done.stdout


def typed(*words: object) -> None:
    program = [sys.executable, "-m", "webbmosaic.cli", *map(str, words)]
    subprocess.run(program, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main()
