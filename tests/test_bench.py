"""The parts of the benchmark: layers of the networks, turns, checked results, means and what is printed."""

from __future__ import annotations

import dataclasses
import json
import math
from itertools import pairwise

import numpy as np
import pytest

import clconv
from clconv.bench import rows as bench_rows
from clconv.bench.calls import arrays_of, choice_of, clconv_call, portable_result
from clconv.bench.ceilings import Ceilings
from clconv.bench.layers import PASSES, WINOGRAD_KIND, Case, layer
from clconv.bench.measure import Spread, Times, take_turns
from clconv.bench.peers import PEERS, is_installed
from clconv.bench.report import algorithms, as_json, geometric_mean, line, means, worst
from clconv.bench.rows import LARGEST_ERROR, Beside, Row, measured
from clconv.bench.scale import AXES, scale_cases, size_along
from clconv.bench.scan import LARGEST, LEAST, scan_cases
from clconv.bench.suites import SUITES, cases_of

CEILINGS = Ceilings(100e9, ((2**20, 50e9), (2**26, 20e9)))
SMALL = [
    layer(3, 9, 4, (3, 3)),
    layer(4, (7, 9), 6, (1, 3), stride=2, groups=2),
    layer(2, 20, 3, (5,), dilation=2),
    layer(2, 5, 4, (3, 3, 3)),
    layer(4, 5, 3, (2, 2), stride=2, transposed=True),
]


def case_of(this, direction="fwd", dtype="float32", suite="lenet"):
    return Case(suite, this, 2, dtype, direction)


@pytest.mark.parametrize("name", SUITES)
def test_layers_of_a_network_fit_together(name):
    layers = SUITES[name].layers
    assert len(set(layers)) == len(layers)
    shapes = {(this.channels, this.extents) for this in layers}
    for case in cases_of([name], ["fwd"], [], ["float32"]):
        batch, outputs, *extents = case.problem.output_shape
        assert batch == SUITES[name].batch
        assert outputs == case.layer.outputs
        assert min(extents) >= 1
    assert len(shapes) > 1


def test_sizes_that_are_known_from_elsewhere():
    """Multiply-adds of whole networks as they are usually given; these layers are most of them, once each."""
    resnet = {case.layer.name: case for case in cases_of(["resnet50"], ["fwd"], [], ["float32"])}
    assert resnet["7x7: 3x224x224 to 64, stride 2"].problem.macs == 118_013_952
    assert len(resnet) == 23
    # VGG-16 repeats four of its nine convolutions, one of them twice: 15.35 G multiply-adds in all.
    vgg = cases_of(["vgg16"], ["fwd"], [], ["float32"])
    repeated = {"3x3: 256x56x56 to 256": 2, "3x3: 512x28x28 to 512": 2, "3x3: 512x14x14 to 512": 3}
    assert sum(case.problem.macs * repeated.get(case.layer.name, 1) for case in vgg) == 15_346_630_656
    assert len(SUITES["mobilenetv2"].layers) == 30
    assert {this.window for this in SUITES["inception"].layers} == {
        (1, 1), (3, 3), (5, 5), (1, 7), (7, 1), (1, 3), (3, 1),
    }  # fmt: skip


def test_kinds_of_layers():
    assert layer(64, 56, 64, (3, 3)).kind == WINOGRAD_KIND
    others = [
        layer(63, 56, 64, (3, 3)),
        layer(64, 56, 64, (3, 3), stride=2),
        layer(64, 56, 64, (3, 3), dilation=2),
        layer(64, 56, 64, (3, 3), groups=64),
        layer(64, 56, 64, (3, 3), transposed=True),
        layer(64, 56, 64, (1, 1)),
    ]
    assert {this.kind for this in others} == {"other"}


@pytest.mark.parametrize("direction", PASSES)
@pytest.mark.parametrize("this", SMALL, ids=lambda this: this.name)
def test_a_pass_is_what_its_operation_computes(this, direction):
    """The call, the plan's operation and the portable result speak of the same thing, of the array that is named."""
    case = case_of(this, direction, "float64")
    arrays = arrays_of(case)
    call = clconv_call(case, arrays, "native")
    expected = portable_result(case, arrays)
    np.testing.assert_allclose(call.result(call.run()), expected, rtol=1e-10, atol=1e-10)
    assert case.moved == 8 * sum(array.size for array in arrays)


