"""The ledger: when a product is current, and why it is not."""

import dataclasses
import os

import pytest

from webbmosaic.files import ledger
from webbmosaic.files.ledger import Record, mark, read_record, why_stale, write_record

SETTINGS = {"sky": {"enabled": True, "subtract": True}}


@pytest.fixture
def made(tmp_path):
    """A product with its record."""
    source, product = tmp_path / "in.fits", tmp_path / "out.fits"
    source.write_text("raw")
    product.write_text("done")
    record = Record(
        stage="stage2",
        owner="x",
        outcome="done",
        inputs=[mark(source)],
        outputs=[mark(product)],
        settings=SETTINGS,
        versions=ledger.versions(),
        context="jwst_0001.pmap",
    )
    return source, product, record


def stale(made, **changes):
    source, _, record = made
    record = dataclasses.replace(record, **changes)
    return why_stale(record, [source], SETTINGS, context="jwst_0001.pmap")


def test_a_record_survives_the_round_trip(made, tmp_path):
    path = tmp_path / "state" / "stage2.json"
    write_record(path, made[2])
    assert read_record(path) == made[2]


def test_no_record_or_a_broken_one_means_not_done(tmp_path):
    path = tmp_path / "stage2.json"
    assert read_record(path) is None
    path.write_text('{"stage": ')
    assert read_record(path) is None
    path.write_text("[]")
    assert read_record(path) is None
    assert why_stale(None, [], {}, context="") == "not done yet"


def test_what_has_not_changed_is_current(made):
    assert stale(made) is None


def test_a_touched_file_with_the_same_content_is_current(made):
    os.utime(made[0], (1, 1))
    assert stale(made) is None


def test_a_changed_input(made):
    made[0].write_text("new")
    assert stale(made) == "in.fits has changed"


def test_a_lost_product(made):
    made[1].unlink()
    assert stale(made) == "out.fits is gone"


def test_a_truncated_product(made):
    made[1].write_text("do")
    assert stale(made) == "out.fits has changed"


def test_a_changed_setting_is_named(made):
    reason = stale(made, settings={"sky": {"enabled": True, "subtract": False}})
    assert reason == "settings changed (sky.subtract: False to True)"


def test_a_changed_version_is_named(made):
    old = ledger.versions() | {"jwst": "2.9"}
    assert stale(made, versions=old).startswith("versions changed (jwst: 2.9 to")


def test_products_of_other_sources_are_stale(made):
    old = ledger.versions() | {"webbmosaic sources": "0" * 12}
    assert "webbmosaic sources: 000000000000 to" in stale(made, versions=old)


def test_a_changed_context(made):
    assert "from jwst_0000.pmap to" in stale(made, context="jwst_0000.pmap")


def test_a_changed_reference(made, tmp_path):
    reference = tmp_path / "flat.fits"
    reference.write_text("flat")
    marks = {"flat": mark(reference)}
    assert stale(made, references=marks) is None
    reference.write_text("other")
    assert stale(made, references=marks) == "flat.fits has changed"


@pytest.mark.parametrize("outcome", ["failed", "blocked"])
def test_failures_are_tried_again(made, outcome):
    assert stale(made, outcome=outcome) == f"{outcome} last time"


@pytest.mark.parametrize("outcome", ["skipped", "unusable"])
def test_what_needs_no_human_is_not_tried_again(made, outcome):
    assert stale(made, outcome=outcome, outputs=[]) is None


def test_other_inputs(made, tmp_path):
    other = tmp_path / "other.fits"
    reason = why_stale(made[2], [made[0], other], SETTINGS, context="")
    assert reason == "other inputs than last time"
