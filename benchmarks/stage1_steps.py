"""
How well and how fast the steps of stage 1 clean frames whose truth is known.

    python benchmarks/stage1_steps.py stripes [--seeds 1 2] [--without-jwst]
    python benchmarks/stage1_steps.py stripes --sweep 24    all of a frame drawn

All figures of quality are in percent: residuals of the white noise of a sky pixel, over
pixels without sources and after removing one constant; line means of what white noise
gives; fluxes of the true flux. CPU seconds exclude imports, files and compilation, peak
memory is that of the whole process. Each tool runs in a process of its own.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

FREE = 0.05
"""Light of sources, in white-noise sigma, below which a pixel counts as sky."""


# ------------------------------------------------------------------------- frames


def _objects(rng: np.random.Generator, crowded: bool) -> Any:
    """Stars, galaxies, one big and three large faint galaxies: pixels and fluxes."""
    from astropy.table import Table

    stars, galaxies = (2500, 900) if crowded else (80, 500)
    big, faint = 1, 3
    count = stars + galaxies + big + faint
    mag = np.concatenate(
        [
            28 - rng.exponential(1.6, stars) - (0 if crowded else 2.0),
            29 - rng.exponential(1.3, galaxies),
            [17.5],
            rng.uniform(21.0, 21.6, faint),
        ]
    )
    size = np.exp(rng.normal(-2.0, 0.5, count))
    size[-4:] = [3.4, 1.3, 1.8, 2.4]
    index = rng.choice([1.0, 1.0, 1.5, 3.0], count)
    index[-4:] = [1.5, 1.0, 1.0, 1.0]
    kind = np.array(["star"] * stars + ["galaxy"] * (count - stars))
    return Table(
        {
            "x": rng.uniform(20, 2028, count).clip(
                np.where(size > 1, 300, 0), np.where(size > 1, 1748, 2048)
            ),
            "y": rng.uniform(20, 2028, count).clip(
                np.where(size > 1, 300, 0), np.where(size > 1, 1748, 2048)
            ),
            "kind": kind,
            "r_half": np.where(kind == "star", 0.0, size),
            "sersic_n": index,
            "axis_ratio": rng.uniform(0.4, 1.0, count),
            "pa": rng.uniform(0, 180, count),
            "flux_F200W": 3631 * 10 ** (-0.4 * np.clip(mag, 17, 30)),
        }
    )


def make_frame(seed: int, *, crowded: bool, tilted: bool) -> dict[str, Any]:
    """Make a rate image of NRCB4 and all that is true of it, in white-noise sigma."""
    from webbmosaic.simulate.effects import Streams
    from webbmosaic.simulate.filters import electrons_per_mjy
    from webbmosaic.simulate.geometry import aperture, pixel_to_v2v3
    from webbmosaic.simulate.observe import psf_of
    from webbmosaic.simulate.pointing import Pointing
    from webbmosaic.simulate.rates import RateLevels, make_rate
    from webbmosaic.simulate.render import render

    frame = aperture("NRCB4", "FULL")
    pointing = Pointing(150.0, 2.0, 40.0)
    catalog = _objects(np.random.default_rng((seed, crowded)), crowded)
    catalog["ra"], catalog["dec"] = pointing.to_sky(
        *pixel_to_v2v3(frame, catalog["x"].value, catalog["y"].value)
    )
    for name in ("ra", "dec"):
        catalog[name].unit = "deg"
    psf = psf_of("NRCB4", "F200W")
    flux = render(catalog, frame, pointing, psf=psf, filter_="F200W")
    source = (flux * electrons_per_mjy("NRCB4", "F200W")).astype(np.float32)
    levels = RateLevels(tilted=0.326 if tilted else 0.0)
    rate = make_rate(source, Streams(seed, "benchmark"), levels=levels)
    usable = rate.dq & 1 == 0
    return {
        "data": rate.data,
        "usable": usable,
        "err": rate.err,
        "light": (rate.truth - np.float32(rate.sky)) / rate.sigma,
        "stripes": (rate.one_over_f + rate.columns + rate.tilted) / rate.sigma,
        "noise": np.where(
            usable, rate.data - rate.truth - rate.one_over_f - rate.columns, 0
        )
        / rate.sigma
        - np.where(usable, rate.tilted / rate.sigma, 0),
        "sigma": rate.sigma,
        "x": catalog["x"].value,
        "y": catalog["y"].value,
        "size": catalog["r_half"].value,
    }


# ------------------------------------------------------------------------- judging


def judge(frame: dict[str, Any], pattern: np.ndarray) -> dict[str, float]:
    """Compare what was subtracted (DN/s) with what should have been."""
    free = (frame["light"] < FREE) & frame["usable"]
    wrong = frame["stripes"] - pattern / frame["sigma"]
    wrong = wrong - wrong[free].mean(dtype=np.float64)
    result = {"residual": 100 * float(wrong[free].std(dtype=np.float64))}
    result |= _line_means(wrong + frame["noise"], free)
    return result | _fluxes(frame, wrong)


def _line_means(left: np.ndarray, free: np.ndarray) -> dict[str, float]:
    """Scatter of the means of lines, in units of what white noise gives."""
    y, x = np.indices(left.shape)
    rise = np.rint(x * np.tan(np.radians(30))).astype(int)
    families = {
        "rows": 4 * y + x // 512,
        "columns": x,
        "+30": y - rise,
        "-30": y + rise,
    }
    result = {}
    for name, line in families.items():
        index = (line - line.min())[free]
        count = np.bincount(index)
        total = np.bincount(index, weights=left[free])
        long = count > 200
        result[name] = float(np.sqrt(np.mean(total[long] ** 2 / count[long])))
    return result


def _fluxes(frame: dict[str, Any], wrong: np.ndarray) -> dict[str, float]:
    """Flux errors: medians for stars and galaxies, the big one, the faint ones."""
    errors: dict[str, list[float]] = {"star": [], "galaxy": [], "big": [], "faint": []}
    number = len(frame["x"])
    for k, (x, y, size) in enumerate(
        zip(frame["x"], frame["y"], frame["size"], strict=True)
    ):
        kind = "star" if size == 0 else "galaxy"
        kind = {number - 4: "big"}.get(k, "faint" if k > number - 4 else kind)
        radius = 5 if kind == "star" else int(max(5, 2 * size / 0.031))
        row, column = round(float(y)), round(float(x))
        box = (
            slice(max(0, row - radius), row + radius + 1),
            slice(max(0, column - radius), column + radius + 1),
        )
        j, i = np.arange(2048)[box[0], None], np.arange(2048)[None, box[1]]
        inside = (j - row) ** 2 + (i - column) ** 2 <= radius**2
        light = float(frame["light"][box][inside].sum())
        if light > 300:
            errors[kind].append(100 * float(wrong[box][inside].sum()) / light)
    return {
        kind: float(np.median(values)) if values else np.nan
        for kind, values in errors.items()
    }


# --------------------------------------------------------------------------- tools


def by_webbmosaic(frame: dict[str, Any]) -> np.ndarray:
    """All four families of stripes, as in stage 1."""
    from webbmosaic.science.frame import StripeOptions, fit_stripes, make_readout

    return fit_stripes(
        frame["data"],
        frame["usable"],
        variance=frame["err"] ** 2,
        readout=make_readout(frame["data"].shape, outputs=4),
        options=StripeOptions(angles=(30.0, -30.0)),
    ).pattern


def by_jwst(frame: dict[str, Any], **options: Any) -> np.ndarray:
    """The pipeline's clean_flicker_noise, on the same rate image."""
    from jwst.clean_flicker_noise.clean_flicker_noise import do_correction
    from stdatamodels.jwst.datamodels import ImageModel

    # fft is refused for NIRCam: show it the frame as NIRSpec's, whose rows run along y.
    turned = options["fit_method"] == "fft"
    data, usable = frame["data"], frame["usable"]
    model = ImageModel(data=(data.T if turned else data).copy())
    model.dq = np.where(usable.T if turned else usable, 0, 1).astype(np.uint32)
    model.meta.instrument.name = "NIRSPEC" if turned else "NIRCAM"
    model.meta.instrument.detector = "NRS1" if turned else "NRCB4"
    model.meta.subarray.name = "FULL"
    axes = (2, 1) if turned else (-1, 2)
    model.meta.subarray.fastaxis, model.meta.subarray.slowaxis = axes
    model.meta.exposure.type = "NRS_FIXEDSLIT" if turned else "NRC_IMAGE"
    cleaned, *_, status = do_correction(model, **options)
    if status != "COMPLETE":
        raise RuntimeError(f"clean_flicker_noise ended with {status}")
    return np.nan_to_num(data - (cleaned.data.T if turned else cleaned.data))


