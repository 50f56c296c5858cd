"""The coarse alignment: within visits, between them, and to a catalogue."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

import numpy as np

from webbmosaic.science.arrays import Floats, IntArray
from webbmosaic.science.astrometry.images import Catalogue, Image
from webbmosaic.science.astrometry.matching import Guess, find_offset, one_to_one
from webbmosaic.science.astrometry.moves import Move

__all__ = ["Linked", "Search", "link", "rigid_motion"]

_CONFIRMED = 20  # sources seen twice that speak for a visit without the others
_MANY = 10  # stars of the catalogue that speak for an exposure without the others
_SAME = 0.05  # arcsec; sources that meet so closely after a coarse match are one
_MISSED = 2  # times the fewest matches: so many shared sources should have matched


@dataclass(frozen=True)
class Search:
    """
    How far to look, and what counts as found.

    Attributes
    ----------
    radius : float
        Between visits, and to the catalogue, in arcsec.
    within : float
        Between the exposures of a visit, in arcsec.
    turn : float
        How far a visit may be turned, in radians.
    minimum, minimum_catalogue : int
        Fewest matches between exposures, and with the catalogue.
    chance : float
        What is more likely by chance than this is not found.
    """

    radius: float = 25.0
    within: float = 1.0
    turn: float = 3.5e-3
    minimum: int = 4
    minimum_catalogue: int = 3
    chance: float = 1e-4


@dataclass
class Linked:
    """
    The coarse alignment.

    Attributes
    ----------
    within : list of Move
        How each exposure moves onto the others of its visit.
    chains : list of list of Move
        How the visit of each image moves onto the frame of its island, first to last.
    island : list of int
        Images of the same number are tied to each other, or of one visit.
    tied : list of bool
        For each image, whether its exposure was matched to another, or by itself to
        the catalogue.
    catalogue : dict of int to Guess
        How islands meet the catalogue.
    nearest : dict of int to Guess or None
        The best that was found for the other islands.
    missed : dict of str to int
        Visits that do not meet another island where both overlap: how many sources
        the poorer of the two has there.
    """

    within: list[Move] = field(default_factory=list)
    chains: list[list[Move]] = field(default_factory=list)
    island: list[int] = field(default_factory=list)
    tied: list[bool] = field(default_factory=list)
    catalogue: dict[int, Guess] = field(default_factory=dict)
    nearest: dict[int, Guess | None] = field(default_factory=dict)
    missed: dict[str, int] = field(default_factory=dict)

    def moved(self, index: int, points: Floats) -> Floats:
        """Put points of an image onto the frame of its island."""
        return self.as_visit(index, self.within[index].apply(points))

    def as_visit(self, index: int, points: Floats) -> Floats:
        """Put points there as the visit moves, without the exposure's own motion."""
        for move in self.chains[index]:
            points = move.apply(points)
        return points

    def only(self, number: int) -> Linked:
        """Give what is known of one island."""
        chosen = [i for i, island in enumerate(self.island) if island == number]
        return Linked(
            within=[self.within[i] for i in chosen],
            chains=[self.chains[i] for i in chosen],
            island=[number] * len(chosen),
            tied=[self.tied[i] for i in chosen],
            catalogue={k: v for k, v in self.catalogue.items() if k == number},
        )


class _Sources:
    """Positions that several images have of the same sources, averaged."""

    def __init__(self, positions: Floats) -> None:
        self.positions = positions.copy()
        self.seen: IntArray = np.ones(len(positions), int)

    def add(self, positions: Floats, tolerance: float) -> None:
        """Average what is the same, and take in what is new."""
        i, j = one_to_one(positions, self.positions, tolerance)
        share = 1 / (self.seen[j] + 1)
        self.positions[j] += share[:, None] * (positions[i] - self.positions[j])
        self.seen[j] += 1
        new = np.delete(positions, i, axis=0)
        self.positions = np.concatenate([self.positions, new])
        self.seen = np.concatenate([self.seen, np.ones(len(new), int)])

    @property
    def sure(self) -> Floats:
        """Those seen more than once, where they are many enough."""
        twice = self.seen > 1
        return self.positions[twice] if twice.sum() >= _CONFIRMED else self.positions


