"""What the filters are like before each detector, and what a pixel sees through them.

Sources:

PHOTOM
    The conversions of CRDS context jwst_1293.pmap for NIRCam, of jwst_miri_photom_0074
    and jwst_niriss_photom_0035.
JDox
    jwst-docs.stsci.edu: "NIRCam Filters", "MIRI Filters and Dispersers", "NIRISS
    Filters": pivot wavelengths, widths, and which wheel a filter sits in. AB minus Vega
    follows from the filter curves and the spectrum of Vega.
SKY
    Rigby et al. 2023, PASP 135, 048002, their benchmark field (1.2 times the least
    zodiacal light), read from the curve and rounded; good to some 20 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from webbmosaic.errors import UsageError
from webbmosaic.simulate.geometry import aperture, pixel_to_v2v3
from webbmosaic.simulate.instruments import detector_facts

__all__ = [
    "FilterFacts",
    "electrons_per_mjy",
    "filter_facts",
    "filters",
    "nominal_pixel_area",
]


@dataclass(frozen=True)
class FilterFacts:
    """
    One filter before one detector.

    Attributes
    ----------
    name : str
        The filter that shapes the light, such as ``F162M``.
    filter, pupil : str
        The FILTER and PUPIL keywords, such as ``F150W2`` and ``F162M``.
    pivot, width : float
        Pivot wavelength and rectangular width, micron.
    ab_vega : float
        AB minus Vega magnitude.
    sky : float
        Typical sky, MJy/sr.
    photmjsr : float
        MJy/sr per DN/s.
    """

    name: str
    filter: str
    pupil: str
    pivot: float
    width: float
    ab_vega: float
    sky: float
    photmjsr: float


# pivot, width (micron), AB - Vega, sky (MJy/sr)
_NIRCAM_FILTERS = {
    "F070W": (0.7043, 0.1327, 0.2882, 0.20),
    "F090W": (0.9023, 0.1943, 0.5160, 0.21),
    "F115W": (1.1543, 0.2246, 0.7759, 0.22),
    "F140M": (1.4054, 0.1428, 1.1077, 0.21),
    "F150W": (1.5007, 0.3199, 1.2043, 0.205),
    "F150W2": (1.6580, 1.1790, 1.1390, 0.20),
    "F162M": (1.6272, 0.1690, 1.3566, 0.20),
    "F164N": (1.6446, 0.0202, 1.3978, 0.20),
    "F182M": (1.8452, 0.2400, 1.5614, 0.19),
    "F187N": (1.8739, 0.0237, 1.6300, 0.19),
    "F200W": (1.9886, 0.4571, 1.6736, 0.18),
    "F210M": (2.0955, 0.2085, 1.7848, 0.175),
    "F250M": (2.5026, 0.1803, 2.1219, 0.14),
    "F277W": (2.7578, 0.6824, 2.2855, 0.12),
    "F300M": (2.9873, 0.3155, 2.4575, 0.11),
    "F335M": (3.3623, 0.3533, 2.6861, 0.11),
    "F356W": (3.5682, 0.7812, 2.7835, 0.115),
    "F360M": (3.6242, 0.3704, 2.8358, 0.12),
    "F405N": (4.0517, 0.0458, 3.0879, 0.17),
    "F410M": (4.0821, 0.4381, 3.0765, 0.18),
    "F430M": (4.2804, 0.2278, 3.1763, 0.21),
    "F444W": (4.4037, 1.0314, 3.2043, 0.25),
    "F460M": (4.6262, 0.2291, 3.3389, 0.30),
    "F466N": (4.6544, 0.0537, 3.3820, 0.31),
    "F470N": (4.7078, 0.0512, 3.3708, 0.32),
    "F480M": (4.8155, 0.3038, 3.4119, 0.37),
}
_MIRI_FILTERS = {
    "F560W": (5.6326, 1.0065, 3.7145, 1.4),
    "F770W": (7.6364, 1.9674, 4.3293, 7.0),
    "F1000W": (9.9471, 1.8150, 4.9051, 24.0),
    "F1130W": (11.3092, 0.7305, 5.1952, 33.0),
    "F1280W": (12.8094, 2.4604, 5.4406, 42.0),
    "F1500W": (15.0482, 2.9230, 5.7827, 65.0),
    "F1800W": (17.9697, 2.8670, 6.1721, 120.0),
    "F2100W": (20.8014, 4.5836, 6.4741, 230.0),
    "F2550W": (25.2297, 3.4220, 6.9005, 880.0),
}
_NIRISS_FILTERS = {
    "F090W": (0.9025, 0.1832, 0.5161, 0.21),
    "F115W": (1.1495, 0.2500, 0.7692, 0.22),
    "F140M": (1.4040, 0.1424, 1.1057, 0.21),
    "F150W": (1.4934, 0.3162, 1.1952, 0.205),
    "F158M": (1.5818, 0.1991, 1.2955, 0.20),
    "F200W": (1.9930, 0.4229, 1.6766, 0.18),
    "F277W": (2.7642, 0.6927, 2.2602, 0.12),
    "F356W": (3.5930, 0.9093, 2.7816, 0.115),
    "F380M": (3.8249, 0.2054, 2.9101, 0.14),
    "F430M": (4.2817, 0.2014, 3.1657, 0.21),
    "F444W": (4.4277, 1.0921, 3.2097, 0.25),
    "F480M": (4.8152, 0.2967, 3.3826, 0.37),
}

# PHOTOM, MJy/sr per DN/s, in the order of _SHORT and of _LONG.
_SHORT = ("NRCA1", "NRCA2", "NRCA3", "NRCA4", "NRCB1", "NRCB2", "NRCB3", "NRCB4")
_LONG = ("NRCALONG", "NRCBLONG")
_PHOTMJSR = {
    "F070W": (4.400, 4.494, 4.365, 3.997, 4.608, 4.555, 4.573, 3.920),
    "F090W": (3.179, 3.405, 3.132, 3.008, 3.637, 3.534, 3.501, 3.138),
    "F115W": (3.106, 3.190, 3.113, 2.846, 3.360, 3.194, 3.239, 2.769),
    "F140M": (5.254, 5.439, 5.215, 4.800, 5.510, 5.272, 5.355, 4.611),
    "F150W": (2.333, 2.412, 2.296, 2.137, 2.447, 2.338, 2.370, 2.056),
    "F150W2": (0.647, 0.677, 0.630, 0.582, 0.677, 0.638, 0.666, 0.585),
    "F162M": (4.847, 5.061, 4.688, 4.439, 5.099, 4.837, 4.925, 4.295),
    "F164N": (48.251, 51.082, 46.367, 44.535, 51.354, 47.634, 49.457, 42.417),
    "F182M": (3.623, 3.847, 3.517, 3.381, 3.820, 3.675, 3.664, 3.309),
    "F187N": (43.134, 45.898, 41.501, 40.000, 45.453, 43.657, 43.972, 39.776),
    "F200W": (1.964, 2.100, 1.896, 1.829, 2.056, 1.969, 1.958, 1.797),
    "F210M": (4.585, 4.919, 4.405, 4.302, 4.822, 4.599, 4.583, 4.221),
    "F250M": (1.775, 1.688),
    "F277W": (0.491, 0.420),
    "F300M": (1.065, 0.963),
    "F335M": (0.977, 0.848),
    "F356W": (0.421, 0.379),
    "F360M": (0.953, 0.877),
    "F405N": (11.527, 9.712),
    "F410M": (0.902, 0.867),
    "F430M": (1.908, 1.705),
    "F444W": (0.402, 0.371),
    "F460M": (2.274, 2.103),
    "F466N": (12.434, 12.466),
    "F470N": (14.080, 13.735),
    "F480M": (2.023, 1.456),
}
_MIRI_PHOTMJSR = {
    "F560W": 0.57935,
    "F770W": 0.30443,
    "F1000W": 0.36912,
    "F1130W": 1.18843,
    "F1280W": 0.42740,
    "F1500W": 0.36648,
    "F1800W": 0.49438,
    "F2100W": 0.42818,
    "F2550W": 0.76055,
}
_NIRISS_PHOTMJSR = {
    "F090W": 0.24246,
    "F115W": 0.22673,
    "F140M": 0.51159,
    "F150W": 0.25171,
    "F158M": 0.49869,
    "F200W": 0.26470,
    "F277W": 0.25181,
    "F356W": 0.24126,
    "F380M": 1.21172,
    "F430M": 1.49042,
    "F444W": 0.25791,
    "F480M": 1.32515,
}

#: Filters in the pupil wheel -> the wider filter that stands before them (JDox,
#: "NIRCam Filters"; NIRISS's short filters sit in its pupil wheel).
_BEFORE = {
    "F162M": "F150W2",
    "F164N": "F150W2",
    "F405N": "F444W",
    "F466N": "F444W",
    "F470N": "F444W",
}
_NIRISS_PUPIL = ("F090W", "F115W", "F140M", "F150W", "F158M", "F200W")


def filters(detector: str) -> tuple[str, ...]:
    """
    Name the filters known before a detector, by wavelength.

    Parameters
    ----------
    detector : str

    Returns
    -------
    names : tuple of str
    """
    return tuple(_conversions(detector))


def _conversions(detector: str) -> dict[str, float]:
    """PHOTMJSR of each filter before this detector."""
    if detector == "MIRIMAGE":
        return _MIRI_PHOTMJSR
    if detector == "NIS":
        return _NIRISS_PHOTMJSR
    row = _LONG if detector in _LONG else _SHORT
    return {
        name: values[row.index(detector)]
        for name, values in _PHOTMJSR.items()
        if len(values) == len(row)
    }


@cache
def filter_facts(detector: str, name: str) -> FilterFacts:
    """
    Look up a filter before a detector.

    Parameters
    ----------
    detector, name : str
        Such as ``NRCB1`` and ``F162M``.

    Returns
    -------
    facts : FilterFacts

    Raises
    ------
    UsageError
        If this detector has no such filter.
    """
    detector_facts(detector)
    conversions = _conversions(detector)
    if name not in conversions:
        msg = f"{detector} has no filter '{name}'; it has {', '.join(conversions)}"
        raise UsageError(msg)
    table = {"MIRIMAGE": _MIRI_FILTERS, "NIS": _NIRISS_FILTERS}
    pivot, width, ab_vega, sky = table.get(detector, _NIRCAM_FILTERS)[name]
    wheel, pupil = _wheels(detector, name)
    return FilterFacts(
        name, wheel, pupil, pivot, width, ab_vega, sky, conversions[name]
    )


def _wheels(detector: str, name: str) -> tuple[str, str]:
    """FILTER and PUPIL keywords."""
    if detector == "MIRIMAGE":
        return name, ""
    if detector == "NIS":
        return ("CLEAR", name) if name in _NIRISS_PUPIL else (name, "CLEARP")
    return (_BEFORE[name], name) if name in _BEFORE else (name, "CLEAR")


@cache
def nominal_pixel_area(detector: str) -> float:
    """
    Average the sky area of a detector's pixels.

    The keyword PIXAR_A2; the AREA map and the flat are relative to it. Computed from
    the distortion rather than taken from PHOTOM (they agree to 1 %), so that calibrated
    surface brightness is right in absolute terms on this simulator's sky.

    Parameters
    ----------
    detector : str

    Returns
    -------
    area : float
        arcsec**2.
    """
    full = aperture(detector)
    x, y = np.meshgrid(
        np.linspace(-0.5, full.nx - 0.5, 65), np.linspace(-0.5, full.ny - 0.5, 65)
    )
    v2, v3 = pixel_to_v2v3(full, x, y)
    diagonals = (
        (v2[1:, 1:] - v2[:-1, :-1]) * (v3[1:, :-1] - v3[:-1, 1:])
        - (v2[1:, :-1] - v2[:-1, 1:]) * (v3[1:, 1:] - v3[:-1, :-1])
    ) / 2
    cosine = np.cos(np.deg2rad(v3[:-1, :-1] / 3600))
    total = float(np.abs(diagonals * cosine).sum())
    return total / (full.nx * full.ny)


def electrons_per_mjy(detector: str, name: str) -> float:
    """
    Convert flux densities to photo-electrons.

    Parameters
    ----------
    detector, name : str
        Detector and filter.

    Returns
    -------
    rate : float
        e-/s that a source of 1 MJy leaves in the whole detector. An AB magnitude m is
        ``10 ** (-0.4 * m) * 3.631e-3`` MJy.
    """
    facts = filter_facts(detector, name)
    steradian = nominal_pixel_area(detector) * np.deg2rad(1 / 3600) ** 2
    return detector_facts(detector).gain / (facts.photmjsr * float(steradian))
