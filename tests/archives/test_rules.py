"""Rules are followed as crds follows them, once per configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from webbmosaic.archives import rules as module
from webbmosaic.archives.reftypes import keyword_of_parkey, reference_types
from webbmosaic.archives.rules import Rules, load_mapping, rules
from webbmosaic.errors import ReferenceFileError
from webbmosaic.files.headers import Header

CONTEXT = "jwst_0001.pmap"
Exposure = Callable[..., Header]


def test_types_cover_every_step_and_stage() -> None:
    types = reference_types()
    assert types["flat"].stage == 1
    assert {types[k].stage for k in ("gain", "photom", "apcorr")} == {1, 2, 3}
    assert types["pars-jumpstep"].stage == 1
    assert types["pars-detector1pipeline"].stage == 1
    assert types["pars-tweakregstep"].stage == 3
    assert types["dark"].required
    assert not types["pars-jumpstep"].required
    assert not types["emicorr"].required
    assert types["distortion"].fails_without
    assert not types["dark"].fails_without


def test_parkeys_translate_to_keywords() -> None:
    table = keyword_of_parkey()
    assert table["META.INSTRUMENT.FILTER"] == "FILTER"
    assert table["META.EXPOSURE.TYPE"] == "EXP_TYPE"
    assert table["META.OBSERVATION.DATE"] == "DATE-OBS"
    assert table["META.VISIT.TSOVISIT"] == "TSOVISIT"


def test_a_choice_has_the_files_that_apply(cache: Any, exposure: Exposure) -> None:
    choice = rules(CONTEXT, "NIRCAM").choose(exposure())
    assert choice.files["flat"] == "jwst_nircam_flat_0001.fits"
    assert choice.files["mask"] == "jwst_nircam_mask_0001.fits"
    assert "dark" not in choice.files
    assert choice.unfit == {}


def test_no_match_is_told(cache: Any, exposure: Exposure) -> None:
    choice = rules(CONTEXT, "NIRCAM").choose(exposure(FILTER="F999W"))
    assert "FILTER" in choice.unfit["flat"]
    assert "F999W" in choice.unfit["flat"]
    assert list(choice.unfit) == ["flat"]


def test_not_applicable_where_a_step_fails(cache: Any, exposure: Exposure) -> None:
    del cache.rules["nircam", "gain"]
    cache.write()
    choice = Rules(CONTEXT, "NIRCAM").choose(exposure())
    assert choice.unfit == {"gain": "the rules say it does not apply (N/A)"}


def test_optional_kinds_may_be_unlisted(cache: Any, exposure: Exposure) -> None:
    path = cache.mappings / "jwst_nircam_0001.imap"
    dropped = ("'pars-jumpstep': 'N/A', ", "'linearity': 'N/A', ")
    text = path.read_text()
    for entry in dropped:
        assert entry in text
        text = text.replace(entry, "")
    cache.rewrite(path, text)
    choice = Rules(CONTEXT, "NIRCAM").choose(exposure())
    assert list(choice.unfit) == ["linearity"]
    assert "linearity" in choice.unfit["linearity"]


def test_dates_choose_among_files(cache: Any, exposure: Exposure) -> None:
    dates = {
        "2021-01-01 00:00:00": "jwst_nircam_flat_0001.fits",
        "2023-01-02 03:04:05": "jwst_nircam_flat_0002.fits",
        "2024-01-01 00:00:00": "jwst_nircam_flat_0001.fits",
    }
    cache.rule("nircam", "flat", rows={("NRCB1", "F200W"): dates})
    cache.write()
    made = Rules(CONTEXT, "NIRCAM")

    def flat(day: str, time: str) -> str:
        return made.choose(exposure(**{"DATE-OBS": day, "TIME-OBS": time})).files[
            "flat"
        ]

    assert flat("2022-05-05", "00:00:00.000")[-6] == "1"
    assert flat("2023-01-02", "03:04:04.999")[-6] == "1"
    assert flat("2023-01-02", "03:04:05")[-6] == "2"
    assert flat("2023-01-02", "03:04:05.000")[-6] == "2"
    assert flat("2023-06-01", "00:00:00.000")[-6] == "2"
    assert flat("2024-01-01", "00:00:00.000")[-6] == "1"
    before = made.choose(exposure(**{"DATE-OBS": "2020-01-01"}))
    assert "flat" in before.unfit


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record which kinds crds is asked for."""
    kinds: list[str] = []
    ask = Rules._ask

    def recorded(self: Rules, names: list[str], header: Header) -> dict[str, str]:
        kinds.extend(names if header else [])
        return ask(self, names, header)

    monkeypatch.setattr(Rules, "_ask", recorded)
    return kinds


