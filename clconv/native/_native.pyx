# cython: language_level=3
"""Hands arguments and work-item ranges to the compiled kernels; the arithmetic is in the kernel files."""

from cpython.buffer cimport PyBUF_STRIDED_RO, PyBuffer_Release, PyObject_GetBuffer
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy


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


def packed(list arguments):
    """Return arguments as a kernel reads them: an integer for every parameter, and a float where it is real."""
    cdef clconv_argument argument
    content = bytearray()
    for value in arguments:
        if isinstance(value, float):
            argument.real = value
        else:
            argument.number = value
        content += (<char *>&argument)[: sizeof(clconv_argument)]
    return bytes(content)


cdef void *address_of(object array) except? NULL:
    """Return an address that is given as a number, where the first element of an array lies, or NULL for none."""
    cdef Py_buffer buffer
    if array is None:
        return NULL
    if isinstance(array, int):
        return <void *><size_t>array
    PyObject_GetBuffer(array, &buffer, PyBUF_STRIDED_RO)
    PyBuffer_Release(&buffer)
    return buffer.buf


def run(int index, bytes arguments, tuple places, list arrays, int64_t items, int threads):
    """Run a compiled kernel over its work-items without the interpreter's lock.

    ``arguments`` is what :func:`packed` returned; the places of the arrays, or of the numbers that are addresses, are
    put into those of the given places. The caller vouches for the strides and the addresses.
    """
    cdef Py_ssize_t count = len(arguments) // sizeof(clconv_argument), which, place
    if not 0 <= index < clconv_kernel_count:
        raise IndexError(index)
    cdef clconv_argument *values = <clconv_argument *>malloc((count + 1) * sizeof(clconv_argument))
    if values == NULL:
        raise MemoryError
    try:
        memcpy(values, <const char *>arguments, count * sizeof(clconv_argument))
        for which in range(len(places)):
            place = places[which]
            if not 0 <= place < count:
                raise IndexError(place)
            values[place].array = address_of(arrays[which])
        with nogil:
            clconv_run(clconv_kernels[index].function, values, items, threads)
    finally:
        free(values)
