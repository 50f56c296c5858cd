"""Stage 3: calibrated images to one drizzled mosaic (cal to i2d)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from webbmosaic.datasets import IMAGING_EXPOSURES
from webbmosaic.errors import (
    InputError,
    PipelineError,
    ReferenceFileError,
    UnusableDataError,
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
from webbmosaic.stages.alignment import align
from webbmosaic.stages.pipeline import call, context_or_none
from webbmosaic.stages.quality import usable_pixels

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
    models = [_opened(path) for path in sorted(inputs)]
    _check_members(models, name)
    association = _write_association(models, sorted(inputs), i2d, name)
    numbers: dict[str, Any] = {"exposures": len(models)}
    models, numbers["alignment"], notes = align(models, settings.alignment, name)
    library = _library(models)
    if settings.skymatch.enabled and len(models) > 1:
        library, numbers["sky_offsets"] = _level_skies(library, settings, name)
    if settings.outliers.enabled and len(models) > 1:
        library, numbers["outliers"] = _reject_outliers(library, settings, name)
    mosaic = _drizzle(library, settings.resample, name)
    extra = [association]
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


def _opened(path: Path) -> Any:
    read_header(path)
    return open_image(path)


def _check_members(models: list[Any], name: str) -> None:
    if not models:
        msg = f"{name}: no calibrated exposure to combine"
        raise InputError(msg)
    units = Counter(str(m.meta.bunit_data) for m in models)
    if len(units) > 1:
        msg = f"{name}: the exposures have different units ({', '.join(units)})"
        raise InputError(msg)
    for model in models:
        if not usable_pixels(model).any():
            msg = f"{name}: {model.meta.filename} has no usable pixel"
            raise UnusableDataError(msg)


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


def _level_skies(
    library: Any, settings: Settings, name: str
) -> tuple[Any, list[float]]:
    """
    Take out the differences between the skies, and nothing else.

    The step brings all to the lowest; here the mean over the exposures stays, for the
    lowest of several noisy levels is lower than the truth.
    """
    from jwst.skymatch import SkyMatchStep

    before = _sky_levels(library)
    library = call(
        SkyMatchStep,
        library,
        who=name,
        skymethod=settings.skymatch.skymethod,
        skystat="median",
        subtract=True,
    )
    offsets = np.array(_sky_levels(library)) - np.array(before)
    mean = float(offsets.mean()) if "match" in settings.skymatch.skymethod else 0.0
    with library:
        for index, model in enumerate(library):
            model.data += mean
            model.meta.background.level = before[index] + float(offsets[index]) - mean
            library.shelve(model, index)
    return library, [float(o) for o in offsets - mean]


def _sky_levels(library: Any) -> list[float]:
    with library:
        return list(
            library.map_function(
                lambda model, _index: float(model.meta.background.level or 0.0),
                modify=False,
            )
        )


def _reject_outliers(
    library: Any, settings: Settings, name: str
) -> tuple[Any, dict[str, Any]]:
    from jwst.outlier_detection import OutlierDetectionStep

    wanted = settings.outliers
    before = _flagged(library)
    # The step knows images by their exposure type; NIS_AMI, say, is imaging here.
    types = _exposure_types(library, ["NRC_IMAGE"] * len(library))
    library = call(
        OutlierDetectionStep,
        library,
        who=name,
        weight_type=settings.resample.weight_type,
        pixfrac=settings.resample.pixfrac,
        snr=" ".join(map(str, wanted.snr)),
        scale=" ".join(map(str, wanted.scale)),
        maskpt=wanted.maskpt,
        in_memory=True,
    )
    _exposure_types(library, types)
    status = _statuses(library, "outlier_detection")
    shares = [float(a - b) for a, b in zip(_flagged(library), before, strict=True)]
    return library, {"status": status, "fractions": [round(s, 6) for s in shares]}


def _exposure_types(library: Any, new: list[str]) -> list[str]:
    """Set the exposure types, and give those that there were."""
    old = []
    with library:
        for index, model in enumerate(library):
            old.append(str(model.meta.exposure.type))
            if old[-1] not in IMAGING_EXPOSURES or new[index] not in IMAGING_EXPOSURES:
                model.meta.exposure.type = new[index]
            library.shelve(model, index)
    return old


def _flagged(library: Any) -> list[float]:
    with library:
        return list(
            library.map_function(
                lambda model, _index: float(1 - usable_pixels(model).mean()),
                modify=False,
            )
        )


def _statuses(library: Any, step: str) -> list[str]:
    with library:
        return list(
            library.map_function(
                lambda model, _index: str(getattr(model.meta.cal_step, step)),
                modify=False,
            )
        )


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
