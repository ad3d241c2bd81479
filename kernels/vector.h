/* Vectors of LANES reals, VECTOR_BYTES wide: the width of the processor's registers, as far as it is known. An OpenCL
 * driver makes several of a wide vector where registers are narrower.
 */
#ifndef CLCONV_VECTOR_H
#define CLCONV_VECTOR_H

#include "dialect.h"

#ifndef VECTOR_BYTES
#if defined(__AVX512F__) || defined(__OPENCL_VERSION__) || defined(__OPENCL_C_VERSION__)
#define VECTOR_BYTES 64
#elif defined(__AVX__)
#define VECTOR_BYTES 32
#else
#define VECTOR_BYTES 16
#endif
#endif

#if ELEMENT == 64
#define NARROW (VECTOR_BYTES / 2)
#else
#define NARROW VECTOR_BYTES
#endif
#if NARROW == 64
#define LANES 16
#elif NARROW == 32
#define LANES 8
#elif NARROW == 16
#define LANES 4
#else
#define LANES 2
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

#define JOINED_NAMES(name, count) name##count
#define JOINED(name, count) JOINED_NAMES(name, count)
#define VLOAD JOINED(vload, LANES)
#define VSTORE JOINED(vstore, LANES)

#if ELEMENT == 64
typedef JOINED(double, LANES) vector;
typedef JOINED(long, LANES) integers;
typedef JOINED(ulong, LANES) lane_numbers;
#define AS_VECTOR JOINED(as_double, LANES)
#define AS_INTEGERS JOINED(as_long, LANES)
#else
typedef JOINED(float, LANES) vector;
typedef JOINED(int, LANES) integers;
typedef JOINED(uint, LANES) lane_numbers;
#define AS_VECTOR JOINED(as_float, LANES)
#define AS_INTEGERS JOINED(as_int, LANES)
#endif

#if LANES == 16
#define LANE_NUMBERS (integers)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15)
#elif LANES == 8
#define LANE_NUMBERS (integers)(0, 1, 2, 3, 4, 5, 6, 7)
#elif LANES == 4
#define LANE_NUMBERS (integers)(0, 1, 2, 3)
#else
#define LANE_NUMBERS (integers)(0, 1)
#endif

/* shuffle2 goes through memory with some drivers that are made of clang. oclgrind does not see what clang's operator writes,
 * and is told to use the function. */
#if defined(__clang__) && !defined(SHUFFLE_BY_FUNCTION)
#define SHUFFLED(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define SHUFFLED(a, b, ...) shuffle2(a, b, (lane_numbers)(__VA_ARGS__))
#endif

/* vstoren is taken apart by some drivers that are made of clang, which knows vectors without alignment. */
#if defined(__clang__)
typedef vector unaligned_vector __attribute__((aligned(sizeof(real))));
#define STORE(value, array) (*(global unaligned_vector *)(array) = (value))
#else
#define STORE(value, array) VSTORE(value, 0, array)
#endif

static inline vector splat(const real value) { return (vector)(value); }
static inline vector load_vector(global const real *array) { return VLOAD(0, array); }
static inline void store_vector(real *array, const vector value) { VSTORE(value, 0, array); }
static inline vector load_private(const real *array) { return VLOAD(0, array); }
static inline void store_global(global real *array, const vector value) { STORE(value, array); }

#if ELEMENT == 16
static inline vector load_lanes(global const element *array, const index64 i)
{
    return JOINED(vload_half, LANES)(0, array + i);
}
static inline void store_lanes(global element *array, const index64 i, const vector v)
{
    JOINED(JOINED(vstore_half, LANES), _rte)(v, 0, array + i);
}
#else
static inline vector load_lanes(global const element *array, const index64 i) { return VLOAD(0, array + i); }
static inline void store_lanes(global element *array, const index64 i, const vector v) { STORE(v, array + i); }
#endif

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
#if ELEMENT == 64
typedef index64 integers __attribute__((vector_size(VECTOR_BYTES)));
#else
typedef int32_t integers __attribute__((vector_size(VECTOR_BYTES)));
#endif

