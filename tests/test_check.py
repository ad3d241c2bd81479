"""check(): what counts as right, what as wrong, and what it says of either."""

from __future__ import annotations

import functools
import inspect
import json
import time

import numpy as np
import pytest

import clconv
from clconv.oracle import check, reference
from clconv.oracle.operations import OPERATIONS
from tests import small_implementations

DRAWN = ["exact", "bound", "hostile", "identities"]
# The reference is for finite data, so it does not pass that examination itself.
FINITE = ["NaN and infinities"]
WORDS = ["padding 'valid'", "padding 'same' of an even kernel", "padding 'same' of a dilated kernel"]


def reference_in(dtype, operation="conv1d"):
    """Return the reference, rounded to a type."""

    def implementation(*arrays, **arguments):
        results = getattr(reference, operation)(*arrays, **arguments)
        if isinstance(results, np.ndarray):
            return results.astype(dtype)
        return tuple(None if result is None else result.astype(dtype) for result in results)

    return implementation


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("operation", ["conv1d", "conv_transpose1d_backward", "fold"])
def test_the_reference_itself_passes_in_every_type(operation, dtype):
    report = check(reference_in(dtype, operation), op=operation, dtype=dtype, max_examples=20, skip=FINITE)
    assert report.passed, str(report)
    assert report.cases > 100
    assert report.worst_ratio <= 1


def test_bfloat16_takes_the_type_of_ml_dtypes():
    ml_dtypes = pytest.importorskip("ml_dtypes", reason="bfloat16 is ml_dtypes's")

    def conv1d(input, weight):
        return reference.conv1d(input.astype("float64"), weight.astype("float64")).astype(ml_dtypes.bfloat16)

    assert check(conv1d, dtype="bfloat16", max_examples=20, skip=FINITE).passed


def test_a_float32_sum_is_no_float64_sum():
    report = check(reference_in("float32"), op="conv1d", dtype="float64", max_examples=5)
    assert any("dtype float32, it should be float64" in finding.message for finding in report.findings)

    def rounded(*arrays, **arguments):
        return reference_in("float32")(*arrays, **arguments).astype("float64")

    report = check(rounded, op="conv1d", dtype="float64", max_examples=20)
    assert report.worst_ratio > 1
    assert any(finding.mode == "bound" and finding.error > finding.bound for finding in report.findings)


def test_a_newcomers_convolution_is_judged_for_what_it_takes():
    report = check(small_implementations.conv1d, skip=WORDS, max_examples=20)
    assert [text.partition(":")[0] for text in report.not_tested][:1] == ["groups"]
    assert {finding.message.split(":")[0] for finding in report.findings} <= {"raised ValueError"}
    assert all("the word" in finding.message for finding in report.findings)


def test_a_fault_is_explained_shrunk_and_printed():
    report = check(small_implementations.flipped, op="conv1d", skip=["hostile", "bound"])
    finding = report.findings[0]
    assert finding.cause == "the kernel is flipped"
    assert finding.call == "conv1d(input(1, 1, 2), weight(1, 1, 2))"
    assert finding.error == abs(finding.got - finding.expected) > 0
    assert str(finding) in str(report)


def test_the_printed_program_shows_the_fault(capsys):
    finding = check(small_implementations.flipped, op="conv1d", skip=["hostile", "bound"]).findings[0]
    exec(finding.snippet, {})
    got, expected = (float(line) for line in capsys.readouterr().out.splitlines())
    assert (got, expected) == (finding.got, finding.expected)


def test_an_exception_on_a_lawful_case_is_a_fault():
    def refuses_batches(input, weight):
        if input.ndim == 3 and len(input) > 1:
            raise RuntimeError("one at a time, please")
        return reference.conv1d(input, weight).astype(input.dtype)

    report = check(refuses_batches, op="conv1d", max_examples=20)
    assert report.findings[0].message == "raised RuntimeError: one at a time, please"


def test_a_result_where_there_is_none_is_a_fault():
    def answers_everything(*arrays, **arguments):
        try:
            return reference.conv1d(*arrays, **arguments).astype("float32")
        except (TypeError, ValueError):
            return np.zeros((1, 1, 1), "float32")

    report = check(answers_everything, op="conv1d", max_examples=5)
    refused = [finding for finding in report.findings if finding.mode == "refusals"]
    assert len(refused) == sum(outcome.mode == "refusals" for outcome in report.outcomes) > 15
    assert refused[0].cause == "does not check that stride is at least 1"


def test_nothing_that_ran_is_no_pass():
    report = check(reference_in("float32"), op="conv1d", skip=["edges", "refusals", *DRAWN])
    assert (report.cases, report.findings, report.passed) == (0, (), False)
    assert report.not_tested == ("edges: skipped", "refusals: skipped", *(f"{mode}: skipped" for mode in DRAWN))


def test_a_disputed_case_is_a_deviation_and_no_fault():
    def without_channels(*arrays, **arguments):
        if 0 in arrays[0].shape[1:]:
            raise ValueError("no channels")
        return reference.conv1d(*arrays, **arguments).astype("float32")

    report = check(without_channels, op="conv1d", max_examples=5, skip=FINITE)
    assert report.passed
    assert [deviation.name for deviation in report.deviations] == ["zero input channels"]


def test_flushed_subnormals_are_a_deviation_and_no_fault():
    smallest = np.finfo("float32").smallest_normal

    def flushing(*arrays, **arguments):
        result = reference.conv1d(*arrays, **arguments).astype("float32")
        return np.where(np.abs(result) < smallest, np.float32(0), result)

    report = check(flushing, op="conv1d", max_examples=100, skip=FINITE)
    assert report.passed
    assert "subnormal numbers" in [deviation.name for deviation in report.deviations]


