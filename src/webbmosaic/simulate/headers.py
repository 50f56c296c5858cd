"""Raw exposures as files: everything the pipeline and people look for in a header."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from webbmosaic.datasets import Dataset
from webbmosaic.simulate.geometry import (
    ARCSEC,
    Aperture,
    pixel_to_v2v3,
    v2v3_to_pixel,
)
from webbmosaic.simulate.program import Exposure
from webbmosaic.simulate.readout import Readout

__all__ = ["uncal_model"]

_TYPES = {"NIRCAM": "NRC_IMAGE", "MIRI": "MIR_IMAGE", "NIRISS": "NIS_IMAGE"}
_LIVE = 86400.0


def uncal_model(exposure: Exposure, ramp: NDArray[np.uint16]) -> Any:
    """
    Put a ramp and its header together.

    Parameters
    ----------
    exposure : Exposure
    ramp : ndarray of uint16, shape (nints, ngroups, ny, nx)
        DN.

    Returns
    -------
    model : stdatamodels.jwst.datamodels.Level1bModel
        Its DATE is that of the exposure, so that equal exposures are equal files.
    """
    from stdatamodels.jwst.datamodels import Level1bModel

    begin = _isot(exposure.start)

    class Raw(Level1bModel):  # type: ignore[misc]
        _model_type = "Level1bModel"

        def on_save(self, path: str | None = None) -> None:
            super().on_save(path)
            self.meta.date = begin

    model = Raw(data=ramp)
    model.update({"meta": _header(exposure)})
    return model


def _isot(mjd: float) -> str:
    from astropy.time import Time

    return str(Time(mjd, format="mjd", scale="utc").isot)


def _header(exposure: Exposure) -> dict[str, Any]:
    frame = exposure.setup.aperture
    pointing = exposure.commanded
    v1 = pointing.at(0.0, 0.0)
    return {
        "telescope": "JWST",
        "origin": "STSCI",
        "filename": f"{exposure.name}_uncal.fits",
        "data_processing_software_version": "webbmosaic simulate",
        "time_sys": "UTC",
        "time_unit": "s",
        "program": {
            "title": "A simulated cluster in a field of galaxies",
            "pi_name": "webbmosaic",
            "category": "CAL",
        },
        "target": {
            "catalog_name": "SIMULATED",
            "proposer_name": "SIMULATED",
            "type": "FIXED",
            "ra": exposure.target[0],
            "dec": exposure.target[1],
        },
        "visit": {
            "type": "PRIME_TARGETED_FIXED",
            "status": "SUCCESSFUL",
            "tsovisit": False,
            "internal_target": False,
            "crowded_field": False,
        },
        "observation": _observation(exposure),
        "instrument": _instrument(exposure),
        "exposure": _exposure(exposure),
        "subarray": _subarray(frame),
        "dither": {
            "primary_type": "NONE" if exposure.total == 1 else "INTRAMODULE",
            "total_points": exposure.total,
            "position_number": exposure.number,
            "x_offset": exposure.offset[0],
            "y_offset": exposure.offset[1],
        },
        "aperture": {
            "name": frame.name,
            "pps_name": frame.name,
            "position_angle": pointing.roll_ref + frame.v3i_yang,
        },
        "pointing": {"ra_v1": v1.ra_ref, "dec_v1": v1.dec_ref, "pa_v3": v1.roll_ref},
        "velocity_aberration": {"scale_factor": 1.0},
        "wcsinfo": _wcsinfo(exposure),
    }


def _observation(exposure: Exposure) -> dict[str, Any]:
    dataset = Dataset.parse(exposure.name)
    date, time = _isot(exposure.start).split("T")
    end = exposure.start + exposure.setup.readout.exposure_time / _LIVE
    number = dataset.observation
    return {
        "obs_id": f"V{exposure.visit}P0000000000101",
        "visit_id": exposure.visit,
        "program_number": dataset.program,
        "observation_number": number,
        "observation_label": f"Observation {int(number)}",
        "visit_number": dataset.visit,
        "visit_group": dataset.visit_group,
        "sequence_id": dataset.sequence,
        "activity_id": dataset.activity,
        "exposure_number": str(int(dataset.exposure)),
        "date": date,
        "time": time,
        "date_beg": f"{date}T{time}",
        "date_end": _isot(end),
    }


def _instrument(exposure: Exposure) -> dict[str, Any]:
    frame, light = exposure.setup.aperture, exposure.setup.filter
    found = {
        "name": frame.instrument,
        "detector": frame.detector,
        "filter": light.filter,
        "pupil": light.pupil,
        "module": frame.module,
        "channel": frame.channel,
    }
    return {key: value for key, value in found.items() if value}


def _exposure(exposure: Exposure) -> dict[str, Any]:
    read: Readout = exposure.setup.readout
    days = read.exposure_time / _LIVE
    return {
        "type": _TYPES[exposure.setup.aperture.instrument],
        "count": 1,
        "readpatt": read.pattern,
        "nints": read.nints,
        "ngroups": read.ngroups,
        "nframes": read.nframes,
        "groupgap": read.groupgap,
        "frame_divisor": read.nframes,
        "frame_time": read.tframe,
        "group_time": read.tgroup,
        "integration_time": read.integration_time,
        "exposure_time": read.exposure_time,
        "effective_exposure_time": read.exposure_time,
        "duration": read.exposure_time + read.tframe,
        "elapsed_exposure_time": read.exposure_time + read.tframe,
        "start_time": exposure.start,
        "mid_time": exposure.start + days / 2,
        "end_time": exposure.start + days,
        "nresets_at_start": 1,
        "nresets_between_ints": 1,
        "nsamples": 9 if read.pattern == "SLOWR1" else 1,
        "sample_time": 10,
        "noutputs": exposure.setup.aperture.noutputs,
        "zero_frame": False,
        "data_problem": False,
        "prime_parallel": "PRIME",
    }


def _subarray(frame: Aperture) -> dict[str, Any]:
    return {
        "name": frame.subarray,
        "xstart": frame.substrt1,
        "ystart": frame.substrt2,
        "xsize": frame.nx,
        "ysize": frame.ny,
        "fastaxis": frame.fastaxis,
        "slowaxis": frame.slowaxis,
    }


def _wcsinfo(exposure: Exposure) -> dict[str, Any]:
    """What assign_wcs needs, and a linear WCS for everybody else."""
    frame, pointing = exposure.setup.aperture, exposure.commanded
    x, y = (float(c) for c in v2v3_to_pixel(frame, frame.v2_ref, frame.v3_ref))
    ends = np.array([[x, x + 1, x], [y, y, y + 1]])
    ra, dec = pointing.to_sky(*pixel_to_v2v3(frame, *ends))
    east = (ra[1:] - ra[0]) * np.cos(dec[0] * 3600 * ARCSEC)
    north = dec[1:] - dec[0]
    scale = frame.pixel_scale / 3600
    return {
        "wcsaxes": 2,
        "crpix1": x + 1,
        "crpix2": y + 1,
        "crval1": pointing.ra_ref,
        "crval2": pointing.dec_ref,
        "cdelt1": scale,
        "cdelt2": scale,
        "ctype1": "RA---TAN",
        "ctype2": "DEC--TAN",
        "cunit1": "deg",
        "cunit2": "deg",
        "pc1_1": float(east[0] / scale),
        "pc1_2": float(east[1] / scale),
        "pc2_1": float(north[0] / scale),
        "pc2_2": float(north[1] / scale),
        "v2_ref": frame.v2_ref,
        "v3_ref": frame.v3_ref,
        "vparity": frame.vparity,
        "v3yangle": frame.v3i_yang,
        "ra_ref": pointing.ra_ref,
        "dec_ref": pointing.dec_ref,
        "roll_ref": pointing.roll_ref,
    }
