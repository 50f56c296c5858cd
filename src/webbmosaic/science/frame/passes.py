"""
One pass over the pixels: what the parts of a frame add up to, and what is left of it.

Levels of the parts are small tables: each output's noise in steps of time, each
family's lines in pieces, light on a grid of nodes. A pass
adds them up row by row, compares with the data, and sums what is left back into tables
of the same shapes: the gradient of the fit, without an image in between.
"""

from __future__ import annotations

import numba
import numpy as np

PIECES = 8
"""Pieces that every line is cut into; pieces far apart share a stripe but no source."""
STEP = 4
"""Pixels along a row that share one step of the readout noise."""
NODE = 16
"""Pixels between the nodes of the smooth light."""


@numba.njit(cache=True, fastmath=True, inline="always")
def _add_series(row, series, y, width, reverse):  # type: ignore[no-untyped-def]
    """Add the noise of the outputs to one row of the frame."""
    for k in range(series.shape[0]):
        back = (k % 2 == 1) != reverse
        for i in range((width + STEP - 1) // STEP):
            level = series[k, y, i]
            low = i * STEP
            high = min(low + STEP, width)
            if back:
                low, high = width - high, width - low
            for x in range(k * width + low, k * width + high):
                row[x] += level


@numba.njit(cache=True, fastmath=True, inline="always")
def _sum_series(row, series, y, width, reverse):  # type: ignore[no-untyped-def]
    """Sum one row of the frame into steps of time."""
    for k in range(series.shape[0]):
        back = (k % 2 == 1) != reverse
        for i in range((width + STEP - 1) // STEP):
            low = i * STEP
            high = min(low + STEP, width)
            if back:
                low, high = width - high, width - low
            total = np.float32(0)
            for x in range(k * width + low, k * width + high):
                total += row[x]
            series[k, y, i] += total


@numba.njit(cache=True, fastmath=True, inline="always")
def _span(i, nodes, nx):  # type: ignore[no-untyped-def]
    """Pixels along x between two nodes; the outermost reach to the edges."""
    low = 0 if i == 0 else i * NODE + NODE // 2
    high = nx if i == nodes - 2 else min(nx, (i + 1) * NODE + NODE // 2)
    return low, high


@numba.njit(cache=True, fastmath=True, inline="always")
def _add_light(row, light, y, edge):  # type: ignore[no-untyped-def]
    """Add smooth light, interpolated between nodes, to one row of the frame."""
    nodes = light.shape[1]
    at = (y + np.float32(0.5)) / NODE - np.float32(0.5)
    j = min(max(int(np.floor(at)), 0), light.shape[0] - 2)
    upper = np.float32(at - j)
    for i in range(nodes):
        edge[i] = light[j, i] * (1 - upper) + light[j + 1, i] * upper
    for i in range(nodes - 1):
        low, high = _span(i, nodes, row.size)
        rise = (edge[i + 1] - edge[i]) / NODE
        start = edge[i] - rise * (i * NODE + NODE // 2 - np.float32(0.5))
        for x in range(low, high):
            row[x] += start + rise * x


@numba.njit(cache=True, fastmath=True, inline="always")
def _sum_light(row, light, y):  # type: ignore[no-untyped-def]
    """Share one row of the frame out to the nodes: the transpose of adding."""
    nodes = light.shape[1]
    at = (y + np.float32(0.5)) / NODE - np.float32(0.5)
    j = min(max(int(np.floor(at)), 0), light.shape[0] - 2)
    upper = np.float32(at - j)
    for i in range(nodes - 1):
        low, high = _span(i, nodes, row.size)
        total = np.float32(0)
        moment = np.float32(0)
        for x in range(low, high):
            total += row[x]
            moment += row[x] * (x - low)
        start = (low + np.float32(0.5) - (i * NODE + NODE // 2)) / NODE
        right = total * start + moment / NODE
        left = total - right
        light[j, i] += left * (1 - upper)
        light[j + 1, i] += left * upper
        light[j, i + 1] += right * (1 - upper)
        light[j + 1, i + 1] += right * upper


@numba.njit(cache=True, fastmath=True, inline="always")
def _add_lines(row, lines, y, ny, parts, shift, steep, some):  # type: ignore[no-untyped-def]
    """Add the lines of all families to one row of the frame."""
    nx = row.size
    for f in range(lines.shape[0]):
        if not some[f]:
            continue
        if steep[f]:
            piece = y * PIECES // ny
            for x in range(nx):
                row[x] += lines[f, piece, parts[f] * x + shift[f, y]]
        else:
            for piece in range(PIECES):
                for x in range(piece * nx // PIECES, (piece + 1) * nx // PIECES):
                    row[x] += lines[f, piece, parts[f] * y + shift[f, x]]


@numba.njit(cache=True, fastmath=True, inline="always")
def _sum_lines(row, lines, y, ny, parts, shift, steep, some):  # type: ignore[no-untyped-def]
    """Sum one row of the frame into the lines of all families."""
    nx = row.size
    for f in range(lines.shape[0]):
        if not some[f]:
            continue
        if steep[f]:
            piece = y * PIECES // ny
            for x in range(nx):
                lines[f, piece, parts[f] * x + shift[f, y]] += row[x]
        else:
            for piece in range(PIECES):
                for x in range(piece * nx // PIECES, (piece + 1) * nx // PIECES):
                    lines[f, piece, parts[f] * y + shift[f, x]] += row[x]


@numba.njit(cache=True, fastmath=True)
def paint(image, tables, geometry, some):  # type: ignore[no-untyped-def]
    """Add the model to an image; ``some`` says which families of lines."""
    series, lines, light = tables
    shift, steep, parts, width, reverse = geometry
    edge = np.empty(light.shape[1], np.float32)
    for y in range(image.shape[0]):
        row = image[y]
        _add_light(row, light, y, edge)
        _add_series(row, series, y, width, reverse)
        _add_lines(row, lines, y, image.shape[0], parts, shift, steep, some)


@numba.njit(cache=True, fastmath=True)
def weighted_sums(data, weight, tables, geometry, some, out, compare, full):  # type: ignore[no-untyped-def]
    """
    Sum weight x (data - model), or weight x model, into tables like the levels.

    ``some`` says which families of lines take part; a model of nothing is not ``full``.
    """
    ny, nx = weight.shape
    series, lines, light = tables
    shift, steep, parts, width, reverse = geometry
    row = np.empty(nx, np.float32)
    edge = np.empty(light.shape[1], np.float32)
    for y in range(ny):
        seen = np.float32(0)
        for x in range(nx):
            seen += weight[y, x]
            row[x] = 0
        if seen == 0:
            continue
        if full:
            _add_light(row, light, y, edge)
            _add_series(row, series, y, width, reverse)
            _add_lines(row, lines, y, ny, parts, shift, steep, some)
        if compare:
            for x in range(nx):
                row[x] = weight[y, x] * (data[y, x] - row[x])
        else:
            for x in range(nx):
                row[x] = weight[y, x] * row[x]
        _sum_series(row, out[0], y, width, reverse)
        _sum_lines(row, out[1], y, ny, parts, shift, steep, some)
        _sum_light(row, out[2], y)
