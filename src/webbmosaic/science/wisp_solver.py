"""The linear algebra of the wisp fit: templates against background and noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize

from webbmosaic.science.arrays import BoolArray, FloatArray
from webbmosaic.science.wisp_frames import Blocks
from webbmosaic.science.wisp_noise import ReadNoise, noise_and_sky

__all__ = ["Problem", "Solution", "Whitened", "amplitude_covariance", "solve", "whiten"]

Vector = npt.NDArray[np.float64]

#: Side of the cells over which errors are taken to be independent, in blocks.
_CELL = 16


@dataclass(frozen=True)
class Problem:
    """
    The blocks of one exposure, the shapes of its background, and its noise.

    Attributes
    ----------
    blocks : Blocks
        The weights are 0 in sources.
    terms : float32 `~numpy.ndarray`, shape (k, *cells)
        Shapes of the background.
    noise : ReadNoise
    """

    blocks: Blocks
    terms: FloatArray
    noise: ReadNoise


@dataclass(frozen=True)
class Whitened:
    """
    Templates and data, and what is left of them without noise and background.

    Attributes
    ----------
    images, left, sky : float32 `~numpy.ndarray`, shape (n + 1, my, mx)
        Templates, then the data: as they are; without the most probable noise and
        background of each; that background.
    weight : float32 `~numpy.ndarray`, shape (my, mx)
    """

    images: FloatArray
    left: FloatArray
    sky: FloatArray
    weight: FloatArray


@dataclass(frozen=True)
class Solution:
    """
    A least-squares solution and what its errors follow from.

    Attributes
    ----------
    values : float64 `~numpy.ndarray`, shape (n,)
        Factors of the templates.
    normal : float64 `~numpy.ndarray`, shape (n, n)
        Of the templates, the background eliminated.
    scores : float64 `~numpy.ndarray`, shape (cells along y, along x, n)
        What each cell adds to the gradient of the chi-square.
    power : float64 `~numpy.ndarray`, shape (cells along y, along x)
        The chi-square that the whole wisp explains.
    """

    values: Vector
    normal: Vector
    scores: Vector
    power: Vector


def whiten(problem: Problem, *, tolerance: float = 1e-3) -> Whitened:
    """
    Take the most probable noise and background from templates and data.

    Parameters
    ----------
    problem : Problem
    tolerance : float, optional
        Of the conjugate gradients. A rough solution costs precision, but the templates
        remain blind to the background, and the fit exact for data without noise.

    Returns
    -------
    whitened : Whitened
    """
    blocks = problem.blocks
    images = np.concatenate([blocks.templates, blocks.data[None]])
    pattern, sky = noise_and_sky(
        images,
        blocks.weight,
        problem.noise,
        terms=problem.terms,
        tolerance=tolerance,
    )
    return Whitened(images, images - pattern - sky, sky, blocks.weight)


def solve(whitened: Whitened, used: BoolArray) -> Solution:
    """
    Solve for the templates in use, which are not negative.

    Parameters
    ----------
    whitened : Whitened
    used : bool `~numpy.ndarray`, shape (n,)
        Which templates may be bright.

    Returns
    -------
    solution : Solution
    """
    images, left, weight = whitened.images, whitened.left, whitened.weight
    # Whitened templates are instruments: the solution is exact for data that the
    # templates describe, however roughly the noise was inverted.
    instruments = left[:-1] * weight
    gram = (
        instruments.reshape(len(used), -1) @ images.reshape(len(images), -1).T
    ).astype(np.float64)
    normal = gram[:, :-1]
    found = _non_negative(normal, gram[:, -1], used)
    factors = found.astype(np.float32)
    residual = left[-1] - np.tensordot(factors, left[:-1], axes=1)
    bare = images[:-1] - whitened.sky[:-1]
    whole = np.tensordot(factors, images[:-1], axes=1)
    bent = np.tensordot(factors, instruments, axes=1)
    return Solution(
        values=found,
        normal=(normal + normal.T) / 2,
        scores=_cell_sums(bare * (residual * weight)),
        power=_cell_sums((whole * bent)[None])[..., 0],
    )


def _non_negative(normal: Vector, right: Vector, used: BoolArray) -> Vector:
    """Solve the normal equations of the templates in use, without negative ones."""
    values = np.zeros(len(right))
    some = np.flatnonzero(used & (np.diag(normal) > 0))
    if some.size:
        chosen = normal[np.ix_(some, some)]
        ridge = 1e-9 * np.trace(chosen) * np.eye(some.size)
        root = np.linalg.cholesky((chosen + chosen.T) / 2 + ridge)
        sides = np.linalg.solve(root, np.column_stack([chosen, right[some]]))
        values[some] = optimize.nnls(sides[:, :-1], sides[:, -1])[0]
    return values


def _cell_sums(images: FloatArray) -> Vector:
    """Sum images over cells; the last axis is the image."""
    ny, nx = images.shape[1:]
    rows = np.add.reduceat(images, np.arange(0, ny, _CELL), axis=1)
    cells = np.add.reduceat(rows, np.arange(0, nx, _CELL), axis=2)
    return np.moveaxis(cells, 0, -1).astype(np.float64)


def amplitude_covariance(solution: Solution, used: BoolArray) -> Vector:
    """
    Estimate the cluster-robust covariance of the amplitudes.

    Parameters
    ----------
    solution : Solution
    used : bool `~numpy.ndarray`, shape (k,)

    Returns
    -------
    covariance : float64 `~numpy.ndarray`, shape (k, k)
        Zero for templates that are not in use.
    """
    covariance = np.zeros(solution.normal.shape)
    some = np.flatnonzero(used)
    if some.size:
        scores = solution.scores.reshape(-1, len(used))[:, some]
        inverse = np.linalg.pinv(solution.normal[np.ix_(some, some)], hermitian=True)
        covariance[np.ix_(some, some)] = inverse @ (scores.T @ scores) @ inverse
    return covariance
