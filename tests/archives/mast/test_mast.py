import os
import subprocess
import sys

import pytest

from webbmosaic.archives import mast as module
from webbmosaic.archives.holdings import exposure_table, product_table
from webbmosaic.archives.mast import list_products, search, with_filters
from webbmosaic.archives.selection import Selection
from webbmosaic.archives.transport import Archive
from webbmosaic.errors import ArchiveError

CEERS = Selection(programs=("01345",))


def fill(mast, exposures, *, program="01345", **row):
    for index in range(exposures):
        name = f"jw{program}{index % 3 + 1:03d}001_14201_{index + 1:05d}"
        mast.holdings.add(f"{name}_nrca1_uncal.fits", b"x" * 10, **row)


def test_exposures_are_found_and_read(mast):
    fill(mast, 1, opticalElements="F150W2;F162M")
    fill(mast, 1, program="01837")
    (one,) = search(mast.client(), CEERS)
    assert one.name == "jw01345001001_14201_00001"
    assert (one.program, one.observation, one.visit) == ("01345", "001", "001")
    assert (one.instrument, one.exposure_type) == ("NIRCAM", "NRC_IMAGE")
    assert one.elements == ("F162M",)
    assert one.date == "2022-12-24T10:00:00"
    assert (one.duration, one.target, one.ra) == (100.5, "EGS", 214.9)
    assert (one.access, one.release) == ("PUBLIC", "2022-12-25")


@pytest.mark.parametrize("announced", [lambda total: total, lambda total: None])
def test_all_pages_are_turned(mast, monkeypatch, announced):
    monkeypatch.setattr(module, "PAGE", 10)
    mast.holdings.page_limit = 7
    mast.holdings.announce = announced
    fill(mast, 25)
    heard = []
    found = search(mast.client(), CEERS, told=lambda *counts: heard.append(counts))
    assert len(found) == 25
    assert heard[-1][0] == 25


def test_fewer_rows_than_announced_are_an_error(mast):
    mast.holdings.announce = lambda total: total + 1
    fill(mast, 3)
    with pytest.raises(ArchiveError, match="announced 4 rows but gave 3"):
        search(mast.client(), CEERS)


def test_an_archive_that_gives_page_one_for_ever_is_an_error(mast):
    fill(mast, 10)
    mast.holdings.page_limit = 5
    mast.holdings.turns_pages = False
    with pytest.raises(ArchiveError, match="announced 10 rows but gave 5"):
        search(mast.client(), CEERS)


def test_rows_that_are_alike_are_counted(mast, monkeypatch):
    monkeypatch.setattr(module, "PAGE", 4)
    mast.holdings.page_limit = 3
    fill(mast, 4)
    mast.holdings.rows = [row for row in mast.holdings.rows for _ in range(2)]
    for row in mast.holdings.rows:
        row.pop("ArchiveFileID", None)
    assert len(search(mast.client(), CEERS)) == 4


def test_several_programs_and_a_position_are_searched(mast):
    fill(mast, 2)
    fill(mast, 2, program="01837", targ_ra=34.4, targ_dec=-5.2)
    both = Selection(programs=("1345", "1837"))
    assert len(search(mast.client(), both)) == 4
    cone = Selection(position=(34.41, -5.2), radius=2.0)
    assert {e.program for e in search(mast.client(), cone)} == {"01837"}


def test_what_the_archive_does_not_sort_out_is_sorted_out_here(mast):
    fill(mast, 6)
    chosen = Selection(programs=("1345",), observations=("1", "3"))
    assert {e.observation for e in search(mast.client(), chosen)} == {"001", "003"}


def test_no_exposures_are_no_error(mast):
    assert search(mast.client(), CEERS) == []


def test_files_are_listed_in_batches(mast, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 4)
    fill(mast, 10)
    found = search(mast.client(), CEERS)
    heard = []
    products, bare = list_products(
        mast.client(), found, CEERS, told=lambda *counts: heard.append(counts)
    )
    assert len(products) == 10
    assert bare == []
    assert heard == [(4, 10), (8, 10), (10, 10)]
    assert len(mast.holdings.paths("/search/jwst/api/v0.1/post_list")) == 3


