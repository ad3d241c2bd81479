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

#if defined(__OPENCL_VERSION__) || defined(__OPENCL_C_VERSION__)

#if ELEMENT == 64 && VECTOR_BYTES == 64
typedef double8 vector;
#define VLOAD vload8
#define VSTORE vstore8
#elif ELEMENT == 64 && VECTOR_BYTES == 32
typedef double4 vector;
#define VLOAD vload4
#define VSTORE vstore4
#elif ELEMENT == 64
typedef double2 vector;
#define VLOAD vload2
#define VSTORE vstore2
#elif VECTOR_BYTES == 64
typedef float16 vector;
#define VLOAD vload16
#define VSTORE vstore16
#elif VECTOR_BYTES == 32
typedef float8 vector;
#define VLOAD vload8
#define VSTORE vstore8
#else
typedef float4 vector;
#define VLOAD vload4
#define VSTORE vstore4
#endif

static inline vector splat(const real value) { return (vector)(value); }
static inline vector load_vector(global const real *array) { return VLOAD(0, array); }
static inline void store_vector(real *array, const vector value) { VSTORE(value, 0, array); }
static inline vector vector_of(const real *lanes) { return VLOAD(0, lanes); }
static inline void write_vector(global real *array, const vector value) { VSTORE(value, 0, array); }

/* Elements from global memory and back. */
#if ELEMENT == 16 && VECTOR_BYTES == 64
static inline vector load_elements(global const element *array, const index64 i) { return vload_half16(0, array + i); }
static inline void store_elements(global element *array, const index64 i, const vector value)
{
    vstore_half16_rte(value, 0, array + i);
}
#elif ELEMENT == 16 && VECTOR_BYTES == 32
static inline vector load_elements(global const element *array, const index64 i) { return vload_half8(0, array + i); }
static inline void store_elements(global element *array, const index64 i, const vector value)
{
    vstore_half8_rte(value, 0, array + i);
}
#elif ELEMENT == 16
static inline vector load_elements(global const element *array, const index64 i) { return vload_half4(0, array + i); }
static inline void store_elements(global element *array, const index64 i, const vector value)
{
    vstore_half4_rte(value, 0, array + i);
}
#else
static inline vector load_elements(global const element *array, const index64 i) { return VLOAD(0, array + i); }
static inline void store_elements(global element *array, const index64 i, const vector value)
{
    VSTORE(value, 0, array + i);
}
#endif

/* The lanes of the lower halves of two vectors, or of the upper ones, in turn. */
static inline vector interleaved_lower(const vector a, const vector b)
{
    vector both;
    both.even = a.lo;
    both.odd = b.lo;
    return both;
}
static inline vector interleaved_upper(const vector a, const vector b)
{
    vector both;
    both.even = a.hi;
    both.odd = b.hi;
    return both;
}

/* Every second lane of two vectors behind each other. */
static inline vector even_lanes(const vector a, const vector b)
{
    vector both;
    both.lo = a.even;
    both.hi = b.even;
    return both;
}
static inline vector odd_lanes(const vector a, const vector b)
{
    vector both;
    both.lo = a.odd;
    both.hi = b.odd;
    return both;
}

#else /* C */

typedef real vector __attribute__((vector_size(VECTOR_BYTES)));

static inline vector splat(const real value) { return value - (vector){0}; }

static inline vector load_vector(const real *array)
{
    vector value;
    memcpy(&value, array, sizeof value);
    return value;
}

static inline void store_vector(real *array, const vector value) { memcpy(array, &value, sizeof value); }
static inline vector vector_of(const real *lanes) { return load_vector(lanes); }
static inline void write_vector(real *array, const vector value) { store_vector(array, value); }

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

#if LANES == 16
#define LOWER 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23
#define UPPER 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31
#define EVEN 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#define ODD 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31
#elif LANES == 8
#define LOWER 0, 8, 1, 9, 2, 10, 3, 11
#define UPPER 4, 12, 5, 13, 6, 14, 7, 15
#define EVEN 0, 2, 4, 6, 8, 10, 12, 14
#define ODD 1, 3, 5, 7, 9, 11, 13, 15
#elif LANES == 4
#define LOWER 0, 4, 1, 5
#define UPPER 2, 6, 3, 7
#define EVEN 0, 2, 4, 6
#define ODD 1, 3, 5, 7
#else
#define LOWER 0, 2
#define UPPER 1, 3
#define EVEN 0, 2
#define ODD 1, 3
#endif

#if defined(__clang__)
#define SHUFFLED(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#if ELEMENT == 64
typedef int64_t lane_numbers __attribute__((vector_size(VECTOR_BYTES)));
#else
typedef int32_t lane_numbers __attribute__((vector_size(VECTOR_BYTES)));
#endif
#define SHUFFLED(a, b, ...) __builtin_shuffle(a, b, (lane_numbers){__VA_ARGS__})
#endif

static inline vector interleaved_lower(const vector a, const vector b) { return SHUFFLED(a, b, LOWER); }
static inline vector interleaved_upper(const vector a, const vector b) { return SHUFFLED(a, b, UPPER); }
static inline vector even_lanes(const vector a, const vector b) { return SHUFFLED(a, b, EVEN); }
static inline vector odd_lanes(const vector a, const vector b) { return SHUFFLED(a, b, ODD); }

#endif

/* The same in both: one of the log2(LANES) steps of a transposition, which moves row i of the upper half behind row i of
 * the lower one, lane by lane. */
static inline void transposition_step(vector *to, const vector *from)
{
    for (int i = 0; i < LANES / 2; i++) {
        to[2 * i] = interleaved_lower(from[i], from[i + LANES / 2]);
        to[2 * i + 1] = interleaved_upper(from[i], from[i + LANES / 2]);
    }
}

/* Makes the rows of a square of LANES vectors its columns. */
static inline void transpose(vector *square)
{
    vector other[LANES];
    transposition_step(other, square);
#if LANES == 2
    for (int i = 0; i < LANES; i++) square[i] = other[i];
#else
    transposition_step(square, other);
#if LANES >= 8
    transposition_step(other, square);
#if LANES == 8
    for (int i = 0; i < LANES; i++) square[i] = other[i];
#else
    transposition_step(square, other);
#endif
#endif
#endif
}

#endif
