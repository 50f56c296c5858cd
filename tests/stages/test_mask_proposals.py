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
    assert find_masks(tmp_path / "masks", Dataset.parse(name(1))) == []
    assert "1 proposals" in typed(masks, "accept", "-C", tmp_path).output
    typed(masks, "accept", "-C", tmp_path, "--all")
    (path,) = find_masks(tmp_path / "masks", Dataset.parse(name(1)))
    mask = rasterise(read_regions(path), SHAPE)
    assert mask[CLAW > 0.5].mean() > 0.9
    assert mask[CLAW < 1e-4].mean() < 0.1


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


def two_visits(work, other_count=2):
    for visit, count in ((VISIT, 2), (OTHER, other_count)):
        for number in range(1, count + 1):
            (work / name(number, visit)).mkdir()
    write_regions(work / "masks" / f"{name(1)}.reg", [SQUARE], [])


def test_masks_are_transferred_between_like_visits(tmp_path, typed):
    two_visits(tmp_path)
    typed(masks, "transfer", VISIT, OTHER, "-C", tmp_path)
    found = find_masks(tmp_path / "masks", Dataset.parse(name(1, OTHER)))
    assert [p.name for p in found] == [f"{name(1, OTHER)}.reg"]
    with pytest.raises(UsageError, match="there already"):
        typed(masks, "transfer", VISIT, OTHER, "-C", tmp_path)


def test_other_dithers_are_refused(tmp_path, typed):
    two_visits(tmp_path, other_count=3)
    with pytest.raises(UsageError, match="same exposures"):
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
