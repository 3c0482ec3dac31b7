"""The engine's workloads in bare NumPy: forward, and a backward pass written by hand that keeps what an engine must."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def chain(x: Any, blocks: int) -> list[Any]:
    """Of `workloads.chain`."""
    saved = []
    for _ in range(blocks):
        a = np.sin(x)
        b = a * x
        c = np.exp(b)
        d = c + x
        y = np.tanh(d)
        saved.append((x, a, c, y))
        x = y
    g = np.ones_like(x)
    for x, a, c, y in reversed(saved):
        gd = g * (1.0 - y * y)
        gb = gd * c
        g = gd + gb * a + gb * x * np.cos(x)
    return [g]


def polynomial(x: Any, blocks: int) -> list[Any]:
    """Of `workloads.polynomial`."""
    saved = []
    y = x
    for _ in range(blocks):
        a = y * x
        b = a + 0.5
        c = b**2
        d = c * 0.25
        saved.append((y, b))
        y = d + x
    g, gx = np.ones_like(x), np.zeros_like(x)
    for y, b in reversed(saved):
        ga = g * 0.25 * (2.0 * b)
        gx = gx + g + ga * y
        g = ga * x
    return [gx + g]


def perceptron(x: Array, labels: Array, arrays: Sequence[Array]) -> list[Array]:
    """Of `workloads.perceptron`."""
    w1, b1, w2, b2 = arrays
    rows = np.arange(len(labels))
    h = np.tanh(x @ w1 + b1)
    z = h @ w2 + b2
    e = np.exp(z - z.max(1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    loss = -np.log(p[rows, labels]).mean()
    assert np.isfinite(loss)
    p[rows, labels] -= 1.0
    p /= len(labels)
    ga = (p @ w2.T) * (1.0 - h * h)
    return [x.T @ ga, ga.sum(0), h.T @ p, p.sum(0)]


def structured(arrays: Sequence[Array], rows: Array, blocks: int) -> list[Array]:
    """Of `workloads.structured`."""
    x, b, c = arrays
    saved = []
    for _ in range(blocks):
        a = x * b
        t = np.tanh(a - a.mean(1).reshape(-1, 1))
        e, f = t[:, ::2], t[:, 1::2]
        u = (e * f).sum(0).reshape(-1, 1)
        saved.append((x, t))
        x = (t[rows] + u) * 0.5 + c
    g = np.ones_like(x)
    gb, gc = np.zeros_like(b), np.zeros_like(c)
    for x, t in reversed(saved):
        gc += g.sum(1, keepdims=True)
        gq = g * 0.5
        gt = np.zeros_like(t)
        np.add.at(gt, rows, gq)  # rows repeat
        gu = gq.sum(1)
        gt[:, ::2] += gu * t[:, 1::2]
        gt[:, 1::2] += gu * t[:, ::2]
        gd = gt * (1.0 - t * t)
        ga = gd - gd.mean(1, keepdims=True)
        gb += (ga * x).sum(0)
        g = ga * b
    return [g, gb, gc]


def fan_in(x: Array, count: int) -> list[Array]:
    """Of `workloads.fan_in`."""
    h = np.sin(x)
    total = h
    for _ in range(count - 1):
        total = total + h
    g = np.ones_like(x)
    gh = g.copy()
    for _ in range(count - 1):
        gh += g
    return [gh * np.cos(x)]


def leaves(arrays: Sequence[Array]) -> list[Array]:
    """Of `workloads.leaves`."""
    total = arrays[0]
    for one in arrays[1:]:
        total = total + one * one
    g = np.ones_like(total)
    return [g, *(g * one + g * one for one in arrays[1:])]


def matmuls(x: Array, w: Array, count: int) -> list[Array]:
    """Of `workloads.matmuls`."""
    saved = [x]
    for _ in range(count):
        saved.append(saved[-1] @ w)
    g, gw = np.ones_like(x), np.zeros_like(w)
    for y in saved[-2::-1]:
        gw += y.T @ g
        g = g @ w.T
    return [g, gw]


def writes(x: Array, blocks: int) -> list[Array]:
    """Of `workloads.writes`."""
    y = x * 1.0
    for _ in range(blocks):
        y[::2] *= 0.9
        y += x
        y.reshape(2, -1)[1] *= 0.8
    g, gx = np.ones_like(x), np.zeros_like(x)
    for _ in range(blocks):
        g.reshape(2, -1)[1] *= 0.8
        gx += g
        g[::2] *= 0.9
    return [gx + g]
