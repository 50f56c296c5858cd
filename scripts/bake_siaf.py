"""Bake the apertures that ``webbmosaic simulate`` needs into a small JSON file.

A developer's tool, run once per PRD: it needs pysiaf, which the package does not.
What it writes, ``src/webbmosaic/simulate/data/siaf.json``, is all the simulator reads.

SIAF's own ideal-to-science polynomials miss the pixel they started from by 0.006 px
(NIRCam) and 0.11 px (MIRI), so the inverse is fitted anew: degree 7 for NIRCam and
NIRISS, 8 for MIRI, better than 2e-4 px even 4 px outside the frame.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pysiaf

TARGET = Path(__file__).parents[1] / "src/webbmosaic/simulate/data/siaf.json"

CENTRED = ("SUB160", "SUB320", "SUB640")
CORNER = ("SUB64P", "SUB160P", "SUB400P")
MIRI = ("BRIGHTSKY", "SUB256", "SUB128", "SUB64")
INVERSE_DEGREE = {"NIRCAM": 7, "NIRISS": 7, "MIRI": 8}


def powers(degree):
    """Exponents (i, j) of x**i y**j, in SIAF's order."""
    return [(n - j, j) for n in range(degree + 1) for j in range(n + 1)]


def design(x, y, degree):
    """Columns x**i y**j."""
    return np.stack([x**i * y**j for i, j in powers(degree)], axis=-1)


def forward(siaf_aperture, axis):
    """SIAF's Sci2Idl polynomial of one axis as a list in the order of `powers`."""
    degree = siaf_aperture.Sci2IdlDeg
    names = [f"Sci2Idl{axis}{i + j}{j}" for i, j in powers(degree)]
    return [float(getattr(siaf_aperture, name)) for name in names]


def inverse(entry, degree):
    """Fit pixel offsets from the reference as polynomials of ideal coordinates.

    Also returns the largest error on the grid, in pixels.
    """
    steps = [np.linspace(-4, n + 3, 100) for n in (entry["nx"], entry["ny"])]
    x, y = (a.ravel() for a in np.meshgrid(*steps))
    x, y = x + 1 - entry["x_sci_ref"], y + 1 - entry["y_sci_ref"]
    terms = design(x, y, entry["degree"])
    ideal = terms @ np.array(entry["x_ideal"]), terms @ np.array(entry["y_ideal"])
    scale = max(np.abs(a).max() for a in ideal)
    terms = design(ideal[0] / scale, ideal[1] / scale, degree)
    unscale = scale ** -np.array([i + j for i, j in powers(degree)], dtype=float)
    found = [np.linalg.lstsq(terms, target, rcond=None)[0] for target in (x, y)]
    worst = max(
        np.abs(terms @ c - target).max()
        for c, target in zip(found, (x, y), strict=True)
    )
    return *((c * unscale).tolist() for c in found), worst


def detector_entry(instrument, full):
    """Everything about one detector: the distortion and the full frame."""
    entry = {
        "instrument": instrument,
        "nx": int(full.XSciSize),
        "ny": int(full.YSciSize),
        "x_sci_ref": full.XSciRef,
        "y_sci_ref": full.YSciRef,
        "vparity": int(full.VIdlParity),
        "v3i_yang": full.V3IdlYAngle,
        "v2_ref": full.V2Ref,
        "v3_ref": full.V3Ref,
        "degree": int(full.Sci2IdlDeg),
        "x_ideal": forward(full, "X"),
        "y_ideal": forward(full, "Y"),
        "inverse_degree": INVERSE_DEGREE[instrument],
        "subarrays": {"FULL": subarray_entry(full, full)},
    }
    x, y, worst = inverse(entry, entry["inverse_degree"])
    print(f"{full.AperName}: refitted inverse within {worst:.1e} px")
    return entry | {"x_pixel": x, "y_pixel": y}


def subarray_entry(full, aperture):
    """Where a subarray lies on its detector, and its own reference point."""
    x, y = full.det_to_sci(aperture.XDetRef, aperture.YDetRef)
    return {
        "aperture": aperture.AperName,
        "nx": int(aperture.XSciSize),
        "ny": int(aperture.YSciSize),
        "substrt1": round(float(x - aperture.XSciRef)) + 1,
        "substrt2": round(float(y - aperture.YSciRef)) + 1,
        "v2_ref": aperture.V2Ref,
        "v3_ref": aperture.V3Ref,
        "v3i_yang": aperture.V3IdlYAngle,
        "pixel_scale": float(np.sqrt(aperture.XSciScale * aperture.YSciScale)),
    }


def stripe_entry(full):
    """NIRCam's 2048 x 64 stripe along the bottom of the frame, rows 1 to 64.

    The one subarray read through all four amplifiers with reference columns on both
    sides, hence the smallest frame with everything a full frame has. Its reference
    point is that of the full frame: no aperture of SIAF describes imaging through it.
    """
    stripe = subarray_entry(full, full)
    return stripe | {"ny": 64, "aperture": full.AperName.replace("FULL", "SUBGRISM64")}


def nircam():
    """All ten detectors with the subarrays used for imaging."""
    siaf = pysiaf.Siaf("NIRCam")
    for module in "AB":
        for number in range(1, 6):
            full = siaf[f"NRC{module}{number}_FULL"]
            entry = detector_entry("NIRCAM", full)
            for name in CENTRED + CORNER:
                aperture = f"NRC{module}{number}_{name}"
                if aperture in siaf.apertures:
                    entry["subarrays"][name] = subarray_entry(full, siaf[aperture])
            entry["subarrays"]["SUBGRISM64"] = stripe_entry(full)
            name = f"NRC{module}LONG" if number == 5 else f"NRC{module}{number}"
            yield name, entry


def others():
    """MIRI's imager and NIRISS."""
    miri = pysiaf.Siaf("MIRI")
    entry = detector_entry("MIRI", miri["MIRIM_FULL"])
    for name in MIRI:
        entry["subarrays"][name] = subarray_entry(
            miri["MIRIM_FULL"], miri[f"MIRIM_{name}"]
        )
    yield "MIRIMAGE", entry
    yield "NIS", detector_entry("NIRISS", pysiaf.Siaf("NIRISS")["NIS_CEN"])


def main():
    """Write the file."""
    detectors = dict(nircam()) | dict(others())
    document = {"prd": pysiaf.JWST_PRD_VERSION, "detectors": detectors}
    TARGET.parent.mkdir(parents=True, exist_ok=True)
    TARGET.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
