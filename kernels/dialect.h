/* The common subset of OpenCL C 1.2 and C that every kernel here is written in.
 *
 * An OpenCL driver compiles a kernel file as it is. The host's C compiler compiles the same file into the native
 * extension, where a kernel becomes a plain function that handles one work-item. This header is the only place that
 * spells what the two languages write differently; a lint keeps the raw forms out of the other files.
 *
 * ELEMENT is the width in bits of an array element: 16, 32 or 64. `element` is its type in memory, `real` the type that
 * arithmetic is done in. Half is a storage format only: its arithmetic is float's, so no device needs cl_khr_fp16.
 * `element_bits` is an integer as wide as an element, for kernels that only move elements: every bit stays as it is.
 */
#ifndef CLCONV_DIALECT_H
#define CLCONV_DIALECT_H

#ifndef ELEMENT
#define ELEMENT 32
#endif

#if ELEMENT != 16 && ELEMENT != 32 && ELEMENT != 64
#error "ELEMENT must be 16, 32 or 64"
#endif

#if defined(__OPENCL_VERSION__) || defined(__OPENCL_C_VERSION__)

#if ELEMENT == 64 && defined(cl_khr_fp64)
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
#endif

/* 64 bits on every device and host: C's long has 32 on some. */
typedef long index64;
typedef uint bits32;
typedef ulong bits64;

/* Asks for the memory of an element that will be read soon, if there is one; devices but processors decide themselves. */
#if defined(__clang__) && (defined(__x86_64__) || defined(__aarch64__))
#define FETCH_AHEAD(array, i) __builtin_prefetch((const void *)(uintptr_t)((array) + (i)))
#else
#define FETCH_AHEAD(array, i)
#endif

/* OpenCL keeps the index of the work-item in the device; C passes it as the kernel's first argument. */
#define WORK_ITEM
#define WORK_ITEM_INDEX ((index64)get_global_id(0))

/* A function that should share no registers with its caller: here, a compiler decides. */
#define APART static inline

/* Before a loop whose rounds touch no element of each other's, although it may read and write the same array. */
#define INDEPENDENT

/* Before a loop of few rounds that must be written out, because it walks an array that is to lie in registers. */
#if defined(__clang__)
#define UNROLLED _Pragma("unroll")
#else
#define UNROLLED
#endif

#if ELEMENT == 16
typedef ushort element_bits;
#elif ELEMENT == 32
typedef uint element_bits;
#else
typedef ulong element_bits;
#endif

#if ELEMENT == 16
typedef half element;
typedef float real;
static inline real load(global const element *array, const index64 i) { return vload_half(i, array); }
static inline void store(global element *array, const index64 i, const real value) { vstore_half_rte(value, i, array); }
#endif

#else /* C */

#include <stdint.h>
#include <string.h>

#define kernel static
#define global
typedef int64_t index64;
typedef uint32_t bits32;
typedef uint64_t bits64;

#define FETCH_AHEAD(array, i) __builtin_prefetch((array) + (i))

#define WORK_ITEM const int64_t clconv_work_item,
#define WORK_ITEM_INDEX clconv_work_item

/* Out of line: neither it nor its caller takes registers from the other. */
#if defined(__GNUC__)
#define APART static __attribute__((noinline))
#else
#define APART static
#endif

#if defined(__clang__)
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#elif defined(__GNUC__)
#define INDEPENDENT _Pragma("GCC ivdep")
#else
#define INDEPENDENT
#endif

#if defined(__clang__)
#define UNROLLED _Pragma("unroll")
#elif defined(__GNUC__)
#define UNROLLED _Pragma("GCC unroll 32")
#else
#define UNROLLED
#endif

#if ELEMENT == 16
typedef uint16_t element_bits;
#elif ELEMENT == 32
typedef uint32_t element_bits;
#else
typedef uint64_t element_bits;
#endif

#if ELEMENT == 16
#include "half.h"
typedef uint16_t element;
typedef float real;
static inline real load(const element *array, const index64 i) { return float_from_half(array[i]); }
static inline void store(element *array, const index64 i, const real value) { array[i] = half_from_float(value); }
#endif

#endif

#if ELEMENT == 32
typedef float element;
typedef float real;
#elif ELEMENT == 64
typedef double element;
typedef double real;
#endif

/* The bits of a real, as an unsigned integer of its width. */
#if ELEMENT == 64
typedef bits64 bits;
#else
typedef bits32 bits;
#endif

#if defined(__OPENCL_VERSION__) || defined(__OPENCL_C_VERSION__)
#if ELEMENT == 64
static inline bits bits_of(const real value) { return as_ulong(value); }
static inline real real_of(const bits value) { return as_double(value); }
#else
static inline bits bits_of(const real value) { return as_uint(value); }
static inline real real_of(const bits value) { return as_float(value); }
#endif
#else
static inline bits bits_of(const real value)
{
    bits result;
    memcpy(&result, &value, sizeof result);
    return result;
}
static inline real real_of(const bits value)
{
    real result;
    memcpy(&result, &value, sizeof result);
    return result;
}
#endif

#if ELEMENT != 16
static inline real load(global const element *array, const index64 i) { return array[i]; }
static inline void store(global element *array, const index64 i, const real value) { array[i] = value; }
#endif

#endif