def link(
    images: list[Image],
    catalogue: Catalogue | None,
    search: Search,
    *,
    in_order: bool = False,
) -> Linked:
    """
    Find how far exposures, visits and the catalogue are apart.

    Parameters
    ----------
    images : list of Image
    catalogue : Catalogue or None
    search : Search
    in_order : bool, optional
        The first visit sets the frame, not the one that most agree with.

    Returns
    -------
    linked : Linked
        Images of a visit move together as far as their own sources do not say
        otherwise, and visits that meet nothing stay where they are.
    """
    count = len(images)
    chains: list[list[Move]] = [[] for _ in images]
    linked = Linked([Move()] * count, chains, [0] * count, [False] * count)
    members: dict[str, list[int]] = {}
    for index, image in enumerate(images):
        members.setdefault(image.visit, []).append(index)
    sources = {v: _join_visit(images, m, linked, search) for v, m in members.items()}
    islands = _join_visits(images, members, sources, linked, search)
    for number, visits in enumerate(islands):
        for index in itertools.chain.from_iterable(members[v] for v in visits):
            linked.island[index] = number
        _set_frame(images, members, visits, linked, in_order)
        if catalogue is not None:
            _meet(images, linked, number, catalogue, search)
    _note_missed(images, members, islands, linked, search)
    return linked


def _join_visit(
    images: list[Image], members: list[int], linked: Linked, search: Search
) -> _Sources:
    """Match the exposures of a visit to those before them."""
    exposures: dict[str, list[int]] = {}
    for index in members:
        exposures.setdefault(images[index].exposure, []).append(index)
    order = sorted(
        exposures.values(), key=lambda m: -sum(len(images[i].positions) for i in m)
    )
    together = _Sources(np.empty((0, 2)))
    shifts = []
    for indices in order:
        positions = np.concatenate([images[i].positions for i in indices])
        guess = find_offset(
            positions,
            together.positions,
            radius=search.within,
            minimum=search.minimum,
            nearest=True,
        )
        if guess is not None and guess.chance < search.chance:
            positions = guess.move.apply(positions)
            shifts.append(guess.move.shift)
            for i in indices:
                linked.within[i] = guess.move
                linked.tied[i] = True
        together.add(positions, guess.tolerance if guess else _SAME)
    if len(shifts) > 1:
        # The first one's own error is not the visit's.
        middle = np.median([(0.0, 0.0), *shifts], axis=0)
        together.positions = together.positions - middle
        for index in members:
            linked.within[index] = _less(linked.within[index], middle)
    if shifts:
        for index in order[0]:
            linked.tied[index] = True
    return together


def _less(move: Move, shift: Floats) -> Move:
    east, north = np.subtract(move.shift, shift)
    return Move((float(east), float(north)), move.rotation, move.about)


def _join_visits(
    images: list[Image],
    members: dict[str, list[int]],
    sources: dict[str, _Sources],
    linked: Linked,
    search: Search,
) -> list[list[str]]:
    """Tie visits to each other, as far as they overlap."""
    waiting = sorted(members, key=lambda v: -len(sources[v].sure))
    islands = []
    while waiting:
        island = [waiting.pop(0)]
        together = _Sources(sources[island[0]].sure)
        tried: dict[str, int] = {}
        while candidates := [
            v
            for v in waiting
            if tried.get(v) != len(island)
            and _near(images, members, v, island, search.radius)
        ]:
            visit = candidates[0]
            tried[visit] = len(island)
            guess = find_offset(
                sources[visit].sure,
                together.positions,
                radius=search.radius,
                turn=search.turn,
                minimum=search.minimum,
            )
            if guess is None or guess.chance >= search.chance:
                continue
            together.add(guess.move.apply(sources[visit].sure), guess.tolerance)
            for index in members[visit]:
                linked.chains[index].append(guess.move)
                linked.tied[index] = True
            for index in itertools.chain.from_iterable(members[v] for v in island):
                linked.tied[index] = linked.tied[index] or len(island) == 1
            island.append(visit)
            waiting.remove(visit)
        islands.append(island)
    return islands


def _near(
    images: list[Image],
    members: dict[str, list[int]],
    visit: str,
    island: list[str],
    margin: float,
) -> bool:
    others = [images[i] for v in island for i in members[v]]
    return any(images[i].near(o, margin) for i in members[visit] for o in others)


