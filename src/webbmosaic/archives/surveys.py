"""Surveys by name, and what else a user may call a piece of sky."""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial

from webbmosaic.archives.threads import within
from webbmosaic.errors import ArchiveError, UsageError

__all__ = ["SURVEYS", "Place", "Survey", "read_place", "resolve"]


@dataclass(frozen=True)
class Survey:
    """
    An imaging survey.

    Attributes
    ----------
    programs : tuple of str
        Its JWST program numbers.
    source : str
        Where they are published.
    """

    programs: tuple[str, ...]
    source: str


#: Name -> programs. Blanks, case, ``-`` and ``_`` of a name do not matter.
SURVEYS = {
    "BEACON": Survey(("3990",), "Morishita et al. 2025, arXiv:2412.04211"),
    "CANUCS": Survey(("1208",), "Willott et al. 2022, PASP 134, 025002"),
    "CEERS": Survey(("1345",), "Finkelstein et al. 2025, arXiv:2501.04085"),
    "COSMOS-3D": Survey(("5893",), "Kakiichi et al. 2024, JWST Proposal 5893"),
    "COSMOS-Web": Survey(("1727",), "Casey et al. 2023, arXiv:2211.07865"),
    "FRESCO": Survey(("1895",), "Oesch et al. 2023, arXiv:2304.02026"),
    "GLASS": Survey(("1324",), "Treu et al. 2022, arXiv:2206.07978"),
    "JADES": Survey(
        ("1180", "1181", "1210", "1286", "1287"),
        "Eisenstein et al. 2023, arXiv:2306.02465",
    ),
    "JEMS": Survey(("1963",), "Williams et al. 2023, arXiv:2301.09780"),
    "JOF": Survey(("3215",), "Eisenstein et al. 2023, arXiv:2310.12340"),
    "MEGA": Survey(("3794",), "Backhaus et al. 2025, arXiv:2503.19078"),
    "MEGASCIENCE": Survey(("4111",), "Suess et al. 2024, arXiv:2404.13132"),
    "MIDIS": Survey(("1283",), "Östlin et al. 2025, arXiv:2411.19686"),
    "MINERVA": Survey(("7814",), "Muzzin et al. 2025, arXiv:2507.19706"),
    "NGDEEP": Survey(("2079",), "Bagley et al. 2024, arXiv:2302.05466"),
    "PANORAMIC": Survey(("2514",), "Williams et al. 2025, arXiv:2410.01875"),
    "PEARLS": Survey(("1176", "2738"), "Windhorst et al. 2023, arXiv:2209.04119"),
    "PHANGS": Survey(
        ("2107", "3707"),
        "Lee et al. 2023, arXiv:2212.02667; Chown et al. 2025, arXiv:2410.05397",
    ),
    "PRIMER": Survey(("1837",), "Dunlop et al. 2021, JWST Proposal 1837"),
    "SMACS-J0723": Survey(("2736",), "Pontoppidan et al. 2022, arXiv:2207.13067"),
    "SMILES": Survey(("1207",), "Alberts et al. 2024, arXiv:2405.15972"),
    "TEMPLATES": Survey(("1355",), "Rigby et al. 2025, arXiv:2312.10465"),
    "UNCOVER": Survey(("2561",), "Bezanson et al. 2024, arXiv:2212.04026"),
}
_ALIASES = {"COSMOS": "COSMOS-Web", "CWEB": "COSMOS-Web", "SMACS0723": "SMACS-J0723"}

_PROGRAM = re.compile(r"(?:jw)?([0-9]{1,5})", re.IGNORECASE)
_DATASET = re.compile(r"jw([0-9]{5}).+", re.IGNORECASE)
_ANGLE = re.compile(r"[+-]?[0-9][0-9.:hmsd ]*", re.IGNORECASE)
#: No program has a lower number, so two small whole numbers are a position.
_FIRST_PROGRAM = 400
#: Seconds to look a name up.
_PATIENCE = 60.0


@dataclass(frozen=True)
class Place:
    """
    What the words of a user mean.

    Attributes
    ----------
    programs : tuple of str
        Of programs, surveys and datasets.
    datasets : tuple of str
        Dataset names, perhaps with wildcards.
    position : tuple of float or None
        Degrees.
    target : str
        A name that has to be resolved to a position; empty if none.
    """

    programs: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    position: tuple[float, float] | None = None
    target: str = ""


