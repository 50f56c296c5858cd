import time
from email.utils import formatdate

import pytest
import requests
from mast_server import Archive as Holdings
from mast_server import serving

from webbmosaic.archives.answers import pause_asked
from webbmosaic.archives.threads import within
from webbmosaic.archives.transport import Archive, check_address
from webbmosaic.errors import ArchiveError, UsageError

FILE = "jw01345002001_14201_00001_nrcb4_uncal.fits"
URI = f"jw01345002001_14201_00001/{FILE}"
GET = f"/search/jwst/api/v0.1/retrieve_product?product_name={URI}"


@pytest.mark.parametrize(
    "url", ["https://mast.stsci.edu", "http://127.0.0.1:1", "http://localhost:80"]
)
def test_encrypted_or_local_addresses_are_used(url):
    assert check_address(url + "/") == url


@pytest.mark.parametrize(
    "url",
    [
        "http://mast.stsci.edu",
        "http://localhost.example.org",
        "http://127.0.0.1.example.org/",
        "ftp://mast.stsci.edu",
        "file:///etc/passwd",
        "https://me:secret@mast.stsci.edu",
        "mast.stsci.edu",
        "http://[::1",
        "https://mast.stsci.edu:99999999",
    ],
)
def test_other_addresses_are_refused(url):
    with pytest.raises(ArchiveError) as refused:
        Archive(url)
    assert "secret" not in str(refused.value)


def test_the_token_is_shown_to_its_archive_only(mast):
    mast.holdings.add(FILE)
    elsewhere = Holdings(contents=mast.holdings.contents)
    with serving(elsewhere) as other:
        mast.holdings.redirect = other
        answer = mast.client("good-token").session().get(mast.url + GET)
    assert answer.content == mast.holdings.contents[URI]
    ((_, _, first),) = mast.holdings.requests
    ((_, _, second),) = elsewhere.requests
    assert first["authorization"] == "token good-token"
    assert "mast_token=good-token" in first["cookie"]
    assert "good-token" not in str(second)


def test_the_token_is_not_left_on_a_request_that_may_be_redirected(mast):
    request = requests.Request("GET", mast.url + GET).prepare()
    mast.client("good-token").session().send(request)
    assert "good-token" not in str(request.headers)


def test_a_redirect_cannot_leave_encryption(mast):
    mast.holdings.redirect = "http://mirror.example.org"
    with pytest.raises(ArchiveError, match="https://HOST only"):
        mast.client("good-token").session().get(mast.url + GET)


def test_the_token_is_in_no_text(mast, monkeypatch, caplog):
    monkeypatch.setenv("MAST_API_TOKEN", "good-token\n")
    archive = Archive.mast()
    assert archive.token == "good-token"
    assert "good-token" not in repr(archive)
    caplog.set_level("DEBUG")
    with pytest.raises(requests.RequestException) as failure:
        Archive("http://127.0.0.1:9", "good-token").session(retries=1).get(
            "http://127.0.0.1:9/x"
        )
    archive.session().get(mast.url + GET)
    assert "good-token" not in caplog.text + repr(failure.value)


def test_no_proxy_comes_between_this_machine_and_itself(mast, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "")
    mast.holdings.add(FILE)
    answer = mast.client("good-token").session(retries=0).get(mast.url + GET)
    assert answer.content == mast.holdings.contents[URI]


def test_an_odd_token_is_refused_without_being_repeated(monkeypatch):
    monkeypatch.setenv("MAST_API_TOKEN", "two words")
    with pytest.raises(UsageError) as refused:
        Archive.mast()
    assert "two words" not in str(refused.value)


def test_busy_and_working_archives_are_asked_again(mast):
    mast.holdings.add(FILE)
    mast.holdings.busy = 2
    mast.holdings.executing = 2
    answer = mast.client().session().get(mast.url + GET)
    assert answer.content == mast.holdings.contents[URI]
    assert len(mast.holdings.requests) == 5


def test_waiting_has_an_end():
    with pytest.raises(ArchiveError, match="MAST did not come to an end within 0 s"):
        within(0.05, "MAST", lambda: time.sleep(5))
    assert within(5, "MAST", lambda: 7) == 7
    with pytest.raises(KeyError):
        within(5, "MAST", lambda: {}["x"])


@pytest.mark.parametrize(
    ("asked", "pause"),
    [("7", 7.0), ("²", 0.0), ("", 0.0), ("soon", 0.0), ("9" * 30, 0.0), ("-1", 0.0)],
)
def test_pauses_are_read(asked, pause):
    assert pause_asked(asked) == pause


def test_pauses_may_be_dates():
    assert 3000 < pause_asked(formatdate(time.time() + 3600, usegmt=True)) < 3601
    assert pause_asked("Sat, 24 Dec 2022 10:00:00 GMT") == 0.0


def test_an_archive_that_asks_for_a_long_pause_is_left_alone(mast):
    def odd(handler, name):
        handler.send_response(503)
        handler.send_header("Retry-After", "1000000000")
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return True

    mast.holdings.odd = odd
    with pytest.raises(ArchiveError, match="asked again in 11574 days"):
        mast.client().session().get(mast.url + GET)


def test_a_pause_is_told(mast, monkeypatch):
    mast.holdings.add(FILE)
    slept, told = [], []
    monkeypatch.setattr("webbmosaic.archives.transport.time.sleep", slept.append)

    def odd(handler, name):
        if slept:
            return False
        handler.send_response(503)
        handler.send_header("Retry-After", "30")
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return True

    mast.holdings.odd = odd
    answer = Archive(mast.url, tell=told.append).session().get(mast.url + GET)
    assert answer.content == mast.holdings.contents[URI]
    assert slept == [30.0]
    assert told == ["127.0.0.1: waiting 30 s"]


def test_endless_answers_are_not_read(mast, monkeypatch):
    monkeypatch.setattr("webbmosaic.archives.transport._LONGEST", 100_000)
    mast.holdings.add(FILE, b"x" * 200_000)
    with pytest.raises(ArchiveError, match="more than 0 MB"):
        mast.client().session().get(mast.url + GET)


def test_nothing_that_steers_a_terminal_is_in_an_error():
    text = str(ArchiveError("a\x1b[31mb\x9b\u202ec\x07 d\xa0e\r\nf"))
    assert text == "a[31mbc d e \nf"


def test_a_silent_archive_is_asked_once_more_and_told(mast):
    naps = []

    def odd(handler, name):
        naps.append(1)
        time.sleep(0.4)
        return True

    mast.holdings.odd = odd
    told = []
    session = Archive(mast.url, tell=told.append).session(timeout=(1.0, 0.1))
    with pytest.raises(requests.ReadTimeout):
        session.get(mast.url + GET)
    assert len(naps) == 2
    assert told == ["127.0.0.1 is silent and is asked again"]
