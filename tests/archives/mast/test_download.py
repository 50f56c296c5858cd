import errno
import fcntl
import hashlib
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import threading
import time

import pytest
import requests
from mast_server import fits_bytes
from requests.adapters import HTTPAdapter

from webbmosaic.archives import download as module
from webbmosaic.archives.download import LAYOUT, download, plan, read_records
from webbmosaic.archives.holdings import Product
from webbmosaic.archives.mast import list_products, search
from webbmosaic.archives.part import Part, whole_fits
from webbmosaic.archives.selection import Selection
from webbmosaic.archives.transfer import Policy
from webbmosaic.archives.transport import Archive
from webbmosaic.errors import ArchiveError, AuthorizationError, StorageError

SELECTION = Selection(programs=("1345",))
QUICK = Policy(tries=4, pause=0.001, longest=0.01, timeout=(2.0, 2.0))


def name_of(index=1):
    return f"jw01345001001_14201_{index:05d}_nrca1_uncal.fits"


def fill(mast, files, size=30_000):
    for index in range(1, files + 1):
        mast.holdings.add(name_of(index), fits_bytes(size, seed=index))


def products_of(mast):
    client = mast.client()
    return list_products(client, search(client, SELECTION), SELECTION)[0]


def run(mast, folder, *, token=None, **options):
    items = plan(products_of(mast), folder)
    options = {"policy": QUICK, **options}
    return download(mast.client(token), items, folder, **options)


def wrong_files(mast, folder):
    """Files under their final name that are not what the archive holds."""
    held = {uri.split("/")[1]: body for uri, body in mast.holdings.contents.items()}
    files = [p for p in (folder / LAYOUT).glob("*/*.fits")]
    return [p.name for p in files if p.read_bytes() != held[p.name]]


def finished(folder):
    return sorted(p.name for p in (folder / LAYOUT).glob("*/*.fits"))


def leftovers(folder):
    return sorted(p.name for p in (folder / LAYOUT).glob("*/*.part*"))


def test_files_lie_where_people_expect_them_and_are_recorded(mast, tmp_path):
    fill(mast, 3)
    outcomes = run(mast, tmp_path)
    assert all(outcome.error is None for outcome in outcomes)
    target = tmp_path / "mastDownload/JWST/jw01345001001_14201_00001_nrca1" / name_of()
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    record = read_records(tmp_path)[f"{target.parent.name}/{target.name}"]
    assert (record.sha256, record.size) == (digest, target.stat().st_size)
    assert {o.sha256 for o in outcomes if o.item.target == target} == {digest}
    assert wrong_files(mast, tmp_path) == leftovers(tmp_path) == []


def test_a_second_run_fetches_only_what_is_missing(mast, tmp_path):
    fill(mast, 4)
    run(mast, tmp_path)
    (tmp_path / LAYOUT / name_of(2).removesuffix("_uncal.fits") / name_of(2)).unlink()
    mast.holdings.requests.clear()
    outcomes = run(mast, tmp_path)
    assert [o.item.product.name for o in outcomes] == [name_of(2)]
    assert len(mast.holdings.paths("/search/jwst/api/v0.1/retrieve")) == 1
    mast.holdings.requests.clear()
    assert run(mast, tmp_path) == []
    assert not mast.holdings.paths("/search/jwst/api/v0.1/retrieve")


def flip(body):
    return body[:-100] + bytes([body[-100] ^ 1]) + body[-99:]


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda body: body[:9000], "another size"),
        (lambda body: b"\0" * len(body), "not whole"),
        (flip, "changed since it was downloaded"),
        (lambda body: b"", "another size"),
    ],
)
def test_a_file_damaged_later_is_found_and_replaced(mast, tmp_path, damage, reason):
    fill(mast, 1)
    run(mast, tmp_path)
    (target,) = (tmp_path / LAYOUT).glob("*/*.fits")
    target.write_bytes(damage(target.read_bytes()))
    (item,) = plan(products_of(mast), tmp_path)
    assert item.reason == reason
    assert [o.error for o in run(mast, tmp_path)] == [None]
    assert wrong_files(mast, tmp_path) == []