def test_the_portable_algorithm_runs_where_the_others_do_not_apply():
    case = case_of(layer(8, 8, 8, (3, 3)))
    assert choice_of(case, "native").algorithm != "portable"
    assert "portable" not in choice_of(case, "native").refusals


def test_a_plan_has_the_weight_already():
    case = case_of(SMALL[0])
    arrays = arrays_of(case)
    call = clconv_call(case, arrays, "native", planned=True)
    expected = call.result(call.run())
    arrays.w[:] = 0
    np.testing.assert_array_equal(call.result(call.run()), expected)


def test_everybody_has_a_turn_before_anybody_has_the_next():
    order = []
    times = take_turns({name: lambda name=name: order.append(name) for name in "ab"}, turns=4)
    changes = [one for one, next_one in pairwise([*order, ""]) if one != next_one]
    assert changes == ["a", "b"] * 5  # the first turn says how many calls one has
    assert [len(times[name].turns) for name in "ab"] == [4, 4]
    assert len(times["a"].turns[0]) == 10


def test_ratios_are_taken_between_turns_that_follow_each_other():
    """The machine slows down for both alike: medians of all calls together would say otherwise."""
    ours, theirs = Times(((1.0,), (10.0,), (100.0,))), Times(((2.0,), (20.0,), (200.0,)))
    assert ours.ratio_to(theirs) == Spread(2.0, 2.0, 2.0)


def row_of(this, ratio, direction="fwd", **changes):
    beside = {"torch": Beside(Spread(1, 1, 1), Spread(ratio / 2, ratio, ratio * 2), 1e-7)}
    row = Row(case_of(this, direction), "native", Spread(0.001, 0.002, 0.003), 5.0, 2.0, 0.4, False, "direct")
    return dataclasses.replace(row, beside=beside, **changes)


def test_means_are_geometric_and_apart_by_kind_and_pass():
    wide, narrow = layer(64, 8, 64, (3, 3)), layer(3, 8, 4, (3, 3))
    rows = [row_of(wide, 2), row_of(wide, 8), row_of(narrow, 0.5), row_of(narrow, 1), row_of(narrow, 4, "bwd_data")]
    found = {(mean.kind, mean.direction): mean for mean in means(rows)}
    assert len(found) == 3
    assert found[WINOGRAD_KIND, "fwd"].ratio == pytest.approx(4)
    slow = found["other", "fwd"]
    assert (slow.count, slow.least, slow.below) == (2, 0.5, 0.5)
    assert slow.ratio == pytest.approx(math.sqrt(0.5))
    assert found["other", "bwd_data"].below == 0


def test_geometric_mean_of_one():
    assert geometric_mean([3.0]) == pytest.approx(3)


def test_lines_say_what_there_is():
    row = row_of(SMALL[0], 2.5, absent={"onnxruntime": "wrong"})
    text = line(row)
    for part in ("3x3: 3x9x9 to 4", "2.000", "50%", "40%", "direct", "torch 2.50", "onnxruntime not timed: wrong"):
        assert part in text
    assert "40%b" in line(dataclasses.replace(row, by_bandwidth=True))
    assert "not timed: BuildError: no" in line(Row(row.case, "opencl:0", problem="BuildError: no"))


def test_reasons_that_differ_in_numbers_are_one():
    rows = [row_of(SMALL[0], 1, refusals={"rows": f"{count} channels are too many"}) for count in (5, 7)]
    assert algorithms(rows) == ["conv_fwd: direct ran for 2 of 2\n    not rows: 5 channels are too many"]


def test_the_worst_come_first():
    rows = [row_of(SMALL[0], 1, ceiling=share) for share in (0.5, 0.1, 0.9)]
    failed = Row(rows[0].case, "native", problem="no")
    assert [row.ceiling for row in worst([*rows, failed], 2)] == [0.1, 0.5]


def test_json_has_all_of_it():
    row = row_of(SMALL[0], 2, refusals={"rows": "no"})
    wrong = Row(row.case, "native", error=math.inf, problem="wrong")
    content = json.loads(json.dumps(as_json([row, wrong], {"float32": {"native": CEILINGS}}, {"command": "x"})))
    assert content["command"] == "x"
    assert content["ceilings"]["float32"]["native"]["copies"] == [[2**20, 50e9], [2**26, 20e9]]
    first, second = content["rows"]
    assert first["pass"] == "fwd"
    assert first["seconds"] == {"low": 0.001, "median": 0.002, "high": 0.003}
    assert first["beside"]["torch"]["ratio"]["median"] == 2
    assert first["refusals"] == {"rows": "no"}
    assert first["operations"] == row.case.operations
    assert second["error"] is None
    assert second["problem"] == "wrong"
    assert len(content["means"]) == 1


