"""Convolutions read nothing beside their arrays: these lie between pages that nobody may read."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from clconv.native.executor import level, why_unusable
from clconv.native.table import VECTOR_BYTES

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="pages are protected by a call of Linux"),
    pytest.mark.skipif(why_unusable() is not None, reason=f"there is no native device: {why_unusable()}"),
]

#: Prints which kernels ran if no page was touched; else the process dies of it.
PROGRAM = """
import ctypes, itertools, mmap, sys
import numpy as np
import clconv
from clconv import algorithms
from clconv.algorithms import conv_direct, conv_direct_weights, conv_rows, conv_winograd, conv_winograd_weights
from clconv.native.executor import NativeExecutor

libc = ctypes.CDLL(None, use_errno=True)
kept = []

def between_pages(array, at_end):
    pages = -(-array.nbytes // mmap.PAGESIZE)
    memory = mmap.mmap(-1, (pages + 2) * mmap.PAGESIZE)
    start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    for page in (0, pages + 1):
        address = ctypes.c_void_p(start + page * mmap.PAGESIZE)
        assert libc.mprotect(address, ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
    offset = mmap.PAGESIZE + (pages * mmap.PAGESIZE - array.nbytes if at_end else 0)
    copy = np.frombuffer(memory, "uint8", array.nbytes, offset).view(array.dtype).reshape(array.shape)
    copy[...] = array
    kept.append(memory)
    return copy

def leave(name):
    for operation, all_of_it in EVERY.items():
        left = [algorithm for algorithm in all_of_it if algorithm.name in (name, "portable")]
        algorithms.ALGORITHMS[operation] = tuple(left)
    algorithms.forget()

def launch(executor, plan, *arguments):
    launched.update(launch.kernel for launch in plan.launches)
    whole_launch(executor, plan, *arguments)

conv_direct_weights._LAID_OUT_WEIGHT = conv_direct_weights._LAID_OUT_LINE = 0
conv_winograd._WORTH_IT = conv_winograd_weights._WORTH_IT = 0
conv_direct.cost = lambda *arguments: float("inf")  # so that rows never leave a call to it
never = conv_direct.cost
across_rows, within_rows = conv_rows._cost, conv_rows._cost_within_rows
launched, whole_launch, NativeExecutor.launch = set(), NativeExecutor.launch, launch
EVERY = {{name: algorithms.ALGORITHMS[name] for name in ("conv_fwd", "conv_bwd_data", "conv_bwd_weights")}}
layers = {layers}
random = np.random.default_rng(0)
for (input_shape, weight_shape, arguments), dtype, at_end in itertools.product(layers, {dtypes}, (False, True)):
    rank = len(input_shape) - 2
    output_shape = clconv.ConvProblem.from_shapes(input_shape, weight_shape, **arguments).output_shape
    shapes = output_shape, input_shape, weight_shape
    dy, x, w = (between_pages(random.integers(-1, 2, shape).astype(dtype), at_end) for shape in shapes)
    for name in ("rows", "rows within", "direct", "winograd", "winograd of many channels", "channels", "pointwise"):
        conv_rows._cost = never if name.endswith("within") else across_rows
        conv_rows._cost_within_rows = within_rows if name.endswith("within") else never
        conv_winograd._MANY_CHANNELS = 1 if name.endswith("channels") else 2**31
        leave(name.split()[0])
        with clconv.accuracy("default"):
            getattr(clconv, f"conv{{rank}}d")(x, w, **arguments, device="native")
            getattr(clconv, f"conv{{rank}}d_backward")(dy, x, w, **arguments, device="native")
print(*launched)
"""

PLANES = [(1, 5), (3, 3), (4, 4), (7, 7), (14, 14), (1, 129), (3, 18)]
CHANNELS = [(3, 5), (16, 17), (37, 64), (64, 33), (97, 97)]

PLAIN = {"conv_rows", "conv_direct", "conv_weights"}
TRANSFORMING = {"transform_weights", "transform_data", "multiply_points", "multiply_tiles"}


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (1, 3), (3, 1), (2, 2)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_no_convolution_reads_beside_its_arrays(kernel, dtype):
    padding = kernel[0] // 2, kernel[1] // 2
    layers = [((1, ic, *plane), (oc, ic, *kernel), {"padding": padding}) for plane in PLANES for ic, oc in CHANNELS]
    layers += [((1, ic, 9, 9), (oc, ic, *kernel), {"padding": padding, "stride": 2}) for ic, oc in CHANNELS]
    doubled = {"padding": (2 * padding[0], 2 * padding[1]), "dilation": 2}
    layers += [((1, ic, 7, 9), (oc, ic, *kernel), doubled) for ic, oc in CHANNELS]
    layers += [
        ((1, ic, 4, 4), (oc, ic, *kernel), {"padding": padding, "padding_mode": mode, "dilation": 3})
        for mode, padding in (("reflect", 3), ("circular", 4))
        for ic, oc in CHANNELS
    ]
    # Whole strides reach beyond what taps read, and farther than an extent from the data.
    farthest = {"padding": 3, "padding_mode": "circular", "stride": 2}
    layers += [((1, ic, 3, 3), (oc, ic, *kernel), farthest) for ic, oc in CHANNELS]
    layers += [((1, ic, 3, 70), (oc, ic, *kernel), {**farthest, "stride": (2, 1)}) for ic, oc in CHANNELS[:2]]
    program = PROGRAM.format(layers=layers, dtypes=[dtype])
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, f"the process ended with {ended.returncode}: {ended.stderr[-1000:]}"
    expected = PLAIN | (TRANSFORMING if 3 in kernel and dtype != "float16" else set())
    expected |= {"conv_lines"} if kernel[1] > 1 and dtype != "float16" else set()
    takes_gradients = VECTOR_BYTES[level()] >= 4 * np.dtype(dtype).itemsize  # two doubles make no block of Winograd's
    if kernel == (3, 3) and dtype != "float16" and takes_gradients:
        expected |= {"transform_gradient", "multiply_transformed"}
    if kernel == (1, 1):
        expected |= {"conv_pointwise_weights"}
    assert expected <= set(ended.stdout.split())


def test_a_page_that_nobody_may_read_ends_a_process_that_does():
    """Otherwise these tests would say nothing."""
    program = PROGRAM.format(layers=[], dtypes=[]).replace(
        "print(*launched)", "ctypes.string_at(between_pages(np.ones(3), True).ctypes.data, 25)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (ended.returncode < 0, ended.stdout) == (True, "")
