import subprocess
import sys

import pytest
from astropy.table import Table
from click.testing import CliRunner

from webbmosaic.archives.download import LAYOUT
from webbmosaic.cli.archive import download, query
from webbmosaic.cli.archive_view import Listing, show
from webbmosaic.errors import ArchiveError, UsageError

DATASET = "jw01345002001_14201_00001_nrcb4"


@pytest.fixture
def ceers(mast):
    for detector in ("nrcb4", "nrcblong"):
        for suffix in ("uncal", "rate"):
            mast.holdings.add(
                f"jw01345002001_14201_00001_{detector}_{suffix}.fits",
                opticalElements="F200W;F444W;CLEAR",
            )
    mast.holdings.add(
        "jw01345003001_02101_00001_nrs1_uncal.fits",
        exp_type="NRS_MSASPEC",
        instrume="NIRSPEC",
    )
    mast.holdings.add(
        "jw01345004001_02101_00001_nis_uncal.fits",
        exp_type="NIS_WFSS",
        instrume="NIRISS",
    )
    return mast


def call(command, *arguments):
    return CliRunner().invoke(command, [str(a) for a in arguments])


def lines(result):
    return [line.split() for line in result.stdout.splitlines() if line.strip()]


def test_exposures_are_summed_up(ceers):
    result = call(query, "CEERS")
    assert result.exit_code == 0
    assert lines(result)[1][:6] == [
        "01345",
        "002",
        "NIRCAM",
        "F200W",
        "F444W",
        "NRC_IMAGE",
    ]
    assert "1 exposure, 0.03 h" in result.stdout
    assert "Left out: 2 of type NIS_WFSS, NRS_MSASPEC" in result.stderr


def test_every_exposure_can_be_listed(ceers):
    shown = call(query, "1345", "--exposures", "--exp-type", "all")
    assert shown.stdout.count("jw0134500") == 3
    assert "3 exposures" in shown.stdout


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--grism"], 2),
        (["--only-grism"], 1),
        (["--no-grism"], 1),
        (["--exp-type", "NRS_MSASPEC,NRC_IMAGE"], 2),
        (["--exp-type", "all", "--instrument", "nirspec"], 1),
        (["--obs", "obs002"], 1),
        (["--obs", "2,3", "--visit", "1", "--after", "2022-12-24"], 1),
    ],
)
def test_options_choose_exposures(ceers, options, count):
    result = call(query, "1345", *options)
    assert f"{count} exposure" in result.stdout, result.output


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ([], ["nrcb4_uncal", "nrcblong_uncal"]),
        (["--suffix", "rate"], ["nrcb4_rate", "nrcblong_rate"]),
        (
            ["--calib-level", "1,2", "--detector", "nrcb4"],
            ["nrcb4_rate", "nrcb4_uncal"],
        ),
        (["--filter", "F444W"], ["nrcblong_uncal"]),
        (["--dataset", "*_nrcb4"], ["nrcb4_uncal"]),
        (
            ["--dataset", DATASET, "--dataset", "nrcblong"],
            ["nrcb4_uncal", "nrcblong_uncal"],
        ),
    ],
)
def test_options_choose_files(ceers, options, names):
    result = call(query, "1345", "--files", *options)
    shown = [row[0] for row in lines(result) if row[0].startswith("jw")]
    assert shown == [f"jw01345002001_14201_00001_{name}.fits" for name in names]
    assert f"{len(names)} file" in result.stdout


@pytest.mark.parametrize(
    ("options", "count"),
    [
        (["--filter", "F444W"], 1),
        (["--before", "20221220"], 0),
        (["--after", "20221220"], 1),
        (["--after", "2022-12-24T12:30+02:00"], 0),
    ],
)
def test_filters_and_dates_choose_exposures(ceers, options, count):
    ceers.holdings.rows[0]["opticalElements"] = "F200W"
    result = call(query, "1345", *options)
    assert (f"{count} exposure," in result.stdout) == bool(count), result.output
    assert bool(result.exit_code) != bool(count)


def test_sizes_that_are_not_known_are_said(ceers, tmp_path):
    ceers.holdings.products[0]["size"] = None
    assert "2 files, at least 20.2 kB" in call(query, "1345", "--files").stdout
    shown = call(download, "1345", "--download-dir", tmp_path, "-n").stdout
    assert "2 to fetch (at least 20.2 kB)" in shown


def test_a_position_may_be_south(ceers):
    ceers.holdings.rows[0].update(targ_ra=53.16, targ_dec=-27.78)
    result = call(query, "53.16", "-27.78", "--radius", "1")
    assert "1 exposure" in result.stdout, result.output


def test_previews_and_lists_come_when_asked_for(mast):
    mast.holdings.add(f"{DATASET}_uncal.fits")
    thumb, pool = f"{DATASET}_uncal_thumb.jpg", f"{DATASET[:-6]}_asn.json"
    fileset = DATASET[:-6]
    mast.holdings.add(thumb, b"x", fileset=fileset, product={"type": "preview"})
    mast.holdings.add(pool, b"x", fileset=fileset, product={"type": "info"})
    names = [
        [row[0] for row in lines(call(query, "1345", "--files", *options))[1:-1]]
        for options in ([], ["--preview"], ["--auxiliary"])
    ]
    uncal = f"{DATASET}_uncal.fits"
    assert names == [[uncal], [uncal, thumb], [pool, uncal]]


