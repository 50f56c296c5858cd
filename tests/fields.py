"""Fields of sources on a plane, as several visits see them that are off."""

import numpy as np

from webbmosaic.science.astrometry import Catalogue, Image


def observe(rng, **given):
    """
    Give images, functions from truth to what each sees, and the true positions.

    ``visits``: (east, north, degrees) each is off by, about a guide star far away.
    """
    visits = given.get("visits", [(0, 0, 0)])
    names = given.get("names", [f"v{k}" for k in range(len(visits))])
    at, side = np.asarray(given.get("at", (0.0, 0.0))), given.get("side", 60.0)
    noise, n = given.get("noise", 0.002), given.get("n", 400)
    sky = rng.uniform(-60, 60, (n, 2)) + at
    far = np.array([300, 100])  # arcsec, to the guide star
    images, truth = [], []
    for visit, (east, north, degrees) in zip(names, visits, strict=True):
        for k in range(given.get("dithers", 4)):
            middle = rng.uniform(-8, 8, 2) * side / 60 + at
            jitter = rng.normal(0, given.get("jitter", 0.003), 2)
            see = seen_by(np.array([east, north]) + jitter, degrees, at + far)
            square = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * side / 2
            inside = (np.abs(sky - middle) < side / 2).all(axis=1)
            inside &= rng.uniform(size=n) < given.get("completeness", 0.8)
            errors = noise * rng.uniform(0.3, 2, inside.sum())
            positions = see(
                sky[inside] + errors[:, None] * rng.normal(size=(len(errors), 2))
            )
            junk = see(rng.uniform(-side / 2, side / 2, (len(errors) // 5, 2)) + middle)
            images.append(
                Image(
                    positions=np.concatenate([positions, junk]),
                    errors=np.concatenate([errors, np.full(len(junk), noise)]),
                    corners=see(square + middle),
                    exposure=str(k),
                    visit=visit,
                )
            )
            truth.append((see, middle))
    return images, truth, sky


def seen_by(shift, degrees, about):
    """Give the function from true positions to those of a visit that is off."""
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return lambda points: (points - about) @ turn + about + shift


def truth_errors(moved, truth):
    """How far each image's middle is from its true place after alignment."""
    return np.array(
        [
            moved(k, see(middle[None]))[0] - middle
            for k, (see, middle) in enumerate(truth)
        ]
    )


def catalogue_of(rng, sky, n=60, error=0.005):
    """Some of the true positions, with errors (arcsec)."""
    chosen = sky[rng.permutation(len(sky))[:n]]
    return Catalogue(
        chosen + rng.normal(0, error, chosen.shape), np.full(len(chosen), error)
    )
