"""Carrying a programme out: the folder with everything that a reduction needs.

::

    DIR/program.json            what was asked for; another programme is refused
    DIR/truth.ecsv              the sky
    DIR/reference_stars.ecsv    its brighter stars, as an astrometric catalogue
    DIR/crds_cache/             the references of these exposures
    DIR/wisp_templates/         the wisps of these detectors and filters
    DIR/mastDownload/JWST/{dataset}/{dataset}_uncal.fits
    DIR/truth/{dataset}.json    what was planted in each exposure, in numbers
    DIR/truth_exposures.ecsv    the same as one table
    DIR/environment.sh          source it before running the pipeline; written last
"""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from webbmosaic import __version__
from webbmosaic.errors import StorageError, UsageError
from webbmosaic.files.models import save_model
from webbmosaic.files.products import atomic, write_text
from webbmosaic.simulate.charge import Afterglow
from webbmosaic.simulate.detector import Planted, RawExposure, make_ramp
from webbmosaic.simulate.effects import Streams
from webbmosaic.simulate.filters import electrons_per_mjy, filter_facts
from webbmosaic.simulate.geometry import aperture
from webbmosaic.simulate.headers import uncal_model
from webbmosaic.simulate.program import Exposure, Program, exposures, sky_field
from webbmosaic.simulate.psf import PSF, RADIUS, encircled_energy, make_psf
from webbmosaic.simulate.references import write_references
from webbmosaic.simulate.render import render
from webbmosaic.simulate.scene import SIZE_LIMIT, make_catalog

if TYPE_CHECKING:
    from astropy.table import Table

__all__ = ["Outcome", "psf_of", "simulate", "uncal_path"]

#: What happened to a file: its name, and whether it was there already.
Outcome = tuple[str, bool]


def uncal_path(folder: Path, dataset: str) -> Path:
    """Name a raw file as MAST's downloads are laid out."""
    return folder / "mastDownload" / "JWST" / dataset / f"{dataset}_uncal.fits"


def simulate(
    folder: Path,
    program: Program,
    *,
    jobs: int = 1,
    report: Callable[[Outcome], None] | None = None,
) -> None:
    """
    Make a programme's raw exposures, references and truth.

    Parameters
    ----------
    folder : pathlib.Path
        Made if need be. What is there already from the same programme stays.
    program : Program
    jobs : int, optional
        Processes; each takes the exposures of one detector.
    report : callable, optional
        Told of every file made or found.

    Raises
    ------
    UsageError
        If the folder holds another programme.
    StorageError
        If the disk is full; nothing half-written stays.
    """
    folder = folder.absolute()
    try:
        _claim(folder, program)
        _carry_out(folder, program, jobs=jobs, report=report or _silently)
    except OSError as error:
        # astropy reports a full disk without saying that it is one (no errno).
        reason = error.strerror or "is the disk full?"
        msg = f"{folder}: cannot be written ({reason}); make room and run again"
        raise StorageError(msg) from error


def _carry_out(
    folder: Path, program: Program, *, jobs: int, report: Callable[[Outcome], None]
) -> None:
    planned = list(exposures(program))
    catalog = _write_truth(folder, program, planned)
    report(_references(folder, program, planned))
    chains, task = _chains(planned), _Task(folder, program, catalog)
    if jobs > 1 and len(chains) > 1:
        _run_parallel(task, chains, jobs=jobs, report=report)
    else:
        for chain in chains:
            for outcome in _run_chain(task, chain):
                report(outcome)
    _write_exposure_table(folder, program, planned)
    write_text(folder / "environment.sh", _environment(folder))


def _silently(_: Outcome) -> None:
    """Tell nobody."""


def psf_of(detector: str, filter_: str) -> PSF:
    """
    Compute (once) the point-spread function of a filter on a detector.

    Parameters
    ----------
    detector, filter_ : str
        Such as ``NRCB1`` and ``F200W``.

    Returns
    -------
    psf : PSF
        For pixels of the detector's scale rounded to a milliarcsecond: all detectors
        of a channel share it.
    """
    frame, light = aperture(detector), filter_facts(detector, filter_)
    return make_psf(
        light.pivot,
        light.width,
        round(frame.pixel_scale, 3),
        kind=frame.channel or frame.instrument,
        rotation=frame.v3i_yang if frame.instrument == "MIRI" else 0.0,
    )


