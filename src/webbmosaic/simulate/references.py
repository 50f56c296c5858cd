"""A CRDS cache with exactly the references that a set of exposures needs.

Made from the same facts and the same pixels as the exposures: superbias, dark, flat and
the others are right, but for the pixels that became hot since.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from webbmosaic.files.products import atomic
from webbmosaic.simulate import reference_files as make
from webbmosaic.simulate.crds_files import USE_AFTER, Rule, write_mappings
from webbmosaic.simulate.effects import Effects
from webbmosaic.simulate.geometry import aperture
from webbmosaic.simulate.light import WISP_DETECTORS, wisp_pattern
from webbmosaic.simulate.pixels import PixelMaps, Setup, pixel_maps
from webbmosaic.simulate.reference_files import EncircledEnergy

__all__ = ["write_references", "write_wisp_templates"]

#: DN/s at the peak of a wisp template.
WISP_PEAK = 0.01

_DETECTOR = "META.INSTRUMENT.DETECTOR"
_SUBARRAY = "META.SUBARRAY.NAME"
_FILTER = "META.INSTRUMENT.FILTER"
_PUPIL = "META.INSTRUMENT.PUPIL"
_PATTERN = "META.EXPOSURE.READPATT"

_PIXEL_TYPES = (
    "mask",
    "saturation",
    "superbias",
    "linearity",
    "gain",
    "readnoise",
)


def write_references(
    folder: Path,
    setups: Iterable[Setup],
    *,
    seed: int,
    energy: EncircledEnergy,
    effects: Effects | None = None,
    area: bool = True,
) -> Path:
    """
    Write a CRDS cache and wisp templates.

    Parameters
    ----------
    folder : `~pathlib.Path`
        The cache is made as ``crds_cache`` in it, the templates in ``wisp_templates``.
    setups : iterable of Setup
        Of all exposures.
    seed : int
        As of the exposures.
    energy : callable
        ``energy(detector, filter, radii in pixels)`` gives the fraction of a star's
        light within apertures on a ``cal`` image, for the aperture corrections.
    effects : Effects, optional
        As of the exposures; all if not given.
    area : bool, optional
        Write pixel-area maps, 16 MB for each detector.

    Returns
    -------
    cache : `~pathlib.Path`
        What CRDS_PATH is to name; CRDS_CONTEXT is jwst_0001.pmap.

    Raises
    ------
    StorageError
        If the disk is full or cannot be written.
    """
    folder = Path(folder)
    chosen = _distinct(setups)
    cache = folder / "crds_cache"
    rules: dict[str, list[Rule]] = {}
    for rule, instrument, content in _references(
        chosen, seed, effects or Effects(), energy=energy, area=area
    ):
        _write(cache / "references" / "jwst" / instrument.lower() / rule.file, content)
        rules.setdefault(instrument, []).append(rule)
    write_mappings(cache, rules)
    write_wisp_templates(folder / "wisp_templates", chosen)
    return cache


def _distinct(setups: Iterable[Setup]) -> list[Setup]:
    """One setup per pattern, filter and subarray, with the most groups, sorted."""
    best: dict[tuple[str, ...], Setup] = {}
    for setup in setups:
        frame = setup.aperture
        key = (
            frame.detector,
            frame.subarray,
            setup.filter.name,
            setup.readout.pattern,
        )
        known = best.get(key)
        if known is None or known.readout.ngroups < setup.readout.ngroups:
            best[key] = replace(setup, readout=replace(setup.readout, nints=1))
    return [best[key] for key in sorted(best)]


@dataclass(frozen=True)
class _Content:
    """A reference file before it is written: FITS planes or an ASDF tree."""

    keywords: dict[str, Any]
    planes: make.Planes
    tree: dict[str, Any]


_Unnamed = tuple[str, str, dict[str, str], _Content]


def _references(
    setups: list[Setup],
    seed: int,
    effects: Effects,
    *,
    energy: EncircledEnergy,
    area: bool,
) -> Iterator[tuple[Rule, str, _Content]]:
    """Make all references, one at a time, with the instrument each is of."""
    counters: dict[tuple[str, str], int] = {}
    for instrument, reftype, match, content in chain(
        _pixel_references(setups, seed, effects),
        _detector_references(setups, area=area),
        _instrument_references(setups, energy),
    ):
        key = (instrument, reftype)
        counters[key] = number = counters.get(key, 0) + 1
        suffix = "asdf" if content.tree else "fits"
        file = f"jwst_{instrument.lower()}_{reftype}_{number:04d}.{suffix}"
        rule = Rule(reftype, tuple(match), tuple(match.values()), file)
        yield rule, instrument, _labelled(content, instrument, rule)


def _pixel_references(
    setups: list[Setup], seed: int, effects: Effects
) -> Iterator[_Unnamed]:
    """Whatever is a map of the pixels of a subarray."""
    done: set[tuple[str, ...]] = set()

    def is_new(reftype: str, match: Mapping[str, str]) -> bool:
        key = (reftype, *match.values())
        new = key not in done
        done.add(key)
        return new

    for setup in setups:
        frame = setup.aperture
        place = {_DETECTOR: frame.detector, _SUBARRAY: frame.subarray}
        maps = pixel_maps(setup, effects, seed)
        for reftype, match in _wanted(setup, place):
            if is_new(reftype, match):
                content = _of_pixels(reftype, _longest(setup, setups), maps)
                yield frame.instrument, reftype, match, content


def _wanted(
    setup: Setup, place: dict[str, str]
) -> Iterator[tuple[str, dict[str, str]]]:
    """The pixel maps of an exposure and what they depend on."""
    miri = setup.aperture.instrument == "MIRI"
    for reftype in _PIXEL_TYPES:
        if not (miri and reftype == "superbias"):
            yield reftype, place
    yield "dark", {**place, _PATTERN: setup.readout.pattern}
    wheels = {_FILTER: setup.filter.filter}
    if not miri:
        wheels[_PUPIL] = setup.filter.pupil
    yield "flat", {**place, **wheels}


def _longest(setup: Setup, setups: list[Setup]) -> Setup:
    """Of the setups with the same frame and pattern, that with the most groups."""
    same = [
        other
        for other in setups
        if other.aperture == setup.aperture
        and other.readout.pattern == setup.readout.pattern
    ]
    longest = max(same, key=lambda other: other.readout.ngroups)
    return replace(setup, readout=longest.readout)


def _of_pixels(reftype: str, setup: Setup, maps: PixelMaps) -> _Content:
    frame, readout = setup.aperture, setup.readout
    keywords: dict[str, Any] = {
        "DETECTOR": frame.detector,
        "SUBARRAY": frame.subarray,
        "SUBSTRT1": frame.substrt1,
        "SUBSTRT2": frame.substrt2,
        "SUBSIZE1": frame.nx,
        "SUBSIZE2": frame.ny,
        "FASTAXIS": frame.fastaxis,
        "SLOWAXIS": frame.slowaxis,
    }
    if reftype == "dark":
        keywords |= {
            "READPATT": readout.pattern,
            "NINTS": 1,
            "NGROUPS": readout.ngroups,
            "NFRAMES": readout.nframes,
            "GROUPGAP": readout.groupgap,
            "TFRAME": readout.tframe,
            "TGROUP": readout.tgroup,
        }
    if reftype == "flat":
        keywords |= {"FILTER": setup.filter.filter}
        keywords |= {"PUPIL": setup.filter.pupil} if setup.filter.pupil else {}
    return _Content(keywords, getattr(make, reftype)(setup, maps), {})


def _detector_references(setups: list[Setup], *, area: bool) -> Iterator[_Unnamed]:
    """What is one table or model for a detector."""
    for detector in sorted({setup.aperture.detector for setup in setups}):
        instrument = aperture(detector).instrument
        match = {_DETECTOR: detector}
        label = {"DETECTOR": detector}
        pixel = {**label, **make.area_keywords(detector)}
        tables = {
            "photom": _Content(pixel, make.photom(detector), {}),
            "distortion": _Content(label, {}, make.distortion(detector)),
            "filteroffset": _Content(label, {}, make.filteroffset(detector)),
        }
        if area:
            tables["area"] = _Content(pixel, make.area(detector), {})
        if instrument == "MIRI":
            patterns = tuple(sorted({s.readout.pattern for s in setups}))
            tables["rscd"] = _Content(label, make.rscd(patterns), {})
        for reftype, content in tables.items():
            yield instrument, reftype, match, content


def _instrument_references(
    setups: list[Setup], energy: EncircledEnergy
) -> Iterator[_Unnamed]:
    """What is one table for an instrument: mosaics know no single detector."""
    instruments = sorted({setup.aperture.instrument for setup in setups})
    for instrument in instruments:
        detectors = sorted(
            {
                setup.aperture.detector
                for setup in setups
                if setup.aperture.instrument == instrument
            }
        )
        tree = make.abvegaoffset(tuple(detectors))
        yield instrument, "abvegaoffset", {}, _Content({}, {}, tree)
        yield (
            instrument,
            "apcorr",
            {},
            _Content({}, _apcorr(setups, detectors, energy), {}),
        )


def _apcorr(
    setups: list[Setup], detectors: list[str], energy: EncircledEnergy
) -> dict[str, Any]:
    """Join the aperture corrections; the detectors of a channel share theirs."""
    tables = [
        make.apcorr(
            detector,
            tuple(sorted({s.filter.name for s in setups if _is_of(s, detector)})),
            energy,
        )["APCORR"]
        for detector in detectors
    ]
    joined = np.concatenate(tables)
    keys = [tuple(row)[:3] for row in joined.tolist()]
    first = [n for n, key in enumerate(keys) if key not in keys[:n]]
    return {"APCORR": joined[first]}


def _is_of(setup: Setup, detector: str) -> bool:
    return setup.aperture.detector == detector


def _labelled(content: _Content, instrument: str, rule: Rule) -> _Content:
    """Add what every reference file says about itself."""
    words = {
        "telescope": "JWST",
        "reftype": rule.reftype.upper(),
        "pedigree": "SIMULATION",
        "author": "webbmosaic simulate",
        "description": f"Simulated {rule.reftype} reference",
        "useafter": USE_AFTER.replace(" ", "T"),
        "model_type": make.data_model(instrument, rule.reftype),
    }
    if content.tree:
        meta = dict(content.tree["meta"])
        optics = {"name": instrument, **meta.pop("instrument", {})}
        if "DETECTOR" in content.keywords:
            optics["detector"] = content.keywords["DETECTOR"]
        tree = {**content.tree, "meta": {**words, **meta, "instrument": optics}}
        return replace(content, tree=tree)
    short = {
        "description": "DESCRIP",
        "model_type": "DATAMODL",
        "telescope": "TELESCOP",
    }
    keywords = {short.get(word, word.upper()): text for word, text in words.items()}
    keywords |= {"INSTRUME": instrument, "FILENAME": rule.file, **content.keywords}
    return replace(content, keywords=keywords)


def _write(path: Path, content: _Content) -> None:
    with atomic(path) as temporary:
        if content.tree:
            _write_asdf(temporary, content.tree)
        else:
            _write_fits(temporary, content)


def _write_asdf(path: Path, tree: dict[str, Any]) -> None:
    import asdf

    asdf.AsdfFile(tree).write_to(path)


def _write_fits(path: Path, content: _Content) -> None:
    from astropy.io import fits

    primary = fits.PrimaryHDU()
    primary.header.update(content.keywords)
    hdus = [primary]
    for name, plane in content.planes.items():
        kind = fits.BinTableHDU if plane.dtype.names else fits.ImageHDU
        hdus.append(kind(plane, name=name))
    fits.HDUList(hdus).writeto(path)


def write_wisp_templates(folder: Path, setups: Iterable[Setup]) -> list[Path]:
    """
    Write the wisp of each detector and filter that has one.

    Parameters
    ----------
    folder : `~pathlib.Path`
    setups : iterable of Setup

    Returns
    -------
    files : list of `~pathlib.Path`
        ``wisps_{detector}_{FILTER}.fits``: the full frame, DN/s, peak 0.01.
    """
    from astropy.io import fits

    pairs = {(setup.aperture.detector, setup.filter.name) for setup in setups}
    files = []
    for detector, name in sorted(pairs):
        if detector not in WISP_DETECTORS:
            continue
        frame = aperture(detector)
        template = wisp_pattern(frame) * np.float32(WISP_PEAK)
        hdu = fits.PrimaryHDU(template)
        hdu.header.update(
            {
                "DETECTOR": detector,
                "FILTER": name,
                "BUNIT": "DN/s",
                "SUBARRAY": "FULL",
                "SUBSTRT1": 1,
                "SUBSTRT2": 1,
            }
        )
        files.append(folder / f"wisps_{detector.lower()}_{name}.fits")
        with atomic(files[-1]) as temporary:
            hdu.writeto(temporary)
    folder.mkdir(parents=True, exist_ok=True)
    return files
