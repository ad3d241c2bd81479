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

/* The lanes of two vectors in turn, from their first halves and from their second ones; and every second lane of both,
 * one vector after the other. */
#if LANES == 16
#define FIRST_HALVES 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define SECOND_HALVES 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define EVEN_LANES 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define ODD_LANES 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#elif LANES == 8
#define FIRST_HALVES 0, 8, 1, 9, 2, 10, 3, 11
#define SECOND_HALVES 4, 12, 5, 13, 6, 14, 7, 15
#define EVEN_LANES 0, 2, 4, 6, 8, 10, 12, 14
#define ODD_LANES 1, 3, 5, 7, 9, 11, 13, 15
#elif LANES == 4
#define FIRST_HALVES 0, 4, 1, 5
#define SECOND_HALVES 2, 6, 3, 7
#define EVEN_LANES 0, 2, 4, 6
#define ODD_LANES 1, 3, 5, 7
#else
#define FIRST_HALVES 0, 2
#define SECOND_HALVES 1, 3
#define EVEN_LANES 0, 2
#define ODD_LANES 1, 3
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

#if ELEMENT == 16 && VECTOR_BYTES == 64
#define LOAD_HALVES vload_half16
#define STORE_HALVES vstore_half16_rte
#elif ELEMENT == 16 && VECTOR_BYTES == 32
#define LOAD_HALVES vload_half8
#define STORE_HALVES vstore_half8_rte
#elif ELEMENT == 16
#define LOAD_HALVES vload_half4
#define STORE_HALVES vstore_half4_rte
#else
#define LOAD_HALVES VLOAD
#define STORE_HALVES VSTORE
#endif

/* LANES elements from array[i] on. */
static inline vector load_elements(global const element *array, const index64 i) { return LOAD_HALVES(0, array + i); }
static inline void store_elements(global element *array, const index64 i, const vector value)
{
    STORE_HALVES(value, 0, array + i);
}

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

/* The instructions for halves are called by name: gcc 12 at -O3 mixes up the rows that some loops of conversions read. */
static inline vector load_elements(const element *array, const index64 i)
{
#if ELEMENT == 16 && defined(__AVX512F__) && VECTOR_BYTES == 64
    return (vector)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(array + i)));
#elif ELEMENT == 16 && defined(__F16C__) && VECTOR_BYTES == 32
    return (vector)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(array + i)));
#elif ELEMENT == 16
    real values[LANES];
    for (int lane = 0; lane < LANES; lane++) values[lane] = load(array, i + lane);
    return load_vector(values);
#else
    return load_vector(array + i);
#endif
}

static inline void store_elements(element *array, const index64 i, const vector value)
{
#if ELEMENT == 16 && defined(__AVX512F__) && VECTOR_BYTES == 64
    _mm256_storeu_si256((__m256i *)(array + i), _mm512_cvtps_ph((__m512)value, _MM_FROUND_TO_NEAREST_INT));
#elif ELEMENT == 16 && defined(__F16C__) && VECTOR_BYTES == 32
    _mm_storeu_si128((__m128i *)(array + i), _mm256_cvtps_ph((__m256)value, _MM_FROUND_TO_NEAREST_INT));
#elif ELEMENT == 16
    real values[LANES];
    store_vector(values, value);
    for (int lane = 0; lane < LANES; lane++) store(array, i + lane, values[lane]);
#else
    store_vector(array + i, value);
#endif
}

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
