"""One offline HTML page to judge a reduction by."""

from __future__ import annotations

import datetime
import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from webbmosaic.datasets import Workspace, find_dataset_name
from webbmosaic.errors import UsageError
from webbmosaic.files.ledger import DONE, Record
from webbmosaic.files.products import write_text
from webbmosaic.report.goals import GOALS, judge
from webbmosaic.report.work import (
    Product,
    find_products,
    find_records,
    look_at_all,
    read_numbers,
)

__all__ = ["Report", "write_report"]


@dataclass
class _Row:
    """One exposure or mosaic: its records by stage, products by kind, numbers."""

    owner: str
    records: dict[str, Record] = field(default_factory=dict)
    products: dict[str, Product] = field(default_factory=dict)
    numbers: dict[str, dict[str, Any]] = field(default_factory=dict)
    agreement: dict[str, Any] = field(default_factory=dict)

    @property
    def light(self) -> str:
        """The filter, where any product tells."""
        found = (n.get("light") for n in self.numbers.values())
        return next((str(light) for light in found if light), "")

    @property
    def detector(self) -> str:
        """As in the name of the dataset."""
        dataset = find_dataset_name(self.owner)
        return dataset.detector if dataset else ""

    @property
    def seconds(self) -> float:
        """CPU time of all stages."""
        return sum(record.cpu_seconds for record in self.records.values())

    @property
    def memory(self) -> float:
        """Largest peak of any stage, MB."""
        return max((r.peak_memory_mb for r in self.records.values()), default=0.0)

    @property
    def worst(self) -> str:
        """The ending that matters most; ``left`` where the last stage is to come."""
        endings = {record.outcome for record in self.records.values()}
        order = ("failed", "blocked", "unusable", "skipped")
        last = {"cal", "i2d"} & self.products.keys()
        return next((one for one in order if one in endings), DONE if last else "left")

    @property
    def sentences(self) -> list[str]:
        """Why it is not done."""
        return [r.sentence for r in self.records.values() if r.sentence]

    def note(self, stage: str, *keys: str) -> Any:
        """Look up a number of the ledger; None where there is none."""
        record = self.records.get(stage)
        value: Any = record.numbers if record else {}
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        return value

    def alignment(self) -> list[dict[str, Any]]:
        """List what alignment did to each exposure of a mosaic."""
        found = self.note("stage3", "alignment")
        return found if isinstance(found, list) else []


@dataclass(frozen=True)
class Report:
    """
    What was written.

    Attributes
    ----------
    page : `~pathlib.Path`
    exposures, mosaics : int
        How many the page shows.
    problems : list of str
        Products that could not be shown, in sentences.
    agreements : dict
        Mosaic to how it compares with the truth, as
        `webbmosaic.report.truth.Agreement` has it; empty without truth.
    """

    page: Path
    exposures: int
    mosaics: int
    problems: list[str]
    agreements: dict[str, dict[str, Any]]


def write_report(
    work: Workspace,
    *,
    truth: Path | None = None,
    before: Workspace | None = None,
    processes: int = 1,
    redo: bool = False,
    tell: Callable[[int, int], None] | None = None,
) -> Report:
    """
    Write the report of a work folder.

    Pictures and numbers that are newer than the products they show are kept.

    Parameters
    ----------
    work : Workspace
    truth : `~pathlib.Path`, optional
        The table of true sources of simulated exposures.
    before : Workspace, optional
        Another reduction of the same exposures, whose mosaics are shown beside.
    processes : int
        How many pictures are made at once.
    redo : bool
        Make all pictures anew.
    tell : callable, optional
        Called with how many products are looked at, and of how many.

    Returns
    -------
    report : Report

    Raises
    ------
    UsageError
        If there is nothing in the folder to report on.
    StorageError
        If the disk is full.
    """
    products, records = find_products(work, before=before), find_records(work)
    if not products and not records:
        msg = f"{work.root}: nothing is reduced here yet. Try: webbmosaic run -C ..."
        raise UsageError(msg)
    if redo:
        _forget(products)
    problems = look_at_all(products, truth=truth, processes=processes, tell=tell)
    rows = _rows(work, products, records, compared=truth is not None)
    exposures = [row for row in rows if find_dataset_name(row.owner)]
    mosaics = [row for row in rows if not find_dataset_name(row.owner)]
    write_text(work.report, _render(work, exposures, mosaics, problems))
    agreements = {row.owner: row.agreement for row in mosaics if row.agreement}
    return Report(work.report, len(exposures), len(mosaics), problems, agreements)


def _forget(products: list[Product]) -> None:
    for product in products:
        for path in (product.thumbnail, product.pair, product.numbers):
            path.unlink(missing_ok=True)
        product.agreement.unlink(missing_ok=True)


