"""``clconv bench`` from its arguments to its files."""

from __future__ import annotations

import dataclasses
import json
import os
import sys

import pytest

import clconv
from clconv import cli
from clconv.bench import ceilings, command
from clconv.bench.rows import measured
from clconv.bench.scale import AXES, scale_cases

TINY = ["bench", "--suite", "lenet", "--only", "16x5x5", "--batch", "1,2", "--turns", "1", "--vs", "none"]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(ceilings, "_TRIED", 0.001)
    monkeypatch.setattr(ceilings, "_COPIES", (2**18,))


def test_a_run_prints_and_writes_what_it_measured(tmp_path, capsys):
    path = tmp_path / "bench.json"
    assert cli.main([*TINY, "--json", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "ceilings of native, float32: " in printed
    assert printed.count("5x5: 16x5x5 to 120") == 6
    assert "Every result was within its bound." in printed
    content = json.loads(path.read_text())
    assert set(content) == {"command", "machine", "versions", "ceilings", "means", "rows"}
    assert content["machine"]["threads"] == clconv.get_num_threads()
    assert content["versions"]["clconv"] == clconv.__version__
    assert [(row["batch"], row["pass"]) for row in content["rows"]] == [
        (batch, direction) for batch in (1, 2) for direction in ("fwd", "bwd_data", "bwd_weights")
    ]
    assert all(row["gflops"] > 0 and row["ceiling"] > 0 and not row["problem"] for row in content["rows"])


def test_a_run_on_every_device(device, capsys):
    assert cli.main([*TINY, "--device", device, "--pass", "fwd", "--dtype", "float16,float32"]) == 0
    assert capsys.readouterr().out.count(f" {device} ") >= 4


def test_a_planned_run_measures_forward_only(device, tmp_path):
    path = tmp_path / "bench.json"
    assert cli.main([*TINY, "--planned", "--device", device, "--json", str(path)]) == 0
    assert {row["pass"] for row in json.loads(path.read_text())["rows"]} == {"fwd"}


def test_a_picture_is_drawn(tmp_path, capsys):
    pytest.importorskip("matplotlib")
    path = tmp_path / "bench.png"
    assert cli.main([*TINY, "--picture", str(path)]) == 0
    assert path.read_bytes().startswith(b"\x89PNG")
    assert f"Picture: {path}" in capsys.readouterr().out


def test_a_picture_with_a_peer_and_one_of_the_scale(tmp_path):
    pytest.importorskip("matplotlib")
    from clconv.bench import picture
    from tests.test_bench import CEILINGS, SMALL, row_of

    rows = [row_of(this, 2.0, direction) for this in SMALL for direction in ("fwd", "bwd_data")]
    picture.draw(rows, {"float32": {"native": CEILINGS}}, tmp_path / "peer.png")
    along = [dataclasses.replace(rows[0], case=case) for case in scale_cases(["fwd", "bwd_data"], ["float32"])]
    picture.draw(along, {"float32": {"native": CEILINGS}}, tmp_path / "scale.png")
    assert all((tmp_path / name).stat().st_size > 10_000 for name in ("peer.png", "scale.png"))


def test_a_scan_shows_the_worst(capsys):
    assert cli.main(["bench", "--scan", "3", "--turns", "1", "--vs", "none", "--seed", "1"]) == 0
    printed = capsys.readouterr().out
    assert "of 3 stay below 25% of the ceiling. The worst:" in printed
    assert printed.count(" native ") >= 6


def test_the_scale_of_one_layer(capsys, monkeypatch):
    for axis, sizes in (("channels", (3, 4)), ("extent", (5,)), ("batch", (2,))):
        monkeypatch.setitem(AXES, axis, sizes)
    assert cli.main(["bench", "--scale", "--turns", "1", "--vs", "none", "--pass", "fwd"]) == 0
    printed = capsys.readouterr().out
    assert "3x3: 4x28x28 to 4" in printed
    assert "3x3: 64x5x5 to 64" in printed


def test_processors_are_given_back(device, capsys):
    before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    threads = clconv.get_num_threads()
    assert cli.main([*TINY, "--pass", "fwd", "--threads", "1", "--device", device]) == 0
    assert ", 1 threads; " in capsys.readouterr().out
    assert clconv.get_num_threads() == threads
    assert before is None or os.sched_getaffinity(0) == before


def test_a_wrong_result_makes_the_run_fail(monkeypatch, capsys):
    right = clconv.conv2d
    monkeypatch.setattr(clconv, "conv2d", lambda *arrays, **keywords: right(*arrays, **keywords) + 1)
    assert cli.main([*TINY, "--pass", "fwd"]) == 1
    printed = capsys.readouterr().out
    assert "not timed: wrong by " in printed
    assert "2 of 2 were not timed." in printed


def test_an_interrupt_keeps_what_was_measured(monkeypatch, tmp_path, capsys):
    path = tmp_path / "bench.json"
    first = []

    def interrupted(*arguments, **keywords):
        if first:
            raise KeyboardInterrupt
        first.append(measured(*arguments, **keywords))
        return first[0]

    monkeypatch.setattr(command, "measured", interrupted)
    assert cli.main([*TINY, "--json", str(path)]) == 0
    assert "Interrupted after 1 of 6 cases." in capsys.readouterr().out
    assert len(json.loads(path.read_text())["rows"]) == 1


def test_an_interrupt_before_anything_was_measured_claims_nothing(monkeypatch, capsys):
    def interrupted(*arguments, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "measured", interrupted)
    assert cli.main(TINY) == 0
    printed = capsys.readouterr().out
    assert "Nothing was measured." in printed
    assert "within its bound" not in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--suite", "resnet"], "--suite takes resnet50, vgg16, "),
        (["--suite", ""], "--suite takes resnet50, vgg16, "),
        (["--pass", "fwd,backward"], "--pass takes fwd, bwd_data, bwd_weights, with commas between: 'fwd,backward'"),
        (["--dtype", "int8"], "--dtype takes float16, float32, float64, with commas between: 'int8'"),
        (["--batch", "0"], "--batch takes integers of at least 1: '0'"),
        (["--batch", "1,two"], "--batch takes integers of at least 1: 'two'"),
        (["--turns", "0"], "--turns takes integers of at least 1: '0'"),
        (["--scan", "0"], "--scan takes integers of at least 1: '0'"),
        (["--scan", "-3"], "--scan takes integers of at least 1: '-3'"),
        (["--seed", "-1"], "--seed takes an integer of at least 0: -1"),
        (["--scan", "2", "--batch", "3"], "--batch is for suites; --scan and --scale have batches of their own: '3'"),
        (["--threads", "0"], "--threads takes 1 to "),
        (["--only", "no such layer"], "no layer has this one: 'no such layer'"),
        (["--accuracy", "sloppy"], "accuracy"),
        (["--device", "abacus"], "abacus"),
        (["--planned", "--pass", "fwd,bwd_data"], "--planned is for --pass fwd only: 'fwd,bwd_data'"),
        (["--vs", "abacus"], "--vs takes torch, onnxruntime, with commas between: 'abacus'"),
        (["--json", "no-such-folder/x.json"], "--json takes a path in a folder that exists"),
        (["--picture", "no-such-folder/x.png"], "--picture takes a path in a folder that exists"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message, capsys):
    assert cli.main(["bench", "--vs", "none", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("clconv bench: ")
    assert message in error


def test_a_missing_peer_is_named(monkeypatch, capsys):
    monkeypatch.setattr(command, "is_installed", lambda name: False)
    assert cli.main(["bench", "--suite", "lenet", "--vs", "torch"]) == 2
    assert "--vs torch needs modules that are not all installed here: torch" in capsys.readouterr().err


def test_without_torch_clconv_is_measured_alone(monkeypatch, capsys):
    monkeypatch.setattr(command, "is_installed", lambda name: False)
    assert cli.main(TINY[:-2]) == 0
    assert "torch" not in capsys.readouterr().out.replace("times faster than", "")


@pytest.mark.parametrize(
    ("modules", "arguments"), [(["rich", "rich.console"], []), (["matplotlib"], ["--picture", "x.png"])]
)
def test_a_missing_library_is_named(modules, arguments, monkeypatch, capsys):
    for module in modules:
        monkeypatch.setitem(sys.modules, module, None)
    assert cli.main([*TINY, *arguments]) == 2
    assert 'pip install "clconv[bench]"' in capsys.readouterr().err
