"""Proposals are written, accepted and transferred; templates are built."""

import numpy as np
import pytest
from astropy.io import fits

from small_rates import write_rate
from webbmosaic.cli.masks import masks
from webbmosaic.cli.wisp_template import wisp_template
from webbmosaic.datasets import Dataset
from webbmosaic.errors import UsageError
from webbmosaic.files.masks import find_masks, read_regions, write_regions
from webbmosaic.science.masks import rasterise

VISIT = "jw01345002001"
SHAPE = (256, 256)
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]]
CLAW = np.exp(-0.5 * ((Y - 100 - 0.2 * X) / 10) ** 2) * (np.abs(X - 128) < 90)
WISP = np.exp(-0.5 * ((Y - 120 - 0.4 * (X - 128)) / 18) ** 2)


def name(number, visit=VISIT):
    return f"{visit}_14201_{number:05d}_nrcb4"


def fill(work, pattern, count=5, **given):
    for number in range(1, count + 1):
        rng = np.random.default_rng(number)
        data = rng.normal(2, 1, SHAPE) + pattern
        write_rate(work, name(number), data, dither=1.0 * number, **given)


@pytest.fixture
def typed():
    from click.testing import CliRunner

    def run(group, *words):
        found = CliRunner().invoke(group, [str(w) for w in words])
        if found.exception and not isinstance(found.exception, SystemExit):
            raise found.exception
        return found

    return run


def test_a_claw_is_proposed_accepted_and_found(tmp_path, typed):
    fill(tmp_path, CLAW)
    output = typed(masks, "propose", "-C", tmp_path).output
    assert "1 area" in output
    assert find_masks(tmp_path / "masks", Dataset.parse(name(1)), "F200W") == []
    assert "1 proposals" in typed(masks, "accept", "-C", tmp_path).output
    typed(masks, "accept", "-C", tmp_path, "--all")
    (path,) = find_masks(tmp_path / "masks", Dataset.parse(name(1)), "F200W")
    mask = rasterise(read_regions(path), SHAPE)
    assert mask[CLAW > 0.5].mean() > 0.9
    assert mask[CLAW < 1e-4].mean() < 0.1


def test_a_mask_of_one_filter_is_not_for_others(tmp_path, typed):
    fill(tmp_path, CLAW)
    typed(masks, "propose", "-C", tmp_path)
    typed(masks, "accept", "-C", tmp_path, "--all")
    assert find_masks(tmp_path / "masks", Dataset.parse(name(1)), "F115W") == []


def test_a_changed_proposal_stays(tmp_path, typed):
    fill(tmp_path, CLAW)
    words = ("propose", "-C", tmp_path)
    typed(masks, *words)
    assert "1 area" in typed(masks, *words).output
    (path,) = (tmp_path / "masks" / "proposed").iterdir()
    changed = path.read_text().replace("image\n", "image\ncircle(9,9,5)\n")
    path.write_text(changed)
    assert "was changed by hand" in typed(masks, *words).output
    assert path.read_text() == changed


def test_a_proposal_that_is_not_true_any_more_goes(tmp_path, typed):
    fill(tmp_path, CLAW)
    words = ("propose", "-C", tmp_path)
    typed(masks, *words)
    output = typed(masks, *words, "--set", "masks.threshold=1000").output
    assert "nothing found" in output
    assert not list((tmp_path / "masks" / "proposed").iterdir())


def test_exposures_of_one_pointing_are_one_dither(tmp_path, typed):
    for number in range(1, 7):
        data = np.random.default_rng(number).normal(2, 1, SHAPE) + CLAW
        write_rate(tmp_path, name(number), data, dither=float(number % 2))
    output = typed(masks, "propose", "-C", tmp_path).output
    assert "2 dithers of 16 pixels or more; it takes 3" in output


def test_clean_dithers_propose_nothing(tmp_path, typed):
    fill(tmp_path, 0.0)
    output = typed(masks, "propose", "-C", tmp_path).output
    assert output == f"{VISIT}_nrcb4_F200W: nothing found\n"


def test_too_few_dithers_are_said(tmp_path, typed):
    fill(tmp_path, CLAW, count=2)
    assert "it takes 3" in typed(masks, "propose", "-C", tmp_path).output


def test_an_empty_folder_is_said(tmp_path, typed):
    with pytest.raises(UsageError, match="run stage1 first"):
        typed(masks, "propose", "-C", tmp_path)


