"""
Measure how fast downloads are, and what cut connections cost.

Needs no network: a small MAST runs on this machine. Each question prints one row:
files, their bytes, seconds, bytes sent by the server relative to the payload, and how
many files are byte for byte right.

    python benchmarks/download.py [FOLDER]
"""

from __future__ import annotations

import hashlib
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "archives" / "mast"))
from mast_server import Archive as Holdings
from mast_server import fits_bytes, serving

from webbmosaic.archives.download import download, plan
from webbmosaic.archives.mast import list_products, search
from webbmosaic.archives.selection import Selection
from webbmosaic.archives.transport import Archive


def holdings(files: int, size: int) -> Holdings:
    held = Holdings()
    for index in range(files):
        name = f"jw01727001001_02101_{index // 8 + 1:05d}_nrca{index % 4 + 1}_"
        name += ("uncal" if index % 8 < 4 else "rate") + ".fits"
        held.add(name, fits_bytes(size, seed=index))
    return held


def cutter(held: Holdings, cuts: int, seed: int) -> Callable[..., int | None]:
    """Cut this many answers in all, the same number for each file, anywhere."""
    rng = random.Random(seed)
    left = dict.fromkeys(held.contents, cuts // len(held.contents))

    def cut(name: str, _start: int, length: int) -> int | None:
        if not left[name]:
            return None
        left[name] -= 1
        return rng.randrange(max(length // (left[name] + 1), 1))

    return cut


def run(title: str, held: Holdings, folder: Path, **options: float) -> None:
    with serving(held) as url:
        archive = Archive(url)
        start = time.perf_counter()
        wanted = Selection(programs=("1727",), suffixes=())
        products, _ = list_products(archive, search(archive, wanted), wanted)
        items = plan(products, folder)
        outcomes = download(archive, items, folder, **options)
        seconds = time.perf_counter() - start
    right = sum(
        hashlib.sha256(item.target.read_bytes()).digest()
        == hashlib.sha256(held.contents[item.product.uri]).digest()
        for item in items
        if item.target.exists()
    )
    payload = sum(map(len, held.contents.values()))
    failed = sum(o.error is not None for o in outcomes)
    print(
        f"{title:34} {len(items):6} {payload / 1e6:9.1f} {seconds:8.2f}"
        f" {held.sent / payload:7.3f} {right:6} {failed:7}"
    )


def main() -> None:
    place = sys.argv[1] if len(sys.argv) > 1 else None
    print(f"{'':34} {'files':>6} {'MB':>9} {'s':>8} {'sent':>7} {'right':>6} failed")
    with tempfile.TemporaryDirectory(dir=place) as folder:
        root = Path(folder)
        run("1000 products of 100 kB", held := holdings(1000, 100_000), root / "a")
        held.sent = 0
        run("the same again: nothing to do", held, root / "a")
        held = holdings(100, 100_000)
        held.cut = cutter(held, 200, seed=1)
        run("200 cuts in 100 files of 100 kB", held, root / "b")
        held = holdings(10, 5_000_000)
        held.cut, held.reset = cutter(held, 200, seed=2), True
        run("200 resets in 10 files of 5 MB", held, root / "c")
        run("4 files of 100 MB", holdings(4, 100_000_000), root / "d")


if __name__ == "__main__":
    main()
