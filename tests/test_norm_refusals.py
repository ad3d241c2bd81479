# ruff: noqa: E501 (one refusal, one line)
"""Bad normalisations are refused in words that name the argument, its value and the rule."""

from __future__ import annotations

import re

import numpy as np
import pytest

import clconv

X, W, ROWS = np.ones((2, 4, 3), "float32"), np.ones(4, "float32"), np.ones((5, 3), "float32")
MEAN, VAR = np.zeros(4, "float32"), np.ones(4, "float32")

REFUSALS = [
    # name, arguments, keywords, error, text
    ("batch_norm", (X[0, 0], None, None), {"training": True}, ValueError, "input takes at least 2 axes, batch and channels: input.shape=(3,) has 1"),
    ("batch_norm", (X, None, None), {}, ValueError, "training=False needs running_mean and running_var: running_mean=None"),
    ("batch_norm", (X, MEAN, None), {}, ValueError, "training=False needs running_mean and running_var: running_var=None"),
    ("batch_norm", (X, MEAN, None), {"training": True}, ValueError, "running_mean and running_var must be given together: running_var=None"),
    ("batch_norm", (X, MEAN[:3], VAR), {}, ValueError, "running_mean must have one value for each channel, shape (4,): running_mean.shape=(3,)"),
    ("batch_norm", (X, MEAN, VAR, W[:2]), {}, ValueError, "weight must have one value for each channel, shape (4,): weight.shape=(2,)"),
    ("batch_norm", (X, MEAN, VAR), {"bias": W[None]}, ValueError, "bias must have one value for each channel, shape (4,): bias.shape=(1, 4)"),
    ("batch_norm", (X, MEAN, VAR), {"training": 1}, TypeError, "training takes True or False, not int: training=1"),
    ("batch_norm", (X, MEAN, VAR), {"eps": -1e-5}, ValueError, "eps must be at least 0: eps=-1e-05"),
    ("batch_norm", (X, MEAN, VAR), {"eps": float("nan")}, ValueError, "eps must be finite: eps=nan"),
    ("batch_norm", (X, MEAN, VAR), {"eps": "1"}, TypeError, "eps takes a real number, not str: eps='1'"),
    ("batch_norm", (X, MEAN, VAR), {"eps": True}, TypeError, "eps takes a real number, not bool: eps=True"),
    ("batch_norm", (X, MEAN, VAR), {"momentum": float("inf")}, ValueError, "momentum must be finite: momentum=inf"),
    ("batch_norm", (X, MEAN, VAR), {"momentum": None}, ValueError, "momentum=None needs num_batches_tracked: num_batches_tracked=None"),
    ("batch_norm", (X, MEAN, VAR), {"num_batches_tracked": 2}, ValueError, "num_batches_tracked is for momentum=None: momentum=0.1"),
    ("batch_norm", (X, MEAN, VAR), {"momentum": None, "num_batches_tracked": -1}, ValueError, "num_batches_tracked must be at least 0: num_batches_tracked=-1"),
    ("batch_norm", (X[:1, :, :1], None, None), {"training": True}, ValueError, "training takes more than one value per channel: input.shape=(1, 4, 1)"),
    ("batch_norm", (X, MEAN.tolist(), VAR), {}, TypeError, "running_mean takes a numpy.ndarray or a pyopencl.array.Array, not builtins.list: pass numpy.asarray(running_mean, dtype=...)"),
    ("batch_norm", (X, MEAN, VAR), {"out": X}, ValueError, "out must not overlap an input, but it shares memory with input"),
    ("batch_norm_backward", (None, X, MEAN, VAR), {}, TypeError, "grad_output takes a numpy.ndarray or a pyopencl.array.Array, not builtins.NoneType"),
    ("batch_norm_backward", (X[:1], X, MEAN, VAR), {}, ValueError, "grad_output must have the output's shape (2, 4, 3): grad_output.shape=(1, 4, 3)"),
    ("batch_norm_backward", (X, X, MEAN, VAR), {"output_mask": (True,)}, ValueError, "output_mask takes one bool for each of input, weight, bias: output_mask=(True,)"),
    ("instance_norm", (X[..., :1],), {}, ValueError, "use_input_stats takes more than one pixel per channel: input.shape=(2, 4, 1)"),
    ("instance_norm", (X,), {"use_input_stats": False}, ValueError, "use_input_stats=False needs running_mean and running_var: running_mean=None"),
    ("instance_norm", (X,), {"momentum": None}, TypeError, "momentum takes a real number, not NoneType: momentum=None"),
    ("group_norm", (X, 0), {}, ValueError, "num_groups must be at least 1: num_groups=0"),
    ("group_norm", (X, 3), {}, ValueError, "num_groups must divide the 4 channels of input: num_groups=3, input.shape=(2, 4, 3)"),
    ("group_norm", (X, 2.0), {}, TypeError, "num_groups takes an integer, not float: num_groups=2.0"),
    ("group_norm", (X[:1, :, 0], 4), {}, ValueError, "a group of a single image takes more than one value: input.shape=(1, 4), num_groups=4"),
    ("layer_norm", (X, 3), {}, TypeError, "normalized_shape takes a tuple of integers, not int: normalized_shape=3"),
    ("layer_norm", (X, ()), {}, ValueError, "normalized_shape takes at least one extent: normalized_shape=()"),
    ("layer_norm", (X, (4,)), {}, ValueError, "input must end in the axes of normalized_shape: input.shape=(2, 4, 3), normalized_shape=(4,)"),
    ("layer_norm", (X, (1, 2, 4, 3)), {}, ValueError, "input must end in the axes of normalized_shape"),
    ("layer_norm", (X, (4, 3), W), {}, ValueError, "weight must have the shape of normalized_shape (4, 3): weight.shape=(4,)"),
    ("rms_norm", (X, (3.0,)), {}, TypeError, "normalized_shape takes an integer, not float: normalized_shape=3.0"),
    ("rms_norm", (ROWS, (3,)), {"eps": -1}, ValueError, "eps must be at least 0: eps=-1"),
    ("rms_norm_backward", (ROWS, ROWS, (3,)), {"output_mask": (True,) * 3}, ValueError, "output_mask takes one bool for each of input, weight: output_mask=(True, True, True)"),
    ("local_response_norm", (ROWS, 2), {}, ValueError, "input takes 3 to 5 axes (batch, channels and 1 to 3 spatial): input.shape=(5, 3) has 2"),
    ("local_response_norm", (X, 0), {}, ValueError, "size must be at least 1: size=0"),
    ("local_response_norm", (X, 2), {"alpha": "a"}, TypeError, "alpha takes a real number, not str: alpha='a'"),
    ("local_response_norm", (X, 2), {"beta": float("nan")}, ValueError, "beta must be finite: beta=nan"),
    ("local_response_norm_backward", (X[:1], X, 2), {}, ValueError, "grad_output must have the output's shape (2, 4, 3): grad_output.shape=(1, 4, 3)"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "arguments", "keywords", "error", "text"), REFUSALS, ids=[f"{row[0]}-{row[4][:50]}" for row in REFUSALS]
)
def test_refusals_name_argument_value_and_rule(name, arguments, keywords, error, text):
    with pytest.raises(error, match=re.escape(text)):
        getattr(clconv, name)(*arguments, **keywords)
