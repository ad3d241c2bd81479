# cython: language_level=3
"""Hands arguments and work-item ranges to the compiled kernels; the arithmetic is in the kernel files."""

from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc


cdef extern from "clconv_native.h":
    cdef union clconv_argument:
        void *array
        int64_t number
        double real

    ctypedef void (*clconv_function)(const clconv_argument *, int64_t, int64_t) noexcept nogil

    cdef struct clconv_kernel:
        const char *key
        const char *level
        clconv_function function

    const clconv_kernel clconv_kernels[]
    const int clconv_kernel_count
    const char clconv_sources_hash[]
    bint clconv_level_runs(const char *level)
    void clconv_run(clconv_function, const clconv_argument *, int64_t, int) noexcept nogil


def sources_hash():
    """Return the hash of the kernel files that this extension was compiled from."""
    return clconv_sources_hash.decode()


def level_runs(str level):
    """Return whether this processor can run code compiled for ``level``."""
    return clconv_level_runs(level.encode())


def kernels():
    """Return the index of every compiled kernel by ``(key, level)``."""
    cdef int index
    return {
        (clconv_kernels[index].key.decode(), clconv_kernels[index].level.decode()): index
        for index in range(clconv_kernel_count)
    }


def run(int index, list arguments, int64_t items, int threads):
    """Run a compiled kernel over its work-items without the interpreter's lock.

    ``arguments`` holds an integer for every parameter, an address where the parameter is an array, and a float where it
    is real. The caller vouches for the addresses, and keeps what they point to alive.
    """
    cdef Py_ssize_t count = len(arguments), position
    if not 0 <= index < clconv_kernel_count:
        raise IndexError(index)
    cdef clconv_argument *packed = <clconv_argument *>malloc((count + 1) * sizeof(clconv_argument))
    if packed == NULL:
        raise MemoryError
    try:
        for position in range(count):
            if isinstance(arguments[position], float):
                packed[position].real = arguments[position]
            else:  # an address beyond the signed half is still the same 64 bits
                packed[position].number = <int64_t>(<object>arguments[position])
        with nogil:
            clconv_run(clconv_kernels[index].function, packed, items, threads)
    finally:
        free(packed)
