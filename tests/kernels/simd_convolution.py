"""What the tests of convolution steps share: activations and convolutions in float64, literally."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tests.kernels.simd_program import Array

Float64 = NDArray[np.float64]

ALPHA, BETA = 0.25, 0.75


def erf(x: Float64) -> Float64:
    """By its Maclaurin series, which float64 can sum for arguments up to about 4."""
    term = x.copy()
    total = x.copy()
    for n in range(1, 120):
        term = term * -(x * x) / n
        total = total + term / (2 * n + 1)
    return np.asarray(np.clip(total * 2 / np.sqrt(np.pi), -1, 1))


def sigmoid(x: Float64) -> Float64:
    return np.asarray(1 / (1 + np.exp(-x)))


# With alpha = ALPHA and beta = BETA.
ACTIVATIONS: dict[str, Callable[[Float64], Float64]] = {
    "none": lambda x: x,
    "relu": lambda x: np.maximum(x, 0),
    "clip": lambda x: np.clip(x, ALPHA, BETA),
    "leaky_relu": lambda x: np.where(x < 0, ALPHA * x, x),
    "sigmoid": sigmoid,
    "silu": lambda x: x * sigmoid(x),
    "hard_sigmoid": lambda x: np.clip(ALPHA * x + BETA, 0, 1),
    "hard_swish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "tanh": np.tanh,
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "gelu": lambda x: x * 0.5 * (1 + erf(np.clip(x, -5, 5) / np.sqrt(2))),
    "gelu_tanh": lambda x: x * 0.5 * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))),
    "elu": lambda x: np.where(x < 0, ALPHA * np.expm1(np.minimum(x, 0)), x),
    "selu": lambda x: BETA * np.where(x < 0, ALPHA * np.expm1(np.minimum(x, 0)), x),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "exp": np.exp,
    "softsign": lambda x: x / (1 + np.abs(x)),
}


def convolve(
    chw: Array,
    weights: Array,
    bias: Array,
    out_hw: tuple[int, int],
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    pad: tuple[int, int] = (0, 0),
) -> Float64:
    """float64 (OC, *out_hw): weights (OC, C, KH, KW), or (C, 1, KH, KW) for a depthwise convolution.

    `pad` is zeros above and to the left, or rows and columns left out where it is negative; below and to the
    right there are as many zeros as `out_hw` needs.
    """
    chw, pad = chw[:, max(0, -pad[0]) :, max(0, -pad[1]) :], (max(0, pad[0]), max(0, pad[1]))
    channels, height, width = chw.shape
    is_depthwise = weights.shape[1] != channels
    kernel_h, kernel_w = weights.shape[2:]
    reach = [
        (n - 1) * s + (k - 1) * d + 1
        for n, s, k, d in zip(out_hw, stride, weights.shape[2:], dilation, strict=True)
    ]
    padded = np.zeros(
        (channels, *(max(r, p + n) for r, p, n in zip(reach, pad, (height, width), strict=True)))
    )
    padded[:, pad[0] : pad[0] + height, pad[1] : pad[1] + width] = chw
    y = np.zeros((len(weights), *out_hw)) + bias.astype(np.float64)[:, None, None]
    for ky in range(kernel_h):
        for kx in range(kernel_w):
            rows = slice(ky * dilation[0], ky * dilation[0] + (out_hw[0] - 1) * stride[0] + 1, stride[0])
            columns = slice(kx * dilation[1], kx * dilation[1] + (out_hw[1] - 1) * stride[1] + 1, stride[1])
            taken, w = padded[:, rows, columns], weights[:, :, ky, kx].astype(np.float64)
            y += w[:, 0, None, None] * taken if is_depthwise else np.einsum("oc,chw->ohw", w, taken)
    return y
