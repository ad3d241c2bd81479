"""Bad input is refused in words that name the argument, its value and the rule."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import clconv
from clconv.oracle import reference

X, W, B = np.ones((1, 4, 5, 6), "float32"), np.ones((8, 4, 3, 3), "float32"), np.ones(8, "float32")
G = np.ones((1, 8, 3, 4), "float32")


def read_only(array):
    array = array.copy()
    array.flags.writeable = False
    return array


REFUSALS = [
    # name, arguments, keywords, error, text
    ("conv2d", (X[0, 0], W), {}, ValueError, "input takes 4 axes (batch, channels and 2 spatial), or 3 without the batch: input.shape=(5, 6) has 2"),
    ("conv2d", (X, W[0]), {}, ValueError, "weight takes 4 axes (2 for channels, 2 spatial): weight.shape=(4, 3, 3) has 3"),
    ("conv1d", (X, W), {}, ValueError, "weight takes 3 axes (2 for channels, 1 spatial): weight.shape=(8, 4, 3, 3) has 4"),
    ("conv2d", (X, W), {"groups": 2}, ValueError, "weight takes 4 channels in each of 2 groups, 8 in all, but input has 4: input.shape=(1, 4, 5, 6), weight.shape=(8, 4, 3, 3)"),
    ("conv2d", (X, W[:7, :2]), {"groups": 2}, ValueError, "groups must divide weight's 7 output channels: groups=2"),
    ("conv2d", (X, W), {"groups": 0}, ValueError, "groups must be at least 1: groups=0"),
    ("conv2d", (X, W), {"groups": 1.0}, TypeError, "groups takes an integer, not float: groups=1.0"),
    ("conv2d", (X, W), {"stride": 0}, ValueError, "stride must be at least 1: stride=0"),
    ("conv2d", (X, W), {"stride": (1, 0)}, ValueError, "stride must be at least 1: stride=0"),
    ("conv2d", (X, W), {"stride": True}, TypeError, "stride takes an integer, not bool: stride=True"),
    ("conv2d", (X, W), {"stride": (1, 1, 1)}, ValueError, "stride takes one integer or one for each of 2 spatial axes: stride=(1, 1, 1) has 3"),
    ("conv2d", (X, W), {"dilation": -1}, ValueError, "dilation must be at least 1: dilation=-1"),
    ("conv2d", (X, W), {"dilation": 2**40}, ValueError, "dilation must be at most 2**30 - 1 = 1073741823: dilation=1099511627776"),
    ("conv2d", (X, W), {"dilation": 2**29}, ValueError, "an axis takes at most 2**30 - 1 positions, padding and window included"),
    ("conv2d", (X, W), {"padding": -1}, ValueError, "padding must be at least 0: padding=-1"),
    ("conv2d", (X, W), {"padding": ((1, 2),)}, ValueError, "padding takes a (low, high) pair for each of 2 spatial axes: padding=((1, 2),)"),
    ("conv2d", (X, W), {"padding": ((1, 2), 1)}, ValueError, "padding takes a (low, high) pair for each of 2 spatial axes"),
    ("conv2d", (X, W), {"padding": "SAME"}, ValueError, "padding takes one of 'valid', 'same', 'same_upper', 'same_lower', 'full': padding='SAME'"),
    ("conv2d", (X, W), {"padding": "same", "stride": 2}, ValueError, 'padding="same" takes stride 1 (use "same_upper" or "same_lower" for others): stride=(2, 2)'),
    ("conv2d", (X, W), {"padding_mode": "mirror"}, ValueError, "padding_mode takes one of 'zeros', 'reflect', 'replicate', 'circular', 'symmetric': padding_mode='mirror'"),
    ("conv2d", (X, W), {"padding_mode": 1}, TypeError, "padding_mode takes one of"),
    ("conv2d", (X, W), {"padding": 5, "padding_mode": "reflect"}, ValueError, "padding_mode='reflect' takes padding of at most 4 here: spatial axis 0 of input, 5 positions padded by (5, 5)"),
    ("conv2d", (X, W), {"padding": 6, "padding_mode": "circular"}, ValueError, "padding_mode='circular' takes padding of at most 5 here"),
    ("conv2d", (X, W), {"padding": 6, "padding_mode": "symmetric"}, ValueError, "padding_mode='symmetric' takes padding of at most 5 here"),
    ("conv2d", (X, W), {"dilation": 3}, ValueError, "the window is larger than the padded input: dilation * (kernel - 1) + 1 = 3 * (3 - 1) + 1 = 7, but spatial axis 0 of input, 5 positions padded by (0, 0), makes 5"),
    ("conv2d", (X, W), {"flip": 1}, TypeError, "flip takes True or False, not int: flip=1"),
    ("conv2d", (X[..., :0], W), {}, ValueError, "input must have at least 1 position along each spatial axis"),
    ("conv2d", (X, W[..., :0]), {}, ValueError, "weight must have at least 1 tap along each spatial axis: weight.shape=(8, 4, 3, 0)"),
    ("conv2d", (X, W, B[:3]), {}, ValueError, "bias must have one value for each output channel, shape (8,): bias.shape=(3,)"),
    ("conv2d", (None, W), {}, TypeError, "input takes a numpy.ndarray or a pyopencl.array.Array, not builtins.NoneType"),
    ("conv2d", (X, None), {}, TypeError, "weight takes a numpy.ndarray or a pyopencl.array.Array, not builtins.NoneType"),
    ("conv2d_backward", (None, X, W), {}, TypeError, "grad_output takes a numpy.ndarray or a pyopencl.array.Array, not builtins.NoneType"),
    ("unfold", (None, 2), {}, TypeError, "input takes a numpy.ndarray or a pyopencl.array.Array, not builtins.NoneType"),
    ("conv2d", (X, W), {"stride": np.array([1, 2])}, TypeError, "stride takes an integer, not ndarray: stride=array([1, 2])"),
    ("conv2d", (X, W), {"padding": np.array([[1, 1], [1, 1]])}, TypeError, "padding takes an integer, not ndarray"),
    ("conv1d", (np.broadcast_to(X[0, 0, 0, 0], (1, 2**31, 1)), np.broadcast_to(X[0, 0, 0, 0], (1, 2**31, 1))), {}, ValueError, "input_shape must be at most 2**30 - 1 = 1073741823: input_shape=2147483648"),
    ("conv2d", (X, W), {"out": np.ma.masked_array(G)}, TypeError, "out takes a numpy.ndarray or a pyopencl.array.Array, not numpy.ma.MaskedArray: convert it to one of these"),
    ("conv2d", (X.tolist(), W), {}, TypeError, "input takes a numpy.ndarray or a pyopencl.array.Array, not builtins.list: pass numpy.asarray(input, dtype=...)"),
    ("conv2d", (np.ma.masked_array(X), W), {}, TypeError, "input is a masked array, which has no values where it is masked: pass input.filled(value)"),
    ("conv2d", (X.astype("int32"), W), {}, TypeError, "input takes dtype float16, float32 or float64, not int32: convert it with input.astype(...)"),
    ("conv2d", (X, W.astype("complex64")), {}, TypeError, "weight takes dtype float16, float32 or float64, not complex64"),
    ("conv2d", (X.astype("longdouble"), W), {}, TypeError, "input takes dtype float16, float32 or float64, not "),
    ("conv2d", (X, W.astype("float64")), {}, TypeError, "arrays must have one dtype: input.dtype=float32, weight.dtype=float64"),
    ("conv2d", (X, W, B.astype("float16")), {}, TypeError, "arrays must have one dtype: input.dtype=float32, bias.dtype=float16"),
    ("conv2d", (X, W), {"out": np.ones((1, 8, 3, 3), "float32")}, ValueError, "out must have the output's shape (1, 8, 3, 4): out.shape=(1, 8, 3, 3)"),
    ("conv2d", (X, W), {"out": G.astype("float64")}, TypeError, "out must have the inputs' dtype float32, in native byte order: out.dtype=float64"),
    ("conv2d", (X, W), {"out": read_only(G)}, ValueError, "out must be writeable: out.flags.writeable=False"),
    ("conv2d", (X, W), {"out": np.lib.stride_tricks.as_strided(G.copy(), G.shape, (0, 0, 0, 0))}, ValueError, "out must not have two indices for one element"),
    ("conv2d", (X, W[:4, :, :1, :1]), {"out": X}, ValueError, "out must not overlap an input, but it shares memory with input"),
    ("conv2d", (X, W), {"out": [1.0]}, TypeError, "out takes a numpy.ndarray or a pyopencl.array.Array, not builtins.list"),
    ("conv2d", (X, W), {"device": "cuda"}, ValueError, 'device takes "native", "opencl", "opencl:<platform>", "opencl:<platform>:<device>" or an object of pyopencl: device=\'cuda\''),
    ("conv2d_backward", (G[..., :3], X, W), {}, ValueError, "grad_output must have the output's shape (1, 8, 3, 4): grad_output.shape=(1, 8, 3, 3)"),
    ("conv2d_backward", (G, X, W), {"output_mask": (True, True)}, ValueError, "output_mask takes one bool for each of input, weight, bias: output_mask=(True, True)"),
    ("conv2d_backward", (G, X, W), {"output_mask": (1, 0, 0)}, TypeError, "output_mask takes True or False, not int"),
    ("conv2d_backward", (G.astype("float64"), X, W), {}, TypeError, "arrays must have one dtype: input.dtype=float32, grad_output.dtype=float64"),
    ("conv_transpose2d", (G, W), {"output_padding": 1}, ValueError, "output_padding must be smaller than stride or dilation on its axis: output_padding=(1, 1), stride=(1, 1), dilation=(1, 1)"),
    ("conv_transpose2d", (G, W), {"output_padding": -1}, ValueError, "output_padding must be at least 0: output_padding=-1"),
    ("conv_transpose2d", (X, W), {}, ValueError, "weight takes 8 input channels, its first axis, but input has 4: input.shape=(1, 4, 5, 6), weight.shape=(8, 4, 3, 3)"),
    ("conv_transpose2d", (G, W), {"groups": 3}, ValueError, "groups must divide input's 8 channels: groups=3, input.shape=(1, 8, 3, 4)"),
    ("conv_transpose2d", (G, W), {"padding": 3}, ValueError, "the output would have -1 positions on spatial axis 0"),
    ("conv_transpose2d", (G[..., :0], W), {}, ValueError, "input must have at least 1 position along each spatial axis: input.shape=(1, 8, 3, 0)"),
    ("conv_transpose2d", (G, W), {"padding": "same_upper", "stride": 2, "output_padding": 1}, ValueError, "padding='same_upper' determines the output's extents and takes no output_padding"),
    ("conv_transpose2d", (G, W, B), {}, ValueError, "bias must have one value for each output channel, shape (4,): bias.shape=(8,)"),
    ("unfold", (X, (3, 3, 3, 3)), {}, ValueError, "kernel_size takes 1 to 3 spatial axes: kernel_size=(3, 3, 3, 3) has 4"),
    ("fold", (X[0, 0], (1, 2, 3, 4), 2), {}, ValueError, "output_size takes 1 to 3 spatial axes: output_size=(1, 2, 3, 4) has 4"),
    ("unfold", (X, 0), {}, ValueError, "kernel_size must be at least 1: kernel_size=0"),
    ("unfold", (X, 7), {}, ValueError, "the window is larger than the padded input"),
    ("unfold", (X[0, 0], 2), {}, ValueError, "input takes 4 axes (batch, channels and 2 spatial), or 3 without the batch: input.shape=(5, 6) has 2"),
    ("fold", (np.ones((1, 8, 9), "float32"), 4, 3), {}, ValueError, "input takes a multiple of 9 rows, the number of taps of the kernel, but it has 8"),
    ("fold", (np.ones((1, 9, 9), "float32"), 4, 3), {}, ValueError, "input takes 4 columns, one for each window over output_size=(4, 4), but it has 9"),
    ("fold", (X, 4, 3), {}, ValueError, "input takes 3 axes (batch, channels * taps, windows), or 2 without the batch: input.shape=(1, 4, 5, 6) has 4"),
    ("fold", (np.ones((1, 9, 9), "float32"), 2, 3), {}, ValueError, "the window is larger than the padded input: dilation * (kernel - 1) + 1 = 1 * (3 - 1) + 1 = 3, but spatial axis 0 of output_size, 2 positions"),
    ("fold_backward", (X, np.ones((1, 9, 4), "float32"), 4, 3), {}, ValueError, "grad_output must have the output's shape (1, 1, 4, 4): grad_output.shape=(1, 4, 5, 6)"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "arguments", "keywords", "error", "text"), REFUSALS, ids=[row[4][:60] for row in REFUSALS]
)
def test_refusals_name_argument_value_and_rule(name, arguments, keywords, error, text):
    with pytest.raises(error, match=re.escape(text)):
        getattr(clconv, name)(*arguments, **keywords)


def test_a_torch_tensor_is_told_how_to_become_an_array():
    tensor = type("Tensor", (), {"__module__": "torch"})()
    with pytest.raises(TypeError, match=re.escape("not torch.Tensor: pass input.detach().numpy()")):
        clconv.conv2d(tensor, W)


small = st.integers(1, 4)
pairs = st.tuples(st.integers(0, 4), st.integers(0, 4))


@settings(max_examples=400)
@given(
    extents=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    kernel=st.tuples(small, small),
    stride=st.tuples(small, small),
    dilation=st.tuples(small, small),
    padding=st.one_of(
        st.tuples(pairs, pairs),
        st.sampled_from(["valid", "same", "same_upper", "same_lower", "full"]),
        st.integers(0, 4),
    ),
    padding_mode=st.sampled_from(["zeros", "reflect", "replicate", "circular", "symmetric"]),
    output_padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    transposed=st.booleans(),
)
def test_clconv_and_the_reference_refuse_the_same_geometries(
    extents, kernel, stride, dilation, padding, padding_mode, output_padding, transposed
):
    """Whatever window, padding and stride: both refuse, or both give an output of the same shape."""
    name = "conv_transpose2d" if transposed else "conv2d"
    arguments = {"stride": stride, "dilation": dilation, "padding": padding, "padding_mode": padding_mode}
    if transposed:
        arguments["output_padding"] = output_padding
    x, w = np.ones((1, *extents), "float32"), np.ones((1, 1, *kernel), "float32")

    def outcome(module, **more):
        try:
            return getattr(module, name)(x, w, **arguments, **more).shape
        except ValueError:
            return "refused"

    assert outcome(clconv, device="native") == outcome(reference)


def test_a_refused_call_allocates_nothing(monkeypatch):
    """Arguments are checked before the first allocation."""
    from clconv.native import executor

    monkeypatch.setattr(executor, "empty", lambda *_: pytest.fail("allocated"))
    for name, arguments, keywords, error, _ in REFUSALS:
        with pytest.raises(error):
            getattr(clconv, name)(*arguments, **{"device": "native", **keywords})
