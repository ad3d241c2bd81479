/* IEEE 754 binary16 to float and back in C, rounding to nearest, ties to even: F16C where the compiler may use it,
 * integer code elsewhere. (_Float16 would cost library calls on x86-64-v2 and is unknown to gcc before 12.)
 */
#ifndef CLCONV_HALF_H
#define CLCONV_HALF_H

#include <stdint.h>
#include <string.h>

#ifdef __F16C__

#include <immintrin.h>
static inline float float_from_half(const uint16_t half) { return _cvtsh_ss(half); }
static inline uint16_t half_from_float(const float value) { return _cvtss_sh(value, _MM_FROUND_TO_NEAREST_INT); }

#else

static inline float float_from_bits(const uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t bits_from_float(const float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float float_from_half(const uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000u) << 16;
    const uint32_t magnitude = half & 0x7fffu;
    if (magnitude >= 0x7c00u) {  /* infinity, or NaN made quiet as the hardware does */
        const uint32_t quiet = magnitude > 0x7c00u ? 0x400000u : 0;
        return float_from_bits(sign | 0x7f800000u | quiet | (magnitude & 0x3ffu) << 13);
    }
    if (magnitude < 0x400u) {  /* subnormal or zero: magnitude * 2^-24, exact in float */
        return float_from_bits(sign | bits_from_float((float)magnitude * 0x1p-24f));
    }
    return float_from_bits(sign | ((magnitude << 13) + (112u << 23)));  /* exponent bias 15 becomes 127 */
}

static inline uint16_t half_from_float(const float value)
{
    const uint32_t bits = bits_from_float(value);
    const uint16_t sign = (uint16_t)(bits >> 16 & 0x8000u);
    const uint32_t magnitude = bits & 0x7fffffffu;
    if (magnitude > 0x7f800000u) {
        return (uint16_t)(sign | 0x7e00u | (magnitude >> 13 & 0x3ffu));
    }
    if (magnitude >= 0x477ff000u) {  /* 65520, halfway from the largest half to the next step, rounds to infinity */
        return (uint16_t)(sign | 0x7c00u);
    }
    if (magnitude < 0x38800000u) {
        /* Below 2^-14 a half is a multiple of 2^-24, which is the spacing of floats in [0.5, 1): adding 0.5 makes the
         * float addition do the rounding, and the sum's low bits are the half. */
        return (uint16_t)(sign | (bits_from_float(float_from_bits(magnitude) + 0.5f) - 0x3f000000u));
    }
    const uint32_t odd = magnitude >> 13 & 1u;
    return (uint16_t)(sign | (magnitude - (112u << 23) + 0xfffu + odd) >> 13);
}

#endif
#endif
