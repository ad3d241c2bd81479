"""Calls of clconv beside the same calls of the oracle, with fences, repeated and compared."""

from __future__ import annotations

import numpy as np

import clconv
from clconv.devices import executor_for
from clconv.oracle import bounds, reference
from clconv.plan import Traits
from tests.fences import fenced
from tests.strategies import laid_out

#: Positions of the arrays that an operation updates in place.
UPDATED = {"batch_norm": (1, 2), "instance_norm": (1, 2)}


def integers(random, shape, dtype, terms):
    """Draw integers whose sums of ``terms`` products are exact in any order."""
    largest = min(bounds.largest_exact_integer(terms, dtype), 1000)
    return random.integers(-largest, largest, shape, endpoint=True).astype(dtype)


def reals(random, shape, dtype, terms):
    """Draw normal numbers, a tenth of them scaled by powers of two, so that sums cancel and magnitudes differ."""
    values = random.standard_normal(shape)
    powers = np.where(random.random(shape) < 0.1, random.integers(-4, 5, shape), 0)
    return (values * 2.0**powers).astype(dtype)


def arrays_of(case, values):
    """Return input, weight, bias (or None) and gradient of the output for a drawn convolution."""
    random = np.random.default_rng(case.seed)

    def draw(shape, layout):
        return laid_out(values(random, shape, case.dtype, case.terms), layout)

    bias = draw((case.output_channels,), case.layouts[1]) if case.bias else None
    x, w, dy = (
        draw(shape, layout)
        for shape, layout in zip((case.input_shape, case.weight_shape, case.output_shape), case.layouts, strict=True)
    )
    return x, w, bias, dy


def with_every_algorithm(operation, device, record, *arrays, **arguments):
    """Yield the results of the algorithm that the device's traits choose, and of the portable one."""
    leader = next(array for array in arrays if isinstance(array, np.ndarray))
    executor = executor_for(device, leader, leader.dtype.name)
    own = executor.traits
    try:
        for executor.traits in traits_tried(own):
            yield run_twice(operation, device, record, *arrays, **arguments)
    finally:
        executor.traits = own


def traits_tried(own):
    """Return the traits with which an operation is called: a device's own, and those of which nothing is known."""
    return dict.fromkeys((own, Traits()))


def is_interpreted(device):
    """Return whether a device interprets kernels, a thousand times slower than they run."""
    return "oclgrind" in device


def run_twice(operation, device, record, *arrays, **arguments):
    """Call an operation twice between fences, and return its result: the same bits twice, inputs unchanged.

    Where kernels are interpreted they are called once: what would give other bits is reported there by itself.
    """
    given = [array for array in arrays if isinstance(array, np.ndarray)]
    before = [array.copy() for array in given]
    executor = executor_for(device, given[0], given[0].dtype.name)
    with fenced(executor, record, device):
        one = called(operation, device, arrays, arguments)
        two = one if is_interpreted(device) else called(operation, device, arrays, arguments)
    for array, copy in zip(given, before, strict=True):
        np.testing.assert_array_equal(array, copy, err_msg="an input was changed")
    for first, second in zip(as_tuple(one), as_tuple(two), strict=True):
        assert (first is None) == (second is None)
        if first is not None:
            assert first.tobytes() == second.tobytes(), "the same call gave other bits"
    return one


def called(operation, device, arrays, arguments):
    """Call an operation; copies of the arrays that it updates are passed, and are results as well."""
    updated = [i for i in UPDATED.get(operation, ()) if i < len(arrays)]
    passed = [array.copy() if i in updated and array is not None else array for i, array in enumerate(arrays)]
    result = getattr(clconv, operation)(*passed, **arguments, device=device)
    absent = (None,) * (len(UPDATED.get(operation, ())) - len(updated))
    return (result, *(passed[i] for i in updated), *absent) if operation in UPDATED else result


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)


