"""Normalisation before the checker: right implementations pass, wrong ones do not, and the cause is named."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from clconv.oracle import adapters, check, reference
from clconv.oracle.operations import OPERATIONS
from clconv.oracle.operations.norm import NORMS
from clconv.oracle.reference.group_norm import default_epsilon
from tests.wrong.assertions import assert_killed
from tests.wrong.norm import RIGHT, WRONG

# Each test judges a whole operation, often more than once.
pytestmark = pytest.mark.slow

NAMES = [operation.name for operation in NORMS]
RUNNING = ("running_mean", "running_var")


def rounded_reference(name):
    """Return the reference, rounded to the type of its arrays, running statistics updated in place."""
    operation = OPERATIONS[name]

    def implementation(*arrays, out=None, **arguments):
        named = dict(zip(operation.required, arrays, strict=True)) | arguments
        dtype = named["input"].dtype
        if name.startswith("rms_norm") and named.get("eps") is None:
            named["eps"] = default_epsilon(dtype)
        wide = {k: v.astype(np.float64) if isinstance(v, np.ndarray) else v for k, v in named.items()}
        result = getattr(reference, name)(**wide)
        if isinstance(result, np.ndarray):
            y = np.empty(result.shape, dtype) if out is None else out
            y[...] = result
            return y
        if operation.updates:
            for field in RUNNING:
                if named.get(field) is not None:
                    named[field][...] = getattr(result, field)
            return result.output.astype(dtype)
        return tuple(None if gradient is None else gradient.astype(dtype) for gradient in result)

    return implementation


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_the_rounded_reference_passes(name, dtype):
    report = check(rounded_reference(name), op=name, dtype=dtype, features=OPERATIONS[name].features, max_examples=10)
    assert report.passed, str(report)
    assert report.worst_ratio <= 1


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("name", NAMES)
def test_right_implementations_pass(name, seed):
    report = check(RIGHT[name], op=name, max_examples=30, seed=seed)
    assert report.passed, str(report)


@pytest.mark.parametrize(
    "wrong", WRONG, ids=lambda wrong: type(wrong.impl).__name__ if wrong.name == "" else wrong.name
)
def test_wrong_implementations_fail_and_the_cause_is_named(wrong):
    assert_killed(wrong)


def test_running_statistics_may_be_returned_instead():
    def batch_norm(input, running_mean, running_var, training=False, momentum=0.1, eps=1e-5):
        result = reference.batch_norm(
            *(a.astype(np.float64) for a in (input, running_mean, running_var)),
            training=training,
            momentum=momentum,
            eps=eps,
            semantics="onnx",
        )
        return tuple(a.astype(input.dtype) for a in result)

    assert check(batch_norm, semantics="onnx", max_examples=10).passed


@pytest.mark.parametrize("semantics", ["onnx", "tf"])
def test_each_system_passes_by_its_own_rules_only(semantics):
    implementation = functools.partial(reference.batch_norm, semantics=semantics)

    def batch_norm(input, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
        arrays = [None if a is None else a.astype("float64") for a in (input, running_mean, running_var, weight, bias)]
        return tuple(a.astype(input.dtype) for a in implementation(*arrays, training, momentum, eps))

    assert check(batch_norm, semantics=semantics, max_examples=20).passed
    assert not check(batch_norm, semantics="torch", max_examples=20).passed


# --- torch

# What 2.13 gets wrong on a CPU: the weight's gradient of images without pixels is NaN; the gradient of instance_norm is
# that of other pixels for a channels-last grad_output of one image; some strided inputs raise.
KNOWN = {
    "group_norm_backward": ["images without pixels"],
    "instance_norm_backward": ["memory layouts"],
    "local_response_norm": ["memory layouts"],
    "local_response_norm_backward": ["memory layouts"],
}


def of_torch(name):
    """Return torch's function; the gradient of group_norm, which raises for a bias alone, with a weight of ones."""
    theirs = adapters.load(f"torch:{name}", name).implementation
    if name != "group_norm_backward":
        return theirs

    def with_weight(grad_output, input, num_groups, weight=None, bias=None, eps=1e-5):
        given = np.ones(input.shape[1], input.dtype) if weight is None and bias is not None else weight
        dx, dw, db = theirs(grad_output, input, num_groups=num_groups, weight=given, bias=bias, eps=eps)
        return dx, None if weight is None else dw, db

    return with_weight


@pytest.mark.torch
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", NAMES)
def test_torch_passes(name, dtype):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    torch.set_num_threads(1)
    report = check(of_torch(name), op=name, dtype=dtype, max_examples=30, skip=KNOWN.get(name, ()))
    assert report.passed, str(report)
    # Of these 2.13 raises an IndexError, where there is a weight.
    disputed = {deviation.name for outcome in report.outcomes for deviation in outcome.deviations}
    assert disputed <= {"an instance norm of no images"}
