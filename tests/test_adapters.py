"""Other systems' functions, C functions and OpenCL kernels, as implementations that the oracle can judge.

What each adapter gives is compared with results that were worked out by hand; whether the systems are right in
everything is not asked here.
"""

from __future__ import annotations

import inspect
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from clconv.oracle import adapters, check
from clconv.oracle.operations import OPERATIONS

DATA = Path(__file__).parent / "adapters_data"
PACKAGES = {
    "torch": "torch",
    "jax": "jax",
    "onnxruntime": "onnx",  # which it is called through
    "openvino": "openvino",
    "tinygrad": "tinygrad",
    "scipy.ndimage": "scipy",
    "scipy.signal": "scipy",
}


def f(*values, shape=(1, 1, -1)):
    """Return numbers as one plane."""
    return np.array(values, np.float32).reshape(shape)


IMAGE = f(1, 2, 3, 4, 5, 6, 7, 8, 9, shape=(1, 1, 3, 3))
WIDE = f(1, 5, 2, 0, 3, 4, 8, 7, shape=(1, 1, 2, 4))
TWO, TEN, ONE = f(2, shape=1), f(10, shape=1), f(1, shape=1)
# Operation, arrays, arguments, results.
CALLS = [
    ("conv1d", [f(1, 2, 3, 4, 5), f(1, 10)], {"stride": 2, "padding": 1}, [[10, 32, 54]]),
    ("conv1d", [f(1, 2, 3, shape=(1, 3)), f(1, 10)], {}, [[21, 32]]),
    ("conv1d", [f(1, 2, 3, 4), f(1, 10, 100)], {"padding": "same"}, [[210, 321, 432, 43]]),
    ("conv1d", [f(1, 2, 3, 4), f(1, 10)], {"padding": ((0, 2),)}, [[21, 32, 43, 4, 0]]),
    ("conv2d", [IMAGE, f(1, 2, 3, 4, shape=(1, 1, 2, 2))], {}, [[37, 47, 67, 77]]),
    ("conv3d", [f(*range(8), shape=(1, 1, 2, 2, 2)), f(*range(8), shape=(1, 1, 2, 2, 2))], {}, [[140]]),
    ("conv_transpose1d", [f(1, 2), f(1, 10, 100)], {"stride": 2}, [[1, 10, 102, 20, 200]]),
    (
        "conv_transpose2d",
        [f(1, 2, shape=(1, 1, 1, 2)), f(1, 2, 3, 4, shape=(1, 1, 2, 2))],
        {"padding": (0, 1)},
        [[4, 10]],
    ),
    ("conv1d_backward", [f(1, 2), f(1, 2, 3), f(10, 100)], {}, [[10, 120, 200], [5, 8]]),
    (
        "conv_transpose1d_backward",
        [f(1, 2, 3, 4, 5), f(1, 2), f(1, 10, 100)],
        {"stride": 2},
        [[321, 543], [7, 10, 13]],
    ),
    ("max_pool2d", [WIDE], {"kernel_size": 2}, [[5, 8]]),
    ("max_pool2d", [WIDE], {"kernel_size": 2, "return_indices": True}, [[5, 8], [1, 6]]),
    ("max_pool1d", [f(-1, -2, -3)], {"kernel_size": 2, "padding": 1}, [[-1, -2]]),
    ("max_pool1d_backward", [f(10, 20), f(1, 5, 2, 8)], {"kernel_size": 2}, [[0, 10, 0, 20]]),
    ("avg_pool2d", [WIDE], {"kernel_size": 2}, [[3.25, 4.25]]),
    ("avg_pool1d", [f(2, 4, 6)], {"kernel_size": 2, "padding": 1}, [[1, 5]]),
    ("avg_pool1d", [f(2, 4, 6)], {"kernel_size": 2, "padding": 1, "count_include_pad": False}, [[2, 5]]),
    ("avg_pool1d_backward", [f(2, 4), f(1, 1, 1, 1)], {"kernel_size": 2}, [[1, 1, 2, 2]]),
    ("lp_pool1d", [f(3, 4, 0, 5)], {"norm_type": 2, "kernel_size": 2}, [[5, 5]]),
    ("adaptive_avg_pool1d", [f(1, 3, 5, 9)], {"output_size": 2}, [[2, 7]]),
    ("adaptive_max_pool1d", [f(1, 3, 9, 5)], {"output_size": 2}, [[3, 9]]),
    ("interpolate", [f(1, 2)], {"size": 4}, [[1, 1, 2, 2]]),
    ("interpolate_backward", [f(1, 2, 3, 4), f(0, 0)], {"size": 4}, [[3, 7]]),
    ("pad", [f(1, 2, 3)], {"pad": (1, 2)}, [[0, 1, 2, 3, 0, 0]]),
    ("fold", [f(1, 2, 3, 4, shape=(1, 2, 2))], {"output_size": (1, 3), "kernel_size": (1, 2)}, [[1, 5, 4]]),
    ("batch_norm", [f(1, 3, shape=(2, 1)), f(1, shape=1), f(3, shape=1)], {"eps": 1.0}, [[0, 1]]),
    (
        "batch_norm",
        [f(1, 3, shape=(2, 1)), f(1, shape=1), f(3, shape=1)],
        {"eps": 3.0, "weight": TWO, "bias": TEN, "training": True, "momentum": 0.5},
        [[9, 11]],
    ),
    ("instance_norm", [f(1, 3)], {"eps": 3.0, "weight": TWO, "bias": ONE}, [[0, 2]]),
    ("group_norm", [f(1, 3, shape=(1, 2))], {"num_groups": 1, "eps": 3.0}, [[-0.5, 0.5]]),
    ("layer_norm", [f(1, 3, shape=(1, 2))], {"normalized_shape": (2,), "eps": 3.0}, [[-0.5, 0.5]]),
    ("rms_norm", [f(1, 1, shape=(1, 2))], {"normalized_shape": (2,), "eps": 3.0}, [[0.5, 0.5]]),
    ("local_response_norm", [f(2, shape=(1, 1, 1, 1))], {"size": 1, "alpha": 1.0, "beta": 1.0}, [[0.4]]),
]