@pytest.mark.parametrize("dtype", LARGEST_ERROR)
@pytest.mark.parametrize("direction", PASSES)
def test_rows_of_every_device(device, dtype, direction):
    (row,) = measured(case_of(layer(8, 9, 6, (3, 3)), direction, dtype), {device: CEILINGS}, [], turns=1)
    assert row.problem == ""
    assert row.device == device
    assert row.error <= LARGEST_ERROR[dtype]
    assert row.gflops == pytest.approx(row.case.operations / row.seconds.median / 1e9)
    assert row.seconds.low <= row.seconds.median <= row.seconds.high


class Stranger:
    """A peer that is wrong, fails or is missing, as it is told."""

    name, version = "stranger", "1"

    def __init__(self, do):
        self.do = do

    def call(self, case, arrays):
        return self.do(arrays)


def test_a_wrong_result_is_not_timed(monkeypatch):
    right = clconv.conv2d
    monkeypatch.setattr(clconv, "conv2d", lambda *arrays, **keywords: right(*arrays, **keywords) * 1.001)
    (row,) = measured(case_of(SMALL[0]), {"native": CEILINGS}, [], turns=1)
    assert row.problem.startswith("wrong by ")
    assert row.seconds.median == 0


@pytest.mark.parametrize("spoiled", [math.nan, math.inf])
def test_a_result_that_is_not_finite_is_not_timed(monkeypatch, spoiled):
    right = clconv.conv2d
    monkeypatch.setattr(clconv, "conv2d", lambda *arrays, **keywords: right(*arrays, **keywords) * spoiled)
    (row,) = measured(case_of(SMALL[0]), {"native": CEILINGS}, [], turns=1)
    assert "wrong by inf" in row.problem


def test_a_device_that_fails_does_not_stop_the_others():
    rows = measured(case_of(SMALL[0]), {"native": CEILINGS}, [Stranger(lambda arrays: 1 / 0)], turns=1)
    assert rows[0].absent == {"stranger": "ZeroDivisionError: division by zero"}
    assert rows[0].seconds.median > 0


def test_a_peer_without_such_a_call_is_left_out():
    (row,) = measured(case_of(SMALL[0]), {"native": CEILINGS}, [Stranger(lambda arrays: None)], turns=1)
    assert (row.beside, row.absent) == ({}, {})


def test_results_are_held_to_the_class_of_their_algorithm():
    assert bench_rows._largest_error("float32", "default") == 3e-6
    assert bench_rows._largest_error("float32", "fast") == bench_rows._largest_error("float32", None) == 2.0**-15
    assert bench_rows._largest_error("float64", "default") == 2.0**-44


def test_scale_goes_along_each_axis():
    cases = scale_cases(["fwd"], ["float32"])
    for axis, sizes in AXES.items():
        assert tuple(size_along(case) for case in cases if case.suite == axis) == sizes
    assert all(case.problem.macs for case in cases)


def test_scans_are_random_and_repeatable():
    cases = scan_cases(60, PASSES, ["float32", "float64"], seed=3)
    assert cases == scan_cases(60, PASSES, ["float32", "float64"], seed=3)
    assert cases != scan_cases(60, PASSES, ["float32", "float64"], seed=4)
    assert all(LEAST < case.operations < LARGEST for case in cases)
    assert {len(case.layer.window) for case in cases} == {1, 2, 3}
    assert {case.direction for case in cases} == set(PASSES)
    assert any(case.layer.transposed for case in cases)
    assert any(case.layer.groups > 1 for case in cases)


@pytest.mark.peers
@pytest.mark.parametrize("name", PEERS)
@pytest.mark.parametrize("direction", [*PASSES, "planned"])
@pytest.mark.parametrize("this", SMALL, ids=lambda this: this.name)
def test_peers_compute_the_same(name, this, direction):
    if not is_installed(name):
        pytest.skip(f"{name} is not installed")
    planned = direction == "planned"
    peer = PEERS[name][0](1, planned)
    case = case_of(this, "fwd" if planned else direction)
    (row,) = measured(case, {"native": CEILINGS}, [peer], turns=1, planned=planned)
    assert row.problem == ""
    assert row.absent == {}
    assert (name in row.beside) == (direction in ("fwd", "planned") or name == "torch")