static inline integers numbers_of_lanes(void)
{
    integers numbers;
    for (int i = 0; i < LANES; i++) numbers[i] = i;
    return numbers;
}
#define LANE_NUMBERS numbers_of_lanes()
#define AS_INTEGERS(value) ((integers)(value))
#define AS_VECTOR(value) ((vector)(value))

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define SHUFFLED(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#endif
#endif
#ifndef SHUFFLED /* gcc before 12 */
#define SHUFFLED(a, b, ...) __builtin_shuffle(a, b, (integers){__VA_ARGS__})
#endif

static inline vector splat(const real value) { return value - (vector){0}; }

static inline vector load_vector(const real *array)
{
    vector value;
    memcpy(&value, array, sizeof value);
    return value;
}

static inline void store_vector(real *array, const vector value) { memcpy(array, &value, sizeof value); }
static inline vector load_private(const real *array) { return load_vector(array); }
static inline void store_global(real *array, const vector value) { store_vector(array, value); }

/* LANES neighbouring elements from the i-th on. */
#if ELEMENT != 16
static inline vector load_lanes(const element *array, const index64 i) { return load_vector(array + i); }
static inline void store_lanes(element *array, const index64 i, const vector v) { memcpy(array + i, &v, sizeof v); }
#elif VECTOR_BYTES == 64 && defined(__AVX512F__)
static inline vector load_lanes(const element *array, const index64 i)
{
    return (vector)_mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)(array + i)));
}
static inline void store_lanes(element *array, const index64 i, const vector v)
{
    _mm256_storeu_si256((__m256i *)(array + i), _mm512_cvtps_ph((__m512)v, _MM_FROUND_TO_NEAREST_INT));
}
#elif VECTOR_BYTES == 32 && defined(__F16C__)
static inline vector load_lanes(const element *array, const index64 i)
{
    return (vector)_mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(array + i)));
}
static inline void store_lanes(element *array, const index64 i, const vector v)
{
    _mm_storeu_si128((__m128i *)(array + i), _mm256_cvtps_ph((__m256)v, _MM_FROUND_TO_NEAREST_INT));
}
#else
static inline vector load_lanes(const element *array, const index64 i)
{
    vector v;
    for (int lane = 0; lane < LANES; lane++) v[lane] = load(array, i + lane);
    return v;
}
static inline void store_lanes(element *array, const index64 i, const vector v)
{
    for (int lane = 0; lane < LANES; lane++) store(array, i + lane, v[lane]);
}
#endif

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

/* The LANES elements from `at` on, `step` apart. */
static inline vector lanes_at(global const element *x, const index64 at, const index64 step)
{
    if (step == 1) return load_lanes(x, at);
    real lane[LANES];
    for (int i = 0; i < LANES; i++) lane[i] = load(x, at + i * step);
    return load_private(lane);
}

/* Stores `count` numbers from a private array, `step` elements apart. Of neighbours, the last vector ends where they do. */
static inline void store_run(global element *y, const index64 at, const index64 step, const real *values, const int count)
{
    int k = 0;
    if (step == 1 && count >= LANES)
        for (; k < count; k += LANES) {
            const int place = k + LANES <= count ? k : count - LANES;
            store_lanes(y, at + place, load_private(values + place));
        }
    for (; k < count; k++) store(y, at + k * step, values[k]);
}

/* The last `count` lanes; the others are zero, whatever they were. */
static inline vector last_lanes(const vector v, const index64 count)
{
#if ELEMENT == 64
    const index64 first = LANES - count;
#else
    const int first = (int)(LANES - count);
#endif
    return AS_VECTOR(AS_INTEGERS(v) & (LANE_NUMBERS >= first));
}

/* The sum of all lanes, halves added to halves. */
#define FOLD(width) for (int i = 0; i < (width); i++) lane[i] += lane[i + (width)]

static inline real sum_of_lanes(const vector v)
{
    real lane[LANES];
    store_vector(lane, v);
#if LANES == 16
    FOLD(8);
#endif
#if LANES >= 8
    FOLD(4);
#endif
#if LANES >= 4
    FOLD(2);
#endif
    return lane[0] + lane[1];
}

/* Whether any lane of `count` vectors is infinite or no number. */
static inline int has_nonfinite(const vector *values, const int count)
{
    vector zeros[4];
    UNROLLED for (int i = 0; i < 4; i++) zeros[i] = splat(0);
    for (int i = 0; i < count / 4 * 4; i += 4)
        UNROLLED for (int k = 0; k < 4; k++) zeros[k] += values[i + k] * 0;
    for (int i = count / 4 * 4; i < count; i++) zeros[i % 4] += values[i] * 0;
    return !(sum_of_lanes(zeros[0] + zeros[1] + zeros[2] + zeros[3]) == 0);
}

/* Turns COUNT vectors, a power of two, into columns: as reals one after another, what was at [i][lane] is at [lane][i].
 * The index of a real is the bits of i and then those of lane; each round moves its first bit to the end. */
#define TRANSPOSE(vectors, COUNT) \
    UNROLLED for (int round = 1; round < (COUNT); round *= 2) { \
        vector turned[COUNT]; \
        UNROLLED for (int i = 0; i < (COUNT) / 2; i++) { \
            turned[2 * i] = SHUFFLED((vectors)[i], (vectors)[i + (COUNT) / 2], FIRST_HALVES); \
            turned[2 * i + 1] = SHUFFLED((vectors)[i], (vectors)[i + (COUNT) / 2], SECOND_HALVES); \
        } \
        UNROLLED for (int i = 0; i < (COUNT); i++) (vectors)[i] = turned[i]; \
    }

#endif
