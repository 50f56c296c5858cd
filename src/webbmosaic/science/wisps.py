"""Wisps: stray light of fixed shape and changing brightness, fitted and subtracted.

The shape is known from templates; what changes from exposure to exposure is how
bright each of them is. All amplitudes are solved together with a smooth local
background and with one offset per row and amplifier, whose spread is measured and
which therefore takes up the 1/f stripes but not the wisp.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from webbmosaic.science.arrays import BoolArray, FloatArray
from webbmosaic.science.smoothing import enlarged
from webbmosaic.science.wisp_frames import (
    BIN,
    Blocks,
    bin_frame,
    compact_sources,
    extended_sources,
    halve,
    leaked,
    polynomials,
    wisp_box,
)
from webbmosaic.science.wisp_lines import CELL, PIECES
from webbmosaic.science.wisp_noise import ReadNoise, measure_noise
from webbmosaic.science.wisp_solver import (
    Problem,
    Solution,
    Whitened,
    amplitude_covariance,
    solve,
    whiten,
)

__all__ = ["WispFit", "fit_wisps", "wisp_model"]

Vector = npt.NDArray[np.float64]

#: How often extended sources are looked for, for each mask of small sources.
_ROUNDS = (2, 2)

#: Light that leaks out of the masks comes from pixels of this many sigma at most.
_BRIGHTEST = 400.0

#: When a fit is good enough to look for sources in what it leaves.
_ROUGHLY = 1e-2

#: A component less bright than this many times its error is left out of the sum.
_MIN_COMPONENT = 2.0


@dataclass(frozen=True)
class WispFit:
    """
    How bright the wisps of one exposure are.

    Attributes
    ----------
    amplitudes, errors : float64 `~numpy.ndarray`, shape (n,)
        Factor of each template, never negative, and its standard error.
    covariance : float64 `~numpy.ndarray`, shape (n, n)
        Of the amplitudes; zero for a template that is not used.
    significance : float
        The brightness of the whole wisp over its error.
    improvement : float
        Share of the chi-square of the wisp that the fit removes from pixels that it
        was not fitted to (cross-validated): 1 is perfect, below 0 it does harm.
    pixels : int
        Pixels that were used.
    accepted : bool
        `True` if the wisp is significant and the residual improves.
    verdict : str
        Why it was accepted or not, for people.
    """

    amplitudes: Vector
    errors: Vector
    covariance: Vector
    significance: float
    improvement: float
    pixels: int
    accepted: bool
    verdict: str


def fit_wisps(
    data: npt.NDArray[np.floating],
    err: npt.NDArray[np.floating],
    templates: Sequence[npt.NDArray[np.floating]],
    *,
    usable: BoolArray | None = None,
    outputs: int = 4,
    min_significance: float = 5.0,
    background_degree: int = 2,
) -> WispFit:
    """
    Measure how bright the wisps of an exposure are.

    Parameters
    ----------
    data, err : 2D float `~numpy.ndarray`, shape (ny, nx)
        Flat-fielded count rates and their errors, in DN / s. Stripes and the sky
        may still be in.
    templates : sequence of 2D float `~numpy.ndarray`, shape (ny, nx)
        One component of the wisp each, in any unit. NaN: not known there.
    usable : 2D bool `~numpy.ndarray`, optional
        `False` where a pixel is bad or belongs to a known source; sources are found
        and masked in any case. NaN and ``err <= 0`` are never used.
    outputs : int, optional
        Amplifiers along a row, each as wide: 4 for a full NIRCam frame.
    min_significance : float, optional
        A wisp less bright than this many times its error is left alone.
    background_degree : int, optional
        Degree of the polynomial in x and y that stands for the local background.

    Returns
    -------
    fit : WispFit

    Raises
    ------
    ValueError
        If there is no template, or the shapes differ.

    Notes
    -----
    Generalised least squares on blocks of 4x4 pixels, against white noise and 1/f
    noise as the outputs read it (`webbmosaic.science.wisp_noise`); non-negative by the
    method of Lawson & Hanson (1974, ch. 23). Sources and outliers are found in the
    residual and masked, in turns with the fit. The errors are cluster-robust (Liang &
    Zeger 1986, Biometrika 73, 13): they come from the scatter of the residual over
    cells of 64x64 pixels, and so hold for what the noise model does not know, too.
    """
    _check_shapes(data, err, templates, usable)
    box = wisp_box(templates, 2 * BIN * PIECES * outputs)
    if box is None:
        return _nothing(len(templates), "the templates are empty")
    good = np.isfinite(data[box]) & (err[box] > 0)
    if usable is not None:
        good &= usable[box]
    fine = bin_frame(data[box], err[box], [t[box] for t in templates], good)
    if np.count_nonzero(fine.weight) < 0.05 * fine.weight.size:
        return _nothing(len(templates), "too few usable pixels")
    whitened = _whitened(fine, outputs, background_degree)
    pixels = (2 * BIN) ** 2 * int(np.count_nonzero(whitened.weight))
    return _judge(_select(whitened), pixels, min_significance)


def _check_shapes(
    data: npt.NDArray[np.floating],
    err: npt.NDArray[np.floating],
    templates: Sequence[npt.NDArray[np.floating]],
    usable: BoolArray | None,
) -> None:
    if not templates:
        msg = "fit_wisps needs at least one template"
        raise ValueError(msg)
    others = [err, *templates, *([usable] if usable is not None else [])]
    shapes = {data.shape, *(np.shape(o) for o in others)}
    if len(shapes) != 1:
        msg = f"data, err, templates and usable differ in shape: {sorted(shapes)}"
        raise ValueError(msg)


def _nothing(count: int, verdict: str) -> WispFit:
    zero = np.zeros(count)
    nothing = np.zeros((count, count))
    return WispFit(zero, zero.copy(), nothing, 0.0, 0.0, 0, False, verdict)


def _first_guess(fine: Blocks) -> Vector:
    """Amplitudes from the medians of bright and faint parts of the templates."""
    guess = np.zeros(len(fine.templates))
    data, good = fine.data[::2, ::2], fine.weight[::2, ::2] > 0
    for k, template in enumerate(fine.templates[:, ::2, ::2]):
        peak = np.max(template[good])
        bright, faint = good & (template > 0.5 * peak), good & (template < 0.1 * peak)
        if peak > 0 and bright.any() and faint.any():
            above = data[bright] - np.median(data[faint])
            guess[k] = max(0.0, float(np.median(above / template[bright])))
    return guess


def _whitened(fine: Blocks, outputs: int, degree: int) -> Whitened:
    """Mask sources, measure the noise and fit in turns; then whiten for good."""
    seen = fine.weight > 0
    level = np.median(fine.data[seen][::8])
    fine = replace(fine, data=np.where(seen, fine.data - level, 0))
    found, rest = _first_guess(fine), np.zeros_like(fine.data)
    whole = halve(fine)
    for rounds in _ROUNDS:
        blocks = halve(_without_small_sources(fine, found, rest))
        full = blocks.weight
        for _ in range(rounds):
            terms = _background(whole, blocks, found, degree)
            problem = Problem(blocks, terms, _noise(blocks, found, outputs))
            white = whiten(problem, tolerance=_ROUGHLY)
            found = solve(white, np.ones(len(found), bool)).values
            left = _sum(np.append(-found, 1), white.left)
            masked = extended_sources(left * np.sqrt(full), full > 0)
            blocks = replace(blocks, weight=np.where(masked, 0, full))
        rest = _sum(np.append(-found, 1), white.images) - left
        rest = enlarged(rest, fine.data.shape, 2)
    terms = _background(whole, blocks, found, degree)
    return whiten(Problem(blocks, terms, _noise(blocks, found, outputs)))


def _sum(factors: Vector, images: FloatArray) -> FloatArray:
    return np.asarray(np.tensordot(factors.astype(np.float32), images, axes=1))


def _noise(blocks: Blocks, found: Vector, outputs: int) -> ReadNoise:
    residual = blocks.data - _sum(found, blocks.templates)
    return measure_noise(residual, blocks.weight, outputs)


def _background(
    whole: Blocks, blocks: Blocks, found: Vector, degree: int
) -> FloatArray:
    """Shapes of the background: polynomials, and light that leaks out of the masks."""
    light = whole.data - _sum(found, whole.templates)
    limit = _BRIGHTEST / np.sqrt(np.median(whole.weight[whole.weight > 0][::8]))
    light = np.where(blocks.weight < 0.99 * whole.weight, light, 0)
    halos = leaked(np.clip(light, 0, limit), CELL)
    return np.concatenate([polynomials(halos.shape[1:], degree), halos])


def _without_small_sources(fine: Blocks, found: Vector, rest: FloatArray) -> Blocks:
    """Mask small sources where they are resolved, without wisps and the ``rest``."""
    bare = fine.data - _sum(found, fine.templates) - rest
    sources = compact_sources(bare * np.sqrt(fine.weight), fine.weight > 0)
    return replace(fine, weight=np.where(sources, 0, fine.weight))


def _select(whitened: Whitened) -> Solution:
    """Drop the components that the data do not ask for, the least significant first."""
    used = np.ones(len(whitened.left) - 1, bool)
    while True:
        solution = solve(whitened, used)
        found = solution.values
        used = found > 0
        if np.count_nonzero(used) < 2:
            return solution
        errors = np.sqrt(np.diag(amplitude_covariance(solution, used)))
        ratio = np.where(used, found / np.maximum(errors, 1e-30), np.inf)
        if ratio.min() >= _MIN_COMPONENT:
            return solution
        used[np.argmin(ratio)] = False


def _improvement(solution: Solution, found: Vector) -> float:
    """Fit on one half of the cells of a chequerboard, judge on the other.

    Both halves see as much of the wisp. In units of the common amplitude they find
    ``1 + e`` and ``1 - e``: what one finds removes ``2 (1 + e) (1 - e) - (1 + e)**2``
    of the other's chi-square, the mean of which is ``1 - 3 e**2``.
    """
    scores = solution.scores @ found
    sign = 1 - 2 * (np.indices(scores.shape).sum(axis=0) % 2)
    total = solution.power.sum()
    return float(1 - 3 * ((sign * scores).sum() / total) ** 2) if total > 0 else 0.0


def _judge(solution: Solution, pixels: int, min_significance: float) -> WispFit:
    """Say whether the wisp is there and whether taking it out helps."""
    found = solution.values
    used = found > 0
    covariance = amplitude_covariance(solution, used)
    scatter = np.sqrt(np.sum((solution.scores @ found) ** 2))
    power = solution.power.sum()
    significance = power / scatter if scatter > 0 and power > 0 else 0.0
    improvement = _improvement(solution, found)
    verdict = "subtracted"
    if significance < min_significance:
        verdict = f"no significant wisp ({significance:.1f} sigma)"
    elif improvement <= 0:
        verdict = "the residual does not improve"
    return WispFit(
        amplitudes=found,
        errors=np.sqrt(np.diag(covariance)),
        covariance=covariance,
        significance=float(significance),
        improvement=improvement,
        pixels=pixels,
        accepted=verdict == "subtracted",
        verdict=verdict,
    )


def wisp_model(
    fit: WispFit, templates: Sequence[npt.NDArray[np.floating]]
) -> tuple[FloatArray, FloatArray]:
    """
    Make the image of the wisps and its variance.

    Parameters
    ----------
    fit : WispFit
    templates : sequence of 2D float `~numpy.ndarray`, shape (ny, nx)
        Those that were fitted.

    Returns
    -------
    model : 2D float32 `~numpy.ndarray`, shape (ny, nx)
        To be subtracted, in the unit of the data; 0 where no template is known.
    variance : 2D float32 `~numpy.ndarray`, shape (ny, nx)
        What the errors of the amplitudes add to the square of ERR.
    """
    shape = templates[0].shape
    model, variance = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    roots = _roots(fit.covariance)
    known = [np.nan_to_num(np.asarray(t, np.float32)) for t in templates]
    for factor, template in zip(fit.amplitudes, known, strict=True):
        if factor > 0:
            model += np.float32(factor) * template
    for root in roots:
        part = sum(np.float32(f) * t for f, t in zip(root, known, strict=True) if f)
        variance += np.square(part)
    return model, variance


def _roots(covariance: Vector) -> list[Vector]:
    """Split a covariance into independent directions, each of unit variance."""
    values, vectors = np.linalg.eigh(covariance)
    return [np.sqrt(v) * vectors[:, k] for k, v in enumerate(values) if v > 0]
