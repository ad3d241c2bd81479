"""How cost grows: a 3x3 layer with its channels, its extent or the batch varied, past sizes that fit no vector."""

from __future__ import annotations

from collections.abc import Sequence

from clconv.bench.layers import Case, layer

__all__ = ["AXES", "CHANNELS", "EXTENT", "scale_cases", "size_along"]

#: What the layer has where something else is varied.
CHANNELS, EXTENT = 64, 28

#: What is varied, and its sizes.
AXES = {
    "channels": (1, 3, 6, 8, 13, 16, 19, 32, 48, 64, 96, 100, 128, 192, 256, 384, 512),
    "extent": (3, 5, 7, 8, 13, 14, 15, 27, 28, 31, 56, 57, 112, 113, 224),
    "batch": (1, 2, 3, 4, 7, 8, 16, 32),
}


def scale_cases(directions: Sequence[str], dtypes: Sequence[str]) -> list[Case]:
    """Return the cases; their suite is the axis that is varied.

    Examples
    --------
    >>> [case.layer.name for case in scale_cases(["fwd"], ["float32"])][:2]
    ['3x3: 1x28x28 to 1', '3x3: 3x28x28 to 3']
    """
    cases = []
    for axis, sizes in AXES.items():
        for dtype in dtypes:
            for direction in directions:
                for size in sizes:
                    channels = size if axis == "channels" else CHANNELS
                    extent = size if axis == "extent" else EXTENT
                    batch = size if axis == "batch" else 1
                    cases.append(Case(axis, layer(channels, extent, channels, (3, 3)), batch, dtype, direction))
    return cases


def size_along(case: Case) -> int:
    """Return the size along the axis that is varied.

    Examples
    --------
    >>> {size_along(case) for case in scale_cases(["fwd"], ["float32"]) if case.suite == "batch"} == set(AXES["batch"])
    True
    """
    return {"channels": case.layer.channels, "extent": case.layer.extents[0], "batch": case.batch}[case.suite]
