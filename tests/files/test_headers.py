"""Headers are read as astropy reads them, and broken files are named."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from webbmosaic.errors import InputError
from webbmosaic.files.headers import (
    NEEDED_KEYWORDS,
    check_whole,
    read_header,
    read_headers,
    scan_headers,
)

NUMBERS = dict.fromkeys(
    ["NGROUPS", "NFRAMES", "GROUPGAP", "FASTAXIS", "SLOWAXIS", "SUBSTRT1", "SUBSTRT2"],
    1,
) | {"NGROUPS": 2, "TGROUP": 10.7, "TFRAME": 1.5e-3, "EFFEXPTM": 42.5}
TEXTS = {
    "DATE-OBS": "2023-01-02",
    "TIME-OBS": "03:04:05.678",
    "INSTRUME": "NIRCAM",
    "DETECTOR": "NRCB1",
    "FILTER": "F200W",
    "PUPIL": "CLEAR",
    "SUBARRAY": "SUB160",
    "READPATT": "BRIGHT1",
    "EXP_TYPE": "NRC_IMAGE",
}
POINTING = dict.fromkeys(
    ["V2_REF", "V3_REF", "VPARITY", "V3I_YANG", "RA_REF", "DEC_REF", "ROLL_REF"], -1.25
)


def make(path: Path, *, drop: str = "", asdf: bool = True, **extra: object) -> Path:
    """Write a small file with the structure of an uncal."""
    primary = fits.PrimaryHDU()
    sci = fits.ImageHDU(np.zeros((1, 2, 4, 8), "uint16"), name="SCI")
    keywords = {**TEXTS, **NUMBERS, "SUBSIZE1": 8, "SUBSIZE2": 4, **extra}
    primary.header.update(keywords)
    sci.header.update(POINTING)
    units = [primary, sci, fits.ImageHDU(np.zeros((2, 3)), name="GROUP")]
    table = np.zeros(1, dtype=[("ASDF_METADATA", "u1", (5000,))])
    units += [fits.BinTableHDU(table, name="ASDF")] if asdf else []
    for unit in units:
        unit.header.remove(drop, ignore_missing=True)
    fits.HDUList(units).writeto(path)
    return path


@pytest.fixture
def uncal(tmp_path: Path) -> Path:
    return make(tmp_path / "jw01345001001_02101_00001_nrcb1_uncal.fits")


def test_values_are_those_astropy_reads(tmp_path: Path) -> None:
    extra = {
        "TITLE": "O'Hara's 'deep' field / and more",
        "S_REGION": "POLYGON ICRS " + " ".join(f"{n}.123456789" for n in range(30)),
        "EMPTY": "",
        "TSOVISIT": True,
        "ZEROFRAM": False,
        "TINY": 1.5e-12,
        "NEGATIVE": -32768,
    }
    path = make(tmp_path / "file.fits", **extra)
    header = read_header(path)
    expected = {**fits.getheader(path, "SCI"), **fits.getheader(path, 0)}
    assert {k: header[k] for k in extra} == extra
    assert {k: v for k, v in expected.items() if header.get(k) != v} == {}
    assert header["NAXIS1"] == 8
    assert type(header["TSOVISIT"]) is bool
    assert type(header["NGROUPS"]) is int


def test_fortran_exponents_and_undefined_values(uncal: Path) -> None:
    data = bytearray(uncal.read_bytes())
    for name, value in {b"TGROUP": b"1.5D+01", b"GROUPGAP": b""}.items():
        at = data.index(name.ljust(8) + b"= ")
        data[at + 10 : at + 80] = value.ljust(70)
    uncal.write_bytes(data)
    with pytest.raises(InputError, match="keyword GROUPGAP"):
        read_header(uncal)
    at = data.index(b"GROUPGAP= ") + 10
    data[at : at + 1] = b"0"
    uncal.write_bytes(data)
    assert read_header(uncal)["TGROUP"] == 15.0


def test_a_long_header_is_read_to_its_end(tmp_path: Path) -> None:
    extra = {f"KEY{n}": n for n in range(2500)}
    header = read_header(make(tmp_path / "long.fits", **extra))
    assert header["KEY2499"] == 2499
    assert header["V2_REF"] == -1.25


def test_many_keep_their_order(tmp_path: Path) -> None:
    paths = [make(tmp_path / f"{n}.fits", EXPOSURE=n) for n in range(20)]
    assert [h["EXPOSURE"] for h in read_headers(paths)] == list(range(20))


@pytest.mark.parametrize("keyword", [*NEEDED_KEYWORDS, "EXP_TYPE", "PUPIL"])
def test_a_missing_keyword_is_named(tmp_path: Path, keyword: str) -> None:
    path = make(tmp_path / "file.fits", drop=keyword)
    with pytest.raises(InputError, match=rf"file\.fits.*the keyword {keyword}[,. ]"):
        read_header(path)


def test_spectra_need_not_have_what_images_need(tmp_path: Path) -> None:
    path = make(tmp_path / "file.fits", drop="FILTER", EXP_TYPE="NRS_FIXEDSLIT")
    assert read_header(path)["EXP_TYPE"] == "NRS_FIXEDSLIT"


def test_miri_has_no_pupil(tmp_path: Path) -> None:
    path = make(
        tmp_path / "f.fits", drop="PUPIL", EXP_TYPE="MIR_IMAGE", INSTRUME="MIRI"
    )
    assert "PUPIL" not in read_header(path)


def test_every_cut_is_noticed(uncal: Path) -> None:
    data = uncal.read_bytes()
    for size in range(0, len(data), 1000):
        uncal.write_bytes(data[:size])
        with pytest.raises(InputError, match=r"truncated|empty|not a FITS|no .* ext"):
            read_header(uncal)
    uncal.write_bytes(data[:-1])
    with pytest.raises(InputError, match=f"{len(data) - 1} bytes.*promise {len(data)}"):
        check_whole(uncal)
    uncal.write_bytes(data)
    check_whole(uncal)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"<html>Not authorized</html>", "not a FITS file.*<html>"),
        (b"x" * 100_000, "not a FITS file"),
        (b"SIMPLE  =                    T".ljust(9_000_000), "inside a header"),
        (b"SIMPLE  =                    T".ljust(80) + b"END".ljust(2800), "NAXIS"),
    ],
)
def test_other_things_are_told_apart(
    tmp_path: Path, content: bytes, words: str
) -> None:
    path = tmp_path / "odd_uncal.fits"
    path.write_bytes(content)
    with pytest.raises(InputError, match=rf"(?s)odd_uncal\.fits.*{words}"):
        read_header(path)


def test_something_appended_or_prepended(uncal: Path) -> None:
    data = uncal.read_bytes()
    uncal.write_bytes(data + b"junk")
    with pytest.raises(
        InputError, match=f"no FITS extension starts at byte {len(data)}"
    ):
        check_whole(uncal)
    uncal.write_bytes(b"junk" + data)
    with pytest.raises(InputError, match="not a FITS file"):
        check_whole(uncal)


def test_no_asdf(tmp_path: Path) -> None:
    path = make(tmp_path / "plain.fits", asdf=False)
    with pytest.raises(InputError, match="no ASDF extension"):
        read_header(path)
    check_whole(path)


def test_missing_files_folders_and_dead_links(tmp_path: Path) -> None:
    link = tmp_path / "link.fits"
    link.symlink_to(tmp_path / "gone.fits")
    with pytest.raises(InputError, match="a link to a file that is gone"):
        read_header(link)
    with pytest.raises(InputError, match="No such file"):
        read_header(tmp_path / "absent.fits")
    with pytest.raises(InputError, match="directory"):
        read_header(tmp_path)


def test_scan_goes_on(tmp_path: Path, uncal: Path) -> None:
    bad = tmp_path / "bad.fits"
    bad.write_bytes(b"")
    headers, problems = scan_headers([bad, uncal])
    assert list(headers) == [uncal]
    assert list(problems) == [bad]
    with pytest.raises(InputError, match="is empty"):
        read_headers([uncal, bad])


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("RA_REF", 1e30),
        ("TGROUP", 0.0),
        ("TGROUP", -1.0),
        ("EFFEXPTM", -5.0),
        ("NGROUPS", 0),
        ("NGROUPS", 99),
        ("NGROUPS", "three"),
        ("SUBSIZE1", 2048),
        ("DATE-OBS", "2023-99-99"),
        ("TIME-OBS", "noon"),
        ("INSTRUME", "MIRI"),
    ],
)
def test_what_cannot_be_is_named(tmp_path, keyword, value):
    path = make(tmp_path / "jw01345001001_02101_00001_nrcb1_uncal.fits")
    with fits.open(path, mode="update") as hdus:
        for unit in hdus:
            if keyword in unit.header:
                unit.header[keyword] = value
    with pytest.raises(InputError, match=f"{keyword} = "):
        read_header(path)


def test_a_pipe_is_not_waited_for(tmp_path):
    import os

    path = tmp_path / "jw01345001001_02101_00001_nrcb1_uncal.fits"
    os.mkfifo(path)
    with pytest.raises(InputError, match="no regular file"):
        read_header(path)