def _rows(
    work: Workspace, products: list[Product], records: list[Record], *, compared: bool
) -> list[_Row]:
    rows = {str(dataset): _Row(str(dataset)) for dataset in work.datasets()}
    for record in records:
        rows.setdefault(record.owner, _Row(record.owner)).records[record.stage] = record
    for product in products:
        row = rows.setdefault(product.owner, _Row(product.owner))
        row.products[product.kind] = product
        row.numbers[product.kind] = read_numbers(product.numbers)
        if compared and product.kind == "i2d":
            row.agreement = read_numbers(product.agreement)
    return sorted(rows.values(), key=lambda row: row.owner)


def _render(
    work: Workspace, exposures: list[_Row], mosaics: list[_Row], problems: list[str]
) -> str:
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("webbmosaic.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": _number, "percent": _percent, "mas": _length}
    environment.globals["link"] = lambda path: _link(path, work.report.parent)
    rows = [*exposures, *mosaics]
    return environment.get_template("index.html.j2").render(
        work=work.root.resolve().name,
        now=datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        exposures=exposures,
        mosaics=mosaics,
        compared=[row for row in mosaics if row.agreement],
        goals=GOALS,
        judge=judge,
        troubles=_troubles(rows),
        notes=_notes(rows),
        problems=problems,
        endings=Counter(row.worst for row in exposures),
        unmade=sum(row.worst in ("failed", "blocked") for row in mosaics),
        stages=_stages(exposures),
        cpu_hours=sum(row.seconds for row in rows) / 3600,
        origin=_origin(rows),
    )


def _stages(rows: list[_Row]) -> list[str]:
    """Name the stages that any exposure has been through."""
    return sorted({stage for row in rows for stage in row.records})


def _troubles(rows: list[_Row]) -> list[Record]:
    """List the records that say why something is not done, the worst first."""
    order = {"failed": 0, "blocked": 1, "unusable": 2, "skipped": 3}
    records = [r for row in rows for r in row.records.values() if r.outcome != DONE]
    return sorted(records, key=lambda r: (order.get(r.outcome, 0), r.owner, r.stage))


def _notes(rows: list[_Row]) -> list[tuple[str, str]]:
    """List who the notes are of, and what they say."""
    records = [record for row in rows for record in row.records.values()]
    return [(record.owner, note) for record in records for note in record.notes]


def _origin(rows: list[_Row]) -> dict[str, Any]:
    """Sum up what everything was made with; more than one of a kind shows."""
    records = [record for row in rows for record in row.records.values()]
    versions: dict[str, set[str]] = {}
    for record in records:
        for package, version in record.versions.items():
            versions.setdefault(package, set()).add(version)
    finished = sorted(record.finished for record in records if record.finished)
    return {
        "versions": {name: sorted(found) for name, found in versions.items()},
        "contexts": sorted({r.context for r in records if r.context}),
        "references": _references(records),
        "hosts": sorted({r.host for r in records if r.host}),
        "first": min((r.started for r in records if r.started), default=""),
        "last": finished[-1] if finished else "",
        "settings": _settings(records),
    }


def _references(records: list[Record]) -> dict[str, list[str]]:
    """List the reference files of each type, by name."""
    found: dict[str, set[str]] = {}
    for record in records:
        for kind, mark in record.references.items():
            found.setdefault(kind, set()).add(Path(mark.path).name)
    return {kind: sorted(names) for kind, names in sorted(found.items())}


def _settings(records: list[Record]) -> dict[str, dict[str, list[str]]]:
    """List section, key and every value that was used."""
    found: dict[str, dict[str, list[str]]] = {}
    for record in records:
        for section, values in record.settings.items():
            for key, value in values.items():
                said = found.setdefault(section, {}).setdefault(key, [])
                if str(value) not in said:
                    said.append(str(value))
    return found


def _link(path: Path, folder: Path) -> str:
    """Link relative to the page, which can then be moved; empty for no file."""
    from urllib.parse import quote

    return quote(os.path.relpath(path, folder)) if path.is_file() else ""


def _number(value: Any, digits: int = 3) -> str:
    """Write a number with some significant digits; a dash for none."""
    if value is None or isinstance(value, str):
        return value or "\N{EN DASH}"
    text = f"{value:.{digits}g}"
    if "e" in text and abs(value) >= 1:
        text = f"{value:.0f}"
    return text.replace("-", "\N{MINUS SIGN}")


def _percent(value: Any) -> str:
    return "\N{EN DASH}" if value is None else f"{_number(100 * value, 2)} %"


def _length(value: Any) -> str:
    """Write milliarcseconds with one decimal, and a sign."""
    if value is None:
        return "\N{EN DASH}"
    return f"{value:+.1f}".replace("-", "\N{MINUS SIGN}")