TOOLS = {
    "uncorrected": lambda frame: np.zeros_like(frame["data"]),
    "webbmosaic": by_webbmosaic,
    "jwst median": lambda frame: by_jwst(frame, fit_method="median"),
    "jwst median by channel": lambda frame: by_jwst(
        frame, fit_method="median", fit_by_channel=True
    ),
    "jwst fft": lambda frame: by_jwst(frame, fit_method="fft"),
}


def _memory(reset: bool = False) -> float:
    """Peak resident memory, MB; the kernel can be told to start anew (Linux)."""
    refs = Path("/proc/self/clear_refs")
    if reset and refs.exists():
        refs.write_text("5")
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if "VmHWM" in x)
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _run(tool: str, paths: list[str], queue: Any) -> None:
    """Run one tool on all frames; the first run warms it up and is not counted."""
    results = []
    for number, path in enumerate([paths[0], *paths]):
        with np.load(path) as file:
            frame = {name: file[name] for name in ("data", "usable", "err")}
        _memory(reset=True)
        start = time.process_time()
        pattern = TOOLS[tool](frame)
        spent, peak = time.process_time() - start, _memory()
        if number == 0:
            results.append({"first": spent})
            continue
        with np.load(path) as file:
            results.append(judge(dict(file), pattern) | {"cpu": spent, "MB": peak})
    queue.put(results)


