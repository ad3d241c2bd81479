"""The command line and the demo."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import clconv
from clconv import cli
from clconv.devices import DeviceInfo

REASON = "it " + "does not build kernels " * 9
GONE = DeviceInfo("opencl:7:0", "gpu", "A card", "OpenCL 1.1", 2**31, False, False, REASON)


def test_devices_are_listed_with_the_reason_why_one_is_unusable(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    usable = DeviceInfo("native", "native", "level v3, 2 threads", "", 3 * 2**30, True, True, None)
    monkeypatch.setattr(clconv, "devices", lambda: [usable, GONE])
    assert cli.main(["devices"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:4] == ["native", "  kind     native", "  device   level v3, 2 threads", "  memory   3.0 GiB"]
    assert "  usable   yes" in lines
    assert "opencl:7:0" in lines
    assert "  version  OpenCL 1.1" in lines
    assert "  usable   no: it does not build kernels does not build kernels does not build" in lines
    assert max(map(len, lines)) <= 80


def test_devices_of_this_machine_are_all_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["devices"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line and not line.startswith(" ")] == [device.name for device in clconv.devices()]


def test_reason_of_a_missing_native_device_is_printed_once() -> None:
    problem = "the native extension was not built (no compiler)"
    missing = DeviceInfo("native", "native", problem, "", 0, True, True, problem)
    assert cli._block(missing, 80).count("was not built") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: command"),
        (["tune"], "invalid choice: 'tune'"),
        (["demo", "--output", "no-such-folder/x.png"], "--output takes a path in a folder that exists"),
    ],
)
def test_wrong_arguments_end_with_2(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        cli.main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out == f"clconv {clconv.__version__}\n"


@pytest.mark.parametrize("module", ["sklearn.datasets", "matplotlib.figure"])
def test_demo_says_what_to_install(
    module: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "clconv.demo", raising=False)
    monkeypatch.delattr(clconv, "demo", raising=False)
    monkeypatch.setitem(sys.modules, module.partition(".")[0], None)
    monkeypatch.setitem(sys.modules, module, None)
    assert cli.main(["demo"]) == 2
    assert 'pip install "clconv[demo]"' in capsys.readouterr().err


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The demo on a small part of each photograph."""
    for module in ("sklearn", "matplotlib", "PIL"):
        pytest.importorskip(module)
    from sklearn import datasets

    from clconv import demo

    whole = datasets.load_sample_image
    monkeypatch.setattr(demo, "load_sample_image", lambda name: whole(name)[200:240, 300:350])
    return demo


def test_demo_draws_and_judges_every_device(demo: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "demo.png"
    assert cli.main(["demo", "--output", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    text = capsys.readouterr().out
    assert "Every result is within its bound." in text
    usable = [device for device in clconv.devices() if device.problem is None]
    assert sum(line.startswith(demo.PHOTOGRAPHS) for line in text.splitlines()) == 2 * 4 * len(usable)


def test_demo_prints_unusable_devices(
    demo: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo, "devices", lambda: [GONE])
    assert demo.run(tmp_path / "demo.png") == 1
    text = capsys.readouterr().out
    assert "opencl:7:0    unusable: it does not build kernels" in text
    assert "No device is usable." in text


def test_demo_fails_on_a_result_outside_its_bound(
    demo: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    right = demo.conv2d
    monkeypatch.setattr(demo, "conv2d", lambda *arrays, **keywords: right(*arrays, **keywords) + np.float32(1e-3))
    assert demo.run(tmp_path / "demo.png") == 1
    assert "NOT every result is within its bound." in capsys.readouterr().out


def test_demo_goes_on_when_a_device_fails(
    demo: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arrays: Any, **keywords: Any) -> Any:
        raise clconv.BuildError("the compiler gave up")

    monkeypatch.setattr(demo, "conv2d", fail)
    assert demo.run(tmp_path / "demo.png") == 1
    text = capsys.readouterr().out
    assert text.count("failed: the compiler gave up") == 8 * sum(d.problem is None for d in clconv.devices())
