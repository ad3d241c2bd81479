"""What the usual faults of a normalisation give: the reference's own steps, one of which is done otherwise."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from clconv.oracle.bounds.norm_calls import checked, complete
from clconv.oracle.reference.batch_norm import Running, with_running
from clconv.oracle.reference.norm import Norm, Standardised, applied, input_gradient, standardised, weight_gradient

from ._base import Operation, Results, Suspect

__all__ = ["rows_of", "suspects"]

Array = NDArray[Any]


@dataclass(frozen=True)
class _Layer:
    """A call: its rows, their statistics as they were found, and the gradient of the output, if there is one."""

    norm: Norm
    running: Running | None
    standard: Standardised
    g: Array | None = None

    def of(self, **changes: Any) -> _Layer:
        """Return the call with other rows, and the statistics of those."""
        norm = self.norm._replace(**changes)
        g = None if self.g is None else self.g.reshape(norm.x.shape)
        return _Layer(norm, self.running, standardised(norm), g)

    def divided_by(self, deviation: Array) -> _Layer:
        """Return the call with something else for the standard deviation."""
        xhat = (self.norm.x - self.standard.mean) / deviation
        return replace(self, standard=self.standard._replace(deviation=deviation, xhat=xhat))


Fault = Callable[[_Layer], _Layer]
Alteration = Callable[[_Layer, Results], Results]


def suspects(operation: Operation) -> Iterator[Suspect]:
    """List the faults of a normalisation or of its gradients, those of a single result first."""
    family = operation.name.removesuffix("_backward")
    for cause, alter in (OF_GRADIENTS if "weight" in operation.results else OF_RUNNING).items():
        yield Suspect(cause, _with_results(operation, alter))
    for cause, fault in (FAULTS | OF_FAMILY[family]).items():
        yield Suspect(cause, _with_call(operation, fault))


def rows_of(operation: Operation, arrays: Mapping[str, Any], arguments: Mapping[str, Any]) -> tuple[Norm, Any]:
    """Turn a call, of the forward operation or of its gradients, into rows."""
    family = operation.name.removesuffix("_backward")
    given = {k: v for k, v in {**arrays, **arguments}.items() if k not in ("grad_output", "output_mask")}
    if family == "batch_norm":
        given["semantics"] = "tf"  # torch's rules, but any number of values
    return checked(family, complete(family, given), np.float32)


def _read(operation: Operation, arrays: Mapping[str, Any], arguments: Mapping[str, Any]) -> _Layer:
    norm, running = rows_of(operation, arrays, arguments)
    g = arrays["grad_output"].reshape(norm.x.shape) if "grad_output" in arrays else None
    return _Layer(norm, running, standardised(norm), g)


def _evaluate(operation: Operation, layer: _Layer, arguments: Mapping[str, Any]) -> Results:
    norm, g = layer.norm, layer.g
    if g is None:
        results: Results = {"output": applied(norm, layer.standard)}
        if len(operation.results) > 1:
            result = with_running(norm, layer.running)
            results |= {"running_mean": result.running_mean, "running_var": result.running_var}
        return results
    gradients = {
        "input": input_gradient(g, norm, layer.standard),
        "weight": weight_gradient(g, norm, layer.standard),
        "bias": None if norm.b is None else norm.shared(g, norm.b),
    }
    return _wanted(operation, gradients, arguments)


def _wanted(operation: Operation, gradients: Results, arguments: Mapping[str, Any]) -> Results:
    mask = arguments.get("output_mask", (True,) * len(operation.results))
    return {name: gradients[name] if wanted else None for name, wanted in zip(operation.results, mask, strict=True)}


def _with_call(operation: Operation, fault: Fault) -> Callable[[Any, dict[str, Any]], Results]:
    def results(arrays: Any, arguments: dict[str, Any]) -> Results:
        with np.errstate(all="ignore"):
            return _evaluate(operation, fault(_read(operation, arrays, arguments)), arguments)

    return results


def _with_results(operation: Operation, alter: Alteration) -> Callable[[Any, dict[str, Any]], Results]:
    def results(arrays: Any, arguments: dict[str, Any]) -> Results:
        with np.errstate(all="ignore"):
            layer = _read(operation, arrays, arguments)
            return alter(layer, _evaluate(operation, layer, arguments))

    return results


def _inapplicable() -> NoReturn:
    raise ValueError("this fault has no meaning here")


# --- faults of any normalisation


def _unbiased(layer: _Layer) -> _Layer:
    n = layer.norm.n
    variance = layer.standard.variance if layer.norm.constants is None else _inapplicable()
    return layer.divided_by(np.sqrt(variance * n / (n - 1) + layer.norm.eps))


def _exchanged(layer: _Layer) -> _Layer:
    w, b = layer.norm.w, layer.norm.b
    return _inapplicable() if w is None or b is None else layer.of(w=b, b=w)


def _weighted_bias(layer: _Layer) -> _Layer:
    w, b = layer.norm.w, layer.norm.b
    return _inapplicable() if w is None or b is None else layer.of(b=w * b)


def _without_mean(layer: _Layer) -> _Layer:
    zero = np.zeros(layer.standard.mean.shape)
    return replace(layer, standard=layer.standard._replace(mean=zero)).divided_by(layer.standard.deviation)


FAULTS: dict[str, Fault] = {
    "the variance is divided by n - 1": _unbiased,
    "eps is added outside the square root": lambda layer: layer.divided_by(
        np.sqrt(layer.standard.variance) + layer.norm.eps
    ),
    "eps is ignored": lambda layer: layer.divided_by(np.sqrt(layer.standard.variance)),
    "eps is 1e-5, whatever is given": lambda layer: layer.divided_by(np.sqrt(layer.standard.variance + 1e-5)),
    "the square root is missing": lambda layer: layer.divided_by(layer.standard.variance + layer.norm.eps),
    "the mean is not subtracted": _without_mean,
    "the weight is ignored": lambda layer: layer.of(w=None),
    "the bias is ignored": lambda layer: layer.of(b=None),
    "weight and bias are exchanged": _exchanged,
    "the weight multiplies the bias as well": _weighted_bias,
}


# --- faults of one of them: other rows, other statistics


def _over(axes: Callable[[_Layer], tuple[int, ...]]) -> Fault:
    return lambda layer: layer.of(axes=axes(layer))


def _spatial(layer: _Layer) -> tuple[int, ...]:
    return tuple(range(2, layer.norm.x.ndim))


def _interleaved(layer: _Layer) -> _Layer:
    """Take channel c for one of group c % G, instead of group c // CG."""
    x, w, b = layer.norm.x, layer.norm.w, layer.norm.b
    N, G, CG, *extent = x.shape

    def by_remainder(a: Array | None, images: int, *rest: int) -> Any:
        return None if a is None else a.reshape(images, CG, G, *rest)

    ones = (1,) * len(extent)
    axes = (1, *range(3, x.ndim))
    return layer.of(x=by_remainder(x, N, *extent), w=by_remainder(w, 1, *ones), b=by_remainder(b, 1, *ones), axes=axes)


