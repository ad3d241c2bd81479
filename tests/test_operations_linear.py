"""Resizing, padding and shuffles before the checker: right implementations pass, wrong ones fail with their cause."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

from clconv.oracle import check, reference
from clconv.oracle.operations import OPERATIONS
from clconv.oracle.operations._base import Claims
from clconv.oracle.operations._resample_cases import exact_integer, exact_integers
from clconv.oracle.operations.rearrange import REARRANGEMENTS
from clconv.oracle.operations.resample import RESAMPLERS
from tests.wrong import rearrange, resample
from tests.wrong.assertions import assert_killed

# Each test judges a whole operation, often more than once.
pytestmark = pytest.mark.slow

NAMES = [operation.name for operation in (*RESAMPLERS, *REARRANGEMENTS)]
RIGHT = {**resample.RIGHT, **rearrange.RIGHT}
WRONG = [*resample.WRONG, *rearrange.WRONG]
FEATURES = {
    "torch": [],
    "onnx": ["coordinate_mode", "nearest_mode", "cubic_coefficient", "exclude_outside"],
    "tf": [],
    "scipy": ["grid_mode"],
}


def rounded_reference(name, **fixed):
    """The reference, with some arguments given, rounded to the type of its arrays."""
    required = OPERATIONS[name].required

    def implementation(*arrays, out=None, **arguments):
        wide = [array.astype(np.float64) for array in arrays]
        result = getattr(reference, name)(*wide, **fixed, **arguments)
        if name.endswith("_backward"):
            return tuple(None if gradient is None else gradient.astype(arrays[0].dtype) for gradient in result)
        if out is None:
            return result.astype(arrays[0].dtype)
        out[...] = result
        return out

    assert set(required) <= set(inspect.signature(getattr(reference, name)).parameters)
    return implementation


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_the_rounded_reference_passes(name, dtype):
    features = [f for f in OPERATIONS[name].features if f in ("out", "output_mask", "symmetric")]
    report = check(rounded_reference(name), op=name, dtype=dtype, features=features, max_examples=30)
    assert report.passed, str(report)
    assert report.worst_ratio <= 1


@pytest.mark.parametrize("semantics", ["onnx", "tf", "scipy"])
@pytest.mark.parametrize("name", ["interpolate", "interpolate_backward"])
def test_each_system_passes_by_its_own_rules(name, semantics):
    implementation = rounded_reference(name, semantics=semantics)
    report = check(implementation, op=name, semantics=semantics, features=FEATURES[semantics], max_examples=30)
    assert report.passed, str(report)


@pytest.mark.parametrize("semantics", ["onnx", "tf", "scipy"])
def test_torchs_rules_are_not_theirs(semantics):
    report = check(rounded_reference("interpolate"), op="interpolate", semantics=semantics, max_examples=30)
    assert not report.passed


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", NAMES)
def test_right_implementations_pass(name, seed):
    report = check(RIGHT[name], op=name, max_examples=30, seed=seed)
    assert report.passed, str(report)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong.op}: {wrong.name}")
def test_wrong_implementations_fail_and_the_cause_is_named(wrong):
    assert_killed(wrong)


def test_every_edge_has_exact_data():
    claims = Claims()
    for operation in RESAMPLERS:
        for edge in operation.edges(claims):
            assert exact_integer(edge, claims) >= 4, edge
            assert exact_integers(edge, claims)[0] == exact_integer(edge, claims)
    cubic = next(e for e in RESAMPLERS[0].edges(claims) if e.name == "cubic weights at the border")
    assert exact_integer(cubic, claims) > 30


# --- PyTorch


def of_torch(name, parameters):
    """torch's function, or what its autograd makes of it."""
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    forward_name = name.removesuffix("_backward")
    function = getattr(torch if forward_name == "flatten" else torch.nn.functional, forward_name)

    def forward(*arrays, **arguments):
        return function(*(torch.from_numpy(np.ascontiguousarray(a)) for a in arrays), **arguments).numpy()

    def backward(grad_output, input, **arguments):
        x = torch.from_numpy(np.ascontiguousarray(input)).requires_grad_()
        y = function(x, **arguments)
        if y.shape != grad_output.shape:
            raise ValueError(f"grad_output must have shape {tuple(y.shape)}")
        y.backward(torch.from_numpy(np.ascontiguousarray(grad_output)))
        return x.grad.numpy()

    implementation = backward if name.endswith("_backward") else forward
    names = (*OPERATIONS[name].required, *parameters)
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    defaults = dict.fromkeys(("size", "scale_factor", "mode", "align_corners", "recompute_scale_factor", "value"))
    defaults |= {"start_dim": 0, "end_dim": -1}
    implementation.__signature__ = inspect.Signature(
        [inspect.Parameter(n, kind, **({"default": defaults[n]} if n in defaults else {})) for n in names]
    )
    return implementation


# antialias is left out: to one column, torch 2.13 repeats the first row.
PARAMETERS = {
    "interpolate": ("size", "scale_factor", "mode", "align_corners", "recompute_scale_factor"),
    "pad": ("pad", "mode", "value"),
    "flatten": ("start_dim", "end_dim"),
    "pixel_shuffle": ("upscale_factor",),
    "pixel_unshuffle": ("downscale_factor",),
    "channel_shuffle": ("groups",),
}
# In torch 2.13, pixel_unshuffle leaves the shape of an empty batch as it is; it is also pixel_shuffle's gradient.
KNOWN = {"pixel_unshuffle": 1, "pixel_unshuffle_backward": 1, "pixel_shuffle_backward": 1}


@pytest.mark.torch
@pytest.mark.parametrize("name", NAMES)
def test_torch_passes_but_for_what_is_known(name):
    implementation = of_torch(name, PARAMETERS[name.removesuffix("_backward")])
    report = check(implementation, op=name, max_examples=30)
    assert [finding.name for finding in report.findings] == ["an empty batch"] * KNOWN.get(name, 0), str(report)
    assert report.worst_ratio <= 1
