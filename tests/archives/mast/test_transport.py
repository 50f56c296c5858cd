import pytest
import requests
from mast_server import Archive as Holdings
from mast_server import serving

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