def offered():
    for system in adapters.SYSTEMS:
        for place, (name, _, _, _) in enumerate(CALLS):
            if name in OPERATIONS and name in adapters.names(system):
                marks = () if system.startswith("scipy") else pytest.mark.peers
                yield pytest.param(system, place, id=f"{system}:{name}-{place}", marks=marks)


@pytest.mark.parametrize(("system", "place"), list(offered()))
@pytest.mark.filterwarnings("ignore")  # of the systems' own, about each other's versions
def test_a_system_gives_what_the_hand_gives(system, place):
    pytest.importorskip(PACKAGES[system])
    name, arrays, arguments, expected = CALLS[place]
    loaded = adapters.load(f"{system}:{name}")
    assert loaded.operation == name
    assert loaded.libraries
    accepted = inspect.signature(loaded.implementation).parameters
    if any(argument not in accepted for argument in arguments):
        pytest.skip(f"{system} does not have {', '.join(arguments)}")
    if arguments.get("padding") == ((0, 2),) and "padding_pairs" not in loaded.features:
        pytest.skip(f"{system} pads both sides alike")
    results = loaded.implementation(*arrays, **arguments)
    for got, wanted in zip(results if isinstance(results, tuple) else (results,), expected, strict=False):
        assert got.dtype == np.float32 or got.dtype.kind == "i"
        np.testing.assert_allclose(got.ravel(), wanted, rtol=1e-6)


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("system", ["torch", "onnxruntime", "tinygrad"])
def test_running_statistics_are_updated(system):
    pytest.importorskip(PACKAGES[system])
    if "batch_norm" not in OPERATIONS:
        pytest.skip("no normalisations")
    loaded = adapters.load(f"{system}:batch_norm")
    mean, var = f(1, shape=1), f(3, shape=1)
    arguments = {"training": True, "momentum": 0.75}
    results = loaded.implementation(f(1, 3, shape=(2, 1)), mean, var, **arguments)
    got_mean, got_var = results[1:] if isinstance(results, tuple) else (mean, var)
    # onnx's momentum is what is kept, and its variance is that of the batch, divided by n.
    expected = (1.25, 2.5) if loaded.semantics == "onnx" else (1.75, 2.25)
    assert (got_mean.item(), got_var.item()) == expected


# --- targets


