"""Catalogues of any make become RA and DEC, and are cut to images."""

from __future__ import annotations

from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from click.testing import CliRunner

from webbmosaic.archives.catalogs import (
    cut,
    field_of,
    read_catalog,
    write_catalog,
)
from webbmosaic.archives.gaia import gaia_cone
from webbmosaic.cli.refcat import refcat
from webbmosaic.errors import ArchiveError, InputError

SCALE = 0.063 / 3600


def make_image(path: Path, ra: float, dec: float, angle: float = 30.0) -> Path:
    """Write an image of 400 x 200 pixels, turned, with light in no pixel."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [ra, dec], [200.5, 100.5]
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    wcs.wcs.cd = np.array([[-c, s], [s, c]]) * SCALE
    units = [fits.PrimaryHDU(), fits.ImageHDU(np.zeros((200, 400), "f4"), name="SCI")]
    units[0].header["DATE-OBS"] = "2024-07-01"
    units[1].header.update(wcs.to_header())
    fits.HDUList(units).writeto(path)
    return path


@pytest.mark.parametrize(
    ("ra", "dec"),
    [
        ("RA", "DEC"),
        ("ra", "dec"),
        ("ALPHA_J2000", "DELTA_J2000"),
        ("RAJ2000", "DEJ2000"),
    ],
)
@pytest.mark.parametrize("suffix", ["ecsv", "csv", "fits", "txt", "vot"])
def test_names_and_formats(tmp_path: Path, ra: str, dec: str, suffix: str) -> None:
    path = tmp_path / f"c.{suffix}"
    table = Table({"flux": [1.0, 2.0], ra: [150.1, 150.2], dec: [2.1, 2.2]})
    formats = {"txt": "ascii", "vot": "votable"}
    table.write(path, format=formats.get(suffix))
    found = read_catalog(path)
    assert found.colnames == ["RA", "DEC", "ID", "flux"]
    np.testing.assert_array_equal(found["RA"], [150.1, 150.2])
    np.testing.assert_array_equal(found["DEC"], [2.1, 2.2])


def test_identities_and_magnitudes_keep_their_values(tmp_path: Path) -> None:
    path = tmp_path / "c.ecsv"
    big = 2**60 + 1
    Table(
        {"source_id": [big], "ra": [1.0], "dec": [2.0], "phot_g_mean_mag": [18.5]}
    ).write(path)
    found = read_catalog(path)
    assert found.colnames == ["RA", "DEC", "ID", "mag"]
    assert found["ID"][0] == big
    assert found["mag"][0] == 18.5


def test_hours_radians_and_gaps(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    Table({"ra": ["10:00:00", "10:00:01.5"], "dec": ["-02:30:00", "+02:00:00"]}).write(
        path
    )
    np.testing.assert_allclose(read_catalog(path)["RA"], [150.0, 150.00625])
    np.testing.assert_allclose(read_catalog(path)["DEC"], [-2.5, 2.0])
    path = tmp_path / "c.ecsv"
    table = Table({"ra": [np.pi, 0.0], "dec": [0.5, np.nan]}, units=["rad", "rad"])
    table.write(path)
    np.testing.assert_allclose(read_catalog(path)["RA"], [180.0])


def test_what_is_no_catalogue_is_told(tmp_path: Path) -> None:
    path = tmp_path / "c.csv"
    path.write_text("x,y\n1,2\n")
    with pytest.raises(
        InputError, match=r"c\.csv: has no columns of positions among x, y"
    ):
        read_catalog(path)
    (tmp_path / "c.fits").write_text("no")
    with pytest.raises(InputError, match=r"c\.fits: cannot be read as a catalogue"):
        read_catalog(tmp_path / "c.fits")
    path.write_text("ra,dec\nhere,there\n")
    with pytest.raises(InputError, match="column ra holds no angles"):
        read_catalog(path)


@pytest.mark.parametrize(("ra", "dec"), [(150.0, 2.0), (0.001, -60.0), (200.0, 89.9)])
def test_cut_keeps_what_is_on_the_image(tmp_path: Path, ra: float, dec: float) -> None:
    field = field_of(make_image(tmp_path / "i.fits", ra, dec))
    inside = [(0, 0), (399, 0), (0, 199), (399, 199), (200, 100), (-0.4, 50)]
    near = [(-10.5, 50), (200, 209.0)]
    outside = [(-40, 50), (440, 50), (200, -40), (200, 240), (399, 260), (5000, 5000)]
    sky = field.wcs.all_pix2world(inside + near + outside, 0)
    table = Table({"RA": sky[:, 0], "DEC": sky[:, 1], "ID": np.arange(len(sky))})
    opposite = {"RA": (ra + 180) % 360, "DEC": -dec, "ID": 99}
    table.add_row(opposite)
    assert list(cut(table, [field], buffer=0.0)["ID"]) == list(range(6))
    assert list(cut(table, [field], buffer=0.7)["ID"]) == list(range(8))


def test_an_image_without_coordinates(tmp_path: Path) -> None:
    fits.PrimaryHDU(np.zeros((3, 3))).writeto(tmp_path / "i.fits")
    with pytest.raises(InputError, match="no image with sky coordinates"):
        field_of(tmp_path / "i.fits")
    (tmp_path / "t.fits").write_text("text")
    with pytest.raises(InputError, match="cannot be read as an image"):
        field_of(tmp_path / "t.fits")


def test_the_command_cuts_to_all_images(tmp_path: Path) -> None:
    images = [make_image(tmp_path / f"{n}.fits", 150.0 + n, 2.0) for n in (0, 1)]
    Table({"ra": [150.0, 151.0, 152.0], "dec": [2.0, 2.0, 2.0]}).write(
        tmp_path / "c.csv"
    )
    out = tmp_path / "out.fits"
    arguments = ["cut", tmp_path / "c.csv", *images, "-o", out, "--name", "mine"]
    result = CliRunner().invoke(refcat, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    assert "2 of 3 rows" in result.output
    written = Table.read(out)
    assert written.meta["NAME"] == "mine"
    assert list(written["RA"]) == [150.0, 151.0]
    away = make_image(tmp_path / "away.fits", 10.0, 2.0)
    arguments = ["cut", tmp_path / "c.csv", away, "-o", tmp_path / "none.ecsv"]
    error = CliRunner().invoke(refcat, [str(a) for a in arguments]).exception
    assert "none of its 3 rows is on the images" in str(error)
    assert not (tmp_path / "none.ecsv").exists()


def test_unknown_formats_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.ecsv, \.csv or \.fits"):
        write_catalog(Table({"RA": [1.0]}), tmp_path / "c.xls")


class _Gaia(BaseHTTPRequestHandler):
    """A TAP service with two stars, answering jobs as Gaia's does."""

    asked: list[str]

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_POST(self) -> None:
        self.asked.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(303)
        self.send_header("Location", f"http://{self.headers['Host']}/async/7")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        body = b"COMPLETED" if self.path.endswith("phase") else self.stars()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def stars(self) -> bytes:
        one = {"source_id": [1, 2], "ra": [150.0, 150.001], "dec": [60.0, 60.0]}
        errors = {key: [0.1, 0.2] for key in ("ra_error", "dec_error", "ruwe")}
        moving = {"pmra": [100.0, np.nan], "pmdec": [-50.0, np.nan]}
        out = BytesIO()
        table = Table({**one, **errors, **moving, "phot_g_mean_mag": [18.0, 19.0]})
        table.write(out, format="votable")
        return out.getvalue()


