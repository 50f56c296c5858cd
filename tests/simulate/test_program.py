"""Programmes look like those of MAST, and the telescope errs as it does."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest

from webbmosaic.datasets import Dataset
from webbmosaic.errors import UsageError
from webbmosaic.simulate.effects import Effects
from webbmosaic.simulate.geometry import v2v3_to_pixel
from webbmosaic.simulate.program import exposures, make_program


def offsets(one, two):
    """How far two pointings differ at their reference point, arcsec."""
    scale = np.cos(np.deg2rad(one.dec_ref))
    east = (two.ra_ref - one.ra_ref) * scale * 3600
    return np.array([east, (two.dec_ref - one.dec_ref) * 3600])


def test_the_small_programme_has_what_users_try():
    found = list(exposures(make_program()))
    assert len({e.name for e in found}) == len(found) == 24
    assert {e.setup.filter.name for e in found} == {"F200W", "F444W", "F770W"}
    assert {e.setup.aperture.channel for e in found} == {"SHORT", "LONG", ""}
    visits = {(e.setup.filter.name, e.visit) for e in found}
    assert len(visits) == 6
    assert max(e.setup.aperture.nx for e in found) <= 512


def test_full_frames():
    found = list(exposures(make_program(frames="full")))
    assert {e.setup.aperture.subarray for e in found} == {"FULL"}
    assert {e.setup.readout.pattern for e in found} == {"SHALLOW4", "FASTR1"}
    assert {e.setup.readout.ngroups for e in found} == {9, 20}


def test_names_are_those_of_datasets():
    for exposure in exposures(make_program()):
        dataset = Dataset.parse(exposure.name)
        assert dataset.visit_id == f"jw{exposure.visit}"
        assert dataset.instrument == exposure.setup.aperture.instrument
        assert dataset.detector == exposure.setup.aperture.detector.lower()


def test_detectors_of_an_exposure_look_at_once_with_one_attitude():
    found = list(exposures(make_program()))
    first = [e for e in found if "_02101_00001_nrc" in e.name and "1001_" in e.name]
    assert len(first) == 5
    assert len({e.start for e in first}) == 1
    for kind in ("commanded", "actual"):
        boresights = [getattr(e, kind).at(0.0, 0.0) for e in first]
        for other in boresights[1:]:
            assert np.abs(offsets(boresights[0], other)).max() < 1e-6


def test_time_advances_by_more_than_an_exposure():
    found = list(exposures(make_program(visits=3, dithers=3)))
    starts = sorted({(e.start, e.setup.readout.exposure_time) for e in found})
    for (start, length), (after, _) in pairwise(starts):
        assert (after - start) * 86400 > length


def test_a_visit_errs_as_a_whole_and_dithers_settle_beside_it():
    found = [
        e
        for e in exposures(make_program(visits=40, dithers=2))
        if e.setup.aperture.detector == "NRCBLONG"
    ]
    errors = np.array([offsets(e.commanded, e.actual) for e in found]).reshape(40, 2, 2)
    of_visits, within = errors.mean(axis=1), np.ptp(errors, axis=1)
    assert 0.05 < of_visits.std() < 0.1
    # The difference of two jitters of 2 mas.
    assert 0.5e-3 < within.mean() < 6e-3


@pytest.mark.parametrize("effect", ["pointing_error", "jitter"])
def test_errors_of_pointing_are_switched_one_by_one(effect):
    plain = list(exposures(make_program()))
    without = list(exposures(make_program(effects=Effects().without(effect))))
    none = list(exposures(make_program(effects=Effects.only())))
    other = {"pointing_error": "jitter", "jitter": "pointing_error"}[effect]
    only_this = list(exposures(make_program(effects=Effects.only(effect))))
    for a, b, c, d in zip(plain, without, none, only_this, strict=True):
        assert np.abs(offsets(c.commanded, c.actual)).max() < 1e-9
        total, rest = offsets(a.commanded, a.actual), offsets(b.commanded, b.actual)
        part = offsets(d.commanded, d.actual)
        assert np.allclose(total, rest + part, atol=2e-5), other
        assert np.abs(part).max() > 1e-5


def test_dithers_have_different_pixel_phases():
    program = make_program(visits=2, dithers=2, effects=Effects.only())
    for detector in ("NRCB1", "NRCBLONG", "MIRIMAGE"):
        places = []
        for exposure in exposures(program):
            frame = exposure.setup.aperture
            if frame.detector == detector:
                at = exposure.actual.to_v2v3(*exposure.target)
                places.append(v2v3_to_pixel(frame, *at))
        places = np.array(places, dtype=float)
        assert len(places) == 4
        apart = np.abs(places[:, None] - places[None])[np.triu_indices(4, 1)]
        assert (apart.max(axis=1) > 4).all()
        phases = np.abs(apart - np.round(apart)).max(axis=1)
        assert (phases > 0.05).all()


def test_further_dithers_are_new_places():
    program = make_program(visits=1, dithers=9)
    seen = {e.offset for e in exposures(program) if e.setup.filter.name == "F444W"}
    assert len(seen) == 9


def test_channels_observe_their_filters_at_once():
    program = make_program(filters=("f115w", "F200W", "F444W"))
    found = [e for e in exposures(program) if e.visit.endswith("001001")]
    by_activity = {}
    for exposure in found:
        by_activity.setdefault(Dataset.parse(exposure.name).activity, set()).add(
            exposure.setup.filter.name
        )
    assert by_activity == {"01": {"F115W", "F444W"}, "02": {"F200W"}}


def test_chosen_detectors_and_groups():
    program = make_program(detectors=("nrcb4", "MIRIMAGE"), ngroups=5)
    found = list(exposures(program))
    assert {e.setup.aperture.detector for e in found} == {"NRCB4", "MIRIMAGE"}
    assert {e.setup.readout.ngroups for e in found} == {5}
    assert program.filters == ("F200W", "F770W")


def test_another_seed_points_elsewhere():
    one, two = (next(iter(exposures(make_program(seed=s)))) for s in (1, 2))
    assert one.actual != two.actual
    assert replace(one, actual=two.actual) == two


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"filters": ("F999W",)}, "has a filter 'F999W'"),
        ({"filters": ("F770W",), "detectors": ("NRCB1",)}, "has a filter 'F770W'"),
        ({"detectors": ("NRCC1",)}, "'NRCC1' is not one of"),
        ({"detectors": ("NIS",)}, "NIS"),
        ({"visits": 0}, "must be positive"),
    ],
)
def test_what_cannot_be_is_refused(options, sentence):
    with pytest.raises(UsageError, match=sentence):
        make_program(**options)