def test_files_of_another_downloader_are_taken_when_whole(mast, tmp_path):
    fill(mast, 2)
    for product in products_of(mast):
        target = tmp_path / LAYOUT / product.folder / product.name
        target.parent.mkdir(parents=True)
        target.write_bytes(mast.holdings.contents[product.uri])
    target.write_bytes(b"\0" * product.size)
    assert [i.reason for i in plan(products_of(mast), tmp_path)] == ["", "not whole"]
    run(mast, tmp_path)
    assert wrong_files(mast, tmp_path) == []
    assert len(read_records(tmp_path)) == 2
    for path, record in read_records(tmp_path).items():
        body = (tmp_path / LAYOUT / path).read_bytes()
        assert record.sha256 == hashlib.sha256(body).hexdigest()


def test_two_hundred_cuts_cost_little(mast, tmp_path):
    fill(mast, 20, size=60_000)
    rng = random.Random(4)
    left = dict.fromkeys(mast.holdings.contents, 10)

    def cut(name, start, length):
        left[name] -= 1
        return rng.randrange(length // 3) if left[name] >= 0 else None

    mast.holdings.cut = cut
    outcomes = run(mast, tmp_path)
    assert [o.error for o in outcomes] == [None] * 20
    assert sum(left.values()) == -20
    assert wrong_files(mast, tmp_path) == leftovers(tmp_path) == []
    payload = sum(map(len, mast.holdings.contents.values()))
    assert mast.holdings.sent <= 1.3 * payload


def test_an_archive_that_cannot_resume_is_asked_for_all(mast, tmp_path):
    fill(mast, 2)
    mast.holdings.honours_range = False
    cuts = [5000, 9000]
    mast.holdings.cut = lambda name, start, length: cuts.pop() if cuts else None
    assert [o.error for o in run(mast, tmp_path)] == [None, None]
    assert wrong_files(mast, tmp_path) == []
    assert len(mast.holdings.paths("/search/jwst/api/v0.1/retrieve")) == 4


@pytest.mark.parametrize("beside", [-1, 7])
def test_an_answer_that_starts_elsewhere_is_not_appended(mast, tmp_path, beside):
    fill(mast, 1)
    mast.holdings.beside = beside
    cuts = [5000]
    mast.holdings.cut = lambda name, start, length: cuts.pop() if cuts else None
    assert [o.error for o in run(mast, tmp_path)] == [None]
    assert wrong_files(mast, tmp_path) == []


@pytest.mark.parametrize("validator", ["ETag", "Last-Modified", ""])
def test_a_file_that_changes_meanwhile_is_not_stitched(mast, tmp_path, validator):
    fill(mast, 1)
    mast.holdings.validator = validator
    old = next(iter(mast.holdings.contents.values()))
    new = fits_bytes(30_000 if validator else 50_000, seed=99)
    answers = [old]
    mast.holdings.spoil = lambda name, body: answers.pop() if answers else new
    mast.holdings.cut = lambda name, start, length: (
        None
        if not answers and start
        else (
            5000
            if len(mast.holdings.paths("/search/jwst/api/v0.1/retrieve")) == 1
            else None
        )
    )
    (outcome,) = run(mast, tmp_path)
    if validator:  # the same size: nothing else tells
        assert outcome.item.target.read_bytes() == new
    else:
        assert isinstance(outcome.error, ArchiveError)
        assert finished(tmp_path) == []


@pytest.mark.parametrize("good", [0, 7000])
@pytest.mark.parametrize("journal", [False, True])
def test_junk_in_a_part_is_never_trusted(mast, tmp_path, journal, good):
    fill(mast, 1)
    cuts = [12_000, 0, 0, 0, 0]
    mast.holdings.cut = lambda name, start, length: cuts.pop(0)
    (outcome,) = run(mast, tmp_path, policy=Policy(tries=1, pause=0.0))
    part = outcome.item.target.with_name(name_of() + ".part")
    if not journal:
        part.with_name(part.name + ".json").unlink()
    part.write_bytes(part.read_bytes()[:good] + b"j" * (12_000 - good))
    mast.holdings.cut = lambda name, start, length: None
    assert [o.error for o in run(mast, tmp_path)] == [None]
    assert wrong_files(mast, tmp_path) == leftovers(tmp_path) == []


def test_the_next_run_goes_on_where_a_cut_left_off(mast, tmp_path):
    fill(mast, 1)
    cuts = [20_000, 0, 0, 0, 0]
    mast.holdings.cut = lambda name, start, length: cuts.pop(0) if cuts else None
    (outcome,) = run(mast, tmp_path, policy=Policy(tries=1, pause=0.0))
    assert "cut at 20000 of" in str(outcome.error)
    assert finished(tmp_path) == []
    mast.holdings.sent = 0
    (item,) = plan(products_of(mast), tmp_path)
    assert item.missing == item.product.size - 20_000
    assert [o.error for o in run(mast, tmp_path)] == [None]
    assert mast.holdings.sent == item.missing
    assert mast.holdings.requests[-1][2]["if-range"].startswith('"')
    assert wrong_files(mast, tmp_path) == []


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda name, body: body + b"\0" * 2880, "but sends 34560, twice"),
        (lambda name, body: body[:-2880], "but sends 28800, twice"),
        (lambda name, body: b"j" * len(body), "no whole FITS file, twice"),
        (lambda name, body: b"junk" + body[:-4], "no whole FITS file, twice"),
    ],
)
def test_a_wrong_file_is_refused(mast, tmp_path, spoil, message):
    fill(mast, 1, size=32_000)
    mast.holdings.spoil = spoil
    (outcome,) = run(mast, tmp_path)
    assert message in str(outcome.error)
    assert finished(tmp_path) == []