def _energy(
    detector: str, filter_: str, radii: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Encircled energy on a mosaic, where the pipeline uses aperture corrections."""
    return encircled_energy(psf_of(detector, filter_), radii, extra_pixels=2)


def _claim(folder: Path, program: Program) -> None:
    """Say what this folder holds, or find that it holds something else."""
    text = json.dumps({"webbmosaic": __version__, **asdict(program)}, indent=1) + "\n"
    note = folder / "program.json"
    if not note.exists():
        if folder.is_dir() and any(folder.iterdir()):
            msg = f"{folder} holds other files; give an empty or a new folder"
            raise UsageError(msg)
        write_text(note, text)
    elif note.read_text() != text:
        msg = (
            f"{folder} holds a programme with other settings (see {note.name}); give "
            "another folder, or remove this one"
        )
        raise UsageError(msg)
    for left_over in folder.rglob(".*"):  # of a process that was killed
        if left_over.is_file():
            left_over.unlink()


def _write_truth(folder: Path, program: Program, planned: list[Exposure]) -> Table:
    waves = {e.setup.filter.name: e.setup.filter.pivot for e in planned}
    catalog = make_catalog(sky_field(program), waves, seed=program.seed)
    detectors = {e.setup.filter.name: e.setup.aperture.detector for e in planned}
    catalog.meta["encircled_energy"] = {f: _curve(d, f) for f, d in detectors.items()}
    catalog.meta["size_limit"] = float(SIZE_LIMIT)
    _write_table(folder / "truth.ecsv", catalog)
    first = next(name for name in catalog.colnames if name.startswith("mag_"))
    bright = catalog[(catalog["kind"] == "star") & (catalog[first].value < 21.5)]
    stars = bright["ra", "dec", first]
    stars.rename_columns(["ra", "dec"], ["RA", "DEC"])
    stars.meta.clear()
    _write_table(folder / "reference_stars.ecsv", stars)
    return catalog


def _curve(detector: str, filter_: str) -> dict[str, Any]:
    """Tabulate the encircled energy of a star, blurred by the detector's pixels."""
    radii = np.append(np.arange(0, 16, 0.25), np.arange(16.0, RADIUS))
    share = encircled_energy(psf_of(detector, filter_), radii, extra_pixels=-1)
    share = np.maximum.accumulate(share)
    share[0] = 0
    scale = round(aperture(detector).pixel_scale, 3)
    return {
        "radius_arcsec": (radii * scale).tolist(),
        "fraction": share.tolist(),
        "pixel_arcsec": scale,
        "pixel_included": True,
    }


def _write_table(path: Path, table: Table) -> None:
    if not path.exists():
        with atomic(path) as temporary:
            table.write(temporary, format="ascii.ecsv", overwrite=True)


def _references(folder: Path, program: Program, planned: list[Exposure]) -> Outcome:
    """Write the references beside their place, then move them there."""
    done = folder / "crds_cache"
    if done.is_dir():
        return "references", True
    partial = folder / ".references"
    shutil.rmtree(partial, ignore_errors=True)
    try:
        setups = tuple(dict.fromkeys(e.setup for e in planned))
        write_references(
            partial,
            setups,
            seed=program.seed,
            energy=_energy,
            effects=program.effects,
        )
        wisps = folder / "wisp_templates"
        shutil.rmtree(wisps, ignore_errors=True)
        (partial / "wisp_templates").replace(wisps)
        (partial / "crds_cache").replace(done)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return "references", False


def _chains(planned: list[Exposure]) -> list[list[Exposure]]:
    """Sort by detector: an exposure leaves traces in the next one of the same."""
    chains: dict[str, list[Exposure]] = {}
    for exposure in planned:
        chains.setdefault(exposure.setup.aperture.detector, []).append(exposure)
    return list(chains.values())


@dataclass(frozen=True)
class _Task:
    """What every process needs."""

    folder: Path
    program: Program
    catalog: Table


def _run_parallel(
    task: _Task,
    chains: list[list[Exposure]],
    *,
    jobs: int,
    report: Callable[[Outcome], None],
) -> None:
    with ProcessPoolExecutor(jobs, get_context("spawn")) as pool:
        futures = [pool.submit(_whole_chain, task, chain) for chain in chains]
        try:
            for future in as_completed(futures):
                for outcome in future.result():
                    report(outcome)
        finally:
            pool.shutdown(cancel_futures=True)


def _whole_chain(task: _Task, chain: list[Exposure]) -> list[Outcome]:
    return list(_run_chain(task, chain))


def _run_chain(task: _Task, chain: list[Exposure]) -> Iterator[Outcome]:
    """Take the exposures of one detector one after the other.

    If the last one is missing, those before are taken again for what they leave in it,
    but not written again.
    """
    missing = [not _is_done(task.folder, exposure) for exposure in chain]
    wanted = max((n for n, gone in enumerate(missing) if gone), default=-1)
    previous: tuple[NDArray[np.float32], float] | None = None
    for number, exposure in enumerate(chain):
        if number <= wanted:
            raw = _expose(task, exposure, previous)
            end = exposure.since_start + exposure.setup.readout.exposure_time
            previous = raw.stimulus, end
            if missing[number]:
                _write_exposure(task.folder, exposure, raw)
        yield exposure.name, not missing[number]


def _is_done(folder: Path, exposure: Exposure) -> bool:
    return (
        uncal_path(folder, exposure.name).exists()
        and _numbers_path(folder, exposure.name).exists()
    )


def _numbers_path(folder: Path, dataset: str) -> Path:
    return folder / "truth" / f"{dataset}.json"


def _expose(
    task: _Task,
    exposure: Exposure,
    previous: tuple[NDArray[np.float32], float] | None,
) -> RawExposure:
    setup = exposure.setup
    flux = render(
        task.catalog,
        setup.aperture,
        exposure.actual,
        psf=psf_of(setup.aperture.detector, setup.filter.name),
        filter_=setup.filter.name,
    ) * electrons_per_mjy(setup.aperture.detector, setup.filter.name)
    glow = None
    if previous is not None:
        glow = Afterglow(previous[0], exposure.since_start - previous[1])
    return make_ramp(
        flux.astype(np.float32),
        setup,
        Streams(task.program.seed, exposure.name),
        effects=task.program.effects,
        previous=glow,
        time=exposure.since_start,
    )


def _write_exposure(folder: Path, exposure: Exposure, raw: RawExposure) -> None:
    numbers = json.dumps(_numbers(raw.planted), indent=1) + "\n"
    write_text(_numbers_path(folder, exposure.name), numbers)
    path = uncal_path(folder, exposure.name)
    save_model(uncal_model(exposure, raw.ramp), path)


def _numbers(planted: Planted) -> dict[str, float]:
    """Judge an exposure's effects by a few numbers each."""
    numbers = {"sky": planted.sky}
    for name in ("wisp", "claw", "tilted", "background", "stripes"):
        numbers[f"{name}_rms"] = float(np.std(getattr(planted, name), dtype=float))
    for name in ("cosmic_rays", "snowball", "persistence", "saturated", "newly_hot"):
        numbers[f"{name}_pixels"] = int(np.count_nonzero(getattr(planted, name)))
    return numbers


def _write_exposure_table(
    folder: Path, program: Program, planned: list[Exposure]
) -> None:
    from astropy.table import Table

    rows = []
    for exposure in planned:
        numbers = json.loads(_numbers_path(folder, exposure.name).read_text())
        rows.append({**_where(exposure), **numbers})
    table = Table(rows)
    for name in table.colnames:
        if name.startswith(("ra_", "dec_", "roll_")):
            table[name].unit = "deg"
        if name.endswith("_rms"):
            table[name].unit = "DN / s"
    table["sky"].unit = "MJy / sr"
    table.meta["effects_off"] = [
        k for k, on in asdict(program.effects).items() if not on
    ]
    _write_table(folder / "truth_exposures.ecsv", table)


def _where(exposure: Exposure) -> dict[str, Any]:
    frame = exposure.setup.aperture
    found: dict[str, Any] = {
        "dataset": exposure.name,
        "instrument": frame.instrument,
        "detector": frame.detector,
        "subarray": frame.subarray,
        "filter": exposure.setup.filter.name,
        "visit": exposure.visit,
        "start_mjd": exposure.start,
        "exposure_time": exposure.setup.readout.exposure_time,
        "v2_ref": frame.v2_ref,
        "v3_ref": frame.v3_ref,
    }
    for name in ("commanded", "actual"):
        pointing = getattr(exposure, name)
        for key in ("ra", "dec", "roll"):
            found[f"{key}_{name}"] = getattr(pointing, f"{key}_ref")
    return found


def _environment(folder: Path) -> str:
    cache, wisps = (
        shlex.quote(str(folder / name)) for name in ("crds_cache", "wisp_templates")
    )
    return (
        "# Source this before reducing the simulated exposures.\n"
        f"export CRDS_PATH={cache}\n"
        "export CRDS_CONTEXT=jwst_0001.pmap\n"
        "unset CRDS_SERVER_URL\n"
        f"export NIRCAM_WISP_TEMPLATES={wisps}\n"
    )
