"""What a mosaic is made from: grouping, exclusions and the tables that it reads."""

import pytest

from webbmosaic.datasets import Dataset, Workspace
from webbmosaic.run.exposures import Exposure
from webbmosaic.run.plan import plan, why_excluded
from webbmosaic.settings import Alignment, Grouping, Settings

HEADER = {"FILTER": "F200W", "PUPIL": "CLEAR", "EXP_TYPE": "NRC_IMAGE"}
NAMES = [
    f"jw01345{obs:03d}{visit:03d}_02101_00001_nrcb{k}"
    for obs in (1, 2)
    for visit in (1, 2)
    for k in (1, 4)
]


@pytest.fixture
def exposures():
    return [Exposure(Dataset.parse(name), HEADER) for name in NAMES]


def planned(tmp_path, exposures, **sections):
    tasks = plan(
        Workspace(tmp_path), exposures, Settings(**sections), stages=("stage3",)
    )
    return {task.owner: task for task in tasks if task.stage == "stage3"}


def test_groups(tmp_path, exposures):
    assert len(planned(tmp_path, exposures)) == 2
    by_visit = planned(tmp_path, exposures, grouping=Grouping(combine_visits=False))
    assert len(by_visit) == 4
    assert "jw01345_obs001_visit002_NIRCAM_F200W" in by_visit
    assert (
        len(planned(tmp_path, exposures, grouping=Grouping(combine_observations=True)))
        == 1
    )


def test_excluded_exposures_are_in_no_mosaic(tmp_path, exposures):
    grouping = Grouping(exclude=("jw01345002*: clouds", "*_nrcb4 : hot", NAMES[0]))
    tasks = planned(tmp_path, exposures, grouping=grouping)
    (task,) = tasks.values()
    assert [p.name for p in task.inputs] == [f"{NAMES[2]}_cal.fits"]
    whys = [why_excluded(e, grouping) for e in exposures]
    assert whys[4] == "clouds"
    assert whys[3] == "hot"
    assert whys[0] == f"grouping.exclude has {NAMES[0]}"
    assert whys[2] is None


def test_what_alignment_reads_is_an_input(tmp_path, exposures):
    catalogue = tmp_path / "refcat.fits"
    wanted = Alignment(abs_refcat=str(catalogue))
    before = planned(tmp_path, exposures[:1], alignment=wanted)
    (task,) = before.values()
    assert task.files == (catalogue,)  # also while it is not there: that is said
    catalogue.touch()
    (cal,) = task.inputs
    cal.parent.mkdir(parents=True)
    table = cal.with_name(f"{cal.stem}_cat_for_tweakreg.csv")
    table.touch()
    (task,) = planned(tmp_path, exposures[:1], alignment=wanted).values()
    assert task.inputs == (cal,)
    assert set(task.files) == {catalogue, table}