def test_a_file_of_unknown_size_is_fetched(mast, tmp_path):
    fill(mast, 1)
    mast.holdings.products[0]["size"] = None
    cuts = [5000]
    mast.holdings.cut = lambda name, start, length: cuts.pop() if cuts else None
    assert [o.error for o in run(mast, tmp_path)] == [None]
    assert wrong_files(mast, tmp_path) == []


def test_busy_answers_are_outlasted(mast, tmp_path):
    fill(mast, 2)
    products = plan(products_of(mast), tmp_path)
    mast.holdings.busy = 5
    outcomes = download(mast.client(), products, tmp_path, policy=QUICK)
    assert [o.error for o in outcomes] == [None, None]


def test_a_silent_archive_is_asked_again(mast, tmp_path, monkeypatch):
    fill(mast, 1)
    naps = [0.6]

    def cut(name, start, length):
        time.sleep(naps.pop() if naps else 0.0)

    mast.holdings.cut = cut
    policy = Policy(tries=3, pause=0.001, timeout=(1.0, 0.2))
    monkeypatch.setattr("webbmosaic.archives.transfer.WORTH_A_WORD", 0.1)
    told = []
    items = plan(products_of(mast), tmp_path)
    client = Archive(mast.url, tell=told.append)
    outcomes = download(client, items, tmp_path, policy=policy)
    assert [o.error for o in outcomes] == [None]
    assert len(mast.holdings.paths("/search/jwst/api/v0.1/retrieve")) > 1
    assert told
    assert all(sentence.endswith(", trying again") for sentence in told)


def test_exclusive_files_need_a_token_and_say_so(mast, tmp_path, monkeypatch):
    fill(mast, 2)
    mast.holdings.exclusive.add(f"jw01345001001_14201_00001/{name_of()}")
    failed = [o for o in run(mast, tmp_path) if o.error]
    assert isinstance(failed[0].error, AuthorizationError)
    assert "Set the environment variable MAST_API_TOKEN" in str(failed[0].error)
    assert finished(tmp_path) == [name_of(2)]
    monkeypatch.setenv("MAST_API_TOKEN", "bad-token")
    (outcome,) = run(mast, tmp_path, token="bad-token")
    assert "the token in MAST_API_TOKEN does not open" in str(outcome.error)
    assert "bad-token" not in str(outcome.error)
    assert [o.error for o in run(mast, tmp_path, token="good-token")] == [None]
    recorded = (tmp_path / LAYOUT / "downloads.jsonl").read_text()
    assert "token" not in recorded