@pytest.fixture
def gaia(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A local Gaia archive; gives what it was asked."""
    handler = type("Handler", (_Gaia,), {"asked": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("WEBBMOSAIC_GAIA_URL", url)
    yield handler.asked  # type: ignore[attr-defined]
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.filterwarnings(
    "ignore:unclosed", "ignore::pytest.PytestUnraisableExceptionWarning"
)
def test_gaia_stars_move_to_the_epoch_and_are_kept(gaia: Any, tmp_path: Path) -> None:
    stars = gaia_cone(150.0, 60.0, 0.1, epoch=2026.0, folder=tmp_path)
    moved = (stars["RA"][0] - 150.0) * np.cos(np.radians(60.0)) * 3.6e6
    assert moved == pytest.approx(1000.0, rel=1e-6)
    assert (stars["DEC"][0] - 60.0) * 3.6e6 == pytest.approx(-500.0, rel=1e-6)
    assert stars["RA"][1] == 150.001
    assert list(stars["mag"]) == [18.0, 19.0]
    again = gaia_cone(150.0, 60.0, 0.1, epoch=2016.0, folder=tmp_path)
    assert again["RA"][0] == 150.0
    assert len(gaia) == 1
    assert "gaiadr3.gaia_source" in gaia[0]


def test_no_gaia(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WEBBMOSAIC_GAIA_URL", "http://127.0.0.1:9")
    with pytest.raises(ArchiveError, match=r"127\.0\.0\.1:9 does not answer"):
        gaia_cone(150.0, 60.0, 0.1, epoch=2016.0, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_motions_are_applied_where_their_epoch_is_known():
    from webbmosaic.archives.catalogs import at_epoch

    stars = Table({"RA": [10.0, 20.0], "DEC": [60.0, 0.0], "pmra": [100.0, np.nan]})
    stars["pmdec"] = [-50.0, np.nan]
    np.testing.assert_array_equal(at_epoch(stars, 2026.0)["RA"], stars["RA"])
    stars.meta["epoch"] = 2016.0
    moved = at_epoch(stars, 2026.0)
    east = (moved["RA"] - stars["RA"]) * 3.6e6 * np.cos(np.radians(stars["DEC"]))
    np.testing.assert_allclose(east, [1000.0, 0.0], atol=1e-6)
    np.testing.assert_allclose(
        (moved["DEC"] - stars["DEC"]) * 3.6e6, [-500, 0], atol=1e-6
    )
    np.testing.assert_allclose(at_epoch(moved, 2016.0)["RA"], stars["RA"], atol=1e-12)
    stars["ref_epoch"] = [2020.0, 2016.0]
    later = at_epoch(stars, 2026.0)
    np.testing.assert_allclose(
        (later["DEC"] - stars["DEC"]) * 3.6e6, [-300, 0], atol=1e-6
    )


def test_a_catalogue_of_the_pipeline_is_read(tmp_path):
    """A mosaic's _cat.ecsv has one column of coordinates."""
    from astropy.coordinates import SkyCoord

    ra, dec = np.array([150.1, 150.2]), np.array([2.1, 2.2])
    table = Table({"label": [1, 2], "sky_centroid": SkyCoord(ra, dec, unit="deg")})
    table["sky_bbox_ll"] = SkyCoord(ra + 1, dec, unit="deg")
    table.write(tmp_path / "x_cat.ecsv")
    found = read_catalog(tmp_path / "x_cat.ecsv")
    np.testing.assert_allclose(found["RA"], ra)
    np.testing.assert_allclose(found["DEC"], dec)
