import os
import re
from urllib.parse import unquote

import numpy as np
import pytest
from click.testing import CliRunner

from webbmosaic.cli.report import quicklook, report
from webbmosaic.datasets import Dataset, Workspace
from webbmosaic.errors import UsageError
from webbmosaic.files.ledger import Record, write_record
from webbmosaic.report.page import write_report

GROUP = "jw01345_obs002_NIRCAM_F444W"
NAMES = [f"jw01345002001_14201_0000{n}_nrcblong" for n in (1, 2, 3)]


def record(owner, stage, outcome="done", **fields):
    return Record(stage=stage, owner=owner, outcome=outcome, **fields)


@pytest.fixture
def work(tmp_path, image_writer, sky_wcs, small_scene):
    """Two exposures that went well, one that failed, and their mosaic."""
    space = Workspace(tmp_path / "some work")
    rng = np.random.default_rng(0)
    for name in NAMES:
        dataset = Dataset.parse(name)
        failed = name == NAMES[2]
        sentence = "truncated <after> 72 & more bytes" if failed else ""
        write_record(
            space.record(dataset, "stage1"),
            record(
                name,
                "stage1",
                "failed" if failed else "done",
                sentence=sentence,
                versions={"jwst": "3.0.0"},
                context="jwst_0001.pmap",
                numbers={"stripes": {"rms_before": 0.0213, "rms_after": 0.0012}},
                settings={"stripes": {"angles": [30.0, -30.0]}},
                cpu_seconds=4.0,
            ),
        )
        if failed:
            continue
        data = rng.normal(0, 1, (64, 64))
        image_writer(space.rate(dataset), data, unit="DN/s")
        image_writer(space.cal(dataset), data, wcs=sky_wcs(data.shape), err=1.0)
        level = {"sky": {"level": 0.4567}}
        write_record(
            space.record(dataset, "stage2"), record(name, "stage2", numbers=level)
        )
    small_scene.write(space.mosaic(GROUP))
    shift = {
        "exposure": NAMES[0],
        "status": "COMPLETE",
        "shift_mas": [81.25, -50.1],
        "rotation_deg": 0.001,
        "matches": 27,
        "residual_mas": 2.5,
    }
    numbers = {"exposures": 2, "alignment": [shift]}
    write_record(
        space.record(GROUP, "stage3"),
        record(GROUP, "stage3", numbers=numbers, notes=["kept although it moved"]),
    )
    return space


def text_of(made):
    html = made.page.read_text()
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", html))


def test_the_page_tells_it_all(work):
    made = write_report(work)
    assert (made.exposures, made.mosaics, made.problems) == (3, 1, [])
    assert made.page == work.report
    text = text_of(made)
    for name in (*NAMES, GROUP):
        assert name in text
    assert "truncated &lt;after&gt; 72 &amp; more bytes" in text
    assert "kept although it moved" in text
    assert "0.021 → 0.0012" in text
    assert "0.457" in text
    assert "+81.2 \N{MINUS SIGN}50.1 +3.6 27 2.5" in text
    assert "jwst_0001.pmap" in text
    assert "[30.0, -30.0]" in text


def test_the_page_needs_no_network_and_nothing_is_missing(work):
    html = write_report(work).page.read_text()
    assert not re.search(r"https?:|//[a-z]|@import|url\(", html)
    links = re.findall(r'(?:src|href)="([^"#][^"]*)"', html)
    files = {unquote(link) for link in links if not link.startswith("data:")}
    assert len(files) == 2 * 4 + 1
    for file in files:
        assert not file.startswith("/")
        assert (work.report.parent / file).is_file(), file
    assert html.count('loading="lazy"') == html.count("<img") - 1


def test_pictures_are_made_once(work):
    write_report(work)
    images = sorted((work.report.parent / "images").iterdir())
    assert len(images) == 5 * 3
    before = {path: path.stat().st_mtime_ns for path in images}
    write_report(work)
    assert {path: path.stat().st_mtime_ns for path in images} == before
    cal = work.cal(Dataset.parse(NAMES[0]))
    late = max(before.values()) + 10**9
    os.utime(cal, ns=(late, late))
    write_report(work)
    changed = {p.name for p in images if p.stat().st_mtime_ns != before[p]}
    stem = f"{NAMES[0]}_cal"
    assert changed == {f"{stem}.png", f"{stem}_small.png", f"{stem}.json"}
    write_report(work, redo=True)
    assert all(path.stat().st_mtime_ns != before[path] for path in images)


def test_a_damaged_file_is_named_and_the_rest_shown(work):
    cal = work.cal(Dataset.parse(NAMES[1]))
    write_report(work)
    cal.write_bytes(cal.read_bytes()[:3000])
    late = work.report.stat().st_mtime_ns + 10**9
    os.utime(cal, ns=(late, late))
    made = write_report(work)
    assert made.problems
    assert all(cal.name in sentence for sentence in made.problems)
    assert cal.name in text_of(made)
    html = made.page.read_text()
    assert f"{NAMES[1]}_rate_small.png" in html
    assert f"{NAMES[1]}_cal_small.png" not in html, "an old picture would mislead"