def test_a_file_that_is_gone_does_not_stop_the_others(mast, tmp_path):
    fill(mast, 3)
    mast.holdings.contents.pop(f"jw01345001001_14201_00002/{name_of(2)}")
    messages = [str(o.error) for o in run(mast, tmp_path) if o.error]
    assert messages == [f"{name_of(2)}: the archive has no such file (HTTP 404)"]
    assert len(finished(tmp_path)) == 2


def test_a_dead_archive_is_not_asked_for_everything(mast, tmp_path):
    fill(mast, 60)
    items = plan(products_of(mast), tmp_path)
    dead = Archive("http://127.0.0.1:9")
    policy = Policy(tries=1, pause=0.0, timeout=(1.0, 1.0))
    outcomes = download(dead, items, tmp_path, policy=policy, streams=2)
    assert len(outcomes) == 60
    messages = [str(o.error) for o in outcomes]
    assert sum("because others failed" in message for message in messages) > 40


def test_stale_sizes_are_no_reason_to_stop(mast, tmp_path):
    fill(mast, 20)
    for product in mast.holdings.products[:15]:
        product["size"] += 1
    outcomes = run(mast, tmp_path, streams=1)
    assert sum(o.error is None for o in outcomes) == 5
    assert not any("because others failed" in str(o.error) for o in outcomes)


def test_the_disk_is_looked_at_first(mast, tmp_path, monkeypatch):
    fill(mast, 1)
    usage = module.shutil.disk_usage(tmp_path)._replace(free=1_010_000)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(StorageError, match="--download-dir"):
        run(mast, tmp_path / "new" / "folder")
    assert not (tmp_path / "new").exists()
    assert not mast.holdings.paths("/search/jwst/api/v0.1/retrieve")