def test_snowballs_are_proposed_when_asked_for(tmp_path, typed):
    dq = np.zeros(SHAPE, np.uint32)
    far = np.hypot(Y - 90, X - 110)
    dq[far < 14], dq[far < 5] = 4, 3
    fill(tmp_path, 0.0, count=3, dq=dq)
    output = typed(masks, "propose", "-C", tmp_path, "--snowballs").output
    assert output.count("_snowballs.reg") == 3


SQUARE = np.array([[9.5, 19.5], [29.5, 19.5], [29.5, 44.5], [9.5, 44.5]])
OTHER = "jw01345003001"


def two_visits(work, other_count=2, other_step=1.0):
    for visit, count, step in ((VISIT, 2, 1.0), (OTHER, other_count, other_step)):
        for number in range(1, count + 1):
            data = np.zeros((8, 8))
            write_rate(work, name(number, visit), data, dither=step * number)
    write_regions(work / "masks" / f"{name(1)}.reg", [SQUARE], [])


def test_masks_are_transferred_between_like_visits(tmp_path, typed):
    two_visits(tmp_path)
    write_regions(tmp_path / "masks" / "mine" / f"{VISIT}_nrcb4.reg", [SQUARE], [])
    typed(masks, "transfer", VISIT, OTHER, "-C", tmp_path)
    found = find_masks(tmp_path / "masks", Dataset.parse(name(1, OTHER)), "F200W")
    assert [p.name for p in found] == [f"{name(1, OTHER)}.reg", f"{OTHER}_nrcb4.reg"]
    assert read_regions(found[1])
    with pytest.raises(UsageError, match="there already"):
        typed(masks, "transfer", VISIT, OTHER, "-C", tmp_path)


def test_other_exposures_are_refused(tmp_path, typed):
    two_visits(tmp_path, other_count=3)
    with pytest.raises(UsageError, match="same exposures: 14201_00003_nrcb4"):
        typed(masks, "transfer", VISIT, OTHER, "-C", tmp_path)


def test_other_dithers_are_refused(tmp_path, typed):
    two_visits(tmp_path, other_step=2.0)
    with pytest.raises(UsageError, match="same dithers: nrcb4 looks up to 29 pixels"):
        typed(masks, "transfer", VISIT, OTHER, "-C", tmp_path)
    assert len(list((tmp_path / "masks").iterdir())) == 1


def test_visits_that_cannot_be_compared_are_refused(tmp_path, typed):
    write_rate(tmp_path, name(1, OTHER), np.zeros((8, 8)))
    write_regions(tmp_path / "masks" / f"{name(1)}.reg", [SQUARE], [])
    with pytest.raises(UsageError, match=f"no exposure of {VISIT}"):
        typed(masks, "transfer", VISIT, OTHER, "-C", tmp_path)


def test_masks_on_the_sky_stay(tmp_path, typed):
    two_visits(tmp_path)
    path = tmp_path / "masks" / f"{VISIT}.reg"
    path.write_text('fk5\ncircle(53.1,-27.8,2.5")\n')
    with pytest.raises(UsageError, match="on the sky"):
        typed(masks, "transfer", VISIT, OTHER, "-C", tmp_path)


def test_there_must_be_something_to_transfer(tmp_path, typed):
    two_visits(tmp_path)
    with pytest.raises(UsageError, match="no mask"):
        typed(masks, "transfer", OTHER, VISIT, "-C", tmp_path)


def test_a_template_is_built_from_a_work_folder(tmp_path, typed):
    fill(tmp_path, 2 * WISP, count=6)
    target = tmp_path / "templates"
    words = ("build", "-C", tmp_path, "-o", target)
    output = typed(wisp_template, *words).output
    assert "6 exposures" in output
    with fits.open(target / "wisps_nrcb4_F200W.fits") as hdus:
        assert len(hdus["EXPOSURES"].data) == 6
        template = hdus["TEMPLATE"].data
    assert np.corrcoef(template.ravel(), WISP.ravel())[0, 1] > 0.9


def test_cleaned_exposures_make_no_template(tmp_path, typed):
    fill(tmp_path, 2 * WISP, history=["Removed wisps (webbmosaic)"])
    found = typed(wisp_template, "build", "-C", tmp_path)
    assert found.exit_code == 1
    assert "5 have had their wisps removed" in found.output


def test_exposures_without_wisps_make_no_template(tmp_path, typed):
    fill(tmp_path, 0.0)
    found = typed(wisp_template, "build", "-C", tmp_path)
    assert found.exit_code == 1
    assert "no exposure has a significant wisp" in found.output
