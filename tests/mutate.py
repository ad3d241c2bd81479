"""Changes one sign or one index of a kernel file at a time, and asks whether a test notices.

    python -m tests.mutate [--device opencl] [--jobs 2] [--file conv.cl ...] [--share 0.2]

Every mutant is a copy of the kernels with one token changed, with which the device tests run until the first failure.
The kernels are compiled by an OpenCL device, which needs no rebuild; half.h, which only C sees, by the test that
compiles it. Mutants run one after the other in worker processes, so that a crash or an endless loop is a kill like any
other. Survivors are printed with their line; the exit code is 1 if there are any.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import random
import re
import select
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from clconv import kernel_source

ROOT = Path(__file__).resolve().parent.parent
KERNEL_TESTS = ["tests/test_matrix.py", "tests/test_bench_ceilings.py"]  # of each kernel by its name
TESTS = ["tests/test_edges.py", "tests/test_unfold.py", "tests/test_convolution.py"]
HALF_TESTS = ["tests/test_native.py", "-k", "half"]
SECONDS = 200  # that the tests may take with a mutant

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


NO_CODE = re.compile(r"\s*#\s*(if|el|end|err|inc|pragma|define CLCONV_)")
DECLARATION = re.compile(
    r"\s*(const (int|index64) \w|global |WORK_ITEM|[A-Z]+_SIZES|kernel |static |VIEW|GROUPED_VIEW)"
)


def mutants_of_line(line):
    """Yield every line that differs from this one in one sign or index."""
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


def mutants(path):
    """Yield number, line and mutated line for the code of a kernel file, without declarations of parameters."""
    lines = path.read_text(encoding="utf-8").splitlines()
    # Of the headers with a branch for each language, OpenCL compiles the first.
    seen_by_opencl = lines.index("#else /* C */") if "#else /* C */" in lines else len(lines)
    in_comment = False
    for number, line in enumerate(lines[:seen_by_opencl], start=1):
        starts_comment = line.lstrip().startswith("/*")
        code = not in_comment and not starts_comment and not NO_CODE.match(line)
        in_comment = (in_comment or starts_comment) and "*/" not in line
        declares = DECLARATION.match(line) and "=" not in line and "return" not in line
        if code and not declares:
            for mutated in dict.fromkeys(mutants_of_line(line)):
                if mutated != line:
                    yield number, line, mutated


def tests_for(file, device):
    """Return the arguments of pytest runs that judge a mutant of a file: the quickest to notice it first, then all."""
    if file == "half.h":
        return [HALF_TESTS]
    kernels = kernel_source.signatures(file) if file.endswith(".cl") else ["conv_fwd", "conv_bwd_data"]
    on_device = ["--devices", device, "--hypothesis-profile", "mutation"]
    return [[*KERNEL_TESTS, "-k", " or ".join(kernels), *on_device], [*KERNEL_TESTS, *TESTS, *on_device]]


def work(device):
    """Judge the mutants that come in as lines of JSON: the loop of a worker process."""
    import pytest

    import clconv
    from clconv import algorithms
    from clconv.opencl import devices

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    assert any(entry.problem is None for entry in clconv.devices())
    original = kernel_source.folder()
    for request in sys.stdin:
        file, number, mutated = json.loads(request)
        with tempfile.TemporaryDirectory() as folder:
            kernels = Path(folder, "kernels")
            shutil.copytree(original, kernels)
            lines = (original / file).read_text(encoding="utf-8").splitlines()
            lines[number - 1] = mutated
            (kernels / file).write_text("\n".join(lines) + "\n", encoding="utf-8")
            kernel_source.folder = lambda kernels=kernels: kernels
            kernel_source.expanded.cache_clear()
            kernel_source.signatures.cache_clear()
            algorithms.forget()
            for entry in devices.found():
                entry.__dict__.pop("executor", None)
            os.environ["CLCONV_CACHE_DIR"] = folder
            for tests in tests_for(file, device):
                code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests])
                if code != 0:
                    break
        print(json.dumps(int(code)), file=answers, flush=True)


class Worker:
    """A process that judges mutants, replaced when one kills it or keeps it busy for too long."""

    def __init__(self, device):
        self.command = [sys.executable, "-m", "tests.mutate", "--worker", "--device", device]
        self.process = None

    def survives(self, file, number, mutated):
        """Return whether the tests pass with one line of a kernel file replaced."""
        if self.process is None:
            self.process = subprocess.Popen(
                self.command,
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        self.process.stdin.write(json.dumps([file, number, mutated]) + "\n")
        self.process.stdin.flush()
        ready, _, _ = select.select([self.process.stdout], [], [], SECONDS)
        answer = self.process.stdout.readline() if ready else ""
        if not answer:
            self.close()
            return False
        code = json.loads(answer)
        if code not in (0, 1):
            raise RuntimeError(f"pytest ends with {code}, neither passed nor failed, for {file}:{number}")
        return code == 0

    def close(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="opencl", help="the OpenCL device that compiles the mutants")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--file", nargs="*", help="kernel files, all by default")
    parser.add_argument("--share", type=float, default=1, help="judge this part of the mutants, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="of that draw")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.device)
        return 0
    files = options.file or [path.name for path in sorted((ROOT / "kernels").iterdir()) if path.is_file()]
    every = [(file, *mutant) for file in files for mutant in mutants(ROOT / "kernels" / file)]
    every = random.Random(options.seed).sample(every, round(options.share * len(every)))
    print(f"{len(every)} mutants of {', '.join(files)}")
    idle = queue.SimpleQueue()
    for _ in range(options.jobs):
        idle.put(Worker(options.device))

    def judge(file, number, mutated):
        worker = idle.get()
        try:
            return worker.survives(file, number, mutated)
        finally:
            idle.put(worker)

    for file in files[:1] + ["half.h"] * ("half.h" in files[1:]):
        if not judge(file, 1, (ROOT / "kernels" / file).read_text(encoding="utf-8").splitlines()[0]):
            print("the tests fail without any change")
            return 2
    from tqdm import tqdm  # not among what the tests need

    survivors = 0
    with ThreadPoolExecutor(options.jobs) as threads:
        outcomes = threads.map(lambda mutant: judge(mutant[0], mutant[1], mutant[3]), every)
        for (file, number, line, mutated), survived in tqdm(zip(every, outcomes, strict=True), total=len(every)):
            if survived:
                survivors += 1
                tqdm.write(f"{file}:{number}: survives\n    {line.strip()}\n    {mutated.strip()}")
    while not idle.empty():
        idle.get().close()
    print(f"{len(every) - survivors} of {len(every)} mutants killed, {survivors} survive")
    return int(survivors > 0)


if __name__ == "__main__":
    sys.exit(main())