def test_one_question_per_configuration(
    cache: Any, exposure: Exposure, asked: list[str]
) -> None:
    made = Rules(CONTEXT, "NIRCAM")
    choices = [
        made.choose(exposure(**{"DATE-OBS": f"2023-01-{day:02}", "EXPOSURE": day}))
        for day in range(1, 29)
    ]
    assert all(choice is choices[0] for choice in choices)
    assert len(asked) == len(set(asked)) == 7
    made.choose(exposure(FILTER="F115W"))
    assert len(asked) == 8, "only the flat depends on the filter"
    made.choose(exposure(**{"DATE-OBS": "2020-01-01"}))
    assert len(asked) == 15


def test_unusual_selectors_are_asked_for_each_date(
    cache: Any, exposure: Exposure, asked: list[str]
) -> None:
    path = cache.mappings / "jwst_nircam_flat_0001.rmap"
    text = path.read_text().replace("UseAfter(", "ClosestTime(")
    assert "ClosestTime(" in text
    cache.rewrite(path, text)
    made = Rules(CONTEXT, "NIRCAM")
    for day in (1, 2, 3):
        made.choose(exposure(**{"DATE-OBS": f"2023-01-0{day}"}))
    assert asked.count("flat") == 3
    assert asked.count("gain") == 1


def test_expressions_count_too(
    cache: Any, exposure: Exposure, asked: list[str]
) -> None:
    path = cache.mappings / "jwst_nircam_gain_0001.rmap"
    relevance = "    'rmap_relevance' : '(META_INSTRUMENT_FILTER != \"F115W\")',\n"
    text = path.read_text().replace("header = {\n", "header = {\n" + relevance)
    cache.rewrite(path, text)
    made = Rules(CONTEXT, "NIRCAM")
    assert "gain" in made.choose(exposure()).files
    assert "gain" in made.choose(exposure(FILTER="F115W")).unfit


def test_missing_and_damaged_rules(cache: Any) -> None:
    with pytest.raises(
        ReferenceFileError, match=r"jwst_9999\.pmap are not in the CRDS"
    ):
        load_mapping("jwst_9999.pmap")
    with pytest.raises(ReferenceFileError, match="no rules for NIRISS"):
        Rules(CONTEXT, "NIRISS")
    flat = cache.mappings / "jwst_nircam_flat_0001.rmap"
    text = flat.read_text()
    flat.write_text(text.replace("_flat_0001.fits", "_flat_0002.fits"))
    with pytest.raises(ReferenceFileError, match=r"flat_0001\.rmap.*damaged.*sha1sum"):
        Rules(CONTEXT, "NIRCAM")
    flat.write_text(text[: len(text) // 2])
    with pytest.raises(ReferenceFileError, match=r"flat_0001\.rmap.*damaged"):
        Rules(CONTEXT, "NIRCAM")
    flat.unlink()
    with pytest.raises(
        ReferenceFileError, match=r"flat_0001\.rmap are not in the CRDS"
    ):
        Rules(CONTEXT, "NIRCAM")


def test_rules_are_loaded_once_per_cache(cache: Any) -> None:
    assert rules(CONTEXT, "NIRCAM") is rules(CONTEXT, "NIRCAM")
    assert module._rules.cache_info().hits >= 1
