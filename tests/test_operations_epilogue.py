"""Epilogues before the checker: the rounded reference passes, wrong ones fail with their cause."""

from __future__ import annotations

import numpy as np
import pytest

from clconv.oracle import check
from clconv.oracle.operations import OPERATIONS
from clconv.oracle.operations._base import Claims
from clconv.oracle.operations.epilogue import FINISHED
from tests.wrong.assertions import assert_killed
from tests.wrong.epilogue import RIGHT, WRONG

# Each test judges a whole operation, often more than once.
pytestmark = pytest.mark.slow

UPDATING = ("batch_norm", "instance_norm")
NAMES = [op.name for op in FINISHED if not op.name.startswith(UPDATING) and "3d" not in op.name]


def rounded_reference(operation):
    """The reference, rounded to the type of its arrays."""

    def implementation(*arrays, **arguments):
        given = {**dict(zip(operation.required, arrays, strict=True)), **arguments}
        values = {name: given.pop(name) for name in (*operation.required, *operation.optional) if name in given}
        values = {name: None if array is None else array.astype("float64") for name, array in values.items()}
        results = operation.evaluate(values, given, Claims(dtype=arrays[0].dtype.name)).values()
        dtype = arrays[0].dtype
        stored = tuple(r if r is None or r.dtype.kind == "i" else r.astype(dtype) for r in results)
        return stored if len(stored) > 1 else stored[0]

    return implementation


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("name", NAMES)
def test_the_rounded_reference_passes(name, dtype):
    report = check(rounded_reference(OPERATIONS[name]), op=name, dtype=dtype, max_examples=20)
    assert report.passed, str(report)
    assert report.worst_ratio <= 1


@pytest.mark.parametrize("types", [("float16", None), ("float16", "float16"), ("float32", None)], ids=str)
@pytest.mark.parametrize("name", RIGHT)
def test_right_implementations_pass(name, types):
    dtype, accumulate = types
    features = [feature for feature in OPERATIONS[name].features if feature != "out"]
    report = check(RIGHT[name], op=name, dtype=dtype, accumulate=accumulate, features=features, max_examples=50)
    assert report.passed, str(report)


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong.op}: {wrong.name}")
def test_wrong_implementations_fail_and_the_cause_is_named(wrong):
    assert_killed(wrong)


def test_a_scale_in_the_weights_is_another_algorithm():
    """Rounding the product of weight and scale is not what the bound is for, and in float16 it shows."""

    def conv1d_epilogue(input, weight, bias=None, *, scale=None, **arguments):
        if scale is not None:
            weight = (weight * scale[:, None, None]).astype("float16")
            bias = None if bias is None else (bias * scale).astype("float16")
        return rounded_reference(OPERATIONS["conv1d_epilogue"])(
            input, weight, **({} if bias is None else {"bias": bias}), **arguments
        )

    report = check(conv1d_epilogue, op="conv1d_epilogue", dtype="float16", max_examples=100, skip=["hostile"])
    assert any(finding.mode == "bound" for finding in report.findings)


def test_what_has_no_channels_takes_no_scale():
    assert OPERATIONS["layer_norm_epilogue"].optional == ("weight", "bias", "residual")
    assert np.prod(OPERATIONS["group_norm_epilogue"].lawful(Claims()).shapes["input"]) > 1
