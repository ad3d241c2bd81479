/* Philox4x32-10: four random words of a counter and a key, by integer arithmetic alone, the same on every device.
 * (Salmon, Moraes, Dror & Shaw, Parallel random numbers: as easy as 1, 2, 3, SC 2011.)
 */
#ifndef CLCONV_RANDOM_H
#define CLCONV_RANDOM_H

#include "dialect.h"

#define PHILOX_ROUNDS 10

/* Word number `word` of the counter (low, high, 0, 0). */
static inline bits32 philox(const bits64 counter, const bits64 key, const int word)
{
    bits32 a = (bits32)counter, b = (bits32)(counter >> 32), c = 0, d = 0;
    bits32 first_key = (bits32)key, second_key = (bits32)(key >> 32);
    for (int i = 0; i < PHILOX_ROUNDS; i++) {
        const bits64 left = (bits64)a * 0xD2511F53u, right = (bits64)c * 0xCD9E8D57u;
        a = (bits32)(right >> 32) ^ b ^ first_key;
        b = (bits32)right;
        c = (bits32)(left >> 32) ^ d ^ second_key;
        d = (bits32)left;
        first_key += 0x9E3779B9u;
        second_key += 0xBB67AE85u;
    }
    const bits32 even = word < 2 ? a : c, odd = word < 2 ? b : d;
    return word % 2 ? odd : even;
}

#endif