def test_a_disk_that_fills_up_stops_everything(mast, tmp_path):
    fill(mast, 30, size=100_000)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, limits[1]))
    try:
        outcomes = run(mast, tmp_path, streams=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "cannot be written (File too large)" in str(outcomes[0].error)
    assert sum("because others failed" in str(o.error) for o in outcomes) > 20
    assert finished(tmp_path) == []
    assert {o.error for o in run(mast, tmp_path)} == {None}
    assert wrong_files(mast, tmp_path) == leftovers(tmp_path) == []


def test_a_folder_that_cannot_be_made_stops_with_a_sentence(mast, tmp_path):
    fill(mast, 1)
    (tmp_path / "mastDownload").write_text("a file")
    (item,) = plan(products_of(mast), tmp_path / "other")
    item = module.Item(item.product, tmp_path / "mastDownload/x/y", "missing", 0)
    (outcome,) = download(mast.client(), [item], tmp_path / "other", policy=QUICK)
    assert isinstance(outcome.error, StorageError)


def test_two_processes_do_not_write_one_part(mast, tmp_path):
    fill(mast, 1)
    (item,) = plan(products_of(mast), tmp_path)
    item.target.parent.mkdir(parents=True)
    with item.target.with_name(name_of() + ".part").open("wb") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        policy = Policy(patience=0.3)
        (outcome,) = run(mast, tmp_path, policy=policy)
        assert "by another process, which does not go on" in str(outcome.error)
    assert [o.error for o in run(mast, tmp_path)] == [None]


def test_two_downloads_share_the_work(mast, tmp_path):
    fill(mast, 6, size=200_000)
    mast.holdings.pace = 0.005
    items = plan(products_of(mast), tmp_path)
    ended, told = [], []
    client = Archive(mast.url, tell=told.append)

    def fetch_all():
        ended.append(download(client, items, tmp_path, policy=QUICK, streams=2))

    threads = [threading.Thread(target=fetch_all) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [o.error for outcomes in ended for o in outcomes] == [None] * 12
    assert wrong_files(mast, tmp_path) == leftovers(tmp_path) == []
    assert any("waiting for another process" in sentence for sentence in told)
    assert mast.holdings.sent < 1.2 * sum(map(len, mast.holdings.contents.values()))


@pytest.mark.parametrize("kind", ["symbolic", "hard", "pipe"])
def test_a_link_in_place_of_a_part_is_not_followed(mast, tmp_path, kind):
    fill(mast, 1)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (item,) = plan(products_of(mast), tmp_path)
    item.target.parent.mkdir(parents=True)
    part = item.target.with_name(name_of() + ".part")
    journals = [part.with_name(part.name + end) for end in (".json", ".json.new")]
    for path in (part, *journals):
        if kind == "symbolic":
            path.symlink_to(victim)
        elif kind == "hard":
            path.hardlink_to(victim)
        elif path == part:
            os.mkfifo(path)
    cuts = [20_000]
    mast.holdings.cut = lambda name, start, length: cuts.pop() if cuts else None
    assert [o.error for o in run(mast, tmp_path)] == [None]
    assert victim.read_text() == "precious"
    assert wrong_files(mast, tmp_path) == []


def test_records_are_not_written_through_a_link(mast, tmp_path):
    fill(mast, 1)
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / LAYOUT).mkdir(parents=True)
    (tmp_path / LAYOUT / "downloads.jsonl").symlink_to(victim)
    assert [o.error for o in run(mast, tmp_path)] == [None]
    assert victim.read_text() == "precious"


def answer(status, body=b"", **headers):
    """Answer in an odd way."""

    def odd(handler, name):
        if odd.only not in name:
            return False
        handler.send_response(status)
        for key, value in headers.items():
            handler.send_header(key.replace("_", "-"), value)
        if "Content_Length" not in headers:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)
        handler.close_connection = True
        return True

    odd.only = name_of(2)
    return odd


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (answer(302, Location="http://[::1"), "not understood"),
        (answer(302, Location="http://127.0.0.1:99999999/"), "address"),
        (answer(302, Location="http://mast.example.org/"), "https://HOST only"),
        (answer(302, Location="ftp://127.0.0.1/"), "no address"),
        (answer(503, Retry_After="\xb2"), "busy"),
        (answer(503, Retry_After="1000000000"), "busy .HTTP 503. for 11574 days"),
        (answer(200, Content_Length="9" * 5000), "cut at 0 of"),
        (answer(200, Content_Length="-5"), "cut at 0 of"),
        (answer(206, Content_Range="bytes 0-\xb2/\xb2"), "does not go on"),
        (answer(418), "HTTP 418"),
    ],
)
def test_an_odd_answer_for_one_file_is_its_failure(mast, tmp_path, odd, message):
    fill(mast, 12)
    mast.holdings.odd = odd
    outcomes = run(mast, tmp_path)
    (failed,) = [o for o in outcomes if o.error]
    assert failed.item.product.name == name_of(2)
    assert re.search(message, str(failed.error))
    assert len(finished(tmp_path)) == 11


def test_no_more_is_taken_than_was_listed(mast, tmp_path, monkeypatch):
    fill(mast, 1)
    handed = []
    original = Part.write
    monkeypatch.setattr(
        Part,
        "write",
        lambda part, block: (handed.append(len(block)), original(part, block)),
    )
    (body,) = mast.holdings.contents.values()

    def odd(handler, name):
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"%x\r\n" % len(body) + body + b"\r\n")
        for _ in range(200):
            handler.wfile.write(b"19000\r\n" + b"x" * 0x19000 + b"\r\n")
        return True

    mast.holdings.odd = odd
    (outcome,) = run(mast, tmp_path)
    assert f"lists {len(body)} bytes but sends more, twice" in str(outcome.error)
    assert sum(handed) <= 2 * len(body)
    assert finished(tmp_path) == leftovers(tmp_path) == []


