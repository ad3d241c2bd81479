"""Why a call runs as it does: for each pass of a convolution the algorithm, what it launches, and the others."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

from clconv.accuracy import accuracy_in_force
from clconv.algorithms import algorithm_for, alternatives, plan_for
from clconv.devices import executor_in_force
from clconv.executor import written_by
from clconv.functional._convolution import geometry_of
from clconv.native.table import defines_text
from clconv.plan import Launch, Plan, Traits
from clconv.preparation import split
from clconv.problem import ConvProblem

__all__ = ["explain"]

_WIDTH = 120
_ERRORS = {
    "elementwise": "within the bound of a direct sum, element by element",
    "default": "below 3e-6 of the largest output",
    "fast": "below 3e-5 of the largest output",
}


def explain(
    operation: str,
    input_shape: Sequence[int],
    weight_shape: Sequence[int],
    *,
    bias: bool = False,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
    padding_mode: str = "zeros",
    flip: bool = False,
    dtype: str = "float32",
    device: Any = None,
) -> str:
    """Return, as text, how a convolution and its gradients are computed on a device, and why so.

    For each pass: the algorithm with the class of its error, its launches with what they are compiled with and how many
    work-items they have, what they copy or compute on the way and where it goes, and the reason against each other
    algorithm. Nothing is computed. Arrays are taken to lie in memory without gaps.

    Parameters
    ----------
    operation : str
        "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d" or "conv_transpose3d".
    input_shape, weight_shape : sequence of int
    bias : bool
        Whether a bias is added.
    stride, padding, output_padding, groups, dilation, padding_mode, flip
        As for that operation; output_padding is for transposed convolutions only.
    dtype : str
        "float16", "float32" or "float64".
    device : optional
        As :func:`clconv.use` takes it. The accuracy is the one in force, see :func:`clconv.accuracy`.

    Raises
    ------
    ValueError, TypeError, Unsupported
        As the operation does.

    Examples
    --------
    >>> import clconv
    >>> print(clconv.explain("conv1d", (1, 2, 9), (4, 2, 3), device="native"))  # doctest: +ELLIPSIS
    conv1d of (1, 2, 9) by (4, 2, 3) to (1, 4, 7), float32, on native at accuracy ...
    168 multiply-adds in each pass
    <BLANKLINE>
    forward
      algorithm  ...
    """
    geometry = geometry_of(operation, stride, padding, dilation, groups, padding_mode, flip, output_padding)
    problem = geometry.problem_of(input_shape, tuple(weight_shape), bias, dtype).without_gaps()
    executor, accuracy = executor_in_force(device), accuracy_in_force()
    executor.check_dtype(dtype)
    forward, data_gradient = ("conv_bwd_data", "conv_fwd") if problem.transposed else ("conv_fwd", "conv_bwd_data")
    passes = {"forward": forward, "backward data": data_gradient, "backward weights": "conv_bwd_weights"}
    if bias:
        passes["backward bias"] = "conv_bwd_bias"
    head = (
        f"{operation} of {problem.input_shape} by {problem.weight_shape} to {problem.output_shape}, {dtype}, "
        f"on {executor.name} at accuracy {accuracy}\n{problem.macs} multiply-adds in each pass"
    )
    sections = [_section(title, name, problem, executor.traits, accuracy) for title, name in passes.items()]
    return "\n\n".join([head, *sections])


def _section(title: str, operation: str, problem: ConvProblem, traits: Traits, accuracy: str) -> str:
    what = (operation, problem, traits, accuracy)
    algorithm, plan = algorithm_for(*what), plan_for(*what)
    once = split(plan, ("w", "b"))[0].launches if title == "forward" else ()
    lines = [
        title,
        *_entry("algorithm", [f"{algorithm.name}; its error is {_ERRORS[algorithm.error]} (class {algorithm.error})"]),
        *_entry("launches", [_launch(launch, launch in once) for launch in plan.launches]),
        *_entry("workspace", _workspace(plan)),
        *_entry("not chosen", [f"{name}: {reason}" for name, reason in alternatives(*what).items()]),
    ]
    return "\n".join(lines)


def _entry(name: str, texts: Sequence[str]) -> list[str]:
    """Return lines with these texts below each other, the first one beside the name."""
    lines: list[str] = []
    for text in texts:
        start = f"  {name if not lines else '':<11}"
        lines += textwrap.wrap(text, _WIDTH, initial_indent=start, subsequent_indent=" " * (len(start) + 2))
    return lines


def _launch(launch: Launch, once: bool) -> str:
    written = written_by(launch)
    read = [name for name in launch.arrays.values() if name not in written]
    text = (
        f"{launch.kernel} ({launch.file}, {defines_text(launch.defines)}): {launch.items} work-items, "
        f"{', '.join(read)} -> {', '.join(sorted(written))}"
    )
    return f"{text}; once where clconv.plan is used" if once else text


def _workspace(plan: Plan) -> list[str]:
    pieces = [f"{name} {size} bytes" for name, size in plan.workspace.items()]
    constants = [f"{name} {len(content)} bytes, constant" for name, content in plan.constants.items()]
    return [*pieces, *constants] or ["none: arrays are read in place"]
