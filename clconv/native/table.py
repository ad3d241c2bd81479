"""Everything that the native extension is compiled from: kernel files, define sets and processor levels.

Standard library only: ``setup.py`` loads this module before anything is installed.
"""

from __future__ import annotations

import platform

__all__ = [
    "DEFINE_SETS",
    "DIRECT",
    "LEVELS",
    "LINES",
    "OPTIONS",
    "ROWS",
    "VECTOR_BYTES",
    "WIDTHS",
    "define_sets_at",
    "defines_text",
]

Defines = tuple[tuple[str, int], ...]

_ELEMENTS: tuple[Defines, ...] = tuple((("ELEMENT", bits),) for bits in (16, 32, 64))

#: Widths of registers, in bytes, that there are vectors for.
WIDTHS = (16, 32, 64)

_VECTORS = tuple((*element, ("VECTOR_BYTES", width)) for element in _ELEMENTS for width in WIDTHS)

#: Output channels, and vectors of neighbouring outputs, in a tile of rows in registers of each width: see
#: kernels/conv_rows.cl. Halves are converted one by one as weights, so they come in tiles of one channel only.
ROWS = {
    16: ((1, 4), (1, 8), (2, 4), (3, 3), (4, 3), (6, 2)),
    32: ((1, 4), (1, 8), (2, 4), (3, 3), (4, 3), (6, 2)),
    64: ((1, 4), (1, 8), (2, 8), (3, 6), (4, 5), (6, 4), (8, 3), (12, 2)),
}

#: The same in a tile within rows: see kernels/conv_lines.cl.
LINES = {
    16: ((1, 8), (2, 4), (3, 3), (4, 3), (6, 2)),
    32: ((1, 8), (2, 4), (3, 3), (4, 3), (6, 2)),
    64: ((1, 8), (2, 8), (3, 6), (4, 6), (8, 3)),
}

#: Vectors of output channels, and outputs, in a tile of direct convolution in registers of each width: see
#: kernels/conv_direct.cl.
DIRECT = {
    16: ((1, 12), (2, 6)),
    32: ((1, 12), (2, 6)),
    64: ((1, 12), (2, 8), (2, 10), (3, 8)),
}

#: With the vectors in a row of a tile of weights' gradients: see kernels/weights.h.
_COLUMNS = tuple(
    (*element, ("VECTOR_BYTES", width), ("COLUMNS", columns))
    for element in _ELEMENTS
    for width, counts in ((16, (3,)), (32, (3,)), (64, (1, 2, 3, 4)))
    for columns in counts
)

