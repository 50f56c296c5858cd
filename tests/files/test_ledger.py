"""The ledger: when a product is current, and why it is not."""

import dataclasses
import os
import shutil

import pytest

from webbmosaic.files import ledger
from webbmosaic.files.current import Contents, Wanted, refreshed, why_stale
from webbmosaic.files.ledger import (
    Record,
    failure_beside,
    keep,
    last_record,
    read_record,
    write_record,
)

SETTINGS = {"sky": {"enabled": True, "subtract": True}}


@pytest.fixture
def made(tmp_path):
    """A product with its record."""
    source, product = tmp_path / "in.fits", tmp_path / "out.fits"
    source.write_text("raw")
    product.write_text("done")
    contents = Contents(tmp_path)
    record = Record(
        stage="stage2",
        owner="x",
        outcome="done",
        inputs=[contents.mark(source)],
        outputs=[contents.mark(product)],
        settings=SETTINGS,
        versions=ledger.versions(),
        context="jwst_0001.pmap",
    )
    return source, product, record


def wanted(made, **changes):
    source, product, _ = made
    plain = Wanted([source], [product], (), SETTINGS, "jwst_0001.pmap")
    return dataclasses.replace(plain, **changes)


def stale(made, asked=None, **changes):
    record = dataclasses.replace(made[2], **changes)
    return why_stale(record, asked or wanted(made), Contents(made[0].parent))


def test_a_record_survives_the_round_trip(made, tmp_path):
    path = tmp_path / "state" / "stage2.json"
    write_record(path, made[2])
    assert read_record(path) == made[2]


def test_no_record_or_a_broken_one_means_not_done(made, tmp_path):
    path = tmp_path / "stage2.json"
    assert read_record(path) is None
    for text in ('{"stage": ', "[]", "{}", "\xff"):
        path.write_text(text)
        assert read_record(path) is None
    assert why_stale(None, wanted(made), Contents(tmp_path)) == "not done yet"


def test_what_has_not_changed_is_current(made):
    assert stale(made) is None


def test_a_touched_file_with_the_same_content_is_current_and_noted(made):
    os.utime(made[0], (1, 1))
    contents = Contents(made[0].parent)
    assert why_stale(made[2], wanted(made), contents) is None
    new = refreshed(made[2], contents)
    assert new.inputs[0].mtime_ns == 10**9
    assert new.inputs[0].sha256 == made[2].inputs[0].sha256


def test_a_folder_that_is_copied_or_moved_stays_current(made, tmp_path):
    there = tmp_path / "elsewhere"
    there.mkdir()
    for path in made[:2]:
        shutil.copy2(path, there)
    moved = (there / "in.fits", there / "out.fits", made[2])
    assert stale(moved) is None


def test_a_changed_input(made):
    made[0].write_text("new")
    assert stale(made) == "in.fits has changed"


def test_the_same_size_and_time_with_other_content_is_a_change(made):
    before = made[0].stat()
    made[0].write_text("war")
    os.utime(made[0], ns=(before.st_atime_ns, before.st_mtime_ns))
    assert stale(made) == "in.fits has changed"


def test_an_input_that_is_away_is_no_reason(made):
    made[0].unlink()
    assert stale(made) is None


def test_a_lost_product(made):
    made[1].unlink()
    assert stale(made) == "out.fits is gone"


def test_a_product_removed_knowingly_is_no_reason(made):
    made[1].unlink()
    assert stale(made, cleaned=True) is None


def test_a_truncated_product(made):
    made[1].write_text("do")
    assert stale(made) == "out.fits has changed"


def test_another_product_is_wanted(made, tmp_path):
    other = wanted(made, outputs=[tmp_path / "b_i2d.fits"])
    assert stale(made, other) == "b_i2d.fits is not made yet"


def test_a_changed_setting_is_named(made):
    reason = stale(made, settings={"sky": {"enabled": True, "subtract": False}})
    assert reason == "settings changed (sky.subtract: False to True)"


def test_a_step_switched_on_or_off_is_named(made):
    assert stale(made, settings={}) == "settings changed (sky: off to on)"
    off = wanted(made, settings={})
    assert stale(made, off) == "settings changed (sky: on to off)"


