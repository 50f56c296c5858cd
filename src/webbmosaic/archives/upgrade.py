"""What another CRDS context would change, and what would have to be done again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from webbmosaic.archives.gather import Resolution
from webbmosaic.archives.reftypes import reference_types

__all__ = ["Change", "compare", "redone"]


@dataclass(frozen=True)
class Change:
    """
    One kind of reference that changes for some exposures.

    Attributes
    ----------
    stage : int
        The first stage that reads it.
    kind : str
        ``flat``, ``pars-jumpstep``, ...
    old, new : str
        File names; empty: none.
    datasets : tuple of str
        The exposures.
    """

    stage: int
    kind: str
    old: str
    new: str
    datasets: tuple[str, ...]


def compare(old: Resolution, new: Resolution) -> list[Change]:
    """
    List what changes between two contexts.

    Parameters
    ----------
    old, new : Resolution
        Of the same exposures.

    Returns
    -------
    changes : list of Change
        Sorted by stage and kind.
    """
    datasets: dict[tuple[int, str, str, str], list[str]] = {}
    for dataset, after in new.choices.items():
        before = old.choices[dataset].files
        for kind in {**before, **after.files}:
            names = before.get(kind, ""), after.files.get(kind, "")
            if names[0] != names[1]:
                key = (reference_types()[kind].stage, kind, *names)
                datasets.setdefault(key, []).append(dataset)
    return [Change(*key, tuple(who)) for key, who in sorted(datasets.items())]


def redone(changes: Sequence[Change]) -> dict[int, set[str]]:
    """
    Say which exposures would be done again, and from which stage on.

    Parameters
    ----------
    changes : sequence of Change

    Returns
    -------
    datasets : dict of int to set of str
        Stage 1, 2 or 3 to exposures; each exposure once, under its first stage.
    """
    first: dict[int, set[str]] = {1: set(), 2: set(), 3: set()}
    seen: set[str] = set()
    for change in sorted(changes, key=lambda c: c.stage):
        first[change.stage] |= set(change.datasets) - seen
        seen |= set(change.datasets)
    return first
