"""Philox4x32-10 in Python's integers: four words of a counter of four words and a key of two."""

from __future__ import annotations

WORD = 2**32 - 1


def philox(counter, key):
    a, b, c, d = counter
    first, second = key
    for _ in range(10):
        left, right = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = right >> 32 ^ b ^ first, right & WORD, left >> 32 ^ d ^ second, left & WORD
        first, second = first + 0x9E3779B9 & WORD, second + 0xBB67AE85 & WORD
    return a, b, c, d


def words(count, seed, offset=0):
    """Return the words offset, offset + 1, ... of the stream of a key of 64 bits."""
    key = seed & WORD, seed >> 32
    places = range(offset, offset + count)
    return [philox((place // 4 & WORD, place // 4 >> 32, 0, 0), key)[place % 4] for place in places]
