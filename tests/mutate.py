"""Changes one sign, one index or one constant of a kernel file at a time, and asks whether a test notices.

    python -m tests.mutate [--device opencl] [--jobs 2] [--file conv.cl ...]

Every mutant is a copy of the checkout with one token changed, in which the device tests run until the first failure.
The kernels are compiled by an OpenCL device, which needs no rebuild; half.h, which only C sees, by the test that compiles
it. Survivors are printed with their line; the exit code is 1 if there are any.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

ROOT = Path(__file__).resolve().parent.parent
TESTS = ["tests/test_matrix.py", "tests/test_edges.py", "tests/test_unfold.py", "tests/test_convolution.py"]
HALF_TESTS = ["tests/test_native.py", "-k", "half"]

SIGNS = {
    " + ": " - ", " - ": " + ", " * ": " + ", " / ": " % ", " % ": " / ", " += ": " -= ", " -= ": " += ", "++": "--",
    " < ": " <= ", " <= ": " < ", " > ": " >= ", " >= ": " > ", " == ": " != ", " != ": " == ", " && ": " || ",
    " || ": " && ", " << ": " >> ", " >> ": " << ", " | ": " & ", " & ": " | ",
}  # fmt: skip
PAIRS = {"ICG": "OCG", "OCG": "ICG", "LOW": "HIGH", "HIGH": "LOW", "low": "high", "high": "low", "first": "last",
         "last": "first", "ic": "oc", "oc": "ic", "n": "c", "c": "n", "N": "C", "C": "N", "S": "D", "P": "S", "L": "i",
         "i": "e", "e": "i", "term": "end", "end": "term", "slice": "PARTS", "_n": "_c", "_c": "_n"}  # fmt: skip
NEXT_AXIS = {"d": "h", "h": "w", "w": "d", "D": "H", "H": "W", "W": "D"}
AXIS_NAME = re.compile(r"\b((?:[oikj]|[OIKSDPE]|HIGH_|\w+_|a##_)?)([dhwDHW])\b")


def mutants_of_line(line):
    """Yield every line that differs from this one in one sign, index or constant."""
    for sign, other in SIGNS.items():
        for match in re.finditer(re.escape(sign), line):
            yield line[: match.start()] + other + line[match.end() :]
    for match in re.finditer(r"(?<=[\w(:?] )-(?=\w)|(?<=\()-(?=\w)|(?<=return )-(?=\w)", line):
        yield line[: match.start()] + line[match.end() :]
    for match in AXIS_NAME.finditer(line):
        yield line[: match.start(2)] + NEXT_AXIS[match[2]] + line[match.end(2) :]
    for match in re.finditer(r"\b\w+\b", line):
        if match[0] in PAIRS:
            yield line[: match.start()] + PAIRS[match[0]] + line[match.end() :]
    for match in re.finditer(r"(?<![\w.#])([0-3])(?![\w.])", line):
        yield line[: match.start()] + str(int(match[1]) + 1 if match[1] != "1" else 0) + line[match.end() :]


def mutants(path):
    """Yield number, line and mutated line for the code of a kernel file; declarations of parameters cannot be wrong alone."""
    in_comment = False
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        starts_comment = line.lstrip().startswith("/*")
        code = not in_comment and not starts_comment
        in_comment = (in_comment or starts_comment) and "*/" not in line
        declares = re.match(r"\s*(const (int|index64) \w|global |WORK_ITEM|CONV_SIZES|WINDOW_SIZES|kernel |static |VIEW)", line)
        if code and not re.match(r"\s*#\s*(if|el|end|err|inc|pragma)", line) and not (declares and "=" not in line and "return" not in line):
            for mutated in dict.fromkeys(mutants_of_line(line)):
                if mutated != line:
                    yield number, line, mutated


def survives(file, number, mutated, device, folder):
    """Return whether the tests pass with one line of a kernel file replaced."""
    with tempfile.TemporaryDirectory(dir=folder) as copy:
        for part in ("clconv", "kernels", "tests", "pyproject.toml"):
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, Path(copy, part), ignore=shutil.ignore_patterns("__pycache__", "*.c"))
            else:
                shutil.copy(source, copy)
        path = Path(copy, "kernels", file)
        lines = path.read_text(encoding="utf-8").splitlines()
        lines[number - 1] = mutated
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        tests = HALF_TESTS if file == "half.h" else [*TESTS, "--devices", device]
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
        environment = {**os.environ, "PYTHONPATH": copy, "CLCONV_CACHE_DIR": str(Path(copy, "cache"))}
        try:
            return subprocess.run(command, cwd=copy, env=environment, capture_output=True, timeout=300, check=False).returncode == 0
        except subprocess.TimeoutExpired:
            return False


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="opencl", help="the OpenCL device that compiles the mutants")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--file", nargs="*", help="kernel files, all by default")
    options = parser.parse_args()
    files = options.file or [path.name for path in sorted((ROOT / "kernels").iterdir()) if path.is_file()]
    work = [(file, *mutant) for file in files for mutant in mutants(ROOT / "kernels" / file)]
    print(f"{len(work)} mutants of {', '.join(files)}")
    survivors = 0
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(options.jobs) as threads:
        if not survives(files[0], 1, (ROOT / "kernels" / files[0]).read_text().splitlines()[0], options.device, folder):
            print("the tests fail without any change")
            return 2
        outcomes = threads.map(lambda w: survives(w[0], w[1], w[3], options.device, folder), work)
        for (file, number, line, mutated), survived in tqdm(zip(work, outcomes, strict=True), total=len(work)):
            if survived:
                survivors += 1
                tqdm.write(f"{file}:{number}: survives\n    {line.strip()}\n    {mutated.strip()}")
    print(f"{len(work) - survivors} of {len(work)} mutants killed, {survivors} survive")
    return int(survivors > 0)


if __name__ == "__main__":
    sys.exit(main())