def test_files_are_listed_once_and_missing_ones_are_told(mast):
    fill(mast, 2)
    mast.holdings.products.append(mast.holdings.products[0])
    found = search(mast.client(), CEERS)
    mast.holdings.products.pop(1)
    products, bare = list_products(mast.client(), found, CEERS)
    assert [p.size for p in products] == [10]
    assert bare == [found[1].name]


@pytest.mark.parametrize("name", ["../../x_uncal.fits", None, "", ["x"]])
def test_a_file_without_a_safe_name_is_left_out_and_told(mast, name):
    fill(mast, 3)
    mast.holdings.products[1]["filename"] = name
    mast.holdings.products[1]["uri"] = None
    mast.holdings.products.append({"dataset": mast.holdings.rows[0]["fileSetName"]})
    told = []
    client = Archive(mast.url, tell=told.append)
    found = search(client, CEERS)
    products, _ = list_products(client, found, CEERS)
    assert len(products) == 2
    assert told == ["Left out: 2 files to which MAST gives no safe name"]


def test_an_exposure_without_a_name_is_left_out_and_told(mast):
    fill(mast, 3)
    mast.holdings.rows[1]["fileSetName"] = None
    told = []
    client = Archive(mast.url, tell=told.append)
    assert len(search(client, CEERS)) == 2
    assert told == ["Left out: 1 exposure to which MAST gives no name"]


@pytest.mark.parametrize("announced", ["25", 25.0])
def test_a_number_of_rows_may_be_a_text(mast, monkeypatch, announced):
    monkeypatch.setattr(module, "PAGE", 10)
    fill(mast, 25)
    mast.holdings.announce = lambda total: announced
    assert len(search(mast.client(), CEERS)) == 25
    mast.holdings.rows[10:] = []
    with pytest.raises(ArchiveError, match="announced 25 rows but gave 10"):
        search(mast.client(), CEERS)


@pytest.mark.parametrize("rows", [10, 20])
def test_nothing_after_a_full_page_is_the_end_only_if_it_is(mast, monkeypatch, rows):
    monkeypatch.setattr(module, "PAGE", 10)
    mast.holdings.announce = lambda total: None
    fill(mast, rows)
    assert len(search(mast.client(), CEERS)) == rows
    mast.holdings.turns_pages = False
    with pytest.raises(ArchiveError, match="gave 10 rows, then none"):
        search(mast.client(), CEERS)


def test_the_list_of_files_decides_on_filters(mast):
    for detector, used in (("nrcb4", "F200W"), ("nrcblong", "F444W")):
        name = f"jw01345001001_14201_00001_{detector}_uncal.fits"
        mast.holdings.add(
            name, b"x", opticalElements="F200W", product={"filters": used}
        )
    fill(mast, 1, program="01837")
    mast.holdings.products[-1]["filters"] = "F200W;CLEAR"
    wanted = Selection(programs=("1345", "1837"), filters=("f444w",))
    found = search(mast.client(), wanted)
    assert len(found) == 2
    products, _ = list_products(mast.client(), found, wanted)
    assert [p.detector for p in products] == ["nrcblong"]
    (kept,) = with_filters(mast.client(), found, wanted)
    assert kept.elements == ("F200W", "F444W")
    mast.holdings.requests.clear()
    with_filters(mast.client(), found, Selection(filters=("F200W",)))
    assert not mast.holdings.requests


def test_a_file_of_unknown_filter_goes_with_its_channel(mast):
    for detector in ("nrcb4", "nrcblong"):
        mast.holdings.add(
            f"jw01345001001_14201_00001_{detector}_uncal.fits", opticalElements="F200W"
        )
    found = search(mast.client(), CEERS)
    for filters, detectors in (("F200W", ["nrcb4"]), ("F444W", ["nrcblong"])):
        wanted = Selection(filters=(filters,))
        products, _ = list_products(mast.client(), found, wanted)
        assert [p.detector for p in products] == detectors


