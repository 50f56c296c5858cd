"""The flat and the stripes: steps of stage 1 on one count-rate image in memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from webbmosaic.errors import InputError
from webbmosaic.files.models import add_history
from webbmosaic.files.products import atomic
from webbmosaic.science.frame import (
    MIRI_REGIONS,
    Readout,
    StripeFit,
    StripeOptions,
    find_angles,
    fit_stripes,
    make_readout,
)
from webbmosaic.settings import Settings
from webbmosaic.stages.pipeline import call
from webbmosaic.stages.quality import usable_pixels

__all__ = ["flat", "stripes"]


def flat(model: Any, settings: Settings) -> dict[str, Any] | None:
    """Divide by the flat: data, errors and every variance; stage 2 then does not."""
    from jwst.flatfield import FlatFieldStep

    if not settings.flat.enabled or model.meta.cal_step.flat_field == "COMPLETE":
        return None
    given = settings.jwst.get("flat_field", {})
    flattened = call(FlatFieldStep, model, who=str(model.meta.filename), **given)
    for name in ("data", "dq", "err", "var_poisson", "var_rnoise", "var_flat"):
        setattr(model, name, getattr(flattened, name))
    status = flattened.meta.cal_step.flat_field
    model.meta.cal_step.flat_field = status
    model.meta.ref_file.flat.name = flattened.meta.ref_file.flat.name
    if status == "COMPLETE":
        add_history(model, "Applied flatfield")
    return {"status": status}


def stripes(model: Any, settings: Settings) -> dict[str, Any] | None:
    """Subtract 1/f stripes along rows, columns and tilted lines."""
    wanted = settings.stripes
    if not wanted.enabled:
        return None
    miri = model.meta.instrument.name == "MIRI"
    usable, readout = usable_pixels(model), _readout(model)
    sources = _given_mask(wanted.mask, model.data.shape)
    angles = wanted.angles
    if wanted.find_angles:
        angles = tuple(
            find_angles(model.data, usable, sources=sources, readout=readout)
        )
    regions = MIRI_REGIONS if miri and model.meta.subarray.name == "FULL" else ()
    fit = fit_stripes(
        model.data,
        usable,
        variance=model.err**2,
        sources=sources,
        readout=readout,
        options=StripeOptions(
            rows=wanted.rows,
            columns=wanted.columns,
            angles=angles,
            regions=regions,
        ),
    )
    if wanted.save_diagnostics:
        _write_diagnostics(model, fit, Path(wanted.save_diagnostics))
    if not fit.accepted:
        return {"status": "left alone: no sky to measure stripes on", **fit.numbers}
    model.data -= fit.pattern
    # The error of the pattern is read noise by its nature.
    if model.var_rnoise is not None:
        model.var_rnoise += fit.variance
    model.err = np.sqrt(model.err**2 + fit.variance)
    add_history(model, "Removed stripes")
    return dict(fit.numbers)


def _write_diagnostics(model: Any, fit: StripeFit, folder: Path) -> None:
    """Write the pattern of each family and the mask, to look at."""
    from astropy.io import fits

    name = str(model.meta.filename).removesuffix("_rate.fits")
    images = {**fit.families, "pattern": fit.pattern, "variance": fit.variance}
    hdus = [fits.ImageHDU(image, name=key) for key, image in images.items()]
    mask = fits.ImageHDU(fit.sources.astype(np.uint8), name="mask")
    with atomic(folder / f"{name}_stripes.fits") as path, path.open("wb") as stream:
        fits.HDUList([fits.PrimaryHDU(), *hdus, mask]).writeto(stream)


def _readout(model: Any) -> Readout:
    axes = model.meta.subarray.fastaxis, model.meta.subarray.slowaxis
    if None in axes:
        msg = (
            f"{model.meta.filename}: its header lacks FASTAXIS or SLOWAXIS, which say"
            " how it was read"
        )
        raise InputError(msg)
    full = model.data.shape == (2048, 2048)
    outputs = int(model.meta.exposure.noutputs or (4 if full else 1))
    # MIRI's outputs are interleaved columns, and one output reads a small frame.
    aside = model.meta.instrument.name != "MIRI" and model.data.shape[1] == 2048
    return make_readout(
        model.data.shape,
        outputs=outputs if aside else 1,
        fast_axis=int(axes[0]),
        slow_axis=int(axes[1]),
    )


def _given_mask(path: str, shape: tuple[int, int]) -> np.ndarray | None:
    """Read the source mask that the user gives instead of the automatic one."""
    if not path:
        return None
    from astropy.io import fits

    try:
        with fits.open(path) as hdus:
            image = next(
                h.data for h in hdus if h.data is not None and h.data.ndim == 2
            )
    except (OSError, StopIteration) as error:
        msg = f"stripes.mask: {path} holds no FITS image"
        raise InputError(msg) from error
    if image.shape != shape:
        msg = f"stripes.mask: {path} has shape {image.shape}, the exposure {shape}"
        raise InputError(msg)
    return np.asarray(image) > 0
