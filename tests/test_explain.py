"""What clconv.explain and the command of that name print."""

from __future__ import annotations

import re

import numpy as np
import pytest

import clconv
from clconv.algorithms import ALGORITHMS, alternatives, plan_for
from clconv.cli import main
from clconv.devices import executor_in_force
from clconv.executor import watched_runs
from clconv.native import executor as native_executor

LAYER = {"stride": 2, "padding": ((0, 1), (1, 1)), "bias": True}
SHAPES = (1, 16, 9, 9), (32, 16, 3, 3)
COMMAND = ["explain", "conv2d", "--input", "1,16,9,9", "--weight", "32,16,3,3"]
ARGUMENTS = ["--stride", "2", "--padding", "0:1,1:1", "--bias"]


def test_every_pass_is_there_with_its_algorithms_launches_and_workspace(device):
    text = clconv.explain("conv2d", *SHAPES, **LAYER, device=device)
    sections = dict(section.split("\n", 1) for section in text.split("\n\n"))
    problem = clconv.ConvProblem.from_shapes(*SHAPES, **LAYER)
    traits = executor_in_force(device).traits
    for title, operation in (
        ("forward", "conv_fwd"),
        ("backward data", "conv_bwd_data"),
        ("backward weights", "conv_bwd_weights"),
        ("backward bias", "conv_bwd_bias"),
    ):
        words = " ".join(sections[title].split())
        plan, others = (
            plan_for(operation, problem, traits, "strict"),
            alternatives(operation, problem, traits, "strict"),
        )
        assert {*others, words.split()[1].rstrip(";")} == {algorithm.name for algorithm in ALGORITHMS[operation]}
        for launch in plan.launches:
            assert f"{launch.kernel} ({launch.file}, " in words
            assert f"{launch.items} work-items" in words
        for name, size in plan.workspace.items():
            assert f"{name} {size} bytes" in words
        for name, reason in others.items():
            assert f"{name}: {reason}" in words


@pytest.mark.skipif(native_executor.why_unusable() is not None, reason="no native device")
@pytest.mark.parametrize(
    ("input_shape", "weight_shape", "arguments"),
    [
        ((2, 16, 20, 20), (32, 16, 3, 3), {"padding": 1}),
        ((1, 64, 14, 14), (64, 64, 1, 1), {}),
        ((8, 16, 16, 16), (64, 16, 16, 16), {}),  # a matrix product, which reads the weights where they lie
        ((8, 16, 16, 16), (64, 16, 16, 16), {"flip": True}),  # and one that reads them backwards
        ((2, 8, 21, 21), (8, 8, 3, 3), {"stride": 2}),
    ],
)
def test_it_tells_what_calls_on_arrays_without_gaps_do(input_shape, weight_shape, arguments):
    text = clconv.explain("conv2d", input_shape, weight_shape, **arguments, device="native")
    told = [re.findall(r"(\w+) \(\w+\.cl,", section) for section in text.split("\n\n")[1:]]
    x, w = np.zeros(input_shape, "float32"), np.zeros(weight_shape, "float32")
    dy = np.zeros_like(clconv.conv2d(x, w, **arguments, device="native"))
    with watched_runs() as runs:
        clconv.conv2d(x, w, **arguments, device="native")
        for wanted in range(2):
            mask = tuple(place == wanted for place in range(3))
            clconv.conv2d_backward(dy, x, w, **arguments, output_mask=mask, device="native")
    done = [[launch.kernel for launch in run.plan.launches if launch.items] for run in runs]
    assert told == done


@pytest.mark.skipif(native_executor.why_unusable() is not None, reason="no native device")
def test_the_command_prints_the_same(capsys):
    expected = clconv.explain("conv2d", *SHAPES, **LAYER, device="native")
    assert main([*COMMAND, *ARGUMENTS, "--device", "native"]) == 0
    assert capsys.readouterr().out == expected + "\n"


def test_a_transposed_convolution_is_the_gradient_of_a_forward_one():
    text = clconv.explain("conv_transpose1d", (1, 4, 8), (4, 2, 3), output_padding=1, stride=2, device="native")
    forward, data = (text.split("\n\n")[number] for number in (1, 2))
    assert "-> dx" in forward
    assert "-> y" in data
    assert "to (1, 2, 18)" in text


def test_what_a_plan_does_once_is_marked():
    text = " ".join(clconv.explain("conv2d", (1, 64, 20, 20), (64, 64, 3, 3), device="native").split())
    assert "-> y_packed; once where clconv.plan is used" in text


def test_no_output_padding_may_be_said(capsys):
    assert main([*COMMAND, "--device", "native", "--output-padding", "0,0"]) == 0
    assert "to (1, 32, 7, 7)" in capsys.readouterr().out


def test_the_accuracy_is_an_option(capsys):
    assert main([*COMMAND, "--device", "native", "--accuracy", "fast"]) == 0
    assert "on native at accuracy fast" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "rule"),
    [
        ("--stride 0", "stride must be at least 1: stride=0"),
        ("--groups 3", "weight takes 16 channels in each of 3 groups"),
        ("--padding wide", "padding takes"),
        ("--device nowhere", 'device takes "native", "opencl"'),
        ("--accuracy best", "accuracy takes one of 'strict', 'default', 'fast'"),
        ("--dtype int8", "dtype takes one of 'float16', 'float32', 'float64'"),
        ("--output-padding 1", "output_padding is for transposed convolutions only"),
    ],
)
def test_what_cannot_be_is_refused(capsys, arguments, rule):
    assert main([*COMMAND, *arguments.split()]) == 2
    assert rule in capsys.readouterr().err


@pytest.mark.parametrize("shape", ["1,a", "", "1x2"])
def test_a_shape_that_is_none_is_refused(capsys, shape):
    with pytest.raises(SystemExit):
        main(["explain", "conv2d", "--input", shape, "--weight", "1,1,1,1"])
    assert f"takes integers, with ',' between them: {shape!r}" in capsys.readouterr().err