@pytest.mark.parametrize("suffix", ["ecsv", "csv"])
def test_lists_are_saved(ceers, tmp_path, suffix):
    path = tmp_path / f"list.{suffix}"
    assert call(query, "1345", "--files", "--save", path).exit_code == 0
    table = Table.read(path, format=f"ascii.{suffix}")
    assert list(table["name"]) == [
        f"{DATASET}_uncal.fits",
        f"{DATASET[:-1]}long_uncal.fits",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["1345", "--filer", "F200W"], "No such option '--filer'"),
        (["1345", "--obs", "two"], "'two' is no number"),
        (["1345", "--obs", "²"], "'²' is no number"),
        (["1345", "--radius", "nan"], "no number to reckon with"),
        (["1345", "--before", "2022-13-01"], "no date such as"),
        (["1345", "--after", "yesterday"], "no date such as"),
        (["1345", "--save", "list.txt"], "must end in .ecsv or .csv"),
        (["1345", "--radius", "-1"], "not in the range"),
        (["1345", "--instrument", "hst"], "'hst' is not one of nircam, miri"),
        (["1345", "--detector", "nrca9"], "'nrca9' is not one of"),
        (["1345", "--calib-level", "7"], "'7' is not one of"),
    ],
)
def test_mistakes_are_explained(ceers, arguments, message):
    result = call(query, *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert not ceers.holdings.requests


def test_nothing_asked_and_nothing_found_are_errors(ceers):
    assert isinstance(call(query).exception, UsageError)
    empty = call(query, "1837")
    assert isinstance(empty.exception, ArchiveError)
    assert "too strict" in str(empty.exception)


def test_a_download_shows_what_it_would_do(ceers, tmp_path):
    for option in ("--dry-run", "--no-download"):
        result = call(download, DATASET, "--download-dir", tmp_path, option)
        assert f"{DATASET}/{DATASET}_uncal.fits" in result.stdout
        assert "1 file, 20.2 kB; 0 are there, 1 to fetch (20.2 kB)" in result.stdout
    assert not list(tmp_path.iterdir())


def test_a_download_fetches_once(ceers, tmp_path):
    result = call(download, DATASET, "-C", tmp_path)
    assert result.exit_code == 0, result.output
    assert "1 file fetched, 0 failed" in result.stdout
    assert f"[1/1] {DATASET}_uncal.fits 20.2 kB" in result.stderr
    assert (tmp_path / LAYOUT / DATASET / f"{DATASET}_uncal.fits").is_file()
    again = call(download, DATASET, "-C", tmp_path)
    assert "1 are there, 0 to fetch" in again.stdout
    redo = call(download, DATASET, "-C", tmp_path, "--redo")
    assert "1 file fetched" in redo.stdout


def test_a_query_may_download(ceers, tmp_path):
    result = call(
        query, "1345", "--calib-level", "1", "--download", "--download-dir", tmp_path
    )
    assert "2 files fetched" in result.stdout, result.output
    saved = tmp_path / "list.csv"
    call(query, "1345", "--download", "-n", "--save", saved, "--download-dir", tmp_path)
    assert saved.is_file()


def test_a_failed_file_makes_the_exit_status_one(ceers, tmp_path):
    ceers.holdings.exclusive.add(f"{DATASET[:-6]}/{DATASET}_uncal.fits")
    result = call(download, "1345", "-C", tmp_path)
    assert result.exit_code == 1
    assert "MAST_API_TOKEN" in result.stderr
    assert "1 file fetched, 1 failed" in result.stdout


def test_files_that_fail_alike_share_a_line(mast, tmp_path):
    for index in range(1, 6):
        name = f"jw01345002001_14201_{index:05d}_nrcb4_uncal.fits"
        uri = mast.holdings.add(name)["uri"]
        mast.holdings.exclusive.add(uri)
    failed = call(download, "1345", "-C", tmp_path).stderr.splitlines()
    assert len(failed) == 1
    assert "and 2 more: exclusive-access data (HTTP 401)" in failed[0]


def test_a_traceback_would_not_show_the_token(ceers, tmp_path, monkeypatch):
    monkeypatch.setenv("MAST_API_TOKEN", "very-secret")
    ceers.holdings.exclusive.add(f"{DATASET[:-6]}/{DATASET}_uncal.fits")
    result = call(download, "1345", "-C", tmp_path)
    assert "very-secret" not in result.output
    texts = [p.read_text() for p in tmp_path.rglob("*.json*")]
    assert texts
    assert not any("very-secret" in text for text in texts)


def test_tables_are_framed_on_a_terminal(monkeypatch, capsys):
    listing = Listing(("Name", "Number"), right=("Number",), rows=[["[b]x[/b]", "1"]])
    show(listing)
    plain = capsys.readouterr().out
    assert plain == "Name      Number\n[b]x[/b]       1\n"
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    show(listing)
    framed = capsys.readouterr().out
    assert "[b]x[/b]" in framed
    assert "─" in framed


def test_the_surveys_are_listed():
    shown = lines(call(query, "--surveys"))
    assert ["UNCOVER", "2561", "Bezanson"] in [row[:3] for row in shown]


def test_archive_text_is_no_markup(ceers):
    ceers.holdings.rows[0]["targprop"] = "[red]M[/red] 83"
    assert "[red]M[/red] 83" in call(query, "1345").stdout


def test_help_needs_nothing_heavy():
    code = (
        "import sys\n"
        "from webbmosaic.cli.root import webbmosaic\n"
        "webbmosaic.main(['download', '--help'], standalone_mode=False)\n"
        "print(sorted({'numpy', 'astropy', 'requests', 'rich.console'}"
        " & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
