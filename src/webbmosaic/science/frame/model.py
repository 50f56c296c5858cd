"""
One model of a frame: smooth light, readout noise, columns, tilted lines.

Each part is a Gaussian process with a power spectrum of its own. Given the spectra,
the most probable levels of all parts together follow from conjugate gradients on
whitened levels, with the solution for a frame without gaps as preconditioner.
Everything here is in units of the white noise of a pixel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import fft, linalg

from webbmosaic.science.arrays import FloatArray, Floats
from webbmosaic.science.frame.lines import Lines
from webbmosaic.science.frame.passes import NODE, PIECES, STEP, paint, weighted_sums
from webbmosaic.science.frame.readout import Readout

BENDS = 3
"""How the brightness of a tilted line may change along it: level, slope, curvature."""
BEND_POWER = 0.005
"""Power of slope and of curvature over that of the level: 7 % each along a line. More
lets light beside a masked galaxy bend the lines upwards within it."""
BLOCKS = 48
"""Blocks along each axis, on which slow modes of all parts are solved together."""
SLOW = 28
"""Waves along an axis that count as slow, of stripes."""
SLOW_LIGHT = 12
"""Waves along an axis that count as slow, of sky and halos."""
FREE = 1e4
"""Power of what is not held back: the pedestal, and offsets between outputs."""


@dataclass(frozen=True)
class Levels:
    """
    Levels of all parts, or sums over their pixels.

    Attributes
    ----------
    series : 3-D float32 `~numpy.ndarray`, shape (outputs, rows, steps)
        Readout noise of each output, in the order of time.
    lines : 3-D float32 `~numpy.ndarray`, shape (families, `PIECES`, lines)
        Columns and tilted lines, in pieces.
    light : 2-D float32 `~numpy.ndarray`, shape (nodes along y, nodes along x)
        Smooth light.
    """

    series: FloatArray
    lines: FloatArray
    light: FloatArray

    @property
    def tables(self) -> tuple[FloatArray, ...]:
        """All levels."""
        return self.series, self.lines, self.light


@dataclass(frozen=True)
class Powers:
    """
    Power spectra of all parts: the variance of each mode.

    Attributes
    ----------
    series : 2-D float32 `~numpy.ndarray`, shape (outputs, frequencies)
        Of the outputs' mean (times the root of their number) and of their contrasts.
    lines : list of 1-D float32 `~numpy.ndarray`
        Of each family of lines.
    light : 2-D float32 `~numpy.ndarray`, shape (nodes along y, nodes along x)
        Of the cosines of the smooth sky.
    halo : 2-D float32 `~numpy.ndarray`, shape (nodes along y, nodes along x)
        Of the cosines of what masks leave of the light of sources, over ``glow``.
    glow : 2-D float32 `~numpy.ndarray`, shape (nodes along y, nodes along x)
        Light of sources about each node.
    """

    series: FloatArray
    lines: list[FloatArray]
    light: FloatArray
    halo: FloatArray
    glow: FloatArray


Latent = list[npt.NDArray[Any]]


class FrameModel:
    """
    The geometry of a frame, and what its parts look like in it.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns, with the rows as they were read along x.
    readout : Readout
        The outputs.
    families : sequence of Lines
        Columns and tilted lines.
    """

    def __init__(
        self,
        shape: tuple[int, int],
        readout: Readout,
        families: Sequence[Lines],
    ) -> None:
        ny, nx = shape
        self.shape, self.readout, self.families = shape, readout, tuple(families)
        count = len(readout.outputs)
        self.steps = -(-readout.width // STEP)
        self.stride = self.steps + max(1, round(readout.overhead / STEP))
        self.length = padded(ny * self.stride)
        self.line_lengths = [padded(lines.count) for lines in self.families]
        self.nodes = (max(2, -(-ny // NODE)), max(2, -(-nx // NODE)))
        widest = max((lines.count for lines in self.families), default=1)
        self._table = (len(self.families), PIECES, widest)
        shift = np.zeros((len(self.families), max(shape)), np.int64)
        for row, lines in zip(shift, self.families, strict=True):
            row[: lines.shift.size] = lines.shift
        steep = np.array([lines.steep for lines in self.families], bool)
        parts = np.array([lines.parts for lines in self.families], np.int64)
        self._every = np.ones(len(self.families), bool)
        self._geometry = shift, steep, parts, readout.width, readout.reverse
        self._mixing = contrasts(count).astype(np.float32)
        place = (np.arange(PIECES) + 0.5) / PIECES
        self._bends = np.polynomial.legendre.legvander(2 * place - 1, BENDS - 1)
        self._bends /= np.sqrt(np.mean(self._bends**2, axis=0))

    def zero(self) -> Levels:
        """Give levels of nothing."""
        outputs = len(self.readout.outputs)
        return Levels(
            np.zeros((outputs, self.shape[0], self.steps), np.float32),
            np.zeros(self._table, np.float32),
            np.zeros(self.nodes, np.float32),
        )

    def sums(
        self,
        data: FloatArray | None,
        weight: FloatArray,
        levels: Levels | None = None,
        some: npt.NDArray[np.bool_] | None = None,
    ) -> Levels:
        """Sum weight x (data - model), or weight x model, over the pixels of each."""
        out = self.zero()
        weighted_sums(
            weight if data is None else data,
            weight,
            (out if levels is None else levels).tables,
            self._geometry,
            self._every if some is None else some,
            out.tables,
            data is not None,
            levels is not None,
        )
        return out

    def image(self, levels: Levels) -> FloatArray:
        """Paint the model."""
        image = np.zeros(self.shape, np.float32)
        paint(image, levels.tables, self._geometry, levels.lines.any(axis=(1, 2)))
        return image

    def row_pieces(self, sums: Levels) -> FloatArray:
        """Sum steps of rows into pieces, shape (outputs, rows, pieces)."""
        edges = np.unique(np.arange(PIECES) * self.steps // PIECES)
        return np.asarray(np.add.reduceat(sums.series, edges, axis=2))

    def bends(self, family: int) -> Floats:
        """Shapes along a line: columns are the same all along."""
        tilted = self.families[family].tilted
        return np.asarray(self._bends if tilted else self._bends[:, :1])

    # -- whitened levels ---------------------------------------------------------

    def levels(self, latent: Latent, powers: Powers) -> Levels:
        """Turn whitened levels into levels."""
        series, *lines, sky, halo = latent
        out = self.zero()
        noise = fft.irfft(np.sqrt(powers.series) * series, self.length, norm="ortho")
        noise = self._mixing.T @ noise[:, : self.shape[0] * self.stride]
        shape = (*out.series.shape[:2], self.stride)
        out.series[:] = noise.reshape(shape)[:, :, : self.steps]
        for f, (white, power) in enumerate(zip(lines, powers.lines, strict=True)):
            count = self.families[f].count
            size = self._root(power, f)
            level = fft.irfft(size * white, self.line_lengths[f], norm="ortho")
            out.lines[f, :, :count] = self.bends(f) @ level[:, :count]
        out.light[:] = fft.idctn(np.sqrt(powers.light) * sky, norm="ortho")
        out.light[:] += powers.glow * fft.idctn(
            np.sqrt(powers.halo) * halo, norm="ortho"
        )
        return out

    def gradient(self, sums: Levels, powers: Powers) -> Latent:
        """Turn sums over pixels into a gradient of the whitened levels."""
        shape = (*sums.series.shape[:2], self.stride)
        noise = np.zeros(shape, np.float32)
        noise[:, :, : self.steps] = sums.series
        noise = self._mixing @ noise.reshape(shape[0], -1)
        latent = [np.sqrt(powers.series) * fft.rfft(noise, self.length, norm="ortho")]
        for f, power in enumerate(powers.lines):
            level = self.bends(f).T.astype(np.float32) @ sums.lines[f]
            level = level[:, : self.families[f].count]
            waves = fft.rfft(level, self.line_lengths[f], norm="ortho")
            latent.append(self._root(power, f) * waves)
        latent.append(np.sqrt(powers.light) * fft.dctn(sums.light, norm="ortho"))
        latent.append(
            np.sqrt(powers.halo) * fft.dctn(powers.glow * sums.light, norm="ortho")
        )
        return latent

    def _root(self, power: FloatArray, family: int) -> FloatArray:
        """Amplitudes of a family's modes, for each way to change along a line."""
        share = np.full(self.bends(family).shape[1], BEND_POWER, np.float32)
        share[0] = 1
        return np.asarray(np.sqrt(share[:, None] * power))

    def _seen(self, bottom: Levels) -> list[float]:
        """Typical weight behind each level of each part."""
        ny = self.shape[0]
        total = float(bottom.light.sum(dtype=np.float64))
        seen = [total / (bottom.series.shape[0] * ny * self.stride)]
        for lines in bottom.lines:
            whole = lines.sum(axis=0, dtype=np.float64)
            seen.append(float((whole**2).sum() / max(whole.sum(), 1e-6)))
        seen.append(total / (self.nodes[0] * self.nodes[1]))
        return seen

    def solve(
        self,
        data: FloatArray,
        weight: FloatArray,
        bottom: Levels,
        powers: Powers,
        *,
        start: Latent | None = None,
        iterations: int,
    ) -> tuple[Latent, Floats]:
        """
        Find the most probable levels by conjugate gradients.

        Parameters
        ----------
        data, weight : 2-D float32 `~numpy.ndarray`, shape (ny, nx)
            The frame, and weights between 0 and 1.
        bottom : Levels
            Sums of the weights.
        powers : Powers
            How large each part is.
        start : list of `~numpy.ndarray`, optional
            Whitened levels to start from.
        iterations : int
            Steps.

        Returns
        -------
        latent : list of `~numpy.ndarray`
            Whitened levels: see `levels`.
        known : 3-D float64 `~numpy.ndarray`, shape (2, nodes along y, nodes along x)
            Share of each slow cosine of sky and halos that the data tell; 0 elsewhere.
        """
        improve, known = self._preconditioner(bottom, powers)
        x = start
        if x is None:
            x = [np.zeros_like(g) for g in self.gradient(self.zero(), powers)]
        first = None if start is None else self.levels(x, powers)
        some = np.array([power.any() for power in powers.lines], bool)
        sums = self.sums(data, weight, first, some)
        r = self.gradient(sums, powers)
        r = [g - a for g, a in zip(r, x, strict=True)]
        p = z = improve(r)
        rz = self._dot(r, z)
        for _ in range(iterations):
            image = self.sums(None, weight, self.levels(p, powers), some)
            ap = [a + g for a, g in zip(p, self.gradient(image, powers), strict=True)]
            alpha = np.float32(rz / max(self._dot(p, ap), 1e-30))
            x = [a + alpha * b for a, b in zip(x, p, strict=True)]
            r = [a - alpha * b for a, b in zip(r, ap, strict=True)]
            z = improve(r)
            before, rz = rz, self._dot(r, z)
            beta = np.float32(rz / max(before, 1e-30))
            p = [a + beta * b for a, b in zip(z, p, strict=True)]
        return x, known

    def _preconditioner(
        self, bottom: Levels, powers: Powers
    ) -> tuple[Callable[[Latent], Latent], Floats]:
        """
        Solve each part by itself as in a frame without gaps, the slow modes together.

        Slow modes of sky, drift, columns and wide bands look alike: they are solved
        exactly, on blocks of pixels.
        """
        series, *lines, light = self._seen(bottom)
        scale: Latent = [1 / (1 + series * powers.series)]
        for f, (power, weight) in enumerate(zip(powers.lines, lines, strict=True)):
            scale.append(1 / (1 + weight * self._root(power, f) ** 2))
        scale.append(1 / (1 + light * powers.light))
        scale.append(1 / (1 + light * powers.halo * np.mean(powers.glow**2)))
        terms = self._slow_terms(powers, *self._block_centres())
        values = np.hstack([term for _, _, term in terms]).astype(np.float32)
        values *= np.sqrt(self._block_weights(bottom)).ravel()[:, None]
        slow = (values.T @ values).astype(np.float64)
        # The sums are in single precision: a ridge keeps them positive definite.
        slow[np.diag_indices_from(slow)] += 1 + 1e-5 * np.diag(slow)
        factor = linalg.cho_factor(slow, lower=True, check_finite=False)

        def improve(left: Latent) -> Latent:
            better = [s * r for s, r in zip(scale, left, strict=True)]
            side = np.concatenate([_as_real(left[i][at]) for i, at, _ in terms])
            side = linalg.cho_solve(factor, side, check_finite=False)
            first = 0
            for i, at, term in terms:
                part = side[first : first + term.shape[1]]
                better[i][at] = _as_complex(part) if np.iscomplexobj(left[i]) else part
                first += term.shape[1]
            return better

        variance = np.diag(linalg.lapack.dpotri(factor[0], lower=True)[0])
        known = np.zeros((2, *self.nodes))
        at, size = terms[-1][1], terms[-1][2].shape[1]
        known[0][at] = 1 - variance[-2 * size : -size]
        known[1][at] = 1 - variance[-size:]
        return improve, known

    def _block_edges(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """First row of each block, and first step of each block of an output."""
        ny, outputs = self.shape[0], len(self.readout.outputs)
        rows = min(BLOCKS, max(2, ny // 8))
        cols = min(max(1, BLOCKS // outputs), self.steps)
        return np.arange(rows) * ny // rows, np.arange(cols) * self.steps // cols

    def _block_weights(self, bottom: Levels) -> FloatArray:
        """Sums of the weights over blocks of pixels."""
        rows, steps = self._block_edges()
        sums = np.add.reduceat(np.add.reduceat(bottom.series, rows, axis=1), steps, 2)
        backwards = (np.arange(len(sums)) % 2 == 1) != self.readout.reverse
        return np.hstack(
            [s[:, ::-1] if b else s for s, b in zip(sums, backwards, strict=True)]
        )

    def _block_centres(self) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
        """Positions of the blocks, and the output that each belongs to."""
        ny = self.shape[0]
        rows, steps = self._block_edges()
        middle = (rows + np.append(rows[1:], ny) - 1) / 2
        width, centres = self.readout.width, []
        for k in range(len(self.readout.outputs)):
            edges = np.append(np.minimum(steps * STEP, width), width)
            at = (edges[:-1] + edges[1:] - 1) / 2
            back = (k % 2 == 1) != self.readout.reverse
            centres.append(k * width + (width - 1 - at[::-1] if back else at))
        y, x = np.meshgrid(middle, np.concatenate(centres), indexing="ij")
        return y.ravel(), x.ravel(), (x.ravel() // width).astype(np.int64)

    def _slow_terms(
        self, powers: Powers, y: Floats, x: Floats, output: npt.NDArray[np.int64]
    ) -> list[tuple[int, Any, Floats]]:
        """Slow modes at the blocks: their part, their place in it, their values."""
        ny, nx = self.shape
        count = max(2, min(SLOW, y.size // len(np.unique(x)) // 2, ny // 16))
        terms: list[tuple[int, Any, Floats]] = []
        for m, mixing in enumerate(self._mixing):
            number = min(count, powers.series.shape[1])
            waves = _waves(y * self.stride, self.length, number)
            size = np.sqrt(np.tile(powers.series[m, :number], 2))
            at = (np.full(number, m), np.arange(number))
            terms.append((0, at, waves * size * mixing[output][:, None]))
        for f, lines in enumerate(self.families):
            across, along = (x, y) if lines.steep else (y, x)
            shift = np.interp(along, np.arange(lines.shift.size), lines.shift)
            wider = lines.count / lines.parts / min(ny, nx)
            number = min(max(2, int(count * wider)), 2 * count, powers.lines[f].size)
            line = lines.parts * across + shift
            waves = _waves(line, self.line_lengths[f], number)
            size = np.sqrt(np.tile(powers.lines[f][:number], 2))
            at = (np.zeros(number, np.int64), np.arange(number))
            terms.append((1 + f, at, waves * size))
        node_y, node_x = self.nodes
        most = min(count, SLOW_LIGHT)
        py, px = np.indices((min(most, node_y), min(most, node_x))).reshape(2, -1)
        near = np.hypot(py, px) < most
        py, px = py[near], px[near]
        cosines = (
            np.cos(np.pi * np.outer((y + 0.5) / NODE / node_y, py))
            * np.cos(np.pi * np.outer((x + 0.5) / NODE / node_x, px))
            * np.sqrt(np.where(py > 0, 2, 1) * np.where(px > 0, 2, 1))
            / np.sqrt(node_y * node_x)
        )
        part = 1 + len(self.families)
        terms.append((part, (py, px), cosines * np.sqrt(powers.light[py, px])))
        node = np.minimum(y // NODE, node_y - 1), np.minimum(x // NODE, node_x - 1)
        glow = powers.glow[node[0].astype(np.int64), node[1].astype(np.int64)]
        halos = cosines * np.sqrt(powers.halo[py, px]) * glow[:, None]
        terms.append((part + 1, (py, px), halos))
        return terms

    def _dot(self, one: Latent, other: Latent) -> float:
        """Inner product; modes of a real Fourier transform stand for two each."""
        total = 0.0
        for a, b in zip(one, other, strict=True):
            if np.iscomplexobj(a):
                product = np.sum(a.real * b.real + a.imag * b.imag, axis=0)
                total += 2 * float(product.sum(dtype=np.float64)) - float(product[0])
            else:
                total += float(np.sum(a * b, dtype=np.float64))
        return total


def _waves(at: Floats, length: int, count: int) -> Floats:
    """Orthonormal waves of the slowest frequencies: all cosines, then all sines."""
    phase = 2 * np.pi / length * np.outer(at, np.arange(count))
    waves = np.hstack([np.cos(phase), -np.sin(phase)]) * np.sqrt(2 / length)
    waves[:, 0] /= np.sqrt(2)
    return np.asarray(waves)


def _as_real(part: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Coefficients of `_waves`: a complex mode stands for two, but for the first."""
    if not np.iscomplexobj(part):
        return part
    both = np.concatenate([part.real, part.imag]) * np.sqrt(2)
    both[0] /= np.sqrt(2)
    return np.asarray(both)


def _as_complex(values: Floats) -> npt.NDArray[np.complex128]:
    """Undo `_as_real`."""
    half = values.size // 2
    both = values / np.sqrt(2)
    both[0] *= np.sqrt(2)
    return np.asarray(both[:half] + 1j * both[half:])


def padded(length: int) -> int:
    """Room for the periodic end of a Fourier transform; odd, so that modes pair up."""
    wanted = length + length // 50 + 8
    while True:
        wanted = int(fft.next_fast_len(wanted, real=True))
        if wanted % 2:
            return wanted
        wanted += 1


def contrasts(count: int) -> Floats:
    """Orthonormal combinations of the outputs, the first of them their mean."""
    start = np.eye(count)
    start[:, 0] = 1
    basis = np.linalg.qr(start)[0].T
    return np.asarray(basis * np.where(basis[:, :1] < 0, -1, 1))
