"""The linear algebra of the wisp fit: templates and background against 1/f noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import optimize

from webbmosaic.science.arrays import BoolArray, FloatArray
from webbmosaic.science.wisp_frames import Blocks
from webbmosaic.science.wisp_noise import ReadNoise, read_noise

__all__ = [
    "Problem",
    "Solution",
    "amplitude_covariance",
    "model_residual",
    "solve",
]

Vector = npt.NDArray[np.float64]

#: Side of the cells over which errors are taken to be independent, in blocks.
_CELL = 16

#: How strongly the terms of the background are held where 1/f noise can stand for them.
_RIDGE = 1e-3


@dataclass(frozen=True)
class Problem:
    """
    The blocks of one exposure, what is solved for, and the noise.

    Attributes
    ----------
    blocks : Blocks
    design : float32 `~numpy.ndarray`, shape (n, my, mx)
        Templates, then terms of the background.
    weight : 2D float32 `~numpy.ndarray`, shape (my, mx)
        Of the blocks, 0 in extended sources.
    noise : ReadNoise
    """

    blocks: Blocks
    design: FloatArray
    weight: FloatArray
    noise: ReadNoise

    @property
    def count(self) -> int:
        """How many templates there are."""
        return len(self.blocks.templates)


@dataclass(frozen=True)
class Solution:
    """
    A least-squares solution and what its errors follow from.

    Attributes
    ----------
    values : float64 `~numpy.ndarray`, shape (n,)
        Factors of the design.
    normal : float64 `~numpy.ndarray`, shape (k, k)
        Of the templates, the terms of the background eliminated.
    scores : float64 `~numpy.ndarray`, shape (cells along y, along x, k)
        What each cell adds to the gradient of the chi-square.
    power : float64 `~numpy.ndarray`, shape (cells along y, along x)
        The chi-square that the whole wisp explains.
    residual : 2D float32 `~numpy.ndarray`, shape (my, mx)
        Without wisps, background and 1/f noise.
    """

    values: Vector
    normal: Vector
    scores: Vector
    power: Vector
    residual: FloatArray


def model_residual(problem: Problem, values: Vector) -> FloatArray:
    """
    Take wisps and background, but not the 1/f noise, from the data.

    Parameters
    ----------
    problem : Problem
    values : float64 `~numpy.ndarray`, shape (n,)

    Returns
    -------
    residual : 2D float32 `~numpy.ndarray`, shape (my, mx)
    """
    model = np.tensordot(values.astype(np.float32), problem.design, axes=1)
    return np.asarray(problem.blocks.data - model, np.float32)


def solve(problem: Problem, used: BoolArray) -> Solution:
    """
    Solve for the templates in use and the background, the former not negative.

    Parameters
    ----------
    problem : Problem
    used : bool `~numpy.ndarray`, shape (k,)
        Which templates may be bright.

    Returns
    -------
    solution : Solution
    """
    blocks, count = problem.blocks, problem.count
    images = np.concatenate([problem.design, blocks.data[None]])
    pattern = read_noise(images, problem.weight, problem.noise)
    whitened = (images - pattern) * problem.weight
    # Whitened templates are instruments: the solution is exact for data that the
    # design describes, however roughly the noise was inverted.
    gram = (
        whitened[:-1].reshape(len(images) - 1, -1) @ images.reshape(len(images), -1).T
    )
    gram = gram.astype(np.float64)
    wisps, terms = slice(0, count), slice(count, None)
    powers = np.sum(images[count:-1] ** 2 * problem.weight, axis=(1, 2))
    kernel = gram[terms, count:-1] + _RIDGE * np.diag(powers)
    # Where hardly a pixel is left to see, some terms have no light to fit: they are 0.
    inverse = np.linalg.pinv(kernel)
    share = inverse @ gram[terms]
    normal = gram[wisps, wisps] - gram[wisps, count:-1] @ share[:, wisps]
    right = gram[wisps, -1] - gram[wisps, count:-1] @ share[:, -1]
    found = _non_negative(normal, right, used)
    values = np.concatenate([found, share[:, -1] - share[:, wisps] @ found])
    across = gram[wisps, count:-1] @ inverse
    mixing = np.concatenate([np.eye(count), -across], axis=1)
    left = np.append(-values, 1.0).astype(np.float32)
    residual = np.tensordot(left, images - pattern, axes=1)
    kept = np.tensordot(mixing.astype(np.float32), images[:-1], axes=1)
    bent = np.tensordot((found @ mixing).astype(np.float32), whitened[:-1], axes=1)
    whole = np.tensordot(found.astype(np.float32), images[:count], axes=1)
    return Solution(
        values=values,
        normal=(normal + normal.T) / 2,
        scores=_cell_sums(kept * residual * problem.weight),
        power=_cell_sums((whole * bent)[None])[..., 0],
        residual=residual,
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
