"""What the detectors of NIRCam, MIRI and NIRISS are like, in numbers.

Sources:

CV3
    The detector characterisation of NIRCam's third cryo-vacuum test at Goddard, as
    tabulated by J. Leisenring for the NIRCam noise simulator (pynrc, ``ngNRC``): gain,
    kTC, read noise, 1/f noise and bias of each detector.
JDox
    jwst-docs.stsci.edu: "NIRCam Detector Performance" (well capacity 105 and 83 ke-,
    dark current 1.9 and 34 e-/ks), "MIRI Detector Performance" (gain 4 e-/DN, dark
    0.2 e-/s, read noise 6 DN, full well 210 ke-), "NIRISS Detector Performance".
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from webbmosaic.errors import UsageError

__all__ = ["DetectorFacts", "detector_facts"]


@dataclass(frozen=True)
class DetectorFacts:
    """
    One detector.

    Attributes
    ----------
    gain : float
        e-/DN.
    read_noise, ktc : float
        White noise of a single frame and reset noise, DN.
    pink_common, pink_output : float
        1/f noise common to all outputs and of each output: the standard deviation over
        a ramp of 108 full frames, DN.
    bias, bias_scatter : float
        Mean level and pixel-to-pixel scatter of the zero exposure, DN.
    odd_even : float
        Half the difference between odd and even columns, DN.
    output_offsets : tuple of float
        Level of each output relative to ``bias``, DN.
    drift_common, drift_output : float
        Jitter from frame to frame of all outputs and of each, DN, when read through
        four outputs.
    dark : float
        e-/s.
    full_well : float
        e-.
    nonlinearity : tuple of float
        c2 and c3 of the correction ``x + c2 x**2 + c3 x**3``, per DN and DN**2.
    pixel_size : float
        cm, for the rate of cosmic rays.
    hot_pixel : float
        Dark current of a typical hot pixel, e-/s: chosen to stand out of the sky.
    """

    gain: float
    read_noise: float
    ktc: float
    pink_common: float
    pink_output: float
    bias: float
    bias_scatter: float
    odd_even: float
    output_offsets: tuple[float, float, float, float]
    drift_common: float
    drift_output: float
    dark: float
    full_well: float
    nonlinearity: tuple[float, float]
    pixel_size: float
    hot_pixel: float


# gain, kTC, read noise, common and output pink, bias, bias drift: CV3; the noise levels
# are multiplied by CV3's own corrections of the fitted spectra (1.15, 0.93, 1.6, 1.4).
_CV3 = {
    "NRCA1": (2.07, 18.5, 5.0, 2.0, 0.9, 5900, (1700, 530, -375, -2370), 14.0, 12.5),
    "NRCA2": (2.01, 15.9, 4.35, 2.5, 0.95, 5400, (-150, 570, -500, 350), 13.8, 7.2),
    "NRCA3": (2.16, 15.2, 4.2, 1.9, 0.83, 6400, (-530, 315, 460, -200), 27.0, 7.3),
    "NRCA4": (2.01, 16.9, 4.4, 2.5, 0.85, 6150, (480, 775, 1040, -2280), 14.0, 6.9),
    "NRCALONG": (1.83, 20.0, 4.5, 2.1, 1.1, 11650, (560, 100, -440, -330), 26.0, 14.8),
    "NRCB1": (2.00, 19.2, 5.1, 2.5, 0.98, 7300, (105, -29, 550, -735), 14.7, 7.2),
    "NRCB2": (2.42, 16.1, 4.4, 2.5, 0.98, 7500, (315, 425, -110, -590), 11.5, 7.4),
    "NRCB3": (1.93, 19.1, 5.05, 3.2, 0.98, 6700, (918, -270, 400, -1240), 18.4, 7.2),
    "NRCB4": (2.30, 19.0, 4.3, 3.0, 0.98, 7500, (-100, 500, 300, -950), 14.9, 7.8),
    "NRCBLONG": (
        1.85,
        20.0,
        4.55,
        2.5,
        1.05,
        11500,
        (-35, -160, 125, -175),
        14.8,
        14.2,
    ),
}


def _nircam(detector: str) -> DetectorFacts:
    gain, ktc, noise, common, output, bias, offsets, drift, drift_output = _CV3[
        detector
    ]
    long = detector.endswith("LONG")
    return DetectorFacts(
        gain=gain,
        read_noise=0.93 * noise,
        ktc=1.15 * ktc,
        pink_common=1.6 * common,
        pink_output=1.4 * output,
        bias=bias,
        bias_scatter=150.0,
        odd_even=500.0,
        output_offsets=offsets,
        drift_common=0.95 * drift,
        drift_output=1.15 * drift_output,
        dark=0.034 if long else 0.0019,
        full_well=83_000 if long else 105_000,
        nonlinearity=(6.0e-7, 6.0e-12),
        pixel_size=18e-4,
        hot_pixel=10.0,
    )


#: MIRI's read noise of 6 DN is that of two reads; its non-linearity acts on raw DN,
#: bias included, as jwst (which has no superbias step for MIRI) corrects it.
_MIRI = DetectorFacts(
    gain=4.0,
    read_noise=6.0 / np.sqrt(2),
    ktc=0.0,
    pink_common=0.5,
    pink_output=0.3,
    bias=9000.0,
    bias_scatter=100.0,
    odd_even=20.0,
    output_offsets=(60.0, -40.0, 20.0, -40.0),
    drift_common=0.1,
    drift_output=0.05,
    dark=0.2,
    full_well=200_000,
    nonlinearity=(7.0e-7, 4.0e-12),
    pixel_size=25e-4,
    hot_pixel=200.0,
)

_NIRISS = DetectorFacts(
    gain=1.61,
    read_noise=16.8 / np.sqrt(2) / 1.61 * 0.8,
    ktc=20.0,
    pink_common=3.5,
    pink_output=1.4,
    bias=11_000.0,
    bias_scatter=150.0,
    odd_even=400.0,
    output_offsets=(150.0, -120.0, 60.0, -90.0),
    drift_common=14.0,
    drift_output=8.0,
    dark=0.0257,
    full_well=72_000,
    nonlinearity=(6.0e-7, 6.0e-12),
    pixel_size=18e-4,
    hot_pixel=10.0,
)


@cache
def detector_facts(detector: str) -> DetectorFacts:
    """
    Look up a detector.

    Parameters
    ----------
    detector : str
        As the DETECTOR keyword: ``NRCB1``, ``NRCBLONG``, ``MIRIMAGE``, ``NIS``.

    Returns
    -------
    facts : DetectorFacts

    Raises
    ------
    UsageError
        If the detector is unknown.
    """
    if detector in _CV3:
        return _nircam(detector)
    others = {"MIRIMAGE": _MIRI, "NIS": _NIRISS}
    if detector not in others:
        msg = f"detector '{detector}' is not one of {', '.join((*_CV3, *others))}"
        raise UsageError(msg)
    return others[detector]