@pytest.mark.parametrize(
    ("target", "op", "error", "text"),
    [
        ("conv2d", None, ValueError, "target must be module:function or system:operation"),
        ("torch:", None, ValueError, "target must be"),
        ("torch:conv9d", None, ValueError, "torch has no 'conv9d' here; there are conv1d"),
        ("jax:conv2d", "conv1d", ValueError, "says which operation it is, got op='conv1d'"),
        ("math:no_such", None, ValueError, "math has no 'no_such'"),
        ("math:pi", "conv2d", TypeError, "pi of math must be callable"),
        ("no_such_file.py:conv2d", None, ValueError, "there is no file .*no_such_file.py"),
        ("no_such_module:conv2d", None, ImportError, "no_such_module"),
        ("c:./nothing.so:conv2d", "conv2d", ValueError, "there is no file .*nothing.so"),
        ("c:./nothing.so:conv2d", None, ValueError, "op must say which convolution the C function conv2d is"),
        ("c:./nothing.so:pool", "max_pool2d", ValueError, "got op='max_pool2d'"),
        ("opencl:nothing.cl:conv2d", "conv2d", ValueError, "there is no file .*nothing.cl"),
        (17, None, TypeError, "target must be a string"),
    ],
)
def test_a_target_that_names_nothing_is_refused(target, op, error, text):
    with pytest.raises(error, match=text):
        adapters.load(target, op)


@pytest.mark.parametrize("system", ["torch", "jax", "onnxruntime", "openvino", "tinygrad"])
def test_a_missing_package_is_named(system, monkeypatch):
    monkeypatch.setitem(sys.modules, system, None)
    with pytest.raises(ImportError, match=f"needs {system}: pip install {system}"):
        adapters.load(f"{system}:conv2d")


def test_no_system_is_imported_before_it_is_asked_for():
    listing = "[adapters.names(system) for system in adapters.SYSTEMS]"
    program = f"import sys; from clconv.oracle import adapters; {listing}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert not {"torch", "jax", "onnx", "onnxruntime", "openvino", "tinygrad", "pyopencl"} & set(done.stdout.split())


def test_a_function_of_a_module_or_of_a_file(tmp_path):
    assert adapters.load("math:sqrt").operation == "sqrt"
    assert adapters.load("pathlib:Path.cwd", "conv1d").operation == "conv1d"
    (tmp_path / "beside.py").write_text("FACTOR = 2\n")
    file = tmp_path / "mine.py"
    file.write_text("from beside import FACTOR\n\ndef conv1d(input, weight):\n    return FACTOR * input\n")
    path = list(sys.path)
    loaded = adapters.load(f"{file}:conv1d")
    assert sys.path == path
    assert loaded.operation == "conv1d"
    assert loaded.implementation(3, 4) == 6


def test_the_signature_says_what_a_system_lacks():
    implementation = adapters.load("scipy.signal:conv2d").implementation
    assert list(inspect.signature(implementation).parameters) == ["input", "weight", "stride", "padding"]
    with pytest.raises(TypeError, match="dilation"):
        implementation(IMAGE, IMAGE, dilation=2)
    report = check("scipy.signal:conv2d", max_examples=1, skip=["edges", "refusals", "hostile", "identities"])
    assert report.passed
    assert "dilation: impl has no such parameter" in report.not_tested


# --- C and OpenCL

CONVOLUTIONS = [name for name in OPERATIONS if name.startswith("conv") and not name.endswith("_epilogue")]


def compiled(folder, number="float", *options):
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    library = folder / f"lib{number}.so"
    command = [compiler, "-std=c11", "-O1", "-shared", "-fPIC", f"-DT={number}", *options, "-o"]
    subprocess.run([*command, str(library), str(DATA / "conv.c")], check=True)
    return library


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return compiled(tmp_path_factory.mktemp("c"))


@pytest.mark.parametrize("op", CONVOLUTIONS)
def test_a_c_function_passes(library, op):
    slow = () if op in ("conv2d", "conv_transpose1d", "conv1d_backward") else ("hostile", "identities")
    report = check(f"c:{library}:{op}", op=op, max_examples=2, skip=slow)
    assert report.passed, str(report)
    assert not any("no such parameter" in text for text in report.not_tested)


def test_a_c_function_of_another_type_passes(tmp_path):
    target = f"c:{compiled(tmp_path, 'double')}:conv2d"
    report = check(target, op="conv2d", dtype="float64", max_examples=3, skip=["refusals", "hostile"])
    assert report.passed, str(report)


