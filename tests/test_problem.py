"""What problems know of themselves: shapes, costs, receptive fields, and the plans made for them."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import clconv
from clconv.algorithms import ALGORITHMS, plan_for
from clconv.native.table import VECTOR_BYTES, define_sets_at
from clconv.oracle import reference
from clconv.plan import Traits
from clconv.problem.window import Window
from tests.strategies import convolutions


def test_a_layer_answers_for_its_shapes_and_costs():
    layer = clconv.ConvProblem.from_shapes((16, 64, 56, 56), (128, 32, 3, 3), stride=2, padding=1, groups=2, bias=True)
    assert layer.output_shape == (16, 128, 28, 28)
    assert layer.bias_shape == (128,)
    assert layer.parameters == 128 * 32 * 9 + 128
    assert layer.macs == 16 * 128 * 28 * 28 * 32 * 9
    assert layer.bytes == 4 * (16 * 64 * 56 * 56 + 16 * 128 * 28 * 28 + layer.parameters)


def test_a_transposed_layer_answers_for_its_own_input_and_output():
    layer = clconv.ConvProblem.from_transposed_shapes(
        (2, 6, 4, 5), (6, 2, 3, 3), stride=2, groups=3, bias=True, dtype="float16"
    )
    assert layer.input_shape == (2, 6, 4, 5)
    assert layer.output_shape == (2, 6, 9, 11)
    assert layer.bias_shape == (6,)
    assert layer.macs == 2 * 6 * 4 * 5 * 2 * 9
    assert layer.bytes == 2 * (2 * 6 * 20 + 2 * 6 * 99 + layer.parameters)


@settings(max_examples=200)
@given(data=st.data(), transposed=st.booleans())
def test_shapes_are_what_the_reference_returns(data, transposed):
    case = data.draw(convolutions(transposed))
    make = clconv.ConvProblem.from_transposed_shapes if transposed else clconv.ConvProblem.from_shapes
    problem = make(case.input_shape, case.weight_shape, bias=case.bias, **case.arguments)
    assert problem.input_shape == case.input_shape
    assert problem.weight_shape == case.weight_shape
    result = getattr(reference, case.operation)(np.ones(case.input_shape), np.ones(case.weight_shape), **case.arguments)
    assert problem.output_shape == result.shape == case.output_shape


@settings(max_examples=100)
@given(data=st.data(), transposed=st.booleans())
def test_every_plan_runs_with_a_define_set_of_the_table(data, transposed):
    case = data.draw(convolutions(transposed))
    make = clconv.ConvProblem.from_transposed_shapes if transposed else clconv.ConvProblem.from_shapes
    problem = make(case.input_shape, case.weight_shape, dtype=case.dtype, **case.arguments)
    for operation in ("conv_fwd", "conv_bwd_data", "conv_bwd_weights", "conv_bwd_bias"):
        for level, width in VECTOR_BYTES.items():
            for launch in plan_for(operation, problem, Traits(width)).launches:
                assert launch.defines in define_sets_at(level, launch.file)


def test_the_last_algorithm_of_every_operation_is_the_portable_one():
    assert all(algorithms[-1].name == "portable" for algorithms in ALGORITHMS.values())


def test_arrays_beyond_64_bit_offsets_are_refused():
    with pytest.raises(
        ValueError, match=r"input must have at most 2\*\*47 elements: input.shape=\(1048576, 1048576, 1024\)"
    ):
        clconv.ConvProblem.from_shapes((2**20, 2**20, 1024), (1, 2**20, 3))


@pytest.mark.parametrize(
    ("shapes", "keywords", "error", "text"),
    [
        (((-1, 4, 6, 6), (2, 4, 3, 3)), {}, ValueError, "input_shape must be at least 0: input_shape=-1"),
        (((1, 4, 6.5, 6), (2, 4, 3, 3)), {}, TypeError, "input_shape takes an integer, not float: input_shape=6.5"),
        ((5, (2, 4, 3, 3)), {}, TypeError, "input_shape takes a sequence of integers, not int: input_shape=5"),
        (
            ((1, 4, 6, 6), (2, 4, 3, 3)),
            {"dtype": "int8"},
            ValueError,
            "dtype takes one of 'float16', 'float32', 'float64'",
        ),
        (((1, 4, 6, 6), (2, 4, 3, 3)), {"bias": np.zeros(2)}, TypeError, "bias takes True or False, not ndarray"),
    ],
)
def test_problems_refuse_what_is_no_layer(shapes, keywords, error, text):
    with pytest.raises(error, match=re.escape(text)):
        clconv.ConvProblem.from_shapes(*shapes, **keywords)


@settings(max_examples=60)
@given(
    layers=st.lists(
        st.tuples(st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.integers(1, 3)), min_size=1, max_size=4
    )
)
def test_the_receptive_field_is_what_a_gradient_reaches(layers):
    """An output of the stack depends on exactly the inputs from offset + o*stride on, size of them."""
    (field,) = clconv.receptive_field(layers)
    extents = [field.size + 3 * field.stride + 2 * abs(field.offset)]
    for kernel, stride, padding, dilation in layers:
        extents.append((extents[-1] + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1)
    output = extents[-1] // 2
    gradient = np.zeros((1, 1, extents[-1]))
    gradient[0, 0, output] = 1
    for (kernel, stride, padding, dilation), extent in zip(reversed(layers), reversed(extents[:-1]), strict=True):
        x, w = np.zeros((1, 1, extent)), np.ones((1, 1, kernel))
        gradient = reference.conv1d_backward(gradient, x, w, None, stride, padding, dilation).input
    reached = np.flatnonzero(gradient)
    first = field.offset + output * field.stride
    assert max(first, 0) == reached[0]
    assert min(first + field.size, extents[0]) - 1 == reached[-1]


def test_receptive_fields_take_a_value_per_axis():
    fields = clconv.receptive_field([((3, 5), 1, ((1, 0), (2, 2)), 1), (2, (1, 2), 0, (1, 3))])
    assert fields == ((4, 1, -1), (8, 2, -2))


@pytest.mark.parametrize(
    ("layers", "text"),
    [
        ([(3, 1, 1)], r"layers takes \(kernel, stride, padding, dilation\) for each layer"),
        ([(0, 1, 1, 1)], "kernel must be at least 1: kernel=0"),
        ([((3, 3), 1, 1, 1), ((3, 3, 3), 1, 1, 1)], "layers must agree in their number of spatial axes"),
    ],
)
def test_receptive_fields_refuse_what_is_no_stack(layers, text):
    with pytest.raises(ValueError, match=text):
        clconv.receptive_field(layers)


@settings(max_examples=300)
@given(
    extent=st.integers(1, 12),
    kernel=st.integers(1, 4),
    stride=st.integers(1, 5),
    dilation=st.integers(1, 4),
    low=st.integers(0, 6),
    high=st.integers(0, 6),
)
def test_the_windows_of_a_data_gradient_read_what_the_outputs_read(extent, kernel, stride, dilation, low, high):
    window = Window(extent, kernel, stride, dilation, low, high)
    window = replace(window, output=max(window.largest_output, 0))
    assume(window.output)
    expected = {
        (o * stride - low + k * dilation, k, o)
        for o in range(window.output)
        for k in range(kernel)
        if 0 <= o * stride - low + k * dilation < extent
    }
    found = [
        (part.first + j * stride, part.first_tap + k * part.tap_step, j - part.window.low + k * part.window.dilation)
        for part in window.of_data_gradient
        for j in range(part.window.output)
        for k in range(part.window.kernel)
    ]
    assert sorted(entry for entry in found if 0 <= entry[2] < window.output) == sorted(expected)
    positions = [part.first + j * stride for part in window.of_data_gradient for j in range(part.window.output)]
    assert sorted(positions) == list(range(extent))