def stripes(seeds: list[int], tools: list[str]) -> None:
    """Print the table of the destripers."""
    fields = {
        "sparse": (False, False),
        "sparse + tilted": (False, True),
        "crowded": (True, False),
        "crowded + tilted": (True, True),
    }
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for seed in seeds:
            for name, (crowded, tilted) in fields.items():
                path = Path(folder) / f"{name}{seed}.npz"
                np.savez(path, **make_frame(seed, crowded=crowded, tilted=tilted))
                paths.append(str(path))
        for tool in tools:
            _print(tool, list(fields), _spawned(tool, paths))


SIZES = ("FULL", "FULL", "SUB640", "SUB320", "SUB160")


def drawn_frame(seed: int) -> dict[str, Any]:
    """Make a frame of which all is drawn: size, field, 1/f noise, columns, lines."""
    from scipy.ndimage import gaussian_filter

    from webbmosaic.simulate.effects import Streams
    from webbmosaic.simulate.rates import RateLevels, make_rate

    rng = np.random.default_rng((seed, 8))
    subarray = str(rng.choice(SIZES))
    empty = make_rate(None, Streams(seed, "sweep"), subarray=subarray)
    levels = RateLevels(
        one_over_f=rng.uniform(0.2, 0.8),
        columns=rng.uniform(0.04, 0.3),
        tilted=0.0 if rng.uniform() < 0.4 else rng.uniform(0.1, 0.5),
    )
    # A luminosity function: ten times brighter, four times fewer; stars and discs.
    shape = empty.data.shape
    light = np.zeros(shape, np.float32)
    number = int(rng.choice([0, 3e-4, 3e-3]) * light.size)
    flux = 30 * rng.uniform(1e-3, 1, number) ** (-1 / 0.6)
    places = tuple(rng.integers(0, n, number) for n in shape)
    np.add.at(light, places, flux.astype(np.float32))
    light = 0.75 * gaussian_filter(light, 1.0) + 0.25 * gaussian_filter(light, 5.0)
    source = light * np.float32(empty.sigma * empty.setup.detector.gain)
    rate = make_rate(source, Streams(seed, "sweep"), subarray=subarray, levels=levels)
    kind = "tilted" if levels.tilted else ""
    return {
        "name": f"{seed} {subarray} {number} stars {kind}",
        "data": rate.data,
        "usable": rate.dq & 1 == 0,
        "err": rate.err,
        "outputs": 4 if subarray == "FULL" else 1,
        "light": light,
        "stripes": (rate.one_over_f + rate.columns + rate.tilted) / rate.sigma,
        "sigma": rate.sigma,
    }