def test_a_c_function_refuses_what_numbers_can_say(library):
    conv = adapters.load(f"c:{library}:conv1d", "conv1d").implementation
    for arguments in ({"stride": 0}, {"groups": 0}, {"padding": -1}, {"dilation": 4}):
        with pytest.raises(ValueError, match="the function refused the call with status 1"):
            conv(f(1, 2, 3), f(1, 10), **arguments)
    for weight, arguments in (
        (f(1, 2, shape=(1, 2)), {}),
        (f(1, 2, 3, 4, shape=(1, 2, 2)), {}),
        (f(1, 2), {"bias": f(1, 2, shape=2)}),
    ):
        with pytest.raises(adapters.NotOffered, match="shape"):
            conv(f(1, 2, 3), weight, **arguments)
    with pytest.raises(adapters.NotOffered, match="stride must be an integer"):
        conv(f(1, 2, 3), f(1, 10), stride=1.5)
    with pytest.raises(ValueError, match="out must be a dense array"):
        conv(f(1, 2, 3), f(1, 10), out=f(1))
    backward = adapters.load(f"c:{library}:conv1d_backward", "conv1d_backward").implementation
    with pytest.raises(adapters.NotOffered, match="grad_output"):
        backward(f(1, 2, 3), f(1, 2, 3), f(1, 10))


def test_a_c_library_without_the_symbol_or_that_is_none(library, tmp_path):
    with pytest.raises(ValueError, match="has no symbol 'conv7d'"):
        adapters.load(f"c:{library}:conv7d", "conv2d")
    (tmp_path / "text.so").write_text("no library")
    with pytest.raises(ValueError, match=r"text.so is no library that can be loaded"):
        adapters.load(f"c:{tmp_path / 'text.so'}:conv2d", "conv2d")


def test_a_wrong_c_function_is_found(tmp_path):
    source = (DATA / "conv.c").read_text()
    (tmp_path / "conv.c").write_text(source.replace("k % p->K[axis] * p->D[axis]", "k % p->K[axis]"))
    library = tmp_path / "libwrong.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", str(library), str(tmp_path / "conv.c")], check=True)
    report = check(f"c:{library}:conv2d", op="conv2d", max_examples=20, skip=["hostile", "bound", "identities"])
    assert "the dilation is ignored" in {finding.cause for finding in report.findings}


KERNELS = {"conv2d": "conv2d", "conv2d_backward": "grad_input,grad_weight,grad_bias"}


def device():
    cl = pytest.importorskip("pyopencl")
    try:
        return cl.create_some_context(interactive=False)
    except cl.Error as error:
        pytest.skip(f"no OpenCL device: {error}")


@pytest.mark.parametrize("op", KERNELS)
@pytest.mark.filterwarnings("ignore")  # pyopencl's, about caches
def test_opencl_kernels_pass(op):
    device()
    report = check(f"opencl:{DATA / 'conv2d.cl'}:{KERNELS[op]}", op=op, max_examples=2, skip=["identities"])
    assert report.passed, str(report)


@pytest.mark.filterwarnings("ignore")
def test_gradients_without_a_bias_take_two_kernels():
    device()
    target = f"opencl:{DATA / 'conv2d.cl'}:grad_input,grad_weight"
    implementation = adapters.load(target, "conv2d_backward").implementation
    assert "bias" not in inspect.signature(implementation).parameters
    dx, dw, db = implementation(
        f(1, 2, shape=(1, 1, 1, 2)), f(1, 2, 3, shape=(1, 1, 1, 3)), f(10, 100, shape=(1, 1, 1, 2))
    )
    assert (dx.ravel().tolist(), dw.ravel().tolist(), db) == ([10, 120, 200], [5, 8], None)


@pytest.mark.filterwarnings("ignore")
def test_faulty_opencl_files_are_named(tmp_path):
    device()
    file = tmp_path / "wrong.cl"
    file.write_text("__kernel void f(__global T *a) { a[0] = nonsense; }")
    with pytest.raises(ValueError, match="does not build"):
        adapters.load(f"opencl:{file}:f", "conv1d")
    with pytest.raises(ValueError, match="has no kernel conv3d"):
        adapters.load(f"opencl:{DATA / 'conv2d.cl'}:conv3d", "conv3d")
    with pytest.raises(ValueError, match="conv2d takes 1 kernel"):
        adapters.load(f"opencl:{DATA / 'conv2d.cl'}:conv2d,grad_bias", "conv2d")
    beyond = (
        (DATA / "conv2d.cl").read_text().replace("output[place] = sum;", "output[place] = sum; output[place + 1] = 0;")
    )
    file.write_text(beyond)
    conv = adapters.load(f"opencl:{file}:conv2d", "conv2d").implementation
    with pytest.raises(RuntimeError, match="wrote behind the end"):
        conv(IMAGE, IMAGE)
    with pytest.raises(adapters.NotOffered, match="stride must be at least 1"):
        conv(IMAGE, IMAGE, stride=0)
