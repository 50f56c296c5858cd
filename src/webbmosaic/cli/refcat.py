"""``refcat``: catalogues for absolute astrometry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from webbmosaic.cli.options import FiniteRange

if TYPE_CHECKING:
    from astropy.table import Table

    from webbmosaic.archives.catalogs import Field

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
    type=FiniteRange(min=0),
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
@click.option(
    "--epoch",
    type=FiniteRange(1900, 2200),
    metavar="YEAR",
    help="Julian year; by default the images'.",
)
def gaia(
    images: tuple[Path, ...],
    output: Path,
    buffer: float,
    name: str,
    epoch: float | None,
) -> None:
    """
    Fetch the stars of Gaia DR3 on some images, moved to their epoch.

    All stars are moved to one epoch, the mean of the images'; what that means where
    images are years apart is told.
    """
    from astropy.table import unique, vstack

    from webbmosaic.archives.catalogs import cut, field_of, write_catalog
    from webbmosaic.archives.gaia import gaia_cone

    fields = [field_of(path) for path in images]
    when = epoch or _mean_epoch(images, fields)
    folder = output.parent / "gaia_dr3"
    tables = []
    for field in fields:
        radius = field.radius + buffer / 3600
        stars = gaia_cone(*field.centre, radius, epoch=when, folder=folder, tell=_tell)
        tables.append(cut(stars, [field], buffer=buffer))
    kept = unique(vstack(tables, metadata_conflicts="silent"), "ID")
    _require(len(kept), "Gaia DR3 has no star on the images")
    kept.meta["epoch"] = when
    write_catalog(kept, output, name=name)
    if not epoch:
        _tell_motion(kept, fields)
    click.echo(f"{len(kept)} stars written to {output}, where they are in {when:.2f}")


def _tell(sentence: str) -> None:
    from webbmosaic.errors import printable

    click.echo(printable(sentence), err=True)


def _mean_epoch(images: Sequence[Path], fields: Sequence[Field]) -> float:
    """Give the mean epoch of images, which must all have one."""
    from webbmosaic.errors import InputError

    for path, field in zip(images, fields, strict=True):
        if field.epoch is None:
            msg = (
                f"{path}: has no date (MJD-AVG, MJD-BEG or DATE-OBS), and stars move."
                " Try: --epoch with the year of the observation, such as 2023.5"
            )
            raise InputError(msg)
    return sum(field.epoch or 0.0 for field in fields) / len(fields)


def _tell_motion(stars: Table, fields: Sequence[Field]) -> None:
    """Say how far stars move between the first and the last image."""
    import numpy as np

    epochs = [field.epoch or 0.0 for field in fields]
    years = max(epochs) - min(epochs)
    if years < 0.1:
        return
    motion = np.hypot(*(np.ma.filled(stars[c], np.nan) for c in ("pmra", "pmdec")))
    motion = motion[np.isfinite(motion)] * years
    if len(motion):
        _tell(
            f"The images were taken from {min(epochs):.2f} to {max(epochs):.2f}. In"
            f" that time half of the stars move by more than {np.median(motion):.1f}"
            f" mas, the fastest by {np.max(motion):.1f} mas. Try: one catalogue for"
            " each epoch"
        )


def _require(rows: int, sentence: str) -> None:
    from webbmosaic.errors import InputError

    if not rows:
        raise InputError(sentence)
