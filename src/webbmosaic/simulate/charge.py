"""Charge in the pixels: its noise, cosmic rays, snowballs, and what stays behind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from webbmosaic.simulate.effects import Streams
from webbmosaic.simulate.pixels import Setup
from webbmosaic.simulate.readout import Readout

__all__ = [
    "Afterglow",
    "Hits",
    "accumulate",
    "add_hits",
    "afterglow",
    "cosmic_rays",
    "snowballs",
]

Image = NDArray[np.float32]
Ramp = NDArray[np.float32]
Mask = NDArray[np.bool_]

#: Events /s /cm**2 (JDox, "JWST ETC Cosmic Ray Implementation").
COSMIC_RAYS = 8.0

#: e- left by an event, median, and the natural logarithm's scatter: minimum-ionising
#: protons leave 1 to 3 ke- in 5 to 10 um of HgCdTe (Giardino et al. 2019, PASP 131,
#: 094503).
HIT_CHARGE, HIT_SCATTER = 1500.0, 1.2

#: Share of the charge in each of the four neighbours, diffusion and coupling together.
HIT_NEIGHBOURS = 0.05

#: e-/s that a pixel driven to twice its full well releases 1000 s later. It fades as
#: 1/time (Leisenring et al. 2016, Proc. SPIE 9915, 99152N: power laws of index about
#: -1); the level, some 100 e- in the next 1000 s, is of the order of theirs.
AFTERGLOW = 0.1


@dataclass(frozen=True)
class Afterglow:
    """
    What a saturating exposure leaves to the next one of the same detector.

    Attributes
    ----------
    stimulus : ndarray of float32, shape (ny, nx)
        Charge that was driven above the threshold, in full wells, at most 1.
    delay : float
        Seconds from the end of that exposure to the begin of this one.
    """

    stimulus: Image
    delay: float


@dataclass(frozen=True)
class Hits:
    """
    Particles that hit during one integration.

    Attributes
    ----------
    group : ndarray of int
        The first group whose frames see the charge.
    share : ndarray of float32
        Fraction of that group's frames that see it; later groups see all.
    y, x : ndarray of int
    charge : ndarray of float32
        e-.
    """

    group: NDArray[np.int64]
    share: Image
    y: NDArray[np.int64]
    x: NDArray[np.int64]
    charge: Image


def accumulate(
    ramp: Ramp,
    rate: Image,
    *,
    readout: Readout,
    generator: np.random.Generator | None,
) -> None:
    """
    Collect photo-electrons and dark current up the ramp.

    Parameters
    ----------
    ramp : ndarray of float32, shape (ngroups, ny, nx)
        Changed in place to e-, averaged over the frames of each group.
    rate : ndarray of float32, shape (ny, nx)
        e-/s, not negative.
    readout : Readout
    generator : numpy.random.Generator or None
        Without one, no noise.

    Notes
    -----
    Charge arrives as a Poisson process. The averages over the frames of the groups are
    drawn from the normal distribution with exactly its means, variances and
    covariances: the same count of random numbers whatever the rate is, so that a change
    of the light leaves the draws alone. The third moment that is lost would move a
    median by 1/6 e-.
    """
    for group, time in enumerate(readout.group_times):
        np.multiply(rate, np.float32(time), out=ramp[group])
    if generator is not None:
        _add_shot_noise(ramp, np.sqrt(rate), readout, generator=generator)


def _add_shot_noise(
    ramp: Ramp, root: Image, readout: Readout, *, generator: np.random.Generator
) -> None:
    """Walk from group to group with the charge at the last frame of each."""
    last = np.zeros_like(root)
    draw = np.empty_like(root)
    for group in range(readout.ngroups):
        frames = 1 if group == 0 else readout.groupgap + 1
        mean, step, rest = _covariance(readout, frames)
        generator.standard_normal(dtype=np.float32, out=draw)
        draw *= root
        ramp[group] += last
        ramp[group] += np.float32(mean) * draw
        draw *= np.float32(step)
        last += draw
        if rest > 0:
            generator.standard_normal(dtype=np.float32, out=draw)
            draw *= root
            draw *= np.float32(rest)
            last += draw


def _covariance(readout: Readout, lead: int) -> tuple[float, float, float]:
    """
    Cholesky factor of (average of a group, charge at its last frame).

    Per e-/s, ``lead`` frames after the previous group's last one. With n frames, the
    j-th later frame counts in (n - j) / n of the average.
    """
    n, t = readout.nframes, readout.tframe
    weights = [(n - j) / n for j in range(1, n)]
    average = t * (lead + sum(w * w for w in weights))
    both = t * (lead + sum(weights))
    charge = t * (lead + n - 1)
    mean = np.sqrt(average)
    step = both / mean
    return float(mean), float(step), float(np.sqrt(max(charge - step**2, 0.0)))


def cosmic_rays(setup: Setup, generator: np.random.Generator) -> Hits:
    """
    Throw the cosmic rays of one integration.

    Parameters
    ----------
    setup : Setup
    generator : numpy.random.Generator

    Returns
    -------
    hits : Hits
        Each particle gives an entry for its pixel and each of four neighbours; two in
        five cross into a second pixel.
    """
    frame, readout = setup.aperture, setup.readout
    surface = frame.nx * frame.ny * setup.detector.pixel_size**2
    count = generator.poisson(COSMIC_RAYS * surface * readout.integration_time)
    when = generator.uniform(0, readout.integration_time, count)
    y = generator.integers(0, frame.ny, count)
    x = generator.integers(0, frame.nx, count)
    charge = np.exp(generator.normal(np.log(HIT_CHARGE), HIT_SCATTER, count))
    long = generator.random(count) < 0.4
    dy, dx = generator.integers(-1, 2, (2, count))
    when, charge = np.append(when, when[long]), np.append(charge, 0.7 * charge[long])
    y, x = np.append(y, (y + dy)[long]), np.append(x, (x + dx)[long])
    near = ((0, 1), (0, -1), (1, 0), (-1, 0))
    spread = [(0, 0, 1 - 4 * HIT_NEIGHBOURS)]
    spread += [(j, i, HIT_NEIGHBOURS) for j, i in near]
    return _gather(
        setup,
        when=np.concatenate([when] * 5),
        y=np.concatenate([y + j for j, _, _ in spread]),
        x=np.concatenate([x + i for _, i, _ in spread]),
        charge=np.concatenate([charge * share for _, _, share in spread]),
    )


def snowballs(setup: Setup, generator: np.random.Generator) -> Hits:
    """
    Throw one snowball.

    A saturated core, a steep edge and a halo of some hundred electrons out to four
    times its radius, all at one moment (JDox, "Shower and Snowball Artifacts"; Regan
    2023, JWST-STScI-008545). Infrared arrays of H2RG type only.

    Parameters
    ----------
    setup : Setup
    generator : numpy.random.Generator

    Returns
    -------
    hits : Hits
        Empty for MIRI.
    """
    frame, readout = setup.aperture, setup.readout
    largest = np.clip(min(frame.nx, frame.ny) / 32, 3, 10)
    radius = generator.uniform(0.6, 1) * largest
    cx, cy = generator.uniform(0.2, 0.8, 2) * (frame.nx, frame.ny)
    when = generator.uniform(0.3, 0.7) * readout.integration_time
    if frame.instrument == "MIRI":
        when = 2 * readout.integration_time  # after the end: never
    reach = int(4 * radius)
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    distance = np.hypot(dy, dx)
    core = 3 * setup.detector.full_well / (1 + np.exp((distance - radius) / 0.4))
    halo = 1500 * np.exp(-np.maximum(distance - radius, 0) / radius)
    charge = np.where(distance <= reach, core + halo, 0).ravel()
    return _gather(
        setup,
        when=np.full(charge.size, when),
        y=dy.ravel() + int(cy),
        x=dx.ravel() + int(cx),
        charge=charge,
    )


def _gather(
    setup: Setup,
    *,
    when: NDArray[np.float64],
    y: NDArray[np.int64],
    x: NDArray[np.int64],
    charge: NDArray[np.float64],
) -> Hits:
    """Say which group first sees each hit; leave out what misses the frame."""
    frame, readout = setup.aperture, setup.readout
    inside = (y >= 0) & (y < frame.ny) & (x >= 0) & (x < frame.nx)
    when, y, x, charge = when[inside], y[inside], x[inside], charge[inside]
    # The frames of group k are read at k * tgroup + (1 ... nframes) * tframe.
    group = np.floor((when - readout.nframes * readout.tframe) / readout.tgroup) + 1
    group = np.maximum(group, 0).astype(int)
    missed = np.floor((when - group * readout.tgroup) / readout.tframe)
    share = 1 - np.clip(missed, 0, readout.nframes - 1) / readout.nframes
    keep = group < readout.ngroups
    return Hits(
        group[keep],
        share[keep].astype(np.float32),
        y[keep].astype(int),
        x[keep].astype(int),
        charge[keep].astype(np.float32),
    )


def add_hits(ramp: Ramp, hits: Hits, seeing: Mask) -> None:
    """
    Put the charge of particles into the groups after them.

    Parameters
    ----------
    ramp : ndarray of float32, shape (ngroups, ny, nx)
        Changed in place, e-.
    hits : Hits
    seeing : ndarray of bool, shape (ny, nx)
        Pixels that collect charge: not the reference pixels.
    """
    ngroups = len(ramp)
    seen = seeing[hits.y, hits.x]
    for group in range(ngroups):
        now = seen & (hits.group == group)
        place, charge = (hits.y[now], hits.x[now]), hits.charge[now]
        np.add.at(ramp[group], place, charge * hits.share[now])
        for later in range(group + 1, ngroups):
            np.add.at(ramp[later], place, charge)


def afterglow(
    ramp: Ramp, previous: Afterglow, readout: Readout, *, streams: Streams
) -> None:
    """
    Let trapped charge of the previous exposure out.

    Parameters
    ----------
    ramp : ndarray of float32, shape (ngroups, ny, nx)
        Changed in place, e-.
    previous : Afterglow
    readout : Readout
    streams : Streams
    """
    y, x = np.nonzero(previous.stimulus > 0)
    level = 1000 * AFTERGLOW * previous.stimulus[y, x].astype(float)
    times = np.array([0.0, *readout.group_times]) + max(previous.delay, 10.0)
    steps = level[None, :] * np.log(times[1:] / times[:-1])[:, None]
    noise = streams.of("persistence").standard_normal(steps.shape)
    charge = np.cumsum(steps + np.sqrt(steps) * noise, axis=0)
    ramp[:, y, x] += charge.astype(np.float32)
