"""The text files of a CRDS cache: which reference serves which exposure.

The layout and the minimum of keys are those that crds 14 reads without a server; each
mapping carries the sha1 of itself without the line that says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from webbmosaic.files.products import write_text

__all__ = ["CONTEXT", "PARAMETER_TYPES", "REFERENCE_TYPES", "Rule", "write_mappings"]

#: The name of the only context of a simulated cache.
CONTEXT = "jwst_0001.pmap"

USE_AFTER = "2021-01-01 00:00:00"

#: What the steps of calwebb_detector1, image2 and image3 may ask for (jwst 3.0): each
#: must be listed, be it as N/A, or crds says that the context is broken.
REFERENCE_TYPES = (
    *("abvegaoffset", "apcorr", "area", "bkg", "camera", "chromcorr", "collimator"),
    *("dark", "dflat", "disperser", "distortion", "emicorr", "fflat", "filteroffset"),
    *("flat", "fore", "fpa", "gain", "ifufore", "ifupost", "ifuslicer", "ipc"),
    *("linearity", "mask", "msa", "ote", "pastasoss", "photom", "pictureframe"),
    *("readnoise", "refpix", "regions", "reset", "rscd", "saturation", "sflat"),
    *("sirskernel", "specwcs", "superbias", "wavelengthrange"),
)

#: The steps and pipelines whose parameters crds is asked for.
_STEPS = (
    *("assignmtwcs", "assignwcs", "background", "chargemigration"),
    *("cleanflickernoise", "darkcurrent", "dqinit", "emicorr", "firstframe"),
    *("flatfield", "gainscale", "groupscale", "ipc", "jump", "lastframe"),
    *("linearity", "outlierdetection", "persistence", "photom", "pictureframe"),
    *("rampfit", "refpix", "resample", "reset", "rscd", "saturation", "skymatch"),
    *("sourcecatalog", "superbias", "tweakreg"),
)
PARAMETER_TYPES = (
    *(f"pars-{step}step" for step in _STEPS),
    *(f"pars-{name}pipeline" for name in ("detector1", "image2", "image3")),
)


@dataclass(frozen=True)
class Rule:
    """
    Which exposures one reference file serves.

    Attributes
    ----------
    reftype : str
        Such as ``flat``.
    keys : tuple of str
        Header names as CRDS knows them, such as ``META.INSTRUMENT.DETECTOR``.
    values : tuple of str
        What they must be.
    file : str
        Its name.
    """

    reftype: str
    keys: tuple[str, ...]
    values: tuple[str, ...]
    file: str


def write_mappings(cache: Path, rules: Mapping[str, Sequence[Rule]]) -> None:
    """
    Write the context, its mappings and the server's configuration.

    Parameters
    ----------
    cache : `~pathlib.Path`
        What CRDS_PATH will name.
    rules : mapping of str to sequence of Rule
        Per instrument, in capitals.
    """
    texts: dict[str, str] = {}
    for instrument, chosen in sorted(rules.items()):
        texts |= _instrument_texts(instrument.lower(), chosen)
    texts[CONTEXT] = _sealed(
        {"mapping": "PIPELINE", "name": CONTEXT, "parkey": ("META.INSTRUMENT.NAME",)},
        _dictionary({i: f"jwst_{i.lower()}_0001.imap" for i in sorted(rules)}),
    )
    for name, text in texts.items():
        write_text(cache / "mappings" / "jwst" / name, text)
    config = cache / "config" / "jwst"
    write_text(config / "ref_cache_subdir_mode", "instrument\n")
    write_text(config / "server_config", _dictionary(_server(sorted(texts))) + "\n")


def _instrument_texts(instrument: str, rules: Sequence[Rule]) -> dict[str, str]:
    """Write the mapping of an instrument and those of its reference types."""
    types = sorted({rule.reftype for rule in rules})
    names = {t: f"jwst_{instrument}_{t}_0001.rmap" for t in types}
    everything = (*REFERENCE_TYPES, *PARAMETER_TYPES)
    imap = f"jwst_{instrument}_0001.imap"
    header = {
        "mapping": "INSTRUMENT",
        "name": imap,
        "instrument": instrument.upper(),
        "parkey": ("REFTYPE",),
    }
    selector = {t: names.get(t, "N/A") for t in sorted(everything)}
    texts = {imap: _sealed(header, _dictionary(selector))}
    for t, name in names.items():
        chosen = [rule for rule in rules if rule.reftype == t]
        texts[name] = _reference_text(instrument, name, chosen)
    return texts


def _reference_text(instrument: str, name: str, rules: Sequence[Rule]) -> str:
    """Write the mapping of one reference type."""
    header = {
        "mapping": "REFERENCE",
        "name": name,
        "instrument": instrument.upper(),
        "filekind": rules[0].reftype.upper(),
        "parkey": (
            rules[0].keys,
            ("META.OBSERVATION.DATE", "META.OBSERVATION.TIME"),
        ),
    }
    lines = ["Match({"]
    for rule in sorted(rules, key=lambda r: r.values):
        lines += [
            f"    {rule.values!r} : UseAfter({{",
            f"        {USE_AFTER!r} : {rule.file!r},",
            "    }),",
        ]
    return _sealed(header, "\n".join([*lines, "})"]))


def _sealed(header: Mapping[str, object], selector: str) -> str:
    """Write a mapping and the sha1 of its other lines."""
    full = {**header, "observatory": "JWST", "derived_from": "webbmosaic simulate"}
    entries = [f"    {key!r} : {value!r}," for key, value in sorted(full.items())]
    tail = ["}", "", f"selector = {selector}", ""]
    text = "\n".join(["header = {", *entries, *tail])
    digest = hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest()
    seal = f"    'sha1sum' : {digest!r},"
    return "\n".join(["header = {", *entries, seal, *tail])


def _dictionary(content: Mapping[str, object]) -> str:
    lines = [f"    {key!r} : {value!r}," for key, value in content.items()]
    return "\n".join(["{", *lines, "}"])


def _server(mappings: list[str]) -> dict[str, object]:
    return {
        "observatory": "jwst",
        "latest_context": CONTEXT,
        "operational_context": CONTEXT,
        "edit_context": CONTEXT,
        "bad_files": "",
        "bad_files_list": [],
        "force_remote_mode": False,
        "mappings": mappings,
        "last_synced": "2026-01-01 00:00:00",
        "crds_version": {"str": "14.0.3"},
        "reference_url": {"jwst": "none"},
        "mapping_url": {"jwst": "none"},
        "status": "cache",
        "connected": False,
    }
