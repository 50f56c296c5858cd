import pytest
from astropy.coordinates import SkyCoord
from astropy.coordinates.name_resolve import NameResolveError, sesame_url

from webbmosaic.archives.surveys import SURVEYS, Place, read_place, resolve
from webbmosaic.errors import ArchiveError, UsageError

DATASET = "jw01345002001_14201_00001_nrcb4"


@pytest.mark.parametrize(
    ("words", "place"),
    [
        (("1345",), Place(("01345",))),
        (("01345", "1837"), Place(("01345", "01837"))),
        (("jw01345",), Place(("01345",))),
        (("ceers",), Place(("01345",))),
        (("COSMOS_WEB",), Place(("01727",))),
        (("cosmos",), Place(("01727",))),
        (("phangs",), Place(("02107", "03707"))),
        ((DATASET,), Place(("01345",), (DATASET,))),
        (
            ("jw01345002*", "jw01837*"),
            Place(("01345", "01837"), ("jw01345002*", "jw01837*")),
        ),
        (("NGC", "628"), Place(target="NGC 628")),
        (("M 83",), Place(target="M 83")),
        (("150.5", "-2.25"), Place(position=(150.5, -2.25))),
        (("150", "2"), Place(position=(150.0, 2.0))),
        (("150.1 2.2",), Place(position=(150.1, 2.2))),
        (("150.1, -2.2",), Place(position=(150.1, -2.2))),
        (("²",), Place(target="²")),
    ],
)
def test_words_are_understood(words, place):
    assert read_place(words) == place


@pytest.mark.parametrize(
    "words",
    [
        ("10:00:30", "+02:30:00"),
        ("10:00:30 +02:30:00",),
        ("10h00m30s +02d30m00s",),
        ("10 00 30 +02 30 00",),
        ("10", "00", "30", "+02", "30", "00"),
    ],
)
def test_sexagesimal_positions_are_in_hours(words):
    ra, dec = read_place(words).position
    assert ra == pytest.approx(150.125)
    assert dec == pytest.approx(2.5)


@pytest.mark.parametrize("words", [(), ("",), ("150.0", "95.0")])
def test_nonsense_is_refused(words):
    with pytest.raises(UsageError):
        read_place(words)


def test_every_survey_has_programs_and_a_source():
    for survey in SURVEYS.values():
        assert survey.programs
        assert all(one.isdigit() for one in survey.programs)
        assert survey.source


def test_a_target_is_looked_up(monkeypatch):
    asked, addresses = [], []

    def from_name(name, **options):
        asked.append(name)
        addresses.extend(sesame_url.get())
        return SkyCoord(24.17, 15.78, unit="deg")

    monkeypatch.setattr(SkyCoord, "from_name", from_name)
    assert resolve("NGC 628") == pytest.approx((24.17, 15.78))
    assert asked == ["NGC 628"]
    assert addresses
    assert all(url.startswith("https://") for url in addresses)


def test_without_a_network_positions_are_proposed(monkeypatch):
    def from_name(name, **options):
        raise NameResolveError("no network")

    monkeypatch.setattr(SkyCoord, "from_name", from_name)
    with pytest.raises(ArchiveError, match=r"Did you mean CEERS\? RA DEC"):
        resolve("CERS")