@pytest.mark.parametrize("validator", ["", "Last-Modified"])
def test_a_file_replaced_under_a_resumed_download_is_noticed(mast, tmp_path, validator):
    fill(mast, 1, size=300_000)
    mast.holdings.validator = validator
    mast.holdings.tag = "Sat, 24 Dec 2022 10:00:00 GMT"  # also after the change
    new = fits_bytes(300_000, seed=77)
    ((uri, old),) = mast.holdings.contents.items()
    assert len(new) == len(old)
    mast.holdings.cut = lambda name, start, length: 0 if start else 200_000
    run(mast, tmp_path, policy=Policy(tries=1, pause=0.0))
    assert leftovers(tmp_path)
    mast.holdings.cut = lambda name, start, length: None
    mast.holdings.contents[uri] = new
    assert [o.error for o in run(mast, tmp_path)] == [None]
    assert wrong_files(mast, tmp_path) == []


def test_the_proof_of_sameness_is_cheap(mast, tmp_path):
    fill(mast, 1, size=34_000_000)
    mast.holdings.validator = ""
    cuts = [5_000_000, 5_000_000]
    mast.holdings.cut = lambda name, start, length: cuts.pop() if cuts else None
    assert [o.error for o in run(mast, tmp_path)] == [None]
    (body,) = mast.holdings.contents.values()
    assert mast.holdings.sent == len(body) + 2 * 65_536
    assert wrong_files(mast, tmp_path) == []


def test_records_that_cannot_be_written_are_told_once(mast, tmp_path, monkeypatch):
    fill(mast, 4)
    run(mast, tmp_path)
    (tmp_path / LAYOUT / "downloads.jsonl").unlink()

    def full(path, line):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(module, "append", full)
    told = []
    client = Archive(mast.url, tell=told.append)
    items = plan(products_of(mast), tmp_path)
    assert download(client, items, tmp_path, policy=QUICK) == []
    items = plan(products_of(mast), tmp_path, redo=True)
    outcomes = download(client, items, tmp_path, policy=QUICK)
    assert [o.error for o in outcomes] == [None] * 4
    assert len(told) == 2
    assert "No space left on device), so what is fetched is not recorded" in told[0]


@pytest.mark.parametrize(
    "content", [b"\xff\xfe\n", b"[" * 100_000, b'{"path": []}\n5\nnull\n', None]
)
def test_a_damaged_journal_costs_time_only(mast, tmp_path, content):
    fill(mast, 2)
    run(mast, tmp_path)
    journal = tmp_path / LAYOUT / "downloads.jsonl"
    if content is None:
        journal.unlink()
        journal.mkdir()
    else:
        journal.write_bytes(content)
    assert read_records(tmp_path) == {}
    assert [i.reason for i in plan(products_of(mast), tmp_path)] == ["", ""]
    assert run(mast, tmp_path) == []


def test_a_target_that_is_a_folder_is_that_files_failure(mast, tmp_path):
    fill(mast, 4)
    items = plan(products_of(mast), tmp_path)
    (items[0].target / "in the way").mkdir(parents=True)
    items[1].target.parent.write_text("a file")
    outcomes = run(mast, tmp_path, streams=1)
    failed = [o for o in outcomes if o.error]
    assert {type(o.error) for o in failed} == {StorageError}
    assert len(failed) == 2
    assert len(finished(tmp_path)) == 3  # the folder, and two files


def test_an_archive_that_hardly_sends_is_given_up(mast, tmp_path):
    fill(mast, 1, size=400_000)
    mast.holdings.pace = 0.1
    policy = Policy(tries=2, pause=0.0, timeout=(1.0, 0.3), slowest=1e9)
    (outcome,) = run(mast, tmp_path, policy=policy)
    assert "sends hardly anything, again and again" in str(outcome.error)


