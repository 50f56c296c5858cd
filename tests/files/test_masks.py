"""Masks are found by the names of exposures and visits."""

import numpy as np
import pytest
from astropy.io import fits

from webbmosaic.datasets import Dataset
from webbmosaic.errors import InputError, UsageError
from webbmosaic.files.masks import (
    PROPOSED,
    accept,
    copy_mask,
    find_masks,
    misnamed,
    needs_wcs,
    proposals,
    read_mask_image,
    read_regions,
    transferred,
    write_regions,
)
from webbmosaic.science.masks import rasterise

DATASET = Dataset.parse("jw01837003001_02201_00001_nrca3")

MINE = [
    "jw01837003001.reg",
    "jw01837003001_claws.reg",
    "jw01837003001_02201.reg",
    "jw01837003001_nrca3.reg",
    "jw01837003001_nrca3_bad_area.fits",
    "jw01837003001_02201_00001_nrca3.reg",
    "jw01837003001_02201_00001_nrca3_rate.fits.gz",
    "jw01837003001_02201_00001.reg",
    "jw01837003001_nrca3_F200W.reg",
    "jw01837003001_F200W_claw.reg",
    "jw01837003001_NRCA3_f200w.reg",
]
OTHERS = [
    "jw01837003002.reg",
    "jw01837003001_nrcb3.reg",
    "jw01837003001_02203.reg",
    "jw01837003001_02201_00002_nrca3.reg",
    "jw01837003001_02201_00001_nrca4.fits",
    "jw01837003001_nrca3_F115W.reg",
    "jw01837003001_F150W2.reg",
    "jw01837003001_nrca.reg",
    "jw01837003001_NRCB3.reg",
    "claws.reg",
    "jw01837003001.txt",
]


@pytest.mark.parametrize("name", MINE)
def test_names_that_mean_this_exposure(tmp_path, name):
    (tmp_path / name).touch()
    assert find_masks(tmp_path, DATASET, "F200W") == [tmp_path / name]


@pytest.mark.parametrize("name", OTHERS)
def test_names_that_mean_others(tmp_path, name):
    (tmp_path / name).touch()
    assert find_masks(tmp_path, DATASET, "F200W") == []


def test_names_that_mean_nothing_are_listed(tmp_path):
    for name in (*MINE, "claws.reg", "jw01837003001_nrca.reg", "jw018-nrca3.fits"):
        (tmp_path / name).touch()
    assert [p.name for p in misnamed(tmp_path)] == [
        "claws.reg",
        "jw018-nrca3.fits",
        "jw01837003001_nrca.reg",
    ]


def test_folders_are_searched_but_not_the_proposals(tmp_path):
    for place in ("obs003", PROPOSED):
        (tmp_path / place).mkdir()
        (tmp_path / place / MINE[0]).touch()
    assert find_masks(tmp_path, DATASET, "F200W") == [tmp_path / "obs003" / MINE[0]]


def test_no_folder_means_no_masks(tmp_path):
    assert find_masks(tmp_path / "masks", DATASET, "F200W") == []
    assert proposals(tmp_path / "masks") == []


def test_polygons_come_back_where_they_were(tmp_path):
    corners = np.array([[9.5, 19.5], [29.5, 19.5], [29.5, 44.5], [9.5, 44.5]])
    path = tmp_path / "a.reg"
    write_regions(path, [corners], ["proposed"])
    regions = read_regions(path)
    assert not needs_wcs(regions)
    mask = rasterise(regions, (64, 64))
    y, x = np.nonzero(mask)
    # DS9 counts from 1, the corners from 0.
    assert (x.min(), x.max(), y.min(), y.max()) == (10, 29, 20, 44)
    assert mask.sum() == 20 * 25


def test_what_ds9_wrote_is_read(tmp_path):
    path = tmp_path / "a.reg"
    path.write_text(
        "# Region file format: DS9 version 4.1\n"
        "global color=green\nimage\ncircle(11,21,5)\n-circle(11,21,2)\n"
    )
    mask = rasterise(read_regions(path), (64, 64))
    assert not mask[20, 10]
    assert mask[20, 14]


def test_regions_on_the_sky_need_a_wcs(tmp_path):
    path = tmp_path / "a.reg"
    path.write_text('fk5\ncircle(53.1,-27.8,2.5")\n')
    assert needs_wcs(read_regions(path))


def test_what_is_no_region_file_is_named(tmp_path):
    path = tmp_path / "a.reg"
    path.write_bytes(b"\xff\xfe\x00image circle(")
    with pytest.raises(InputError, match=r"a\.reg"):
        read_regions(path)


def test_a_mask_image_is_read(tmp_path):
    image = np.zeros((8, 9), np.float32)
    image[2, 3], image[4, 4] = 1, np.nan
    path = tmp_path / "a.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image)]).writeto(path)
    mask = read_mask_image(path, (8, 9))
    assert mask[2, 3]
    assert mask.sum() == 1


