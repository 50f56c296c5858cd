"""
Small calibrated images of a known sky, made with nothing of this package.

Moffat stars (beta 3) sampled in the middle of 3 x 3 subpixels, galaxies that are
exponential discs, white noise; a gWCS of its own. Used where alignment is tested: the
simulator of the package has another PSF, another WCS and another noise.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table

CENTRE = (53.1, -27.8)  # degrees
PIXEL = 0.063  # arcsec


def make_sky(rng, n=60, half=12.0):
    """East and north (arcsec) and fluxes of point sources, brightest first."""
    flux = np.sort(10 ** rng.uniform(2.5, 4.0, n))[::-1]
    return np.column_stack([rng.uniform(-half, half, (n, 2)), flux])


def to_sky(plane, centre=CENTRE):
    """Arcsec on the tangent plane to degrees."""
    start = SkyCoord(*centre, unit="deg")
    offset = start.skyoffset_frame()
    x, y = np.atleast_2d(plane).T
    # tangent plane to angles: gnomonic
    rho = np.hypot(x, y) / 206264.806
    angle = np.arctan2(x, y)
    there = start.directional_offset_by(angle * u.rad, np.arctan(rho) * u.rad)
    del offset
    return there.ra.deg, there.dec.deg


def write_catalogue(path, sky, *, rng=None, error=0.0, centre=CENTRE):
    """The true positions as a table, with errors (arcsec) if wanted."""
    plane = sky[:, :2] + (rng.normal(0, error, (len(sky), 2)) if error else 0)
    ra, dec = to_sky(plane, centre)
    Table({"RA": ra, "DEC": dec}).write(path, overwrite=True)
    return path


def make_cal(folder, name, sky, **given):
    """
    Write one image.

    Options: ``dither`` (arcsec), ``off`` (arcsec: what the WCS is wrong by), ``turn``
    (degrees: by what its roll is), ``size``, ``noise``, ``fwhm`` (pixels), ``pa``
    (degrees), ``centre``, ``rng``, and ``meta``, a dict of names below meta.
    """
    from stdatamodels.jwst.datamodels import ImageModel

    rng = given.get("rng") or np.random.default_rng(1)
    size, pa = given.get("size", 160), np.radians(given.get("pa", 20.0))
    centre = given.get("centre", CENTRE)
    at = np.asarray(given.get("dither", (0.0, 0.0)), float)
    turned = np.array([[-np.cos(pa), np.sin(pa)], [np.sin(pa), np.cos(pa)]])
    pixels = (sky[:, :2] - at) @ turned / PIXEL + (size - 1) / 2
    data = rng.normal(0.0, given.get("noise", 1.0), (size, size))
    paint(data, pixels, sky[:, 2], given.get("fwhm", 2.3))
    model = ImageModel(data=data.astype(np.float32))
    model.err = np.full_like(model.data, given.get("noise", 1.0))
    model.dq = np.zeros(model.data.shape, np.uint32)
    _describe(model, name)
    off = np.asarray(given.get("off", (0.0, 0.0)), float)
    _point(model, at + off, pa + np.radians(given.get("turn", 0.0)), centre)
    for key, value in given.get("meta", {}).items():
        if key == "wcs":
            del model.meta.wcs
        else:
            model[f"meta.{key}"] = value
    path = Path(folder) / f"{name}_cal.fits"
    path.parent.mkdir(parents=True, exist_ok=True)
    model.save(str(path))
    return path


def open_cal(path):
    """An image in memory, its file closed."""
    from webbmosaic.files.models import open_image

    with open_image(path) as model:
        return model.copy()


def paint(data, pixels, flux, fwhm):
    """Add Moffat stars."""
    alpha = fwhm / 2 / np.sqrt(2 ** (1 / 3) - 1)
    size = data.shape[0]
    sub = (np.arange(3) - 1) / 3
    for (x, y), total in zip(pixels, flux, strict=True):
        x0, y0 = round(x), round(y)
        rows = np.arange(max(y0 - 12, 0), min(y0 + 13, size))
        columns = np.arange(max(x0 - 12, 0), min(x0 + 13, size))
        if not len(rows) or not len(columns):
            continue
        dy = (rows[:, None] + sub - y).reshape(-1)
        dx = (columns[:, None] + sub - x).reshape(-1)
        fine = (1 + (dx[None] ** 2 + dy[:, None] ** 2) / alpha**2) ** -3
        fine *= 2 * total / np.pi / alpha**2
        stamp = fine.reshape(len(rows), 3, len(columns), 3).mean(axis=(1, 3))
        data[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] += stamp


def _describe(model, name):
    parts = name.split("_")
    program, observation, visit = parts[0][2:7], parts[0][7:10], parts[0][10:13]
    meta = model.meta
    meta.filename = f"{name}_cal.fits"
    meta.telescope, meta.model_type = "JWST", "ImageModel"
    meta.observation.program_number = program
    meta.observation.observation_number = observation
    meta.observation.visit_number = visit
    meta.observation.visit_id = parts[0][2:]
    meta.observation.visit_group = parts[1][:2]
    meta.observation.sequence_id = parts[1][2]
    meta.observation.activity_id = parts[1][3:]
    meta.observation.exposure_number = parts[2].lstrip("0")
    meta.observation.date, meta.observation.time = "2023-01-05", "00:00:00"
    meta.instrument.name, meta.instrument.detector = "NIRCAM", "NRCBLONG"
    meta.instrument.filter, meta.instrument.pupil = "F444W", "CLEAR"
    meta.instrument.module, meta.instrument.channel = "B", "LONG"
    meta.exposure.type, meta.exposure.readpatt = "NRC_IMAGE", "RAPID"
    meta.exposure.ngroups, meta.exposure.nframes, meta.exposure.groupgap = 6, 1, 0
    meta.exposure.nints = 1
    meta.exposure.group_time = meta.exposure.frame_time = 10.0
    meta.exposure.exposure_time = meta.exposure.effective_exposure_time = 60.0
    meta.exposure.integration_time = meta.exposure.measurement_time = 60.0
    meta.exposure.start_time, meta.exposure.mid_time = 59949.0, 59949.0005
    meta.exposure.end_time = 59949.001
    ny, nx = model.data.shape
    meta.subarray.name = "SUB160" if nx == 160 else "FULL"
    meta.subarray.xstart = meta.subarray.ystart = 1
    meta.subarray.xsize, meta.subarray.ysize = nx, ny
    meta.subarray.fastaxis, meta.subarray.slowaxis = 1, -2
    meta.bunit_data = meta.bunit_err = "MJy/sr"
    meta.photometry.pixelarea_steradians = (PIXEL / 206264.806) ** 2
    meta.photometry.pixelarea_arcsecsq = PIXEL**2
    meta.visit.type, meta.target.type = "PRIME_TARGETED_FIXED", "FIXED"


def _point(model, at, pa, centre):
    """Give the image a gWCS: pixels, V2 V3, the sky."""
    import gwcs
    from astropy.modeling.models import AffineTransformation2D, Shift
    from gwcs import coordinate_frames as cf
    from jwst.assign_wcs import pointing

    ny, nx = model.data.shape
    ra, dec = (float(v[0]) for v in to_sky(at, centre))
    info = model.meta.wcsinfo
    info.v2_ref, info.v3_ref, info.vparity, info.v3yangle = 0.0, 0.0, 1, 0.0
    info.ra_ref, info.dec_ref, info.roll_ref = ra, dec, np.degrees(pa)
    info.velosys, info.va_scale = 0.0, 1.0
    info.wcsaxes = 2
    info.crval1, info.crval2 = ra, dec
    info.crpix1, info.crpix2 = (nx + 1) / 2, (ny + 1) / 2
    info.cdelt1 = info.cdelt2 = PIXEL / 3600
    info.ctype1, info.ctype2 = "RA---TAN", "DEC--TAN"
    # V2 to the west of V3 on the sky for roll 0, x against V2: x is west here, too.
    mirror = np.array([[-PIXEL, 0], [0, PIXEL]])
    to_v2v3 = Shift(-(nx - 1) / 2) & Shift(-(ny - 1) / 2) | AffineTransformation2D(
        mirror
    )
    frames = (
        cf.Frame2D(name="detector", unit=(u.pix, u.pix)),
        cf.Frame2D(name="v2v3", unit=(u.arcsec, u.arcsec), axes_names=("v2", "v3")),
        cf.CelestialFrame(name="world", reference_frame=_icrs(), unit=(u.deg, u.deg)),
    )
    v2v3_to_sky = pointing.v23tosky(model)
    model.meta.wcs = gwcs.WCS(
        [(frames[0], to_v2v3), (frames[1], v2v3_to_sky), (frames[2], None)]
    )
    model.meta.wcs.bounding_box = ((-0.5, nx - 0.5), (-0.5, ny - 0.5))


def _icrs():
    from astropy.coordinates import ICRS

    return ICRS()