def sweep(number: int, first: int) -> None:
    """Print the share of the stripes that is left, beside that with the mask told."""
    from webbmosaic.science.frame import StripeOptions, fit_stripes, make_readout

    shares = []
    print(
        f"{'frame':36}{'before':>8}{'left':>8}{'told':>8}   told: the true source mask"
    )
    for seed in range(first, first + number):
        frame = drawn_frame(seed)
        free = frame["usable"] & (frame["light"] < FREE)
        readout = make_readout(frame["data"].shape, outputs=frame["outputs"])
        left = []
        for sources in (None, frame["light"] > 0.1):
            pattern = fit_stripes(
                frame["data"],
                frame["usable"],
                variance=frame["err"] ** 2,
                sources=sources,
                readout=readout,
                options=StripeOptions(angles=(30.0, -30.0)),
            ).pattern
            rest = frame["stripes"] - pattern / frame["sigma"]
            left.append(float(rest[free].std() / frame["stripes"][free].std()))
        shares.append(left)
        before = 100 * frame["stripes"][free].std()
        print(
            f"{frame['name']:36}{before:8.1f}{left[0]:8.2f}{left[1]:8.2f}", flush=True
        )
    for word, share in (("median", 0.5), ("90 %", 0.9), ("worst", 1.0)):
        ours, told = np.quantile(shares, share, axis=0)
        print(f"{word:44}{ours:8.2f}{told:8.2f}")


def _spawned(tool: str, paths: list[str]) -> list[dict[str, float]]:
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    process = context.Process(target=_run, args=(tool, paths, queue))
    process.start()
    while process.is_alive() and queue.empty():
        time.sleep(0.5)
    if queue.empty():
        raise SystemExit(f"{tool} failed: see above")
    results: list[dict[str, float]] = queue.get()
    process.join()
    return results


def _print(tool: str, fields: list[str], results: list[dict[str, float]]) -> None:
    """Print one tool: a line per kind of field, means over the seeds."""
    first, *runs = results
    columns = list(runs[0])
    print(f"\n{tool} (first run, with compilation or imports: {first['first']:.1f} s)")
    print(" " * 17 + "".join(f"{name:>9}" for name in columns))
    for number, field in enumerate(fields):
        part = runs[number :: len(fields)]
        values = [np.nanmean([run[name] for run in part]) for name in columns]
        print(f"{field:17}" + "".join(f"{value:9.2f}" for value in values))


def main() -> None:
    """Answer the question asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("question", choices=["stripes"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--sweep", type=int, metavar="N", help="frames with all drawn")
    parser.add_argument("--first", type=int, default=1, help="first seed of the sweep")
    parser.add_argument("--without-jwst", action="store_true")
    parser.add_argument("--tools", nargs="+", choices=list(TOOLS), default=list(TOOLS))
    wanted = parser.parse_args()
    if wanted.sweep:
        return sweep(wanted.sweep, wanted.first)
    tools = [
        tool
        for tool in wanted.tools
        if not (wanted.without_jwst and tool.startswith("jwst"))
    ]
    return stripes(wanted.seeds, tools)


if __name__ == "__main__":
    main()
