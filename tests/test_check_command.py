"""``clconv check``, as it is typed: exit codes, the table, JSON, and what it says of nonsense."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from clconv.cli import main

QUICK = ["--max-examples", "10", "--skip", "hostile,bound,identities"]


def test_a_fault_is_exit_code_one_and_in_the_json(tmp_path, capsys):
    written = tmp_path / "report.json"
    code = main(["check", "tests.small_implementations:flipped", "--op", "conv1d", *QUICK, "--json", str(written)])
    printed = capsys.readouterr().out
    assert code == 1
    assert "the kernel is flipped" in printed
    assert "conv1d FAILED" in printed
    told = json.loads(written.read_text())
    assert told["outcomes"][0]["findings"][0]["cause"] == "the kernel is flipped"


def test_a_right_function_is_exit_code_zero(capsys):
    of = ("an even kernel", "a dilated kernel", "a kernel longer than the image")
    words = ",".join(["padding 'valid'", *(f"padding 'same' of {which}" for which in of)])
    arguments = ["--skip", f"exact,hostile,bound,identities,{words}"]
    assert main(["check", "tests.small_implementations:conv1d", *arguments]) == 0
    printed = capsys.readouterr().out
    assert "conv1d passed" in printed
    assert "not tested: groups: impl has no such parameter" in printed


def test_clconv_checks_itself(capsys):
    assert main(["check", "clconv:conv1d", "--features", "flip,padding_mode", *QUICK]) == 0


def test_a_crash_is_a_fault_and_not_the_end(capsys):
    assert main(["check", "tests.small_implementations:crashing", "--op", "conv1d", *QUICK, "--seconds", "12"]) == 1
    assert "crashed: the process died of SIGSEGV" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["no_such_package:conv1d"], "no_such_package"),
        (["tests.small_implementations:no_such_function", "--op", "conv1d"], "no_such_function"),
        (["tests.small_implementations:flipped"], "op must be one of"),
        (["clconv:conv1d", "--features", "speed"], "features of conv1d are"),
        (["clconv:conv1d", "--dtype", "int4"], "dtype"),
        (["clconv:conv1d", "--seconds", "-1"], "seconds must be above 0"),
        (["clconv:conv1d", "--json", "/no/such/folder/report.json"], "--json takes a path in a folder that exists"),
    ],
)
def test_nonsense_is_exit_code_two_and_said_in_a_line(arguments, text, capsys):
    assert main(["check", *arguments]) == 2
    error = capsys.readouterr().err
    assert text in error
    assert "Traceback" not in error


def test_a_function_in_the_current_folder_is_found(tmp_path):
    (tmp_path / "mine.py").write_text("import clconv\nconv1d = clconv.conv1d\n")
    program = "import sys; from clconv.cli import main; sys.path.pop(0); sys.exit(main())"
    for target in ("mine:conv1d", "mine.py:conv1d"):
        command = [sys.executable, "-c", program, "check", target, "--op", "conv1d", *QUICK]
        finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert finished.returncode == 0, finished.stdout + finished.stderr


def test_without_its_libraries_the_command_names_them():
    program = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "from clconv.cli import main\nsys.exit(main(['check', 'clconv:conv1d']))"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=Path(__file__).parents[1]
    )
    assert finished.returncode == 2
    assert 'pip install "clconv[oracle]"' in finished.stderr
