"""Options of alignment, the same for every command that makes mosaics."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import click

from webbmosaic.cli.options import all_of

__all__ = ["ALIGNMENT_KEYS", "alignment_options", "with_gaia"]

_OPTIONS = (
    click.option(
        "--abs-refcat",
        metavar="FILE|gaia",
        help="Catalogue that sets the absolute frame: a file, or Gaia DR3.",
        callback=lambda _context, _option, value: _absolute(value),
    ),
    click.option(
        "--fit",
        type=click.Choice(["auto", "shift", "rshift", "rscale", "general"]),
        help="What may change of a visit: shift, rotation, scale, shears.",
    ),
    click.option(
        "--offsets",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="Table (name, east, north) of visits or exposures to move first.",
    ),
    click.option(
        "--enforce-order",
        is_flag=True,
        help="The first exposure sets the frame, without a catalogue.",
    ),
    click.option(
        "--on-misaligned",
        type=click.Choice(["fail", "keep", "drop"]),
        help="What becomes of an exposure that cannot be aligned.",
    ),
    click.option(
        "--write-cals",
        is_flag=True,
        help="Write the aligned exposures, too: DATASET_tweakreg.fits.",
    ),
)
alignment_options = all_of(*_OPTIONS)
ALIGNMENT_KEYS = {
    name: ("alignment", name)
    for name in (
        "abs_refcat",
        "fit",
        "offsets",
        "enforce_order",
        "on_misaligned",
        "write_cals",
    )
}


def _absolute(value: str | None) -> str | None:
    if value is None or value.lower() == "gaia":
        return value and value.lower()
    return str(Path(value).resolve())


def with_gaia(settings: Any, headers: Iterable[Any], folder: Path) -> Any:
    """
    Fetch the stars of Gaia where they are asked for; jobs ask no archive.

    Parameters
    ----------
    settings : Settings
    headers : iterable of mapping
        Of the exposures, with RA_REF and DEC_REF, or TARG_RA and TARG_DEC.
    folder : `~pathlib.Path`
        Where the catalogue and the archive's answers are kept.

    Returns
    -------
    settings : Settings
        With the catalogue's path in place of ``gaia``.
    """
    import dataclasses
    import hashlib

    if settings.alignment.abs_refcat.lower() != "gaia":
        return settings
    from webbmosaic.archives.catalogs import write_catalog
    from webbmosaic.archives.gaia import gaia_fields

    places = sorted({place for h in headers if (place := _place(h)) is not None})
    known = hashlib.sha256(repr(places).encode()).hexdigest()[:8]
    path = (folder / f"gaia_dr3_{known}.ecsv").resolve()
    if not path.exists():
        write_catalog(gaia_fields(places, folder=folder), path)
    alignment = dataclasses.replace(settings.alignment, abs_refcat=str(path))
    return dataclasses.replace(settings, alignment=alignment)


def _place(header: Any) -> tuple[float, float, float] | None:
    """Give where an exposure points, and how far it reaches, in degrees."""
    for names in (("RA_REF", "DEC_REF"), ("TARG_RA", "TARG_DEC")):
        if all(isinstance(header.get(name), (int, float)) for name in names):
            ra, dec = (float(header[name]) for name in names)
            pixel = {"MIRI": 0.11, "NIRISS": 0.066}.get(header.get("INSTRUME"), 0.064)
            side = max(float(header.get(f"SUBSIZE{k}", 2048)) for k in (1, 2))
            # Half the diagonal, what a wrong guide star may be off, and a little.
            return round(ra, 5), round(dec, 5), (0.75 * side * pixel + 40) / 3600
    return None
