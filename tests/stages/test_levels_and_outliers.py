"""Sky levels and outliers on data models: what they change, and what they say."""

import gwcs
import numpy as np
import pytest
from astropy import coordinates, units
from astropy.modeling.models import Pix2Sky_TAN, RotateNative2Celestial, Scale, Shift
from gwcs import coordinate_frames

from webbmosaic.errors import OutlierError
from webbmosaic.settings import Outliers, Skymatch
from webbmosaic.stages.levels import level_skies
from webbmosaic.stages.outliers import reject_outliers
from webbmosaic.stages.quality import DO_NOT_USE, OUTLIER

SIDE = 128


def placed(offset):
    """Give a WCS of 31 mas pixels whose reference pixel is moved."""
    step = 0.031 / 3600
    model = (
        Shift(-64 - offset[0]) & Shift(-64 - offset[1])
        | Scale(step) & Scale(step)
        | Pix2Sky_TAN()
        | RotateNative2Celestial(359.9999, 60, 180)
    )
    pixels = coordinate_frames.Frame2D(name="detector", unit=(units.pix, units.pix))
    sky = coordinate_frames.CelestialFrame(
        reference_frame=coordinates.ICRS(), name="world"
    )
    return gwcs.WCS([(pixels, model), (sky, None)])


@pytest.fixture
def library():
    """Three dithers across RA 0 with skies 0.0, 0.5 and 1.0, and a hot pixel."""
    from jwst.datamodels import ModelLibrary
    from stdatamodels.jwst.datamodels import ImageModel

    rng = np.random.default_rng(1)
    y, x = np.mgrid[:SIDE, :SIDE]
    models = []
    for k, offset in enumerate([(0, 0), (4.3, -2.6), (-3.1, 5.2)]):
        data = rng.normal(0.5 * k, 0.1, (SIDE, SIDE))
        for place, flux in (((40, 50), 300), ((90, 80), 20)):
            near = (x - place[0] - offset[0]) ** 2 + (y - place[1] - offset[1]) ** 2
            data += flux * np.exp(-near / 2 / 0.6**2) / (2 * np.pi * 0.6**2)
        data[20, 30] += 2
        model = ImageModel(data=data.astype(np.float32))
        model.err = np.full((SIDE, SIDE), 0.1, np.float32)
        model.dq = np.zeros((SIDE, SIDE), np.uint32)
        model.dq[100, 100] = DO_NOT_USE
        model.meta.wcs = placed(offset)
        model.meta.filename = f"jw01345002001_14201_0000{k + 1}_nrcb4_cal.fits"
        model.meta.bunit_data = "MJy/sr"
        model.meta.photometry.pixelarea_steradians = 2.3e-14
        model.meta.background.level = 0.2
        models.append(model)
    return ModelLibrary(models, on_disk=False)


def models_of(library):
    with library:
        models = [library.borrow(k) for k in range(len(library))]
        for k, model in enumerate(models):
            library.shelve(model, k, modify=False)
    return models


def test_levels_are_subtracted_and_recorded(library):
    numbers = level_skies(library, Skymatch())
    assert numbers["levels"] == pytest.approx([-0.5, 0, 0.5], abs=0.01)
    assert all(error < 0.01 for error in numbers["errors"])
    assert numbers["overlaps"] == [2, 2, 2]
    for model, level in zip(models_of(library), numbers["levels"], strict=True):
        assert np.median(model.data) == pytest.approx(0.5, abs=0.01)
        assert model.meta.background.level == pytest.approx(0.2 + level)
        assert model.meta.background.subtracted is True


def test_planes_are_recorded_too(library):
    numbers = level_skies(library, Skymatch(model="plane"))
    assert np.abs(numbers["tilts"]).max() < 0.1
    assert np.median(models_of(library)[2].data) == pytest.approx(0.5, abs=0.05)


def test_outliers_are_flagged_and_stars_are_not(library):
    level_skies(library, Skymatch())
    numbers = reject_outliers(library, Outliers(), "group")
    for model in models_of(library):
        flagged = (model.dq & OUTLIER) > 0
        assert flagged[20, 30]
        assert (model.dq[flagged] & DO_NOT_USE).all()
        assert flagged.sum() < 12
        assert model.dq[100, 100] == DO_NOT_USE
        assert model.meta.cal_step.outlier_detection == "COMPLETE"
    assert len(numbers["fractions"]) == 3
    assert all(bin_["rejected"] == 0 for bin_ in numbers["by_magnitude"].values())
    assert sum(bin_["sources"] for bin_ in numbers["by_magnitude"].values()) >= 2


def test_too_many_outliers_are_an_error_that_names_the_exposure(library):
    level_skies(library, Skymatch())
    model = models_of(library)[1]
    model.data[10:60, 10:110] += 5
    with pytest.raises(OutlierError, match="00002_nrcb4") as error:
        reject_outliers(library, Outliers(), "group")
    assert "outliers.max_rejected" in str(error.value)
    assert not (model.dq & OUTLIER).any()
