"""``refcat``: catalogues for absolute astrometry."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["refcat"]


@click.group
def refcat() -> None:
    """Catalogues for absolute astrometry."""


_images = click.argument(
    "images",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="IMAGE...",
)
_output = click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The catalogue to write: .ecsv, .csv or .fits.",
)
_buffer = click.option(
    "--buffer",
    default=1.0,
    show_default=True,
    metavar="ARCSEC",
    help="How far beside an image still counts.",
)
_name = click.option("--name", default="", help="What the catalogue calls itself.")


@refcat.command(epilog="Example: webbmosaic refcat cut hst.fits *_i2d.fits -o cut.ecsv")
@click.argument("catalog", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_images
@_output
@_buffer
@_name
def cut(
    catalog: Path, images: tuple[Path, ...], output: Path, buffer: float, name: str
) -> None:
    """
    Trim a catalogue to the field of some images.

    The columns of CATALOG may have any usual name (RA, ra, ALPHA_J2000, RAJ2000, ...);
    those written are RA, DEC (degrees), ID, mag and the others.
    """
    from webbmosaic.archives.catalogs import (
        cut,
        field_of,
        read_catalog,
        write_catalog,
    )

    found = read_catalog(catalog)
    kept = cut(found, [field_of(path) for path in images], buffer=buffer)
    _require(len(kept), f"{catalog}: none of its {len(found)} rows is on the images")
    write_catalog(kept, output, name=name)
    click.echo(f"{len(kept)} of {len(found)} rows written to {output}")


@refcat.command(epilog="Example: webbmosaic refcat gaia *_i2d.fits -o gaia.ecsv")
@_images
@_output
@_buffer
@_name
@click.option("--epoch", type=float, help="Julian year; by default the images'.")
def gaia(
    images: tuple[Path, ...],
    output: Path,
    buffer: float,
    name: str,
    epoch: float | None,
) -> None:
    """Fetch the stars of Gaia DR3 on some images, moved to their epoch."""
    from astropy.table import unique, vstack

    from webbmosaic.archives.catalogs import cut, field_of, write_catalog
    from webbmosaic.archives.gaia import gaia_cone

    fields = [field_of(path) for path in images]
    folder = output.parent / "gaia_dr3"
    tables = []
    for field in fields:
        radius = field.radius + buffer / 3600
        when = epoch or field.epoch or 2016.0
        stars = gaia_cone(*field.centre, radius, epoch=when, folder=folder)
        tables.append(cut(stars, [field], buffer=buffer))
    kept = unique(vstack(tables, metadata_conflicts="silent"), "ID")
    _require(len(kept), "Gaia DR3 has no star on the images")
    write_catalog(kept, output, name=name)
    click.echo(f"{len(kept)} stars written to {output}")


def _require(rows: int, sentence: str) -> None:
    from webbmosaic.errors import InputError

    if not rows:
        raise InputError(sentence)
