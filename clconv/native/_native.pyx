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


def address(object array):
    """Return where the first element of an array lies; the caller keeps it alive."""
    return <size_t>address_of(array)


cdef struct Launch:
    clconv_function function
    int64_t items
    Py_ssize_t first  # of its arguments
    bint is_large  # enough for more than one thread


cdef struct Place:
    Py_ssize_t argument
    Py_ssize_t array  # one after the last is the workspace
    Py_ssize_t offset  # in bytes


cdef class Bound:
    """Launches with all of their arguments but the places of arrays, which every run gives.

    Parameters
    ----------
    launches : list of (index, arguments, places, items, is_large)
        The kernel's index, what :func:`packed` returned, and for each array argument its number among the arguments,
        the number of the array, which is ``arrays`` for the workspace, and how many bytes after that one begins it
        lies. The caller vouches for all of them.
    arrays : int
        How many arrays a run gives.
    kept : object
        What must live as long: that to which addresses among the arguments point.
    """

    cdef Launch *launches
    cdef Place *places
    cdef clconv_argument *arguments
    cdef Py_ssize_t launch_count, place_count, argument_count, array_count
    cdef object kept

    def __cinit__(self, list launches, Py_ssize_t arrays, object kept):
        cdef Py_ssize_t argument_count = 0, place_count = 0
        for _, arguments, places, _, _ in launches:
            argument_count += len(arguments) // <Py_ssize_t>sizeof(clconv_argument)
            place_count += len(places)
        self.array_count, self.kept = arrays, kept
        self.launches = <Launch *>malloc((len(launches) + 1) * sizeof(Launch))
        self.places = <Place *>malloc((place_count + 1) * sizeof(Place))
        self.arguments = <clconv_argument *>malloc((argument_count + 1) * sizeof(clconv_argument))
        if self.launches == NULL or self.places == NULL or self.arguments == NULL:
            raise MemoryError
        for index, arguments, places, items, is_large in launches:
            self.add(index, arguments, places, items, is_large)

    cdef add(self, int index, bytes arguments, list places, int64_t items, bint is_large):
        cdef Py_ssize_t count = len(arguments) // <Py_ssize_t>sizeof(clconv_argument), argument, array, offset
        if not 0 <= index < clconv_kernel_count:
            raise IndexError(index)
        memcpy(self.arguments + self.argument_count, <const char *>arguments, count * sizeof(clconv_argument))
        for argument, array, offset in places:
            if not (0 <= argument < count and 0 <= array <= self.array_count):
                raise IndexError((argument, array))
            self.places[self.place_count] = Place(self.argument_count + argument, array, offset)
            self.place_count += 1
        self.launches[self.launch_count] = Launch(
            clconv_kernels[index].function, items, self.argument_count, is_large
        )
        self.launch_count += 1
        self.argument_count += count

    def __dealloc__(self):
        free(self.launches)
        free(self.places)
        free(self.arguments)

    def run(self, tuple arrays, object workspace, int threads):
        """Run the launches, one after the other, without the interpreter's lock.

        Arrays and workspace are anything that :func:`address` takes, or numbers that are addresses, or None for null
        pointers. Several threads may run the same launches at once.
        """
        cdef Py_ssize_t which
        cdef Launch *launch
        cdef Place *place
        if len(arrays) != self.array_count:
            raise IndexError(len(arrays))
        cdef char **addresses = <char **>malloc((self.array_count + 1) * sizeof(char *))
        cdef clconv_argument *arguments = <clconv_argument *>malloc(
            (self.argument_count + 1) * sizeof(clconv_argument)
        )
        try:
            if addresses == NULL or arguments == NULL:
                raise MemoryError
            for which in range(self.array_count):
                addresses[which] = <char *>address_of(arrays[which])
            addresses[self.array_count] = <char *>address_of(workspace)
            with nogil:
                memcpy(arguments, self.arguments, self.argument_count * sizeof(clconv_argument))
                for which in range(self.place_count):
                    place = self.places + which
                    arguments[place.argument].array = addresses[place.array] + place.offset
                for which in range(self.launch_count):
                    launch = self.launches + which
                    clconv_run(
                        launch.function, arguments + launch.first, launch.items, threads if launch.is_large else 1
                    )
        finally:
            free(addresses)
            free(arguments)
