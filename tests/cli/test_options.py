"""Lists and wildcards of names."""

import pytest

from webbmosaic.cli.options import expanded
from webbmosaic.errors import UsageError


def test_lists_and_wildcards(tmp_path, monkeypatch):
    for name in ("b_cal.fits", "a_cal.fits", "c.txt"):
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.txt").write_text("# mine\nx_cal.fits  # the best\n\n*_cal.fits\n")
    assert expanded(["@list.txt", "y"]) == [
        "x_cal.fits",
        "a_cal.fits",
        "b_cal.fits",
        "y",
    ]
    assert expanded([str(tmp_path / "a*")]) == [str(tmp_path / "a_cal.fits")]
    with pytest.raises(UsageError, match="no such list"):
        expanded(["@none.txt"])
    with pytest.raises(UsageError, match="nothing is called so"):
        expanded(["z*"])
