/* Vectors of LANES reals, VECTOR_BYTES wide: the width of the processor's registers. */
#ifndef CLCONV_VECTOR_H
#define CLCONV_VECTOR_H

#include "dialect.h"

#ifndef VECTOR_BYTES
#define VECTOR_BYTES 64
#endif

#if ELEMENT == 64
#define LANES (VECTOR_BYTES / 8)
#else
#define LANES (VECTOR_BYTES / 4)
#endif

/* The lanes of two vectors in turn, from their first halves and from their second ones. */
#if LANES == 16
#define FIRST_HALVES 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define SECOND_HALVES 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#elif LANES == 8
#define FIRST_HALVES 0, 8, 1, 9, 2, 10, 3, 11
#define SECOND_HALVES 4, 12, 5, 13, 6, 14, 7, 15
#elif LANES == 4
#define FIRST_HALVES 0, 4, 1, 5
#define SECOND_HALVES 2, 6, 3, 7
#else
#define FIRST_HALVES 0, 2
#define SECOND_HALVES 1, 3
#endif

#if defined(__OPENCL_VERSION__) || defined(__OPENCL_C_VERSION__)

#if ELEMENT == 64 && VECTOR_BYTES == 64
typedef double8 vector;
typedef ulong8 lane_numbers;
#define VLOAD vload8
#define VSTORE vstore8
#elif ELEMENT == 64 && VECTOR_BYTES == 32
typedef double4 vector;
typedef ulong4 lane_numbers;
#define VLOAD vload4
#define VSTORE vstore4
#elif ELEMENT == 64
typedef double2 vector;
typedef ulong2 lane_numbers;
#define VLOAD vload2
#define VSTORE vstore2
#elif VECTOR_BYTES == 64
typedef float16 vector;
typedef uint16 lane_numbers;
#define VLOAD vload16
#define VSTORE vstore16
#elif VECTOR_BYTES == 32
typedef float8 vector;
typedef uint8 lane_numbers;
#define VLOAD vload8
#define VSTORE vstore8
#else
typedef float4 vector;
typedef uint4 lane_numbers;
#define VLOAD vload4
#define VSTORE vstore4
#endif

#define SHUFFLED(a, b, ...) shuffle2(a, b, (lane_numbers)(__VA_ARGS__))

static inline vector splat(const real value) { return (vector)(value); }
static inline vector load_vector(global const real *array) { return VLOAD(0, array); }
static inline vector load_private(const real *array) { return VLOAD(0, array); }
static inline void store_vector(real *array, const vector value) { VSTORE(value, 0, array); }
static inline void store_global(global real *array, const vector value) { VSTORE(value, 0, array); }

#else /* C */

typedef real vector __attribute__((vector_size(VECTOR_BYTES)));

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define SHUFFLED(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#endif
#endif
#ifndef SHUFFLED /* gcc before 12 */
#if ELEMENT == 64
typedef int64_t lane_numbers __attribute__((vector_size(VECTOR_BYTES)));
#else
typedef int32_t lane_numbers __attribute__((vector_size(VECTOR_BYTES)));
#endif
#define SHUFFLED(a, b, ...) __builtin_shuffle(a, b, (lane_numbers){__VA_ARGS__})
#endif

static inline vector splat(const real value) { return value - (vector){0}; }

static inline vector load_vector(const real *array)
{
    vector value;
    memcpy(&value, array, sizeof value);
    return value;
}

static inline vector load_private(const real *array) { return load_vector(array); }
static inline void store_vector(real *array, const vector value) { memcpy(array, &value, sizeof value); }
static inline void store_global(real *array, const vector value) { memcpy(array, &value, sizeof value); }

#endif

/* Turns COUNT vectors, a power of two, into columns: as reals one after another, what was at [i][lane] is at [lane][i].
 * The index of a real is the bits of i and then those of lane; each round moves its first bit to the end. */
#define TRANSPOSE(vectors, COUNT) \
    for (int round = 1; round < (COUNT); round *= 2) { \
        vector turned[COUNT]; \
        for (int i = 0; i < (COUNT) / 2; i++) { \
            turned[2 * i] = SHUFFLED((vectors)[i], (vectors)[i + (COUNT) / 2], FIRST_HALVES); \
            turned[2 * i + 1] = SHUFFLED((vectors)[i], (vectors)[i + (COUNT) / 2], SECOND_HALVES); \
        } \
        for (int i = 0; i < (COUNT); i++) (vectors)[i] = turned[i]; \
    }

#endif