def test_a_further_file_is_made_when_asked_for_and_no_reason_when_not(made):
    with_catalogue = SETTINGS | {"catalogue": {"enabled": True}}
    asked = wanted(made, settings=with_catalogue)
    assert stale(made, asked) == "settings changed (catalogue: off to on)"
    assert stale(made, settings=with_catalogue) is None


@pytest.mark.parametrize("package", ["jwst", "numpy", "photutils"])
def test_a_changed_version_is_named(made, package):
    old = ledger.versions() | {package: "2.9"}
    reason = stale(made, versions=old)
    assert reason.startswith(f"versions changed ({package}: 2.9 to")


def test_products_of_other_sources_are_stale(made):
    old = ledger.versions() | {"webbmosaic sources": "0" * 12}
    assert "webbmosaic sources: 000000000000 to" in stale(made, versions=old)


def test_a_changed_context(made):
    assert "from jwst_0000.pmap to" in stale(made, context="jwst_0000.pmap")


def test_a_changed_reference_is_a_reason_and_one_that_is_away_is_not(made, tmp_path):
    reference = tmp_path / "flat.fits"
    reference.write_text("flat")
    marks = {"flat": Contents(tmp_path).mark(reference)}
    assert stale(made, references=marks) is None
    reference.write_text("other")
    assert stale(made, references=marks) == "flat.fits has changed"
    reference.unlink()
    assert stale(made, references=marks) is None


def test_references_count_wherever_the_cache_is(made, tmp_path, monkeypatch):
    for name in ("one", "two"):
        (tmp_path / name / "references").mkdir(parents=True)
        (tmp_path / name / "references" / "flat.fits").write_text(f"flat {name}")
    monkeypatch.setenv("CRDS_PATH", str(tmp_path / "one"))
    mark = Contents(made[0]).mark(tmp_path / "one" / "references" / "flat.fits")
    assert mark.path == "crds:references/flat.fits"
    monkeypatch.setenv("CRDS_PATH", str(tmp_path / "two"))
    assert stale(made, references={"flat": mark}) == "flat.fits has changed"


@pytest.mark.parametrize("outcome", ["failed", "blocked"])
def test_failures_are_tried_again(made, outcome):
    assert stale(made, outcome=outcome) == f"{outcome} last time"


def test_an_ending_that_nobody_knows_is_not_current(made):
    assert stale(made, outcome="excellent") == "its record is of no use"


@pytest.mark.parametrize("outcome", ["skipped", "unusable"])
def test_what_needs_no_human_is_not_tried_again(made, outcome):
    assert stale(made, outcome=outcome, outputs=[]) is None


def test_other_inputs(made, tmp_path):
    other = tmp_path / "other.fits"
    other.write_text("other")
    more = wanted(made, inputs=[made[0], other])
    assert stale(made, more) == "other.fits came new"
    assert stale(made, wanted(made, inputs=[])) == "in.fits left out now"
    assert stale(made, wanted(made, inputs=[other])) == "other inputs than last time"


def test_the_same_content_under_another_name_is_the_same(made, tmp_path):
    other = tmp_path / "renamed.fits"
    made[0].rename(other)
    assert stale(made, wanted(made, inputs=[other])) is None


def test_files_that_settings_name_count_by_content(made, tmp_path):
    catalogue = tmp_path / "cat.ecsv"
    catalogue.write_text("stars")
    marks = [Contents(tmp_path).mark(catalogue)]
    asked = wanted(made, files=[catalogue])
    assert stale(made, asked, files=marks) is None
    copy = shutil.copy(catalogue, tmp_path / "copy.ecsv")
    assert stale(made, wanted(made, files=[tmp_path / copy]), files=marks) is None
    catalogue.write_text("other stars")
    assert stale(made, asked, files=marks) == "cat.ecsv has changed"
    assert stale(made, asked) == "cat.ecsv came or went"


def test_a_failure_is_kept_beside_a_success(made, tmp_path):
    path = tmp_path / "state" / "stage2.json"
    failure = dataclasses.replace(made[2], outcome="failed", sentence="no")
    keep(path, failure)
    assert read_record(path) == failure
    keep(path, made[2])
    keep(path, failure)
    assert read_record(path) == made[2]
    assert read_record(failure_beside(path)) == failure
    assert last_record(path) == failure
    keep(path, made[2])
    assert last_record(path) == made[2]
    assert not failure_beside(path).parent.exists()