def test_lasting_failures_are_not_repeated(mast, tmp_path, monkeypatch):
    fill(mast, 1)
    asked = []

    def send(*arguments, **options):
        asked.append(arguments)
        raise requests.exceptions.SSLError("self-signed")

    monkeypatch.setattr(HTTPAdapter, "send", send)
    items = [
        module.Item(
            Product(name_of(), "x"), tmp_path / LAYOUT / "a" / "b", "missing", 1
        )
    ]
    (outcome,) = download(mast.client(), items, tmp_path)
    assert "certificate is not accepted" in str(outcome.error)
    assert len(asked) == 1
    with pytest.raises(ArchiveError, match="certificate is not accepted"):
        search(mast.client(), SELECTION)
    assert len(asked) == 2


def test_the_user_may_leave_while_the_archive_is_silent(mast, tmp_path):
    fill(mast, 4)
    silent = threading.Event()

    def odd(handler, name):
        silent.set()
        time.sleep(15)
        return True

    mast.holdings.odd = odd
    command = [sys.executable, "-m", "webbmosaic.cli", "download", "1345"]
    process = subprocess.Popen(
        [*command, "--download-dir", str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert silent.wait(60)
    time.sleep(0.2)
    since = time.monotonic()
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert time.monotonic() - since < 5.0
    assert process.returncode != 0
    assert "Traceback" not in said


def test_a_killed_download_is_no_product_and_goes_on(mast, tmp_path):
    fill(mast, 1, size=500_000)
    mast.holdings.pace = 0.05
    command = [sys.executable, "-m", "webbmosaic.cli", "download", "1345"]
    process = subprocess.Popen(
        [*command, "--download-dir", str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    (item,) = plan(products_of(mast), tmp_path)
    journal = item.target.with_name(name_of() + ".part.json")
    deadline = time.monotonic() + 60
    while not journal.exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert finished(tmp_path) == []
    known = json.loads(journal.read_bytes())["length"]
    mast.holdings.pace = 0.0
    mast.holdings.requests.clear()
    assert [o.error for o in run(mast, tmp_path)] == [None]
    assert wrong_files(mast, tmp_path) == []
    ((_, _, headers),) = [r for r in mast.holdings.requests if "range" in r[2]]
    assert headers["range"] == f"bytes={known}-"


def test_progress_and_outcomes_are_told(mast, tmp_path):
    fill(mast, 2)
    lengths, names = {}, []
    run(
        mast,
        tmp_path,
        tick=lengths.__setitem__,
        done=lambda outcome: names.append(outcome.item.product.name),
    )
    sizes = {p.name: p.size for p in products_of(mast)}
    assert lengths == sizes
    assert sorted(names) == sorted(sizes)


def test_stopping_keeps_what_is_there(mast, tmp_path):
    fill(mast, 8, size=100_000)
    mast.holdings.pace = 0.01

    def interrupt(outcome):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(mast, tmp_path, done=interrupt, streams=2)
    assert 1 <= len(finished(tmp_path)) < 8
    assert wrong_files(mast, tmp_path) == []
    run(mast, tmp_path)
    assert len(finished(tmp_path)) == 8
    assert wrong_files(mast, tmp_path) == leftovers(tmp_path) == []


def test_a_torn_record_is_no_record(mast, tmp_path):
    fill(mast, 2)
    run(mast, tmp_path)
    journal = tmp_path / LAYOUT / "downloads.jsonl"
    journal.write_text(journal.read_text()[:-40])
    assert len(read_records(tmp_path)) == 1
    assert [i.reason for i in plan(products_of(mast), tmp_path)] == ["", ""]


@pytest.mark.parametrize("missing", [1, 2880, 20_000, 30_000])
def test_a_short_fits_file_is_not_whole(tmp_path, missing):
    body = fits_bytes(40_000)
    path = tmp_path / "x.fits"
    path.write_bytes(body)
    assert whole_fits(path)
    path.write_bytes(body[:-missing])
    assert not whole_fits(path)
    path.write_bytes(body + b"x")
    assert not whole_fits(path)