def test_only_named_features_are_passed():
    seen = set()

    def recording(*arrays, **arguments):
        seen.update(arguments)
        return reference.conv1d(*arrays, **arguments).astype("float32")

    check(recording, op="conv1d", max_examples=30)
    assert seen <= {"bias", "stride", "padding", "dilation", "groups"}
    check(recording, op="conv1d", max_examples=30, features=["flip", "padding_mode"])
    assert seen >= {"flip", "padding_mode"}


def test_the_same_seed_draws_the_same_cases():
    def recorded(seed):
        calls = []

        def recording(*arrays, **arguments):
            calls.append(b"".join(array.tobytes() for array in arrays))
            return reference.conv1d(*arrays, **arguments).astype("float32")

        check(recording, op="conv1d", max_examples=10, seed=seed, skip=["edges", "refusals", "several threads"])
        return calls

    assert recorded(1) == recorded(1) != recorded(2)


def test_time_is_kept_also_while_shrinking():
    def slow_and_wrong(input, weight):
        time.sleep(0.05)
        return reference.conv1d(input, weight).astype("float32") + 1

    started = time.monotonic()
    report = check(slow_and_wrong, op="conv1d", seconds=3)
    # Without a budget it takes minutes; how much more than its budget depends on who else uses the processor.
    assert time.monotonic() - started < 9
    assert report.findings


def test_the_report_is_strict_json():
    def all_nan(*arrays, **arguments):
        return reference.conv1d(*arrays, **arguments).astype("float32") * np.float32("nan")

    report = check(all_nan, op="conv1d", max_examples=5, skip=["edges", "identities", "hostile", "bound"])
    told = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert (told["operation"], told["passed"], told["cases"]) == ("conv1d", False, report.cases)
    assert told["outcomes"][0]["findings"][0]["got"] == "nan"


def test_the_modes_are_told_apart_in_the_table():
    rows = check(small_implementations.flipped, op="conv1d", max_examples=20, skip=["hostile"]).rows()
    assert [row[0] for row in rows] == ["exact", "edges", "refusals", "bound", "identities"]
    assert rows[0][3] == "1 fault"


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"op": "conv4d"}, ValueError, "op must be one of"),
        ({"features": ["padding"]}, ValueError, r"features of conv1d are .* got \['padding'\]"),
        ({"features": "flip"}, TypeError, "features must be a collection of names"),
        ({"semantics": "caffe"}, ValueError, "semantics of conv1d must be one of"),
        ({"dtype": "int8"}, ValueError, "dtype must be float16"),
        ({"accumulate": "float16"}, ValueError, "must not be narrower than dtype=float32"),
        ({"algorithm": "magic"}, ValueError, "algorithm"),
        ({"seconds": 0}, ValueError, "seconds must be above 0, got seconds=0"),
        ({"max_examples": 0}, ValueError, "max_examples must be at least 1"),
        ({"max_examples": 1.5}, TypeError, "max_examples must be an integer"),
        ({"seed": -1}, ValueError, "seed must be at least 0"),
        ({"skip": ["speed"]}, ValueError, r"skip must name modes or examinations, got \['speed'\]"),
        ({"skip": "exact"}, TypeError, "skip must be a collection"),
    ],
)
def test_refusals(arguments, error, text):
    with pytest.raises(error, match=text):
        check(reference_in("float32"), **{"op": "conv1d", **arguments})


def test_an_implementation_must_take_what_every_call_passes():
    with pytest.raises(TypeError, match="impl must be callable, got int"):
        check(3, op="conv1d")
    with pytest.raises(TypeError, match="conv1d is called with input, weight by position; impl takes"):
        check(lambda x: x, op="conv1d")
    with pytest.raises(TypeError, match="unfold is called with input by position and kernel_size by keyword"):
        check(lambda x: x, op="unfold")


@pytest.mark.parametrize(
    "operation",
    [
        pytest.param(n, marks=[pytest.mark.slow] * ("1d" not in n))
        for n in OPERATIONS
        if hasattr(clconv, n) and n != "epilogue_backward"  # takes a clconv.Epilogue: tests/test_epilogue_backward.py
    ],
)
def test_clconvs_own_operations_pass(device, operation):
    described = OPERATIONS[operation]
    function = getattr(clconv, operation)
    takes_device = "device" in inspect.signature(function).parameters  # flatten runs nowhere
    implementation = functools.partial(function, device=device) if takes_device else function
    report = check(implementation, op=operation, features=described.features, max_examples=10)
    assert report.passed, str(report)
    assert not report.not_tested


@pytest.mark.parametrize(
    ("semantics", "words"), [("torch", "same"), ("onnx", "same_upper"), ("tf", "same_upper"), ("scipy", "same_lower")]
)
def test_same_padding_is_that_of_the_claimed_system(semantics, words):
    def named(input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        if padding == "same" and (stride in (1, (1,)) or semantics in ("onnx", "tf")):
            padding = words
        result = reference.conv1d(input, weight, bias, stride, padding, dilation, groups)
        return result.astype(input.dtype)

    assert check(named, op="conv1d", semantics=semantics, max_examples=50, skip=FINITE).passed
    others = {"torch": "scipy", "onnx": "torch", "tf": "scipy", "scipy": "onnx"}
    assert not check(named, op="conv1d", semantics=others[semantics], max_examples=50, skip=FINITE).passed
