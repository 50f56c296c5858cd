"""Persistence and bad pixels: from all exposures, whatever the order."""

import numpy as np
import pytest

from small_rates import SIDE, write_rate
from webbmosaic.errors import NothingToDo, UsageError
from webbmosaic.files.models import open_image, save_model
from webbmosaic.settings import BadPixels, Persistence, Settings
from webbmosaic.stages import badpixels as badpixels_task
from webbmosaic.stages import persistence as persistence_task
from webbmosaic.stages.association_level import (
    add_flags,
    badpixels,
    detector_rates,
    make_persistence_flags,
    persistence,
)


def name(number, detector="nrcb4"):
    return f"jw01345002001_14201_{number:05d}_{detector}"


def saturated(y, x, bits=3):
    dq = np.zeros((SIDE, SIDE), np.uint32)
    dq[y, x] = bits
    return dq


@pytest.fixture
def three(tmp_path):
    """A star saturates in the first exposure, another one in the last."""
    write_rate(tmp_path, name(1), dq=saturated(5, 6), start=0)
    write_rate(tmp_path, name(2), start=1000)
    write_rate(tmp_path, name(3), dq=saturated(20, 30), start=2000)
    write_rate(tmp_path, name(4, "nrcb3"), dq=saturated(40, 40), start=500)
    return tmp_path


def rate(work, number):
    return work / name(number) / "calibrated1_rates" / f"{name(number)}_rate.fits"


def test_a_saturated_pixel_is_flagged_in_later_exposures_alone(three):
    for number, expected in ((1, []), (2, [(5, 6)]), (3, [(5, 6)])):
        path = rate(three, number)
        flags, _ = make_persistence_flags(path, detector_rates(path), Persistence())
        assert list(zip(*np.nonzero(flags), strict=True)) == expected
    assert flags[5, 6] == 1 | 32


def test_the_window_and_the_bits_are_settings(three):
    path = rate(three, 3)
    short = make_persistence_flags(path, detector_rates(path), Persistence(window=500))
    assert not short[0].any()
    mild = Persistence(do_not_use=False)
    assert make_persistence_flags(path, detector_rates(path), mild)[0][5, 6] == 32


def test_part_of_a_ramp_is_over_sooner(tmp_path):
    write_rate(tmp_path, name(1), dq=saturated(5, 6, bits=2), start=0)
    write_rate(tmp_path, name(2), start=1000)
    write_rate(tmp_path, name(3), start=2000)
    found = []
    for number in (2, 3):
        path = rate(tmp_path, number)
        flags, _ = make_persistence_flags(path, detector_rates(path), Persistence())
        found.append(bool(flags[5, 6]))
    assert found == [True, False]


def test_the_task_writes_flags_that_stage_2_adds(three):
    target = three / "flags.fits"
    inputs = [rate(three, 2), rate(three, 1)]
    result = persistence_task.run(inputs, [target], Settings())
    assert result.numbers["persistence"] == {"earlier": 1, "pixels": 1}
    model = open_image(rate(three, 2))
    assert add_flags(model, [target]) == 1
    assert model.dq[5, 6] == 33
    assert np.count_nonzero(model.dq) == 1


def test_flags_of_another_frame_size_are_left_out(three):
    target = three / "flags.fits"
    persistence_task.run([rate(three, 2), rate(three, 1)], [target], Settings())
    write_rate(three, name(9), data=np.zeros((32, 32)), start=3000)
    assert add_flags(open_image(rate(three, 9)), [target]) == 0


def test_a_single_file_looks_round_in_its_work_folder(three):
    model = open_image(rate(three, 2))
    numbers = persistence(model, Settings(), rate(three, 2))
    assert numbers == {"earlier": 1, "pixels": 1}
    assert model.dq[5, 6] == 33
    off = Settings(persistence=Persistence(enabled=False))
    assert persistence(model, off, rate(three, 2)) is None


def test_a_file_elsewhere_has_no_neighbours(three):
    stray = three / f"{name(2)}_rate.fits"
    stray.write_bytes(rate(three, 2).read_bytes())
    with pytest.raises(UsageError, match="work folder"):
        detector_rates(stray)


def place(work, number, corner, shape):
    """Write an exposure of part of the detector, saturated at detector (40, 30)."""
    dq = np.zeros(shape, np.uint32)
    if corner == (1, 1):
        dq[40, 30] = 3
    path = write_rate(work, name(number), np.zeros(shape), dq=dq, start=1000 * number)
    model = open_image(path)
    model.meta.subarray.ystart, model.meta.subarray.xstart = corner
    model.save(str(path))
    return path


def test_persistence_follows_the_pixels_into_a_subarray(tmp_path):
    whole = place(tmp_path, 1, (1, 1), (SIDE, SIDE))
    part = place(tmp_path, 2, (33, 25), (16, 24))
    beside = place(tmp_path, 3, (50, 50), (8, 8))
    flags, _ = make_persistence_flags(part, [whole], Persistence())
    assert list(zip(*np.nonzero(flags), strict=True)) == [(8, 6)]
    assert not make_persistence_flags(beside, [whole, part], Persistence())[0].any()


def test_a_mask_over_a_pixel_does_not_prolong_its_persistence(tmp_path):
    masked = saturated(5, 6, bits=1 | 2 | 2**30)
    write_rate(tmp_path, name(1), dq=masked, start=0)
    write_rate(tmp_path, name(3), start=2000)
    path = rate(tmp_path, 3)
    assert not make_persistence_flags(path, detector_rates(path), Persistence())[
        0
    ].any()


def test_folders_may_be_links(three, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    for number in (1, 2):
        (other / name(number)).symlink_to(three / name(number))
    assert detector_rates(rate(other, 2)) == [rate(other, 1)]


def hot_frames(work, count=5, step=2.0):
    for number in range(1, count + 1):
        rng = np.random.default_rng(number)
        data = rng.normal(2, 1, (SIDE, SIDE))
        data[10, 12] += 200
        data[30, 40] += 12
        write_rate(work, name(number), data, dither=step * number)
    return [rate(work, n) for n in range(1, count + 1)]


def test_hot_and_warm_pixels_are_flagged(tmp_path):
    target = tmp_path / "bad.fits"
    result = badpixels_task.run(hot_frames(tmp_path), [target], Settings())
    assert result.numbers["badpixels"]["hot"] == 1
    model = open_image(rate(tmp_path, 1))
    add_flags(model, [target])
    assert model.dq[10, 12] == 1 | 2**11
    assert model.dq[30, 40] == 1 | 2**12
    assert np.count_nonzero(model.dq) == 2


def test_too_few_pointings_say_nothing(tmp_path):
    rates = hot_frames(tmp_path, step=0.0)
    with pytest.raises(NothingToDo, match="1 dithered pointings"):
        badpixels_task.run(rates, [tmp_path / "bad.fits"], Settings())


def test_one_file_among_its_work_folder(tmp_path):
    rates = hot_frames(tmp_path)
    model = open_image(rates[2])
    assert badpixels(model, Settings(), rates[2])["warm"] == 1
    assert model.dq[30, 40] == 1 | 2**12
    model.dq[50:60] |= 1 | 2**30  # a mask, as well
    save_model(model, rates[2])
    again = open_image(rates[1])
    assert badpixels(again, Settings(), rates[1])["warm"] == 1
    off = Settings(badpixels=BadPixels(enabled=False))
    assert badpixels(model, off, rates[2]) is None
