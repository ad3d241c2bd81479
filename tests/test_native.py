"""The native device: levels, compiled kernels, threads, forks, and half's conversion."""

from __future__ import annotations

import ctypes
import importlib
import os
import shutil
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import clconv
from clconv import kernel_source
from clconv.algorithms import ALGORITHMS, plan_for
from clconv.native import executor, table
from clconv.plan import Traits
from tests.kernel_calls import PROBLEMS
from tests.threads import run_in_threads

NATIVE = clconv.devices()[0]
needs_native = pytest.mark.skipif(NATIVE.problem is not None, reason=str(NATIVE.problem))
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
LEVELS = executor._levels_that_run() if NATIVE.problem is None else []


def program(code, *arguments, **environment):
    """Run a program in a new interpreter, and return the lines that it printed; a hang is a failure."""
    choices = ("CLCONV_DEVICE", "PYOPENCL_CTX", "CLCONV_NATIVE_LEVEL", "CLCONV_NUM_THREADS")
    variables = {name: value for name, value in os.environ.items() if name not in choices}
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        env={**variables, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, errors = child.communicate(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)  # what it forked, too
        child.communicate()
        pytest.fail("the program hangs")
    assert child.returncode == 0, errors
    return output.splitlines()


@pytest.fixture
def threads():
    """Sets the number of threads, which is as before after the test."""
    before = clconv.get_num_threads()
    yield clconv.set_num_threads
    clconv.set_num_threads(before)


# The compiled kernels


def test_the_table_names_every_kernel_file_that_the_host_can_compile():
    assert set(table.DEFINE_SETS) == {path.name for path in kernel_source.folder().glob("*.cl")}


@needs_native
def test_what_is_compiled_is_the_table_at_every_level():
    native = importlib.import_module("clconv.native._native")
    expected = {
        (f"{file} {kernel} {table.defines_text(defines)}", level)
        for file in table.DEFINE_SETS
        for kernel in kernel_source.signatures(file)
        for level in table.LEVELS
        for defines in table.define_sets_at(level, file)
    }
    assert native.kernels().keys() == expected


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("operation", ALGORITHMS)
def test_every_plan_picks_its_kernels_from_the_table(operation, dtype):
    """Whatever algorithm a problem gets: sizes on both sides of where sums are cut, every rank, groups or none."""
    for problem in PROBLEMS[operation](dtype):
        for level in table.LEVELS:
            for launch in plan_for(operation, problem, Traits(table.VECTOR_BYTES[level], vector_loops=True)).launches:
                assert launch.defines in table.define_sets_at(level, launch.file)
            assert launch.kernel in kernel_source.signatures(launch.file)


@needs_native
def test_an_extension_from_other_kernel_files_is_refused_with_the_command_that_rebuilds_it(monkeypatch):
    monkeypatch.setattr(kernel_source, "sources_hash", lambda: "another hash")
    reason = executor.why_unusable.__wrapped__()
    assert reason == "the native extension was compiled from other kernel files: run `pip install -e .` again"


def test_an_extension_that_is_not_there_is_refused_with_the_builds_own_words(monkeypatch, tmp_path):
    monkeypatch.setattr(executor, "_native", None)
    monkeypatch.setattr(executor, "_import_error", "No module named 'clconv.native._native'", raising=False)
    monkeypatch.setattr(executor, "__file__", str(tmp_path / "executor.py"))
    why = executor.why_unusable.__wrapped__
    assert why() == "the native extension was not built (No module named 'clconv.native._native')"
    (tmp_path / "not_built.txt").write_text("CompileError: command 'false' failed\n")
    assert why() == "the native extension was not built (CompileError: command 'false' failed)"


# Levels


CONVOLVE = """
    import numpy as np, clconv
    x, w = np.arange(5000, dtype="float32").reshape(1, 2, 2500) % 7, np.arange(8, dtype="float32").reshape(2, 2, 2)
    native = clconv.devices()[0]
    try:
        y = clconv.conv1d(x, w, device="native")
        print(native.description.split(",")[0], y.sum(dtype="float64"))
    except clconv.Unsupported as error:
        print(native.problem)
        print(error)
"""


@pytest.mark.parametrize("level", LEVELS)
def test_a_lower_level_can_be_forced_and_integers_give_the_same_results(level):
    [line] = program(CONVOLVE, CLCONV_NATIVE_LEVEL=level)
    x = np.arange(5000, dtype="float64").reshape(1, 2, 2500) % 7
    w = np.arange(8, dtype="float64").reshape(2, 2, 2)
    expected = sum(np.einsum("fc,ncx->nfx", w[:, :, tap], x[:, :, tap : 2499 + tap]).sum() for tap in (0, 1))
    assert line == f"level {level} {expected}"


@needs_native
@pytest.mark.parametrize("environment", [{}, {"CLCONV_NATIVE_LEVEL": ""}], ids=["unset", "empty"])
def test_without_a_forced_level_the_highest_one_runs(environment):
    [line] = program(CONVOLVE, **environment)
    assert line.startswith(f"level {LEVELS[-1]} ")


@needs_native
@pytest.mark.parametrize("level", ["v9", "V3", "v1", "3", " "])
def test_a_level_that_does_not_exist_is_listed_with_the_reason_and_unsupported_when_asked_for(level):
    reason = f"CLCONV_NATIVE_LEVEL={level!r} is none of the levels that this processor runs: {', '.join(LEVELS)}"
    listed, raised = program(CONVOLVE, CLCONV_NATIVE_LEVEL=level)
    assert listed == reason
    assert raised == f"the native device is not usable: {reason}"


@needs_native
def test_a_level_that_this_processor_lacks_is_refused_like_one_that_does_not_exist(monkeypatch):
    monkeypatch.setattr(executor, "_levels_that_run", lambda: ["v2"])
    monkeypatch.setenv("CLCONV_NATIVE_LEVEL", "v4")
    reason = executor.why_unusable.__wrapped__()
    assert reason == "CLCONV_NATIVE_LEVEL='v4' is none of the levels that this processor runs: v2"
    monkeypatch.setattr(executor, "_levels_that_run", list)
    assert executor.why_unusable.__wrapped__() == f"this processor runs none of the levels {', '.join(table.LEVELS)}"


# Threads


@needs_native
def test_results_are_the_same_bit_for_bit_for_every_number_of_threads(threads):
    """Reals, so another order of a sum would show; sizes above and below what is worth a thread."""
    random = np.random.default_rng(5)
    cases = []
    for batch, extent in ((1, 20), (3, 200), (2, 3000)):
        x = random.standard_normal((batch, 8, extent)).astype("float32")
        w = random.standard_normal((16, 8, 5)).astype("float32")
        dy = random.standard_normal((batch, 16, extent - 4)).astype("float32")
        cases.append((dy, x, w, np.zeros(16, "float32")))

    def results():
        for case in cases:
            yield clconv.conv1d(*case[1:], device="native")
            yield from clconv.conv1d_backward(*case, device="native")

    threads(1)
    expected = [result.tobytes() for result in results()]
    for count in (2, 3, 4, 7, 16, 100, 2000, 3):
        threads(count)
        assert [result.tobytes() for result in results()] == expected


@pytest.mark.parametrize(
    ("count", "error"),
    [(0, ValueError), (-1, ValueError), (2**30, ValueError), (1.0, TypeError), (True, TypeError), ("2", TypeError)],
)
def test_a_number_of_threads_that_is_none_is_refused_by_name_and_changes_nothing(count, error):
    before = clconv.get_num_threads()
    with pytest.raises(error, match="count"):
        clconv.set_num_threads(count)
    assert clconv.get_num_threads() == before


def test_set_num_threads_takes_anything_with_an_index(threads):
    threads(np.int64(3))
    assert clconv.get_num_threads() == 3


@pytest.mark.parametrize("text", ["1", "3", "64"])
def test_clconv_num_threads_sets_the_number(text):
    assert program("import clconv; print(clconv.get_num_threads())", CLCONV_NUM_THREADS=text) == [text]


@pytest.mark.parametrize("environment", [{}, {"CLCONV_NUM_THREADS": ""}], ids=["unset", "empty"])
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_the_default_is_the_number_of_processors_that_the_process_may_use(environment):
    code = """
        import os
        os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])
        import clconv
        print(clconv.get_num_threads())
    """
    assert program(code, **environment) == ["1"]


@needs_native
@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5", "2 4", "99999999999999999999"])
def test_a_wrong_clconv_num_threads_is_refused_by_name_even_by_a_problem_too_small_for_threads(text):
    code = """
        import numpy, clconv
        x = numpy.ones((1, 1, 3), "float32")
        for ask in (clconv.get_num_threads, lambda: clconv.conv1d(x, x, device="native")):
            try:
                ask()
            except ValueError as error:
                print(error)
    """
    message = f"CLCONV_NUM_THREADS must be an integer of at least 1: CLCONV_NUM_THREADS={text!r}"
    assert program(code, CLCONV_NUM_THREADS=text) == [message] * 2


COUNT_TASKS = """
    import os, sys, threading
    import numpy as np, clconv
    small = np.ones((1, 1, 100), "float32"), np.ones((1, 1, 3), "float32")
    large = np.ones((1, 16, 20000), "float32"), np.ones((16, 16, 3), "float32")
    tasks = lambda: len(os.listdir("/proc/self/task"))
    clconv.set_num_threads(4)
"""


@needs_native
@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads cannot be counted here")
def test_a_large_problem_starts_the_pool_once_and_a_small_one_runs_on_the_callers_thread():
    lines = program(
        COUNT_TASKS
        + """
    before = tasks()
    clconv.conv1d(*small, device="native")
    print(tasks() - before)
    for _ in range(5):
        assert (clconv.conv1d(*large, device="native") == 48).all()
        print(tasks() - before)
    clconv.set_num_threads(2)
    clconv.conv1d(*large, device="native")
    clconv.set_num_threads(6)
    clconv.conv1d(*large, device="native")
    print(tasks() - before)
        """
    )
    assert lines == ["0", *["3"] * 5, "5"]


@needs_native
def test_callers_at_once_share_one_pool_and_get_right_results(threads):
    threads(3)
    x, w = np.ones((1, 16, 6000), "float32"), np.ones((16, 16, 3), "float32")
    wrong = []

    def work(factor):
        for _ in range(20):
            if not (clconv.conv1d(factor * x, w, device="native") == 48 * factor).all():
                wrong.append(factor)

    run_in_threads(work, [(np.float32(factor),) for factor in range(1, 7)])
    assert wrong == []


@needs_native
@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads cannot be looked at here")
def test_the_pools_threads_leave_all_signals_to_the_programs_own():
    lines = program(
        COUNT_TASKS
        + """
    import signal
    before = set(os.listdir("/proc/self/task"))
    clconv.conv1d(*large, device="native")
    caller = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    unblockable = {signal.SIGKILL, signal.SIGSTOP}
    for task in set(os.listdir("/proc/self/task")) - before:
        with open(f"/proc/self/task/{task}/status") as status:
            blocked = int(next(line for line in status if line.startswith("SigBlk")).split()[1], 16)
        print(all(blocked >> number - 1 & 1 for number in set(signal.valid_signals()) - unblockable), caller)
        """
    )
    assert lines == ["True set()"] * 3


# Forks


FORK = (
    COUNT_TASKS
    + """
    def convolve():
        assert (clconv.conv1d(*large, device="native") == 48).all()

    def forked(work):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                work()
                code = 0
            finally:
                os._exit(code)
        return child

    def joined(child):
        assert os.waitpid(child, 0)[1] == 0
"""
)


@needs_native
@needs_fork
def test_a_child_of_a_process_whose_pool_has_run_has_a_pool_of_its_own():
    lines = program(
        FORK
        + """
    convolve()

    def work():
        before = tasks()
        convolve()
        assert tasks() - before == 3
        joined(forked(convolve))  # and so has the child's child
        convolve()

    for child in [forked(work) for _ in range(5)]:
        joined(child)
    convolve()
    print("done")
        """
    )
    assert lines == ["done"]


@needs_native
@needs_fork
def test_a_fork_while_other_threads_run_kernels_leaves_no_lock_behind():
    lines = program(
        FORK
        + """
    convolve()  # Python's own import locks do not survive a fork: whatever the first call imports is imported now
    stop = threading.Event()

    def busy():
        while not stop.is_set():
            convolve()

    threads = [threading.Thread(target=busy) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        joined(forked(convolve))
    stop.set()
    for thread in threads:
        thread.join()
    print("done")
        """
    )
    assert lines == ["done"]


@needs_native
@needs_fork
def test_a_pool_of_forked_processes_works():
    lines = program(
        FORK
        + """
    import multiprocessing

    def total(factor):
        return int(clconv.conv1d(factor * large[0], large[1], device="native").sum(dtype="float64"))

    convolve()
    with multiprocessing.get_context("fork").Pool(3) as pool:
        print(pool.map(total, range(6)) == [factor * 48 * 16 * 19998 for factor in range(6)])
        """
    )
    assert lines == ["True"]


# Half


HALF = """
#include "half.h"
void floats(const uint16_t *x, float *y, int64_t n) { for (int64_t i = 0; i < n; i++) y[i] = float_from_half(x[i]); }
void halves(const float *x, uint16_t *y, int64_t n) { for (int64_t i = 0; i < n; i++) y[i] = half_from_float(x[i]); }
int hardware(void)
{
#ifdef __F16C__
    return 1;
#else
    return 0;
#endif
}
"""

COMPILERS = [name for name in ("cc", "gcc", "clang") if shutil.which(name)]


@pytest.fixture(scope="module", params=COMPILERS or [None])
def compiler(request):
    if request.param is None:
        pytest.skip("no C compiler")
    return request.param


@pytest.fixture(scope="module", params=["integer code", "F16C"])
def half(request, compiler, tmp_path_factory):
    """kernels/half.h, compiled with and without the processor's own conversion."""
    wanted = request.param == "F16C"
    if wanted and "v3" not in LEVELS:
        pytest.skip("this processor has no F16C")
    folder = tmp_path_factory.mktemp("half")
    (folder / "half.c").write_text(HALF)
    options = ["-std=gnu11", "-O3", "-ffp-contract=fast", "-shared", "-fPIC", *(["-mf16c"] if wanted else [])]
    subprocess.run(
        [compiler, *options, "-I", str(kernel_source.folder()), "half.c", "-o", "half.so"], cwd=folder, check=True
    )
    library = ctypes.CDLL(str(folder / "half.so"))
    assert library.hardware() == wanted

    def convert(function, array, dtype):
        result = np.empty(array.shape, dtype)
        getattr(library, function)(
            ctypes.c_void_p(array.ctypes.data), ctypes.c_void_p(result.ctypes.data), ctypes.c_int64(array.size)
        )
        return result

    return convert


ALL_HALVES = np.arange(2**16, dtype=np.uint16)


def test_every_half_becomes_the_float_that_numpy_gives(half):
    expected = ALL_HALVES.view(np.float16).astype(np.float32)
    got = half("floats", ALL_HALVES, np.float32)
    numbers = ~np.isnan(expected)
    np.testing.assert_array_equal(got[numbers].view(np.uint32), expected[numbers].view(np.uint32))
    assert np.isnan(got[~numbers]).all()
    np.testing.assert_array_equal(np.signbit(got), ALL_HALVES >= 0x8000)


def assert_rounded_as_numpy_does(half, floats):
    with np.errstate(all="ignore"):
        expected = floats.astype(np.float16)
    got = half("halves", floats, np.uint16).view(np.float16)
    numbers = ~np.isnan(floats)
    np.testing.assert_array_equal(got[numbers].view(np.uint16), expected[numbers].view(np.uint16))
    assert np.isnan(got[~numbers]).all()


def test_every_half_is_the_half_of_its_float(half):
    """Zeros of both signs, subnormals, infinities and NaN among them."""
    assert_rounded_as_numpy_does(half, ALL_HALVES.view(np.float16).astype(np.float32))


def test_floats_between_two_halves_go_to_the_nearer_and_halfway_to_the_even_one(half):
    finite = np.sort(ALL_HALVES.view(np.float16)[np.isfinite(ALL_HALVES.view(np.float16))]).astype(np.float32)
    halfway = (finite[1:] + finite[:-1]) / 2
    near = [halfway, np.nextafter(halfway, np.float32(np.inf)), np.nextafter(halfway, np.float32(-np.inf))]
    assert_rounded_as_numpy_does(half, np.concatenate(near))
    even = half("halves", halfway, np.uint16)
    assert not (even & 1).any()


def test_too_large_floats_become_infinity_and_too_small_ones_zero(half):
    largest, step = np.float32(65520), np.float32(2) ** -25
    floats = np.array(
        [largest, np.nextafter(largest, np.float32(0)), 65536, 1e30, np.inf, step, step * 1.5, 1e-45], "float32"
    )
    got = half("halves", floats, np.uint16).view(np.float16)
    np.testing.assert_array_equal(got, [np.inf, 65504, np.inf, np.inf, np.inf, 0, 2.0**-24, 0])
    assert_rounded_as_numpy_does(half, np.concatenate([floats, -floats]))


def test_nan_stays_nan_whatever_its_sign_and_payload(half):
    payloads = np.concatenate([np.arange(1, 2**13), 2 ** np.arange(23), [2**23 - 1]]).astype(np.uint32)
    nans = np.concatenate([payloads | 0x7F800000, payloads | 0xFF800000]).astype(np.uint32).view(np.float32)
    assert_rounded_as_numpy_does(half, nans)


def test_a_million_floats_of_any_bits_round_as_numpy_does(half):
    bits = np.random.default_rng(1).integers(0, 2**32, 1_000_000, dtype=np.uint32)
    assert_rounded_as_numpy_does(half, bits.view(np.float32))
    halfs_range = np.random.default_rng(2).integers(0x33000000, 0x47800000, 1_000_000, dtype=np.uint32)
    assert_rounded_as_numpy_does(half, halfs_range.view(np.float32))
