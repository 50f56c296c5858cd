"""Images with planted sources, sky and noise, as the pipeline's files have them."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS

PIXEL = 0.063  # arcsec
SIGMA = 0.065  # arcsec; of the Gaussian that stands for the optics
LIGHT = "F444W"


def make_wcs(shape, *, turn=20.0, pixel=PIXEL):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [53.1, -27.8]
    wcs.wcs.crpix = [shape[1] / 2, shape[0] / 2]
    angle, scale = np.deg2rad(turn), pixel / 3600
    wcs.wcs.cd = scale * np.array(
        [[-np.cos(angle), np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    )
    return wcs


def write_image(path, data, *, dq=None, wcs=None, err=None, weight=None, unit="MJy/sr"):
    """Write SCI and its companions as jwst does: DQ is unsigned, data big-endian."""
    header = fits.Header() if wcs is None else wcs.to_header()
    header["BUNIT"] = unit
    header["PIXAR_SR"] = np.deg2rad(PIXEL / 3600) ** 2
    primary = fits.Header()
    primary.update(INSTRUME="NIRCAM", DETECTOR="NRCBLONG", FILTER=LIGHT, PUPIL="CLEAR")
    hdus = [
        fits.PrimaryHDU(header=primary),
        fits.ImageHDU(data.astype(">f4"), header, name="SCI"),
    ]
    if err is not None:
        hdus.append(fits.ImageHDU(np.full(data.shape, err, ">f4"), name="ERR"))
    if dq is not None:
        hdus.append(fits.ImageHDU(dq.astype("uint32"), name="DQ"))
    if weight is not None:
        hdus.append(fits.ImageHDU(weight.astype(">f4"), name="WHT"))
    path.parent.mkdir(parents=True, exist_ok=True)
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


def _line_profile():
    """The Gaussian of the optics, blurred by detector pixel, drop and output pixel."""
    fine = 15
    offset = (np.arange(61 * fine) - 30 * fine) / fine
    profile = np.exp(-(offset**2) / 2 / (SIGMA / PIXEL) ** 2)
    for _ in range(3):
        profile = np.convolve(profile, np.ones(fine) / fine, "same")
    return offset, profile / profile.sum() * fine


@dataclass
class Scene:
    """Stars and Gaussian galaxies, whose light on the mosaic is known exactly."""

    shape: tuple = (420, 420)
    noise: float = 0.004
    seed: int = 4
    turn: float = 20.0
    truth: Table = field(init=False)

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        grid = range(40, self.shape[0] - 20, 48)
        spots = [(x, y) for x in grid for y in grid]
        x, y = (np.array(spots) + rng.uniform(-4, 4, (len(spots), 2))).T
        star = np.arange(x.size) % 4 != 0
        ra, dec = make_wcs(self.shape, turn=self.turn).all_pix2world(x, y, 0)
        mag = rng.uniform(20.1, 22.0, x.size)
        self.truth = Table(
            {
                "ra": ra,
                "dec": dec,
                "kind": np.where(star, "star", "galaxy"),
                # A Sersic galaxy of n = 0.5 is a Gaussian.
                "r_half": np.where(star, 0, rng.uniform(0.15, 0.3, x.size)),
                "sersic_n": np.where(star, 0, 0.5),
                "axis_ratio": np.where(star, 1, rng.uniform(0.5, 1, x.size)),
                "pa": np.where(star, 0, rng.uniform(0, 180, x.size)),
                f"mag_{LIGHT}": mag,
                f"flux_{LIGHT}": 10 ** (-0.4 * (mag - 8.9)),
            }
        )
        radius = np.linspace(0, 1.5, 600)
        self.truth.meta["encircled_energy"] = {
            LIGHT: {
                "radius_arcsec": radius.tolist(),
                "fraction": (1 - np.exp(-(radius**2) / 2 / SIGMA**2)).tolist(),
                "pixel_arcsec": PIXEL,
                "pixel_included": False,
            }
        }

    def image(self, *, gain=1.0, shift=(0.0, 0.0), sky=0.0):
        """Draw the scene with a wrong flux scale, position (pixels) or sky (sigma)."""
        rng = np.random.default_rng(self.seed + 1)
        data = rng.normal(sky * self.noise, self.noise, self.shape)
        x, y = make_wcs(self.shape, turn=self.turn).all_world2pix(
            self.truth["ra"], self.truth["dec"], 0
        )
        rows, columns = np.ogrid[: self.shape[0], : self.shape[1]]
        unit = np.deg2rad(PIXEL / 3600) ** 2 * 1e6
        offset, profile = _line_profile()
        for k, source in enumerate(self.truth):
            dx, dy = columns - x[k] - shift[0], rows - y[k] - shift[1]
            if source["kind"] == "star":
                light = np.interp(dx, offset, profile) * np.interp(dy, offset, profile)
            else:
                light = self._galaxy(source, dx, dy)
            data += gain * source[f"flux_{LIGHT}"] / unit * light
        return data.astype(np.float32)

    def _galaxy(self, source, dx, dy):
        major = source["r_half"] / np.sqrt(2 * np.log(2)) / PIXEL
        # East of north, on a sky whose north is turned from y towards x.
        angle = np.deg2rad(90 - self.turn + source["pa"])
        along = np.array([np.cos(angle), np.sin(angle)])
        across = np.array([-along[1], along[0]])
        blur = (SIGMA / PIXEL) ** 2 + 3 / 12
        cov = blur * np.eye(2)
        cov += major**2 * np.outer(along, along)
        cov += (major * source["axis_ratio"]) ** 2 * np.outer(across, across)
        inv = np.linalg.inv(cov)
        power = inv[0, 0] * dx**2 + 2 * inv[0, 1] * dx * dy + inv[1, 1] * dy**2
        return np.exp(-power / 2) / (2 * np.pi * np.sqrt(np.linalg.det(cov)))

    def write(self, path, **planted):
        """Write the mosaic, with a margin that has no data."""
        data = self.image(**planted)
        weight = np.ones(self.shape)
        weight[:, :6] = 0
        data[:, :3] = np.nan
        return write_image(
            path,
            data,
            err=self.noise,
            weight=weight,
            wcs=make_wcs(self.shape, turn=self.turn),
        )


@pytest.fixture(scope="session")
def scene():
    return Scene()


@pytest.fixture(scope="session")
def small_scene():
    return Scene(shape=(240, 240))


@pytest.fixture(scope="session")
def image_writer():
    return write_image


@pytest.fixture(scope="session")
def sky_wcs():
    return make_wcs
