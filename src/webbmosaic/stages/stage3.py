"""Stage 3: calibrated images to one drizzled mosaic (cal to i2d)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from webbmosaic.errors import (
    PipelineError,
    ReferenceFileError,
)
from webbmosaic.files.headers import read_header
from webbmosaic.files.ledger import Result
from webbmosaic.files.models import (
    add_history,
    open_image,
    references_used,
    save_model,
)
from webbmosaic.files.products import scratch_folder, write_text
from webbmosaic.settings import Resample, Settings
from webbmosaic.stages.alignment import align, write_aligned, write_side_files
from webbmosaic.stages.levels import level_skies
from webbmosaic.stages.membership import check_room, choose_members, follow_target
from webbmosaic.stages.outliers import reject_outliers
from webbmosaic.stages.pipeline import call, context_or_none

__all__ = ["run"]


def run(inputs: list[Path], outputs: list[Path], settings: Settings) -> Result:
    """
    Make one mosaic.

    Parameters
    ----------
    inputs : list of `~pathlib.Path`
        The ``_cal.fits``; what cannot be used is an error, never left out quietly.
    outputs : list of `~pathlib.Path`
        The ``_i2d.fits`` to make; the association, catalogue and segmentation map go
        beside it.
    settings : Settings

    Returns
    -------
    result : `~webbmosaic.files.ledger.Result`
        ``numbers`` has the alignment of each exposure, the sky levels and the share of
        pixels rejected as outliers.
    """
    i2d = outputs[0]
    pinned = context_or_none()
    name = i2d.name.removesuffix(".fits").removesuffix("_i2d")
    wanted = settings.alignment
    cals = [p for p in inputs if p.suffix == ".fits" and str(p) != wanted.abs_refcat]
    cals = cals if wanted.enforce_order else sorted(cals)
    models = [_opened(path) for path in cals]
    kept, left_out = choose_members(models, cals, settings.members, name)
    models, cals = [models[i] for i in kept], [cals[i] for i in kept]
    association = _write_association(models, cals, i2d, name)
    numbers: dict[str, Any] = {"exposures": len(models)}
    aligned = align(models, cals, wanted, name)
    models, notes = aligned.models, [*left_out, *aligned.notes]
    beside = write_side_files(aligned, i2d.parent)
    if wanted.write_cals:
        beside += write_aligned(aligned, i2d.parent)
    follow = settings.members.moving_target == "follow"
    followed = follow_target(models, follow=follow, name=name)
    notes += followed
    grid = settings.resample
    check_room(
        models, i2d.parent, pixel_scale=grid.pixel_scale,
        ratio=grid.pixel_scale_ratio, name=name,
    )  # fmt: skip
    numbers |= {"alignment": aligned.exposures, "astrometry": aligned.islands}
    library = _library(models)
    if settings.skymatch.enabled and len(models) > 1:
        numbers["sky"] = level_skies(library, settings.skymatch)
    if settings.outliers.enabled and len(models) > 1:
        numbers["outliers"] = reject_outliers(
            library, settings.outliers, name, still=not (follow and followed)
        )
    mosaic = _drizzle(library, settings.resample, name)
    numbers |= _depth(mosaic)
    extra = [association, *beside]
    mosaic.meta.filename = i2d.name
    if settings.catalogue.enabled:
        given = settings.jwst.get("source_catalog", {})
        made, said = _catalogue_or_note(mosaic, i2d, name, pinned, given)
        extra, notes = extra + made, notes + said
    add_history(mosaic, f"Drizzled {len(models)} exposures")
    context, references = references_used(mosaic)
    save_model(mosaic, i2d)
    return Result(
        numbers=numbers,
        references=references,
        context=context,
        outputs=tuple(extra),
        notes=tuple(notes),
    )


def _depth(mosaic: Any) -> dict[str, float]:
    """
    Give the pixel scale, and the magnitude of a star of 5 sigma by the mosaic's ERR.

    In a circle of 0.15 arcsec around it, without the light outside and without the
    correlation of the noise between pixels.
    """
    area = float(mosaic.meta.photometry.pixelarea_arcsecsq or 0)
    numbers = {"pixel_scale": round(area**0.5, 6)} if area else {}
    good = np.isfinite(mosaic.err) & (mosaic.err > 0)
    if area and good.any() and mosaic.meta.bunit_data == "MJy/sr":
        pixels = np.pi * 0.15**2 / area
        jansky = 1e6 * area / 206264.806**2
        sigma = float(np.median(mosaic.err[good])) * jansky * np.sqrt(pixels)
        numbers["depth_abmag"] = round(float(8.9 - 2.5 * np.log10(5 * sigma)), 3)
    return numbers


def _opened(path: Path) -> Any:
    read_header(path)
    return open_image(path)


def _write_association(
    models: list[Any], paths: list[Path], i2d: Path, name: str
) -> Path:
    """Write the association, so that strun can repeat the mosaic."""
    members = [{"expname": str(path.resolve()), "exptype": "science"} for path in paths]
    association = {
        "asn_type": "image3",
        "asn_rule": "DMS_Level3_Base",
        "asn_id": "a3001",
        "asn_pool": "none",
        "program": str(models[0].meta.observation.program_number or "noprogram"),
        "target": str(models[0].meta.target.catalog_name or "none"),
        "products": [{"name": name, "members": members}],
    }
    # In a folder of its own it has the predecessor's name.
    own = i2d.parent.name == name
    path = i2d.with_name("asn.json" if own else f"{name}_asn.json")
    write_text(path, json.dumps(association, indent=1) + "\n")
    return path


def _library(models: list[Any]) -> Any:
    from jwst.datamodels import ModelLibrary

    return ModelLibrary(models, on_disk=False)


def _drizzle(library: Any, wanted: Resample, name: str) -> Any:
    from jwst.resample import ResampleStep

    return call(
        ResampleStep,
        library,
        who=name,
        kernel=wanted.kernel,
        pixfrac=wanted.pixfrac,
        pixel_scale=wanted.pixel_scale or None,
        pixel_scale_ratio=wanted.pixel_scale_ratio,
        weight_type=wanted.weight_type,
        rotation=0.0 if wanted.north_up else None,
    )


def _catalogue_or_note(
    mosaic: Any, i2d: Path, name: str, context: str, given: Mapping[str, Any]
) -> tuple[list[Path], list[str]]:
    """Write the catalogue; the mosaic does not fail for want of one."""
    if not context:
        return [], ["no source catalogue: it needs CRDS references, none is pinned"]
    try:
        made = _write_catalogue(mosaic, i2d, name, given)
    except (PipelineError, ReferenceFileError) as error:
        return [], [f"no source catalogue: {error}"]
    return made, [] if made else ["no source catalogue: no source was found"]


def _write_catalogue(
    mosaic: Any, i2d: Path, name: str, given: Mapping[str, Any]
) -> list[Path]:
    """Write the source catalogue and the segmentation map beside the mosaic."""
    from jwst.source_catalog import SourceCatalogStep

    made = []
    with scratch_folder(i2d.with_name("catalogue")) as folder:
        call(
            SourceCatalogStep,
            mosaic,
            who=name,
            save_results=True,
            output_dir=str(folder),
            output_file=name,
            **given,
        )
        for suffix in ("cat.ecsv", "segm.fits"):
            found = folder / f"{name}_{suffix}"
            if found.exists():
                made.append(found.replace(i2d.with_name(found.name)))
    for path in made:
        key = "source_catalog" if path.suffix == ".ecsv" else "segmentation_map"
        setattr(mosaic.meta, key, path.name)
    return made