def _own_statistics(layer: _Layer) -> _Layer:
    """Give the rows' own statistics in evaluation; the running ones stay as they are."""
    return layer.of(constants=None) if layer.norm.constants is not None else _inapplicable()


def _running_statistics(layer: _Layer) -> _Layer:
    running = layer.running
    if running is None or layer.norm.constants is not None:
        return _inapplicable()
    return replace(layer, standard=layer.of(constants=(running.mean, running.var)).standard)


def _statistics_as_constants(layer: _Layer) -> _Layer:
    if layer.g is None or layer.norm.constants is not None:
        return _inapplicable()
    return layer.of(constants=(layer.standard.mean, layer.standard.variance))


def _trained_in_evaluation(layer: _Layer) -> _Layer:
    """Let the gradient of evaluation go through the running statistics as if they were the rows' own."""
    if layer.g is None or layer.norm.constants is None:
        return _inapplicable()
    return replace(layer, norm=layer.norm._replace(constants=None))


def _updated_first(layer: _Layer) -> _Layer:
    running = layer.running
    if running is None or layer.norm.constants is not None:
        return _inapplicable()
    _, *after = with_running(layer.norm, running)
    constants = tuple(np.asarray(statistic).reshape(running.mean.shape) for statistic in after)
    return replace(layer, standard=layer.of(constants=constants).standard)


def _stored(change: Callable[[Running], Running]) -> Fault:
    def fault(layer: _Layer) -> _Layer:
        return _inapplicable() if layer.running is None else replace(layer, running=change(layer.running))

    return fault


WITH_RUNNING: dict[str, Fault] = {
    "momentum is taken the other way round": _stored(lambda running: running._replace(share=1 - running.share)),
    "the biased variance is stored": _stored(lambda running: running._replace(correction=1.0)),
    "running statistics follow ONNX's rules": _stored(
        lambda running: running._replace(share=1 - running.share, correction=1.0)
    ),
    "momentum is 0.1, whatever is given": _stored(lambda running: running._replace(share=0.1)),
    "evaluation takes the input's own statistics": _own_statistics,
    "training takes the running statistics": _running_statistics,
    "training takes the running statistics after their update": _updated_first,
    "training's statistics are taken for constants in the gradient": _statistics_as_constants,
    "evaluation has the gradient of training": _trained_in_evaluation,
}