@pytest.mark.parametrize(
    ("date", "read"),
    [
        ("2022-12-24T10:00:00.0000000", "2022-12-24T10:00:00"),
        ("2022-12-24 23:30:00-05:00", "2022-12-25T04:30:00"),
        ("20221224", "2022-12-24T00:00:00"),
        ("59937.5", "2022-12-24T12:00:00"),
        ("inf", ""),
        ("1e300", ""),
        ("soon", ""),
        (None, ""),
    ],
)
def test_dates_of_any_making(mast, date, read):
    fill(mast, 1, date_obs=date)
    (one,) = search(mast.client(), CEERS)
    assert one.date == read


def test_exposures_without_a_date_are_told_where_dates_choose(mast):
    fill(mast, 3)
    mast.holdings.rows[0]["date_obs"] = None
    told = []
    client = Archive(mast.url, tell=told.append)
    wanted = Selection(programs=("1345",), after="2022-12-24")
    assert len(search(client, wanted)) == 2
    assert told == ["Left out: 1 exposure to which MAST gives no date"]


def test_infinite_numbers_are_no_numbers(mast):
    fill(mast, 1, duration=float("inf"))
    mast.holdings.products[0]["size"] = float("inf")
    (one,) = search(mast.client(), CEERS)
    assert one.duration != one.duration
    assert list_products(mast.client(), [one], CEERS)[0][0].size is None


@pytest.mark.parametrize(
    "raw",
    [
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"results": [[1, 2]], "info": []}',
        b'{"results": [[1, 2]]}',
        b'{"results": [5], "info": [{"name": "a"}]}',
        b'{"results": 5}',
        b'{"products": {"a": 1}}',
        b"[]",
        b"<html>",
    ],
)
def test_no_answer_is_a_traceback(mast, raw):
    fill(mast, 1)
    found = search(mast.client(), CEERS)
    mast.holdings.raw = raw
    for ask in (search, lambda *a: list_products(a[0], found, a[1])):
        with pytest.raises(ArchiveError, match="MAST's answer is"):
            ask(mast.client(), CEERS)


def test_control_characters_do_not_reach_the_terminal(mast):
    fill(mast, 1, targprop="\x1b[31mred\x07")
    (one,) = search(mast.client(), CEERS)
    assert one.target == "[31mred"


def test_busy_and_executing_archives_are_waited_for(mast):
    fill(mast, 1)
    mast.holdings.executing = 2
    mast.holdings.busy = 1
    assert len(search(mast.client(), CEERS)) == 1


def test_a_foreign_answer_is_a_sentence(mast):
    fill(mast, 1)
    del mast.holdings.rows[0]["fileSetName"]
    with pytest.raises(ArchiveError, match="not understood"):
        search(mast.client(), CEERS)


@pytest.mark.parametrize(
    ("status", "message"), [(401, "MAST_API_TOKEN"), (404, "HTTP 404"), (400, "search")]
)
def test_a_refused_search_is_a_sentence(mast, status, message):
    mast.holdings.refuses = status
    with pytest.raises(ArchiveError, match=message):
        search(mast.client(), CEERS)


def test_no_archive_is_a_sentence(monkeypatch):
    def session_guard(self, session, **options):
        original(self, session, retries=0)

    original = Archive.guard
    monkeypatch.setattr(Archive, "guard", session_guard)
    with pytest.raises(
        ArchiveError, match="cannot be asked: the connection was refused"
    ):
        search(Archive("http://127.0.0.1:9"), CEERS)


def test_tables_have_units(mast):
    fill(mast, 2)
    found = search(mast.client(), CEERS)
    table = exposure_table(found)
    assert table["duration"].unit == "s"
    assert list(table["program"]) == ["01345", "01345"]
    products, _ = list_products(mast.client(), found, CEERS)
    assert product_table(products)["size"].unit == "byte"


def test_astroquery_s_own_configuration_is_heard(mast, tmp_path):
    fill(mast, 1)
    config = tmp_path / "astropy" / "astroquery.cfg"
    config.parent.mkdir()
    config.write_text(f"[mast]\nserver = {mast.url}\n")
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path)}
    del environment["WEBBMOSAIC_MAST_URL"]
    done = subprocess.run(
        [sys.executable, "-m", "webbmosaic.cli", "query", "1345"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "1 exposure," in done.stdout
    assert mast.holdings.paths("/search/jwst")