def as_the_reference_takes_it(operation, arrays, arguments):
    """Return a function of the reference and its arguments: an epilogue's parts are arguments of their own."""
    function = getattr(reference, operation)
    epilogue = next((a for a in (*arrays, *arguments.values()) if isinstance(a, clconv.Epilogue)), None)
    if epilogue is None:
        return function, arrays, arguments
    arrays = tuple(a for a in arrays if not isinstance(a, clconv.Epilogue))
    plain = {name: value for name, value in arguments.items() if value is not epilogue}
    if operation == "epilogue_backward":
        return function, arrays, {**plain, **vars(epilogue)}
    return (lambda *arrays, **plain: reference.epilogue(function(*arrays, **plain), **vars(epilogue))), arrays, plain


def assert_exact(operation, device, record, *arrays, **arguments):
    """Assert that clconv's result on integers is the reference's, rounded to the dtype, bit for bit."""
    function, its_arrays, its_arguments = as_the_reference_takes_it(operation, arrays, arguments)
    expected = function(*its_arrays, **its_arguments)
    for got in with_every_algorithm(operation, device, record, *arrays, **arguments):
        for ours, exact in zip(as_tuple(got), as_tuple(expected), strict=True):
            assert (ours is None) == (exact is None)
            if ours is not None:
                with np.errstate(over="ignore"):
                    np.testing.assert_array_equal(ours, exact.astype(ours.dtype), strict=True)
    record.cases[device] += 1


#: Largest error over largest output, in units of roundoff, that the class "default" stays below: 3e-6 in float32.
CLASS_ERROR = 3e-6 / 2**-24


def assert_within_class(operation, device, record, *arrays, **arguments):
    """Assert that no error of clconv's result is larger than the class "default" allows for the largest output."""
    function, its_arrays, its_arguments = as_the_reference_takes_it(operation, arrays, arguments)
    expected = function(*its_arrays, **its_arguments)
    for got in with_every_algorithm(operation, device, record, *arrays, **arguments):
        for ours, exact in zip(as_tuple(got), as_tuple(expected), strict=True):
            assert (ours is None) == (exact is None)
            if ours is not None:
                limit = CLASS_ERROR * bounds.unit_roundoff(ours.dtype) * np.abs(exact).max()
                assert ours.shape == exact.shape
                assert np.abs(ours - exact).max() < limit
    record.cases[device] += 1


def assert_all_within_bound(operation, results, *arrays, **arguments):
    """Assert that none of several implementations' results is farther from the reference than its bound."""
    expected = getattr(reference, operation)(*arrays, **arguments)
    limits = bounds.bound(operation, *arrays, dtype=arrays[0].dtype, **arguments)
    for result in results:
        for got, exact, limit in zip(as_tuple(result), as_tuple(expected), as_tuple(limits), strict=True):
            if exact is not None:
                assert got.shape == exact.shape
                ratio = bounds.worst_ratio(got, exact, limit)
                assert ratio <= 1, f"an error of {operation} is {ratio} times its bound"


def assert_within_bound(operation, device, record, *arrays, **arguments):
    """Assert that no element of clconv's result is farther from the reference than its own bound."""
    function, its_arrays, its_arguments = as_the_reference_takes_it(operation, arrays, arguments)
    native_order = [a.astype(a.dtype.newbyteorder("=")) if isinstance(a, np.ndarray) else a for a in its_arrays]
    expected = function(*native_order, **its_arguments)
    dtype = native_order[0].dtype
    limits = bounds.bound(operation, *native_order, dtype=dtype, **its_arguments)
    for got in with_every_algorithm(operation, device, record, *arrays, **arguments):
        for ours, exact, limit in zip(as_tuple(got), as_tuple(expected), as_tuple(limits), strict=True):
            assert (ours is None) == (exact is None)
            if ours is not None:
                finite = np.isfinite(limit)  # where halves may overflow there is nothing to compare
                ratio = bounds.worst_ratio(ours[finite], exact[finite], limit[finite])
                record.worst[device] = max(record.worst[device], ratio)
                assert ratio <= 1, f"an error is {ratio} times its bound"
    record.cases[device] += 1