def test_several_processes_make_the_same_page(work):
    write_report(work)
    alone = work.report.read_text()
    write_report(work, redo=True, processes=2)
    shared = work.report.read_text()
    now = re.compile(r"report of [^<]*")
    assert now.sub("", alone) == now.sub("", shared)


def test_truth_and_another_reduction(work, small_scene, tmp_path):
    truth = tmp_path / "truth.ecsv"
    small_scene.truth.write(truth, format="ascii.ecsv")
    other = Workspace(tmp_path / "other")
    small_scene.write(other.mosaic(GROUP), gain=0.9)
    made = write_report(work, truth=truth, before=other)
    assert abs(made.agreements[GROUP]["flux"]) < 0.3
    assert "Recovered against truth" in text_of(made)
    html = made.page.read_text()
    assert f"{GROUP}_i2d_pair.png" in html
    assert html.count('class="good">✓') == 7
    plain = write_report(work)
    assert plain.agreements == {}, "numbers of an earlier truth are not shown again"


def test_a_truth_table_of_other_filters_is_a_problem_not_an_end(
    work, small_scene, tmp_path
):
    bare = small_scene.truth.copy()
    bare.remove_column("flux_F444W")
    bare.write(tmp_path / "truth.ecsv", format="ascii.ecsv")
    made = write_report(work, truth=tmp_path / "truth.ecsv")
    assert made.agreements == {}
    assert any("F444W" in sentence for sentence in made.problems)


def test_an_empty_folder_has_no_report(tmp_path):
    with pytest.raises(UsageError, match="nothing is reduced here yet"):
        write_report(Workspace(tmp_path))


def test_products_without_any_ledger_are_shown(work):
    for path in work.root.rglob("state/*.json"):
        path.unlink()
    made = write_report(work)
    assert (made.exposures, made.mosaics) == (3, 1)
    assert "2 done 1 left" in text_of(made)


def test_what_is_left_to_do_is_listed(work):
    """A dataset with raw ramps alone, and one that stage 2 has not seen yet."""
    raw = Dataset.parse("jw01345002001_14201_00009_nrcblong")
    work.uncal(raw).parent.mkdir(parents=True)
    half = Dataset.parse(NAMES[0])
    work.cal(half).unlink()
    work.record(half, "stage2").unlink()
    made = write_report(work)
    assert made.exposures == 4
    assert str(raw) in text_of(made)
    assert "2 left" in text_of(made)


def test_the_report_command(work, small_scene, tmp_path):
    truth = tmp_path / "truth.ecsv"
    small_scene.truth.write(truth, format="ascii.ecsv")
    arguments = ["-C", str(work.root), "--truth", str(truth), "-j", "1"]
    result = CliRunner().invoke(report, arguments)
    assert result.exit_code == 0, result.output
    assert "3 exposures, 1 mosaics" in result.output
    assert re.search(rf"{GROUP}: \d+ stars: flux [+-]0\.\d\d %", result.output)
    cal = work.cal(Dataset.parse(NAMES[0]))
    cal.write_text("rubbish")
    late = work.report.stat().st_mtime_ns + 10**9
    os.utime(cal, ns=(late, late))
    result = CliRunner().invoke(report, arguments)
    assert result.exit_code == 1
    assert f"{NAMES[0]}_cal.fits" in result.output


def test_the_quicklook_command(work, tmp_path):
    files = [str(work.cal(Dataset.parse(name))) for name in NAMES[:2]]
    result = CliRunner().invoke(quicklook, [*files, "-o", str(tmp_path / "pictures")])
    assert result.exit_code == 0, result.output
    made = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert made == [f"{name}_cal.quicklook.png" for name in NAMES[:2]]
    pair = tmp_path / "pair.png"
    result = CliRunner().invoke(quicklook, ["--pair", *files, "-o", str(pair)])
    assert result.exit_code == 0, result.output
    assert pair.is_file()


def test_quicklook_goes_on_after_a_bad_file(work, tmp_path):
    bad = tmp_path / "bad_cal.fits"
    bad.write_text("no")
    good = work.cal(Dataset.parse(NAMES[0]))
    result = CliRunner().invoke(quicklook, [str(bad), str(good)])
    assert result.exit_code == 1
    assert "bad_cal.fits" in result.output
    assert good.with_name(f"{NAMES[0]}_cal.quicklook.png").is_file()
    assert not bad.with_name("bad_cal.quicklook.png").exists()


def test_one_name_cannot_hold_two_pictures(work):
    files = [str(work.cal(Dataset.parse(name))) for name in NAMES[:2]]
    result = CliRunner().invoke(quicklook, [*files, "-o", "one.png"])
    assert isinstance(result.exception, UsageError)
    result = CliRunner().invoke(quicklook, ["--pair", files[0]])
    assert isinstance(result.exception, UsageError)