def read_place(words: tuple[str, ...]) -> Place:
    """
    Understand ``PROGRAM...``, ``SURVEY``, ``DATASET...``, ``RA DEC`` or ``TARGET``.

    Parameters
    ----------
    words : tuple of str
        As given on the command line. A position may be one word.

    Returns
    -------
    place : Place

    Raises
    ------
    UsageError
        If there is no word, or a position is none on the sky.

    Examples
    --------
    >>> read_place(("CEERS", "02079")).programs
    ('01345', '02079')
    >>> read_place(("150.1", "-2.2")).position
    (150.1, -2.2)
    """
    words = tuple(word.strip() for word in words if word.strip())
    if not words:
        msg = "Say which program, survey, dataset, target or RA DEC is wanted"
        raise UsageError(msg)
    angles = _two_angles(words)
    if _is_position(angles):
        return Place(position=_read_position(*angles))
    programs: dict[str, None] = {}
    datasets = []
    for word in words:
        dataset = _DATASET.fullmatch(word)
        found = (dataset[1],) if dataset else _programs(word)
        if not found:
            return Place(target=" ".join(words))
        programs.update(dict.fromkeys(f"{int(one):05d}" for one in found))
        datasets += [word] if dataset else []
    return Place(tuple(programs), tuple(datasets))


def _programs(word: str) -> tuple[str, ...]:
    match = _PROGRAM.fullmatch(word)
    if match:
        return (match[1],)
    wanted = _plain(word)
    names = {_plain(name): name for name in SURVEYS}
    names |= {_plain(alias): name for alias, name in _ALIASES.items()}
    return SURVEYS[names[wanted]].programs if wanted in names else ()


def _plain(name: str) -> str:
    return re.sub(r"[-_ ]", "", name).upper()


def _two_angles(words: tuple[str, ...]) -> tuple[str, ...]:
    """Part what is one word, and join hours, minutes and seconds."""
    parts = tuple(re.split(r"[\s,]+", words[0])) if len(words) == 1 else words
    if len(parts) == 6:
        return " ".join(parts[:3]), " ".join(parts[3:])
    return parts


def _is_position(words: tuple[str, ...]) -> bool:
    if len(words) != 2 or not all(_ANGLE.fullmatch(word) for word in words):
        return False
    return not all(w.isdigit() for w in words) or float(words[0]) < _FIRST_PROGRAM


def _read_position(ra: str, dec: str) -> tuple[float, float]:
    from astropy.coordinates import SkyCoord

    hours = any(letter in ra.lower() for letter in ":h ")
    try:
        sky = SkyCoord(ra, dec, unit=("hourangle" if hours else "deg", "deg"))
    except ValueError as error:
        msg = f"'{ra} {dec}' is no position; write 150.12 2.2 or 10:00:29 +02:12:21"
        raise UsageError(msg) from error
    return float(sky.ra.deg), float(sky.dec.deg)


def resolve(target: str) -> tuple[float, float]:
    """
    Look up where a target is (CDS Sesame); what was found once is known offline.

    Parameters
    ----------
    target : str
        Such as ``NGC 628``, or a name that holds its coordinates.

    Returns
    -------
    ra, dec : float
        Degrees, ICRS.

    Raises
    ------
    ArchiveError
        If it is unknown, or the resolver cannot be reached.
    """
    from astropy.coordinates import SkyCoord
    from astropy.coordinates.name_resolve import NameResolveError, sesame_url

    secure = [url for url in sesame_url.get() if url.startswith("https://")]
    look = partial(SkyCoord.from_name, target, parse=True, cache=True)
    try:
        with sesame_url.set(secure):
            sky = within(_PATIENCE, "CDS Sesame", look)
    except (NameResolveError, OSError) as error:
        near = get_close_matches(target.upper(), [*SURVEYS, *_ALIASES], n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        msg = (
            f"'{target}' is no program, survey or dataset, and cannot be looked up as a"
            f" target.{hint} RA DEC in degrees works always"
        )
        raise ArchiveError(msg) from error
    return float(sky.ra.deg), float(sky.dec.deg)