def _set_frame(
    images: list[Image],
    members: dict[str, list[int]],
    visits: list[str],
    linked: Linked,
    in_order: bool,
) -> None:
    """Let the visit stay that most exposures agree with, not the one begun with."""
    if len(visits) < 2:
        return
    steps = {}
    for visit in visits:
        first = members[visit][0]
        middle = images[first].middle[None]
        steps[visit] = (linked.as_visit(first, middle) - middle)[0]

    def apart(visit: str) -> float:
        return sum(
            len(members[v]) * float(np.hypot(*(steps[v] - steps[visit])))
            for v in visits
        )

    chosen = min(visits, key=lambda v: members[v][0] if in_order else apart(v))
    if not in_order and apart(chosen) == apart(visits[0]):
        chosen = visits[0]
    # The way back of the chosen visit, from how it moves three points.
    index = members[chosen][0]
    corners = images[index].corners
    back = rigid_motion(linked.as_visit(index, corners), corners)
    for visit in visits:
        for i in members[visit]:
            linked.chains[i].append(back)


def rigid_motion(there: Floats, target: Floats) -> Move:
    """
    Give the rigid motion of points that are few and exact.

    Parameters
    ----------
    there, target : `~numpy.ndarray`, shape (n, 2)
        In arcsec.

    Returns
    -------
    move : Move
        About the middle of ``there``.
    """
    middle, aim = there.mean(axis=0), target.mean(axis=0)
    p, q = there - middle, target - aim
    turned = np.arctan2((p[:, 0] * q[:, 1] - p[:, 1] * q[:, 0]).sum(), (p * q).sum())
    shift = aim - middle
    return Move(
        (float(shift[0]), float(shift[1])),
        float(turned),
        (float(middle[0]), float(middle[1])),
    )


def _meet(
    images: list[Image],
    linked: Linked,
    number: int,
    catalogue: Catalogue,
    search: Search,
) -> None:
    """Put an island onto the catalogue."""
    indices = [i for i, n in enumerate(linked.island) if n == number]
    together = _Sources(np.empty((0, 2)))
    near = np.zeros(len(catalogue.positions), bool)
    for i in indices:
        together.add(linked.moved(i, images[i].positions), _SAME)
        near |= images[i].holds(catalogue.positions, search.radius)
    guess = find_offset(
        together.positions,
        catalogue.positions[near],
        radius=search.radius,
        turn=search.turn,
        minimum=search.minimum_catalogue,
    )
    if guess is not None and guess.chance < search.chance:
        linked.catalogue[number] = guess
        for i in indices:
            linked.chains[i].append(guess.move)
        _meet_alone(images, linked, indices, catalogue, search)
    else:
        linked.nearest[number] = guess


def _meet_alone(
    images: list[Image],
    linked: Linked,
    indices: list[int],
    catalogue: Catalogue,
    search: Search,
) -> None:
    """
    Put exposures onto the catalogue one by one.

    Those that share too little with others, and those that meet it by many sources
    themselves, which may share a few only with others that are off.
    """
    exposures: dict[tuple[str, str], list[int]] = {}
    for i in indices:
        exposures.setdefault((images[i].visit, images[i].exposure), []).append(i)
    for some in exposures.values():
        guess = find_offset(
            np.concatenate([linked.moved(i, images[i].positions) for i in some]),
            catalogue.positions,
            radius=search.within,
            minimum=search.minimum_catalogue,
            nearest=True,
        )
        if guess is None or guess.chance >= search.chance:
            continue
        if guess.matches >= _MANY or not any(linked.tied[i] for i in some):
            for i in some:
                linked.within[i] = _less(linked.within[i], -np.array(guess.move.shift))
                linked.tied[i] = True


def _note_missed(
    images: list[Image],
    members: dict[str, list[int]],
    islands: list[list[str]],
    linked: Linked,
    search: Search,
) -> None:
    """Note which islands overlap without meeting; the catalogue may tie them."""
    size = [sum(len(members[v]) for v in visits) for visits in islands]
    for one, other in itertools.combinations(range(len(islands)), 2):
        if one in linked.catalogue and other in linked.catalogue:
            continue
        small, large = (one, other) if size[one] < size[other] else (other, one)
        larger = [i for v in islands[large] for i in members[v]]
        for visit in islands[small]:
            shared = _shared(images, members[visit], larger)
            if shared >= _MISSED * search.minimum:
                linked.missed[visit] = shared


def _shared(images: list[Image], here: list[int], there: list[int]) -> int:
    """Count the sources of the poorer of two sets of images where they overlap."""

    def most(some: list[int], others: list[int]) -> int:
        inside = (
            np.any([images[o].holds(images[i].positions) for o in others], axis=0)
            for i in some
        )
        return max(int(found.sum()) for found in inside)

    return min(most(here, there), most(there, here))
