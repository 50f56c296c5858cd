"""The reference files themselves, one function per type, from the detector's own maps.

Plain FITS and ASDF with the keywords and extensions that the models of stdatamodels
name: the same input gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from webbmosaic.simulate.electronics import pink_level
from webbmosaic.simulate.filters import filter_facts, filters, nominal_pixel_area
from webbmosaic.simulate.geometry import (
    Aperture,
    aperture,
    distortion_model,
    subarrays,
)
from webbmosaic.simulate.pixels import PixelMaps, Setup, relative_area

__all__ = [
    "EncircledEnergy",
    "abvegaoffset",
    "apcorr",
    "area",
    "dark",
    "distortion",
    "filteroffset",
    "flat",
    "gain",
    "linearity",
    "mask",
    "photom",
    "readnoise",
    "rscd",
    "saturation",
    "superbias",
]

Image = NDArray[np.float32]
Planes = dict[str, Any]

#: Fraction of a star's light within radii (pixels) before a detector and filter.
EncircledEnergy = Callable[[str, str, NDArray[np.float64]], NDArray[np.float64]]

#: Share of the full well above which the references call a pixel saturated.
SATURATED = 0.97

#: Flags of the jwst pipeline: name -> value.
_FLAGS = {
    "DO_NOT_USE": 1,
    "NO_FLAT_FIELD": 2**18,
    "DEAD": 2**10,
    "HOT": 2**11,
    "REFERENCE_PIXEL": 2**31,
}

#: Fractions of encircled energy whose apertures source_catalog measures in.
_FRACTIONS = (0.3, 0.5, 0.6, 0.7, 0.8)


#: Reference type -> the name of its data model, which jwst opens some files by.
_MODELS = {
    "mask": "MaskModel",
    "saturation": "SaturationModel",
    "superbias": "SuperBiasModel",
    "linearity": "LinearityModel",
    "dark": "DarkModel",
    "gain": "GainModel",
    "readnoise": "ReadnoiseModel",
    "flat": "FlatModel",
    "area": "PixelAreaModel",
    "rscd": "RSCDModel",
    "distortion": "DistortionModel",
    "filteroffset": "FilteroffsetModel",
    "abvegaoffset": "ABVegaOffsetModel",
    "photom": "ImgPhotomModel",
    "apcorr": "ImgApcorrModel",
}


def data_model(instrument: str, reftype: str) -> str:
    """
    Name the stdatamodels class of a reference, the keyword DATAMODL.

    Parameters
    ----------
    instrument, reftype : str

    Returns
    -------
    name : str
    """
    name = _MODELS[reftype]
    if name.startswith("Img"):
        return {"NIRCAM": "Nrc", "MIRI": "Mir", "NIRISS": "Nis"}[instrument] + name
    return "DarkMIRIModel" if (instrument, reftype) == ("MIRI", "dark") else name


def _flag_table() -> NDArray[np.void]:
    """Name the flags (stdatamodels maps names, not bits)."""
    rows = [
        (int(np.log2(value)), value, name, name.lower().replace("_", " "))
        for name, value in _FLAGS.items()
    ]
    kinds = [("BIT", "i4"), ("VALUE", "u4"), ("NAME", "S40"), ("DESCRIPTION", "S80")]
    return np.array(rows, dtype=kinds)


def _border(maps: PixelMaps) -> NDArray[np.uint32]:
    return np.where(maps.reference, np.uint32(_FLAGS["REFERENCE_PIXEL"]), np.uint32(0))


def mask(_setup: Setup, maps: PixelMaps) -> Planes:
    """Reference pixels, blind pixels (not to be used) and hot ones (not either)."""
    dq = _border(maps)
    dq[maps.dead] |= np.uint32(_FLAGS["DEAD"] | _FLAGS["DO_NOT_USE"])
    dq[maps.hot] |= np.uint32(_FLAGS["HOT"] | _FLAGS["DO_NOT_USE"])
    return {"DQ": dq, "DQ_DEF": _flag_table()}


def saturation(setup: Setup, maps: PixelMaps) -> Planes:
    """Raw DN, bias included, above which a pixel is full."""
    facts = setup.detector
    level = maps.bias + np.float32(SATURATED * facts.full_well / facts.gain)
    return {
        "SCI": np.minimum(level, 65000).astype(np.float32),
        "DQ": np.zeros(level.shape, np.uint32),
        "DQ_DEF": _flag_table(),
    }


def superbias(_setup: Setup, maps: PixelMaps) -> Planes:
    """The zero exposure, DN."""
    return {
        "SCI": maps.bias,
        "ERR": np.full(maps.bias.shape, 0.5, np.float32),
        "DQ": np.zeros(maps.bias.shape, np.uint32),
        "DQ_DEF": _flag_table(),
    }


def linearity(setup: Setup, maps: PixelMaps) -> Planes:
    """Coefficients of the correcting polynomial, shape (4, ny, nx)."""
    coefficients = np.zeros((4, *maps.bias.shape), np.float32)
    coefficients[1] = 1
    for power, value in enumerate(setup.detector.nonlinearity, start=2):
        coefficients[power] = np.where(maps.reference, 0, np.float32(value))
    return {
        "COEFFS": coefficients,
        "DQ": np.zeros(maps.bias.shape, np.uint32),
        "DQ_DEF": _flag_table(),
    }


def dark(setup: Setup, maps: PixelMaps) -> Planes:
    """Dark current up the ramp, linearised DN: (ngroups, ny, nx), one more for MIRI."""
    times = np.array(setup.readout.group_times, np.float32) / setup.detector.gain
    ramp = (times[:, None, None] * maps.dark[None]).astype(np.float32)
    quality = np.zeros(maps.dark.shape, np.uint32)
    if setup.aperture.instrument == "MIRI":
        return {"SCI": ramp[None], "DQ": quality[None, None]}
    return {"SCI": ramp, "DQ": quality}


def gain(setup: Setup, maps: PixelMaps) -> Planes:
    """e-/DN."""
    return {"SCI": np.full(maps.bias.shape, setup.detector.gain, np.float32)}


def readnoise(setup: Setup, maps: PixelMaps) -> Planes:
    """Noise of the difference of two frames, 1/f noise included, DN."""
    frame, facts = setup.aperture, setup.detector
    pink = pink_level(frame, float(np.hypot(facts.pink_common, facts.pink_output)))
    noise = np.sqrt(2 * (maps.read_noise**2 + np.float32(pink**2)))
    return {"SCI": noise.astype(np.float32)}


def flat(_setup: Setup, maps: PixelMaps) -> Planes:
    """Efficiency times relative sky area: it makes a uniform sky uniform."""
    response = maps.efficiency * maps.area
    blind = maps.efficiency <= 0
    response[blind] = 1
    dq = np.zeros(response.shape, np.uint32)
    dq[blind] = _FLAGS["NO_FLAT_FIELD"] | _FLAGS["DO_NOT_USE"]
    return {
        "SCI": response,
        "ERR": np.full(response.shape, 1e-3, np.float32),
        "DQ": dq,
        "DQ_DEF": _flag_table(),
    }


def area_keywords(detector: str) -> dict[str, float]:
    """Nominal area of a pixel, in both units."""
    arcsec2 = nominal_pixel_area(detector)
    return {
        "PIXAR_A2": arcsec2,
        "PIXAR_SR": arcsec2 * float(np.deg2rad(1 / 3600)) ** 2,
    }


def area(detector: str) -> Planes:
    """Relative sky area of the full frame (jwst cuts subarrays out of it)."""
    return {"SCI": np.asarray(relative_area(aperture(detector)))}


def _keyed(detector: str) -> tuple[str, list[tuple[str, str, str]]]:
    """Second key of the tables by filter, and rows of (filter name, FILTER, key)."""
    found = [filter_facts(detector, name) for name in filters(detector)]
    if detector == "MIRIMAGE":
        places = subarrays(detector)
        return "subarray", [
            (f.name, f.filter, place) for f in found for place in places
        ]
    return "pupil", [(f.name, f.filter, f.pupil) for f in found]


def photom(detector: str) -> Planes:
    """MJy/sr per DN/s of every filter."""
    second, keys = _keyed(detector)
    rows = [
        (wheel, key, filter_facts(detector, name).photmjsr, 0.01)
        for name, wheel, key in keys
    ]
    kinds = [
        ("filter", "S12"),
        (second, "S17" if second == "subarray" else "S12"),
        ("photmjsr", "f4"),
        ("uncertainty", "f4"),
    ]
    table = np.array(rows, dtype=kinds)
    table["uncertainty"] *= table["photmjsr"]
    return {"PHOTOM": table}


def apcorr(detector: str, names: tuple[str, ...], energy: EncircledEnergy) -> Planes:
    """
    Aperture corrections, with the star's own light in the sky annulus reckoned.

    Parameters
    ----------
    detector : str
    names : tuple of str
        The filters.
    energy : callable
        ``energy(detector, filter, radii)``.

    Returns
    -------
    planes : dict
    """
    second, keys = _keyed(detector)
    radii = np.linspace(0.05, 60, 1200)
    rows = []
    inner, outer = 20.0, 30.0
    for name, wheel, key in keys:
        if name not in names:
            continue
        growth = np.asarray(energy(detector, name, radii))
        ring = np.interp((inner, outer), radii, growth)
        per_pixel = (ring[1] - ring[0]) / (np.pi * (outer**2 - inner**2))
        for fraction in _FRACTIONS:
            radius = float(np.interp(fraction, growth, radii))
            caught = fraction - per_pixel * np.pi * radius**2
            rows.append((wheel, key, fraction, radius, 1 / caught, inner, outer))
    kinds = [
        ("filter", "S12"),
        (second, "S17" if second == "subarray" else "S15"),
        *((n, "f4") for n in ("eefraction", "radius", "apcorr", "skyin", "skyout")),
    ]
    return {"APCORR": np.array(rows, dtype=kinds)}


def rscd(patterns: tuple[str, ...]) -> Planes:
    """MIRI's groups to leave out at the begin of integrations: none but the first."""
    rows = [
        (place, pattern, 1, 1)
        for place in subarrays("MIRIMAGE")
        for pattern in patterns
    ]
    kinds = [
        ("subarray", "S17"),
        ("readpatt", "S12"),
        ("group_skip1", "i4"),
        ("group_skip", "i4"),
    ]
    return {"RSCD_GROUP_SKIP": np.array(rows, dtype=kinds)}