#: The define sets that each kernel file may run with. A native plan picks from these only. Those with VECTOR_BYTES are
#: compiled for, and run at, the levels with registers of that width.
DEFINE_SETS: dict[str, tuple[Defines, ...]] = {
    "activation.cl": _ELEMENTS,
    "ceiling.cl": _VECTORS,
    "conv.cl": _ELEMENTS,
    "conv_copy.cl": _VECTORS,
    "conv_depthwise.cl": _VECTORS,
    "conv_depthwise_weights.cl": _VECTORS,
    "conv_direct.cl": tuple(
        (*element, ("VECTOR_BYTES", width), ("VECTORS", vectors), ("TILE", tile))
        for element in _ELEMENTS
        for width, tiles in DIRECT.items()
        for vectors, tile in tiles
    ),
    "conv_lines.cl": tuple(
        (("ELEMENT", bits), ("VECTOR_BYTES", width), ("CHANNELS", channels), ("PIXELS", pixels))
        for bits in (32, 64)
        for width, tiles in LINES.items()
        for channels, pixels in tiles
    ),
    "conv_rows.cl": tuple(
        (*element, ("VECTOR_BYTES", width), ("CHANNELS", channels), ("PIXELS", pixels))
        for element in _ELEMENTS
        for width, tiles in ROWS.items()
        for channels, pixels in tiles
        if channels == 1 or element != (("ELEMENT", 16),)
    ),
    "conv_winograd.cl": tuple(
        (("ELEMENT", bits), ("VECTOR_BYTES", width), ("KH", height), ("KW", breadth), ("TILE", tile))
        for bits in (32, 64)
        for width in WIDTHS
        for height, breadth, tile in ((3, 3, 4), (3, 3, 2), (1, 3, 4), (3, 1, 4))
    ),
    "conv_winograd_weights.cl": tuple(
        (("ELEMENT", bits), ("VECTOR_BYTES", width)) for bits in (32, 64) for width in WIDTHS if width * 8 >= 4 * bits
    ),
    "conv_rows_weights.cl": _VECTORS,
    "conv_pointwise_weights.cl": _COLUMNS,
    "conv_weights.cl": _COLUMNS,
    "deform.cl": _ELEMENTS,
    "grid_sample.cl": _ELEMENTS,
    "grid_sample_rows.cl": _VECTORS,
    "pad.cl": _ELEMENTS,
    "resize.cl": _ELEMENTS,
    "resize_by_two.cl": _VECTORS,
    "resize_lanes.cl": _VECTORS,
    "shuffle.cl": _ELEMENTS,
    "pool_avg.cl": _ELEMENTS,
    "pool_avg_rows.cl": _ELEMENTS,
    "pool_lp.cl": _ELEMENTS,
    "pool_lp_rows.cl": _ELEMENTS,
    "pool_max.cl": _ELEMENTS,
    "pool_max_rows.cl": _ELEMENTS,
    "pool_max_rows_bwd.cl": _ELEMENTS,
    "pool_unpool.cl": _ELEMENTS,
    "norm.cl": _ELEMENTS,
    "norm_backward.cl": _ELEMENTS,
    "norm_columns.cl": _ELEMENTS,
    "norm_response.cl": _ELEMENTS,
    "cross_entropy.cl": _ELEMENTS,
    "dropout.cl": _ELEMENTS,
    "epilogue_backward.cl": _ELEMENTS,
    "softmax.cl": _ELEMENTS,
    "sums.cl": _ELEMENTS,
    "unfold.cl": _ELEMENTS,
}

_X86_LEVELS = {
    "v2": ("-msse4.2", "-mpopcnt"),
    "v3": ("-mavx2", "-mfma", "-mf16c", "-mpopcnt"),
    "v4": ("-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl", "-mavx2", "-mfma", "-mf16c", "-mpopcnt"),
}

#: Compiler options of each processor level, from the lowest to the highest. Options rather than -march=x86-64-v3, which
#: gcc knows from version 11 on only.
LEVELS: dict[str, tuple[str, ...]] = (
    _X86_LEVELS if platform.machine().lower() in ("x86_64", "amd64") else {"generic": ()}
)

#: Compiler options of every level: unrolled and vectorised, with multiply-adds contracted as OpenCL C does, and square
#: roots without errno; no option that loosens arithmetic. Python's own flags often have -fwrapv, which keeps address
#: arithmetic in the innermost loops.
OPTIONS = (
    "-std=gnu11",
    "-O3",
    "-ffp-contract=fast",
    "-fno-math-errno",
    "-fno-wrapv",
    "-fvisibility=hidden",
    "-Wno-unused-function",
)

#: Width of the registers at each level.
VECTOR_BYTES = {"v2": 16, "v3": 32, "v4": 64, "generic": 16}


def define_sets_at(level: str, file: str) -> tuple[Defines, ...]:
    """Return the define sets that a file is compiled with for a level."""
    return tuple(
        defines for defines in DEFINE_SETS[file] if dict(defines).get("VECTOR_BYTES") in (None, VECTOR_BYTES[level])
    )


def defines_text(defines: Defines) -> str:
    """Return a define set as text, ``"ELEMENT=32"``."""
    return " ".join(f"{name}={value}" for name, value in defines)
