"""Pooling before the checker: right implementations pass, wrong ones fail with their cause, torch is understood."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clconv.oracle import check, reference
from clconv.oracle.operations import OPERATIONS
from clconv.oracle.operations._base import Claims
from clconv.oracle.operations._pool_cases import is_power_of_two
from clconv.oracle.operations._pool_mean import AvgPool
from clconv.oracle.operations.pool import FORWARD, POOLS
from tests.wrong.assertions import assert_killed
from tests.wrong.pool import RIGHT, WRONG

# Each test judges a whole operation, often more than once.
pytestmark = pytest.mark.slow

NAMES = [operation.name for operation in POOLS]
PLANES = [name for name in NAMES if "2d" in name]
AVERAGES = [operation for operation in FORWARD if isinstance(operation, AvgPool)]


def rounded_reference(name, **fixed):
    """The reference, with some arguments given, rounded to the type of its arrays."""

    def implementation(*arrays, out=None, **arguments):
        result = getattr(reference, name)(*arrays, **fixed, **arguments)
        dtype = arrays[0].dtype
        if isinstance(result, tuple):
            return tuple(r if r is None or r.dtype.kind == "i" else r.astype(dtype) for r in result)
        if out is None:
            return result.astype(dtype)
        out[...] = result
        return out

    return implementation


# --- right ones


@pytest.mark.parametrize("name", NAMES)
def test_the_rounded_reference_passes(name):
    report = check(rounded_reference(name), op=name, features=OPERATIONS[name].features, max_examples=20)
    assert report.passed, str(report)
    assert report.worst_ratio <= 1


@pytest.mark.parametrize("types", [("float16", None), ("float16", "float16"), ("float64", None)], ids=str)
@pytest.mark.parametrize("name", PLANES)
def test_other_types_pass(name, types):
    dtype, accumulate = types
    report = check(rounded_reference(name), op=name, dtype=dtype, accumulate=accumulate, max_examples=15)
    assert report.passed, str(report)


@pytest.mark.parametrize(
    ("name", "semantics"),
    [(name, rules) for name in PLANES for rules in OPERATIONS[name].semantics if rules != "torch"],
)
def test_each_system_passes_by_its_own_rules(name, semantics):
    features = [f for f in OPERATIONS[name].features if f != "out"]
    implementation = rounded_reference(name, semantics=semantics)
    report = check(implementation, op=name, semantics=semantics, features=features, max_examples=20)
    assert report.passed, str(report)


@pytest.mark.parametrize(("name", "semantics"), [("max_pool2d", "onnx"), ("avg_pool2d", "onnx"), ("avg_pool2d", "tf")])
def test_torchs_rules_are_not_theirs(name, semantics):
    report = check(rounded_reference(name), op=name, semantics=semantics, features=["padding_pairs"], max_examples=40)
    assert not report.passed


@pytest.mark.parametrize("name", RIGHT)
def test_right_implementations_pass(name):
    report = check(RIGHT[name], op=name, max_examples=15, seed=1)
    assert report.passed, str(report)


def test_few_arguments_are_enough():
    def my_max_pool2d(input, kernel_size):
        return RIGHT["max_pool2d"](input, kernel_size)

    report = check(my_max_pool2d, op="max_pool2d", max_examples=15)
    assert report.passed, str(report)
    assert "padding: impl has no such parameter" in report.not_tested


# --- wrong ones


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: f"{wrong.op}: {wrong.name}")
def test_wrong_implementations_fail_and_the_cause_is_named(wrong):
    assert_killed(wrong)


@pytest.mark.parametrize("ties", ["all", "share"])
def test_ties_are_told_apart(ties):
    name = "max_pool1d_backward"

    def first_only(*arrays, ties="first", **arguments):
        return rounded_reference(name)(*arrays, **arguments)

    report = check(first_only, op=name, features=["ties"], max_examples=60)
    assert not report.passed
    assert not check(rounded_reference(name, ties=ties), op=name, max_examples=60).passed


# --- exact data


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_exact_means_stay_exact_without_any_argument(data):
    """Divisors are powers of two whichever argument an implementation may have remembered."""
    operation, rules = data.draw(st.sampled_from(AVERAGES)), data.draw(st.sampled_from(("torch", "onnx", "tf")))
    if rules not in operation.semantics:
        return
    claims = Claims(semantics=rules, features=frozenset(operation.features))
    problem = data.draw(operation.exact_problems(claims))
    assert is_power_of_two(operation.divisors(problem, claims))
    for name in problem.arguments:
        if name in operation.positional:
            continue
        fewer = type(problem)(problem.shapes, {k: v for k, v in problem.arguments.items() if k != name})
        try:
            divisors = operation.divisors(fewer, claims)
        except ValueError:  # unlawful
            continue
        assert is_power_of_two(divisors)


@pytest.mark.parametrize("operation", AVERAGES, ids=lambda operation: operation.name)
def test_every_edge_has_exact_data(operation):
    for edge in operation.edges(Claims()):
        assert is_power_of_two(operation.divisors(edge, Claims())), edge


@pytest.mark.parametrize("operation", FORWARD, ids=lambda operation: operation.name)
def test_names_of_edges_and_refusals_tell_them_apart(operation):
    claims = Claims(features=frozenset(operation.features))
    edges = [edge.name for edge in operation.edges(claims)]
    refused = [refusal.problem.name for refusal in operation.refusals(claims)]
    assert len(set(edges)) == len(edges)
    assert len(set(refused)) == len(refused)


@pytest.mark.parametrize("operation", POOLS, ids=lambda operation: operation.name)
def test_the_reference_refuses_what_must_be_refused(operation):
    claims = Claims(features=frozenset(operation.features))
    for refusal in operation.refusals(claims):
        arrays = refusal.arrays or {name: np.ones(shape) for name, shape in refusal.problem.shapes.items()}
        with pytest.raises((TypeError, ValueError)):
            operation.evaluate(arrays, dict(refusal.problem.arguments), claims)


# --- PyTorch

# torch 2.13 takes powers of x instead of |x|, and scales windows that ceil_mode adds.
NORMS = [name for name in NAMES if name.startswith("lp_pool")]
KNOWN = {
    # An image smaller than the kernel is refused even if padding makes it large enough, as avg_pool2d has it.
    "avg_pool3d": "smaller than kernel size",
    "avg_pool3d_backward": "smaller than kernel size",
    # An image with the strides of channels-last, but without a batch axis.
    "max_pool3d_backward": "Unsupported memory format",
}


@pytest.mark.torch
@pytest.mark.parametrize("name", [name for name in NAMES if name not in NORMS and "global" not in name])
def test_torch_passes_but_for_what_is_known(name):
    pytest.importorskip("torch", reason="PyTorch is not installed")
    report = check(f"torch:{name}", max_examples=10)
    known = KNOWN.get(name)
    assert all(known and known in finding.message for finding in report.findings), str(report)
    assert report.worst_ratio <= 1


@pytest.mark.torch
def test_torchs_norms_are_wrong_as_is_known():
    pytest.importorskip("torch", reason="PyTorch is not installed")
    report = check("torch:lp_pool2d")
    causes = {finding.cause for finding in report.findings}
    assert any("powers are taken of x instead of |x|" in cause for cause in causes), str(report)
    assert any("windows beyond the input (ceil_mode) are scaled" in cause for cause in causes), str(report)
