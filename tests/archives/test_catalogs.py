"""Catalogues of any make become RA and DEC, and are cut to images."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote_plus

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import QTable, Table
from astropy.wcs import WCS
from click.testing import CliRunner

from webbmosaic.archives import tap
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
    mood: dict[str, Any]

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_POST(self) -> None:
        self.asked.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(self.mood.get("start", 303))
        if "place" not in self.mood:
            self.send_header("Location", "http://elsewhere.example.org/async/7")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        if self.mood.get("silent"):
            time.sleep(self.mood["silent"])
        body = self.mood.get("body") or self.stars()
        if self.path.endswith("phase"):
            body = self.mood.get("phase", b"COMPLETED")
        elif self.path.endswith("error"):
            body = self.mood.get("error", b"")
        self.send_response(302 if "redirect" in self.mood else 200)
        if "redirect" in self.mood:
            self.send_header("Location", self.mood["redirect"])
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: self.mood.get("cut")])
        self.close_connection = "cut" in self.mood

    def stars(self) -> bytes:
        one = {"source_id": [1, 2], "ra": [150.0, 150.001], "dec": [60.0, 60.0]}
        errors = {key: [0.1, 0.2] for key in ("ra_error", "dec_error", "ruwe")}
        moving = {"pmra": [100.0, np.nan], "pmdec": [-50.0, np.nan]}
        out = BytesIO()
        table = Table({**one, **errors, **moving, "phot_g_mean_mag": [18.0, 19.0]})
        table = table[: self.mood.get("rows")]
        table.remove_columns(self.mood.get("without", []))
        table.write(out, format="votable")
        status = self.mood.get("status")
        info = f'<INFO name="QUERY_STATUS" value="{status}"/></RESOURCE>'
        text = out.getvalue().decode()
        return (text.replace("</RESOURCE>", info) if status else text).encode()


@dataclass
class Gaia:
    """What the archive was asked, and how it behaves."""

    asked: list[str]
    mood: dict[str, Any]


@pytest.fixture
def gaia(monkeypatch: pytest.MonkeyPatch) -> Iterator[Gaia]:
    """A local Gaia archive."""
    state = Gaia([], {})
    handler = type("Handler", (_Gaia,), {"asked": state.asked, "mood": state.mood})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    url = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("WEBBMOSAIC_GAIA_URL", url)
    yield state
    server.shutdown()
    thread.join()
    server.server_close()


def vector(ra: float, dec: float) -> Any:
    a, d = np.radians([ra, dec])
    return np.array([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])


def test_gaia_stars_move_along_great_circles_and_are_kept(
    gaia: Gaia, tmp_path: Path
) -> None:
    stars = gaia_cone(150.0, 60.0, 0.1, epoch=2026.0, folder=tmp_path)
    # Independently: the position plus years of motion along its tangents.
    a, d = np.radians([150.0, 60.0])
    east = np.array([-np.sin(a), np.cos(a), 0.0])
    north = np.array([-np.sin(d) * np.cos(a), -np.sin(d) * np.sin(a), np.cos(d)])
    moved = vector(150.0, 60.0) + np.radians((1.0 * east - 0.5 * north) / 3600)
    found = vector(stars["RA"][0], stars["DEC"][0])
    apart = np.degrees(np.linalg.norm(found - moved / np.linalg.norm(moved))) * 3.6e6
    assert apart < 1e-3
    assert stars["RA"][1] == pytest.approx(150.001, abs=1e-12)
    assert list(stars["mag"]) == [18.0, 19.0]
    again = gaia_cone(150.0, 60.0, 0.1, epoch=2016.0, folder=tmp_path)
    assert again["RA"][0] == pytest.approx(150.0, abs=1e-12)
    assert len(gaia.asked) == 1
    assert "gaiadr3.gaia_source" in gaia.asked[0]


def test_gaia_stars_that_move_into_the_field_are_asked_for(
    gaia: Gaia, tmp_path: Path
) -> None:
    gaia_cone(150.0, 60.0, 0.1, epoch=2046.0, folder=tmp_path)
    circle = re.search(r"60\.0+,([\d.]+)", unquote_plus(gaia.asked[0]).replace(" ", ""))
    assert circle is not None
    assert float(circle[1]) > 0.1 + 30 * 10.39 / 3600


@pytest.mark.parametrize(
    ("mood", "message"),
    [
        ({"status": "OVERFLOW"}, "only a part of the rows"),
        ({"status": "ERROR"}, "could not do the query"),
        ({"phase": b"ABORTED"}, "ended the job with ABORTED"),
        (
            {"phase": b"ERROR", "error": b"<b>\x1b[31mno disk</b>"},
            r"ERROR: \[31mno disk",
        ),
        ({"phase": b"<html>\x1b[31m"}, "ended the job with <HTML>"),
        ({"place": None}, "started no job"),
        ({"start": 500}, "started no job"),
        ({"redirect": "http://[::1"}, "not understood"),
        ({"redirect": "http://gaia.example.org/"}, "https://HOST only"),
        ({"without": ["pmra"]}, "no column pmra"),
        ({"body": b"<VOTABLE><RESOURCE>"}, "cut off or no VOTable"),
        ({"body": b"\xff\xfe sorry"}, "cut off or no VOTable"),
        ({"cut": 5, "phase": b"COMPLETED"}, "does not answer"),
    ],
)
def test_a_bad_answer_of_gaia_is_a_sentence_and_not_kept(
    gaia: Gaia,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    mood: dict[str, Any],
    message: str,
) -> None:
    monkeypatch.setattr("webbmosaic.archives.transport.time.sleep", lambda _: None)
    gaia.mood.update(mood)
    with pytest.raises(ArchiveError, match=message) as error:
        gaia_cone(150.0, 60.0, 0.1, epoch=2016.0, folder=tmp_path)
    assert "\x1b" not in str(error.value)
    assert list(tmp_path.iterdir()) == []
    gaia.mood.clear()
    assert len(gaia_cone(150.0, 60.0, 0.1, epoch=2016.0, folder=tmp_path)) == 2


def test_an_empty_answer_and_a_damaged_file_are_not_used_again(
    gaia: Gaia, tmp_path: Path
) -> None:
    gaia.mood["rows"] = 0
    assert len(gaia_cone(150.0, 60.0, 0.1, epoch=2016.0, folder=tmp_path)) == 0
    assert list(tmp_path.iterdir()) == []
    gaia.mood.clear()
    gaia_cone(150.0, 60.0, 0.1, epoch=2016.0, folder=tmp_path)
    (kept,) = tmp_path.iterdir()
    kept.write_text(kept.read_text()[:200])
    assert len(gaia_cone(150.0, 60.0, 0.1, epoch=2016.0, folder=tmp_path)) == 2
    assert len(gaia.asked) == 3


def test_a_silent_gaia_is_not_waited_for_for_ever(gaia: Gaia) -> None:
    gaia.mood["silent"] = 2.0
    url = os.environ["WEBBMOSAIC_GAIA_URL"]
    with pytest.raises(ArchiveError, match="did not come to an end within 0 s"):
        tap.ask(url, "SELECT", columns=(), tell=print, patience=0.2)


def test_no_gaia(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("webbmosaic.archives.transport.time.sleep", lambda _: None)
    monkeypatch.setenv("WEBBMOSAIC_GAIA_URL", "http://127.0.0.1:9")
    with pytest.raises(ArchiveError, match=r"127\.0\.0\.1:9 does not answer"):
        gaia_cone(150.0, 60.0, 0.1, epoch=2016.0, folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def call_gaia(*arguments: object) -> Any:
    return CliRunner().invoke(refcat, ["gaia", *map(str, arguments)])


def test_images_of_several_epochs_get_one_and_are_told(
    gaia: Gaia, tmp_path: Path
) -> None:
    images = [make_image(tmp_path / f"{n}.fits", 150.0, 60.0) for n in (1, 2)]
    for image, mjd in zip(images, (59000.0, 61000.0), strict=True):
        fits.setval(image, "MJD-AVG", value=mjd, ext=1)
    out = tmp_path / "out.ecsv"
    result = call_gaia(*images, "-o", out)
    assert result.exit_code == 0, result.output
    assert "fastest by 612" in result.stderr
    written = Table.read(out)
    assert written.meta["epoch"] == pytest.approx(2000 + (60000 - 51544.5) / 365.25)
    assert "several" not in call_gaia(images[0], "-o", out).stderr


def test_an_image_without_a_date_needs_an_epoch(gaia: Gaia, tmp_path: Path) -> None:
    image = make_image(tmp_path / "i.fits", 150.0, 60.0)
    fits.delval(image, "DATE-OBS")
    out = tmp_path / "out.ecsv"
    error = call_gaia(image, "-o", out).exception
    assert isinstance(error, InputError)
    assert "i.fits: has no date" in str(error)
    assert call_gaia(image, "-o", out, "--epoch", "2023.5").exit_code == 0
    for bad in ("nan", "inf", "20235"):
        assert call_gaia(image, "-o", out, "--epoch", bad).exit_code == 2


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffRAJ2000;DEJ2000;mag\n150.1;2.2;20\n",
        "ra;dec;mag\n150,1;2,2;20\n",
        "_RAJ2000\t_DEJ2000\n150.1\t2.2\n",
        "#VizieR\nRAJ2000;DEJ2000;mag\ndeg;deg;mag\n---;---;---\n150.1;2.2;20\n",
        "RAJ2000;DEJ2000\n10 00 24.0;+02 12 00\n",
        'id,sky_centroid\n1,"150.1,2.2"\n',
        "sky_centroid.ra,sky_centroid.dec\n150.1,2.2\n",
        'ra,dec\n150.1,2.2\n"",""\n',
    ],
)
def test_csv_of_any_making(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.csv"
    path.write_text(text, encoding="utf-8")
    found = read_catalog(path)
    np.testing.assert_allclose(found["RA"], [150.1])
    np.testing.assert_allclose(found["DEC"], [2.2])
    if "mag" in text:
        assert list(found["mag"]) == [20]


def test_the_pipelines_own_catalogues_are_read(tmp_path: Path) -> None:
    sky = SkyCoord([150.1, 150.2], [2.1, 2.2], unit="deg")
    QTable({"label": [1, 2], "sky_centroid": sky}).write(tmp_path / "c.ecsv")
    found = read_catalog(tmp_path / "c.ecsv")
    assert found.colnames == ["RA", "DEC", "ID"]
    np.testing.assert_allclose(found["RA"], [150.1, 150.2])


def test_motions_are_applied_where_their_epoch_is_known() -> None:
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


def test_a_catalogue_of_the_pipeline_is_read(tmp_path: Path) -> None:
    """A mosaic's _cat.ecsv has one column of coordinates."""
    from astropy.coordinates import SkyCoord

    ra, dec = np.array([150.1, 150.2]), np.array([2.1, 2.2])
    table = Table({"label": [1, 2], "sky_centroid": SkyCoord(ra, dec, unit="deg")})
    table["sky_bbox_ll"] = SkyCoord(ra + 1, dec, unit="deg")
    table.write(tmp_path / "x_cat.ecsv")
    found = read_catalog(tmp_path / "x_cat.ecsv")
    np.testing.assert_allclose(found["RA"], ra)
    np.testing.assert_allclose(found["DEC"], dec)
