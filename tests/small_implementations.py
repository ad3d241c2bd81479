"""A convolution of twenty lines, as a newcomer would write it, and ways to go wrong that take the process with them."""

from __future__ import annotations

import ctypes
import itertools
import time

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view


def conv1d(input, weight, bias=None, stride=1, padding=0, dilation=1):
    """Right for what it takes; groups and padding by name it does not take."""
    step, (pad,), gap = _one(stride), _each(padding), _one(dilation)
    if step < 1 or pad < 0 or gap < 1:
        raise ValueError(f"got stride={stride}, padding={padding}, dilation={dilation}")
    if input.ndim == 2:
        return conv1d(input[None], weight, bias, stride, padding, dilation)[0]
    if input.shape[1] != weight.shape[1]:
        raise ValueError(f"got input.shape={input.shape}, weight.shape={weight.shape}")
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(f"got bias.shape={bias.shape}")
    padded = np.pad(input, ((0, 0), (0, 0), (pad, pad)))
    windows = sliding_window_view(padded, gap * (weight.shape[2] - 1) + 1, axis=2)[:, :, ::step, ::gap]
    output = np.einsum("ncok,dck->ndo", windows, weight)
    return output if bias is None else output + bias[:, None]


def _one(size):
    (entry,) = _each(size)
    return entry


def _each(size):
    if isinstance(size, str):
        raise ValueError(f"got the word {size!r}")
    entries = size if isinstance(size, tuple) else (size,)
    if len(entries) != 1 or not all(isinstance(entry, int) for entry in entries):
        raise ValueError(f"got {size!r}")
    return entries


def flipped(input, weight, stride=1):
    """Flip the kernel."""
    return conv1d(input, weight[..., ::-1], stride=stride)


def crashing(input, weight, stride=1):
    """Read address zero where the output has two positions or more."""
    output = conv1d(input, weight, stride=stride)
    return output if output.shape[-1] < 2 else ctypes.string_at(0)


def hanging(input, weight, stride=1):
    """Never come back where the output has two positions or more."""
    output = conv1d(input, weight, stride=stride)
    while output.shape[-1] > 1:
        time.sleep(1)
    return output


def hungry(input, weight, stride=1):
    """Take more and more memory where the output has two positions or more."""
    output, taken = conv1d(input, weight, stride=stride), []
    while output.shape[-1] > 1:
        taken.append(np.ones(1 << 24))
    return output


CALLS = itertools.count()


def changing(input, weight, stride=1):
    """Give another result on every third call."""
    return conv1d(input, weight, stride=stride) + (next(CALLS) % 3 == 2)