def test_a_mask_image_of_another_shape_or_none_is_refused(tmp_path):
    path = tmp_path / "a.fits"
    fits.PrimaryHDU(np.zeros((8, 9))).writeto(path)
    with pytest.raises(InputError, match="8, 9"):
        read_mask_image(path, (16, 16))
    fits.PrimaryHDU().writeto(path, overwrite=True)
    with pytest.raises(InputError, match="no 2D image"):
        read_mask_image(path, (16, 16))
    path.write_text("nothing")
    with pytest.raises(InputError, match="FITS"):
        read_mask_image(path, (16, 16))
    fits.PrimaryHDU(np.zeros((99, 99))).writeto(path, overwrite=True)
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError, match="truncated"):
        read_mask_image(path, (99, 99))


def test_a_proposal_is_accepted_once(tmp_path):
    proposed = tmp_path / PROPOSED / MINE[0]
    write_regions(proposed, [], [])
    assert proposals(tmp_path) == [proposed]
    assert accept(tmp_path, [proposed]) == [tmp_path / MINE[0]]
    assert find_masks(tmp_path, DATASET, "F200W") == [tmp_path / MINE[0]]
    with pytest.raises(UsageError, match="no such proposal"):
        accept(tmp_path, [proposed])


def test_all_are_accepted_or_none(tmp_path):
    paths = [tmp_path / PROPOSED / name for name in MINE[:3]]
    for path in paths:
        write_regions(path, [], [])
    write_regions(tmp_path / MINE[1], [], [])
    with pytest.raises(UsageError, match="there already"):
        accept(tmp_path, paths)
    (tmp_path / MINE[1]).unlink()
    paths[2].write_text("image\ncircle(5,5\n")
    with pytest.raises(InputError, match="cannot be read"):
        accept(tmp_path, paths)
    assert proposals(tmp_path) == sorted(paths)


def test_a_mask_is_transferred_to_another_visit(tmp_path):
    for place in ("", "deep/"):
        write_regions(tmp_path / place / MINE[5], [], [])
    write_regions(tmp_path / PROPOSED / MINE[0], [], [])
    copies = transferred(tmp_path, "jw01837003001", "jw01837004001")
    assert sorted(p.relative_to(tmp_path).as_posix() for p in copies.values()) == [
        "deep/jw01837004001_02201_00001_nrca3.reg",
        "jw01837004001_02201_00001_nrca3.reg",
    ]
    assert transferred(tmp_path, "jw01837009001", "jw01837004001") == {}
    (tmp_path / "a.reg").write_text("image\n")
    copy_mask(tmp_path / "a.reg", tmp_path / "b.reg")
    assert (tmp_path / "b.reg").read_text() == "image\n"


def written(tmp_path, text):
    path = tmp_path / "a.reg"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        "physical\ncircle(50,40,10)\n",
        "PHYSICAL;circle(50,40,10)\n",
        "circle(50,40,10)\n",
        "image\r\ncircle(50,40,10)\r\n",
        "\ufeffimage\ncircle 50 40 10\n",
        'global font="times 10 bold roman"\nimage; circle(50,40,10) # text={a {1}}\n',
        "image\ncircle(50,40,10) # color=red color=blue select=7\n",
        "image\ncircle(50,40,10)\ntext(90,90) # text={here}\n",
        "# vector(1,1,30,45) vector=1\nimage\ncircle(50,40,10)\n",
        b"image\ncircle(50,40,10) # text={Kl\xe4ue}\n",
    ],
)
def test_circles_as_people_write_them(tmp_path, text):
    mask = rasterise(read_regions(written(tmp_path, text)), (80, 100))
    y, x = np.indices(mask.shape)
    np.testing.assert_array_equal(mask, np.hypot(x - 49, y - 39) < 10)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("image\nline(1,1,5,5)\n", "a line has no area"),
        ("image\ncircle(5,5,2)\npoint(1,1) # point=x\n", "a point has no area"),
        ("image\npolygon(1,1,5,5)\n", "a polygon has no area"),
        ("image\npanda(50,40,0,90,4,0,20,1)\n", "panda"),
        ("image\ncircle(50,40\n", "radius"),
        ("image\ncircle(50,40,0)\n", "radius"),
        ("image\ncircle(nan,40,5)\n", "no place"),
        ('image\ncircle(50,40,2.5")\n', "angular units"),
        ("linear\ncircle(50,40,10)\n", "linear"),
        ("hello world\n", "hello"),
    ],
)
def test_what_cannot_be_a_mask_is_said(tmp_path, text, why):
    path = written(tmp_path, text)
    with pytest.raises(InputError, match=why) as caught:
        read_regions(path)
    assert str(path) in str(caught.value)


def test_an_empty_region_file_masks_nothing(tmp_path):
    assert read_regions(written(tmp_path, "# Region file format: DS9\n")) == []