def distortion(detector: str) -> dict[str, Any]:
    """From full-frame pixels to V2, V3, for an ASDF file."""
    frame = aperture(detector)
    meta: dict[str, Any] = {
        "input_units": "pixel",
        "output_units": "arcsec",
        "instrument": _nircam_optics(frame, detector),
        "exposure": {"p_exptype": f"{exposure_type(frame.instrument)}|"},
    }
    return {"meta": meta, "model": distortion_model(frame)}


def _nircam_optics(frame: Aperture, detector: str) -> dict[str, str]:
    if frame.instrument != "NIRCAM":
        return {}
    pupils = sorted({filter_facts(detector, name).pupil for name in filters(detector)})
    return {
        "module": frame.module,
        "channel": frame.channel,
        "p_pupil": "|".join([*pupils, ""]),
    }


def filteroffset(detector: str) -> dict[str, Any]:
    """No filter shifts the image."""
    found = [filter_facts(detector, name) for name in filters(detector)]
    rows = []
    for facts in found:
        row: dict[str, Any] = {"filter": facts.filter}
        if facts.pupil:
            row["pupil"] = facts.pupil
        rows.append({**row, "column_offset": 0.0, "row_offset": 0.0})
    return {"meta": {}, "filters": rows}


def abvegaoffset(detectors: tuple[str, ...]) -> dict[str, Any]:
    """AB minus Vega magnitude of every filter of an instrument."""
    from astropy.table import Table

    found = {
        (facts.filter, facts.pupil): facts.ab_vega
        for detector in detectors
        for facts in (filter_facts(detector, name) for name in filters(detector))
    }
    columns: dict[str, list[Any]] = {"filter": [key[0] for key in found]}
    if any(key[1] for key in found):
        columns["pupil"] = [key[1] for key in found]
    columns["abvega_offset"] = list(found.values())
    return {"meta": {}, "abvega_offset": Table(columns)}


def exposure_type(instrument: str) -> str:
    """The EXP_TYPE keyword of imaging."""
    return {"NIRCAM": "NRC_IMAGE", "MIRI": "MIR_IMAGE", "NIRISS": "NIS_IMAGE"}[
        instrument
    ]