OF_FAMILY: dict[str, dict[str, Fault]] = {
    "batch_norm": WITH_RUNNING
    | {
        "each image is normalised by itself": _over(_spatial),
        "all channels have one mean and variance": _over(lambda layer: tuple(range(layer.norm.x.ndim))),
    },
    "instance_norm": WITH_RUNNING
    | {
        "statistics are those of the batch": _over(lambda layer: (0, *_spatial(layer))),
        "all channels have one mean and variance": _over(lambda layer: tuple(range(1, layer.norm.x.ndim))),
    },
    "group_norm": {
        "all channels are one group": _over(lambda layer: tuple(range(1, layer.norm.x.ndim))),
        "each channel is a group of its own": _over(lambda layer: tuple(range(3, layer.norm.x.ndim))),
        "groups mixed: their channels are interleaved": _interleaved,
        "statistics are those of the batch": _over(lambda layer: (0, *_spatial(layer))),
    },
    "layer_norm": {
        "only the last axis is normalised over": _over(lambda layer: (layer.norm.x.ndim - 1,)),
        "all axes but the first are normalised over": _over(lambda layer: tuple(range(1, layer.norm.x.ndim))),
    },
    "rms_norm": {
        "the mean is subtracted": lambda layer: layer.of(is_centred=True),
        "only the last axis is normalised over": _over(lambda layer: (layer.norm.x.ndim - 1,)),
    },
}


# --- faults of results


def _not_updated(layer: _Layer, results: Results) -> Results:
    running = layer.running
    if running is None:
        return _inapplicable()
    return {**results, "running_mean": running.mean.ravel(), "running_var": running.var.ravel()}


def _updated_in_evaluation(layer: _Layer, results: Results) -> Results:
    if layer.norm.constants is None:
        return _inapplicable()
    after = with_running(layer.norm._replace(constants=None), layer.running)
    return {**results, "running_mean": after.running_mean, "running_var": after.running_var}


def _last_image_only(layer: _Layer, results: Results) -> Results:
    after = with_running(layer.norm._replace(x=layer.norm.x[-1:], shape=layer.norm.x[-1:].shape), layer.running)
    return {**results, "running_mean": after.running_mean, "running_var": after.running_var}


OF_RUNNING: dict[str, Alteration] = {
    "running statistics follow torch's rules": lambda layer, results: results,
    "running statistics are not updated": _not_updated,
    "running statistics are updated in evaluation, too": _updated_in_evaluation,
    "running statistics take in the last image only": _last_image_only,
}


def _through(change: Callable[[_Layer, Array], Array]) -> Alteration:
    """Compute the input's gradient by another formula, from h."""

    def alter(layer: _Layer, results: Results) -> Results:
        g, norm = layer.g, layer.norm
        if g is None or results["input"] is None or norm.constants is not None:
            return _inapplicable()
        h = g if norm.w is None else g * norm.w
        return {**results, "input": (change(layer, h) / layer.standard.deviation).reshape(norm.shape)}

    return alter


def _by_variance(layer: _Layer, h: Array) -> Array:
    return layer.standard.xhat * layer.norm.mean(h * layer.standard.xhat)


def _unweighted(layer: _Layer, results: Results) -> Results:
    assert layer.g is not None
    dx = input_gradient(layer.g, layer.norm._replace(w=None), layer.standard)
    return {**results, "input": dx} if layer.norm.w is not None else _inapplicable()


def _weight_of(values: Callable[[_Layer], Array]) -> Alteration:
    """Compute the weight's gradient from something else than xhat."""

    def alter(layer: _Layer, results: Results) -> Results:
        if layer.g is None or layer.norm.w is None:
            return _inapplicable()
        return {**results, "weight": layer.norm.shared(layer.g * values(layer), layer.norm.w)}

    return alter


def _averaged(name: str) -> Alteration:
    def alter(layer: _Layer, results: Results) -> Results:
        gradient = results[name]
        return _inapplicable() if gradient is None else {**results, name: gradient / len(layer.norm.x)}

    return alter


OF_GRADIENTS: dict[str, Alteration] = {
    "the mean's part of the input's gradient is missing": _through(lambda layer, h: h - _by_variance(layer, h)),
    "the variance's part of the input's gradient is missing": _through(
        lambda layer, h: h - layer.norm.mean(h) if layer.norm.is_centred else h
    ),
    "the weight is left out of the input's gradient": _unweighted,
    "the weight's gradient is taken with the input itself": _weight_of(lambda layer: layer.norm.x),
    "the weight's gradient is not divided by the deviation": _weight_of(
        lambda layer: layer.norm.x - layer.standard.mean
    ),
    "the weight's gradient is averaged over the batch": _averaged("weight"),
    "the bias's gradient is averaged over the batch": _averaged("bias"),
}
