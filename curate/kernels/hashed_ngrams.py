"""Hashed counts of words and word pairs, compiled: the features of DSIR (Xie et al. 2023).

A token is a run of word characters or a run of signs that are neither word characters nor space, as the regular
expression ``\\w+|[^\\w\\s]+`` finds them in lower-cased text; a pair is two neighbours with one space between. The
bucket of either is SHA-256 of its UTF-8 bytes, as one big number, modulo the number of buckets.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from numba import int64, njit, uint32, uint64

N_CODE_POINTS = 0x110000
OTHER, WORD, SPACE = 0, 1, 2

_K = np.frombuffer(
    bytes.fromhex(
        "428a2f98 71374491 b5c0fbcf e9b5dba5 3956c25b 59f111f1 923f82a4 ab1c5ed5 d807aa98 12835b01 243185be 550c7dc3 "
        "72be5d74 80deb1fe 9bdc06a7 c19bf174 e49b69c1 efbe4786 0fc19dc6 240ca1cc 2de92c6f 4a7484aa 5cb0a9dc 76f988da "
        "983e5152 a831c66d b00327c8 bf597fc7 c6e00bf3 d5a79147 06ca6351 14292967 27b70a85 2e1b2138 4d2c6dfc 53380d13 "
        "650a7354 766a0abb 81c2c92e 92722c85 a2bfe8a1 a81a664b c24b8b70 c76c51a3 d192e819 d6990624 f40e3585 106aa070 "
        "19a4c116 1e376c08 2748774c 34b0bcb5 391c0cb3 4ed8aa4a 5b9cca4f 682e6ff3 748f82ee 78a5636f 84c87814 8cc70208 "
        "90befffa a4506ceb bef9a3f7 c67178f2"
    ),
    ">u4",
).astype(np.uint32)
_START = np.array(
    [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19], np.uint32
)


@lru_cache(maxsize=1)
def character_kinds() -> npt.NDArray[np.uint8]:
    """WORD, SPACE or OTHER per code point, as Python's ``re`` tells ``\\w`` and ``\\s``."""
    kinds = np.zeros(N_CODE_POINTS, np.uint8)
    # planes 4 to 13 hold no characters, 15 and 16 private ones
    for code in (*range(0x40000), *range(0xE0000, 0xF0000)):
        c = chr(code)
        if c.isalnum() or c == "_":
            kinds[code] = WORD
        elif c.isspace():
            kinds[code] = SPACE
    return kinds


@njit(cache=True, nogil=True)
def _turn(x, n):  # type: ignore[no-untyped-def]
    return uint32((x >> uint32(n)) | (x << uint32(32 - n)))


@njit(cache=True, nogil=True)
def _compress(state, block, w):  # type: ignore[no-untyped-def]
    for i in range(16):
        j = 4 * i
        w[i] = (uint32(block[j]) << uint32(24)) | (uint32(block[j + 1]) << uint32(16)) | (
            uint32(block[j + 2]) << uint32(8)) | uint32(block[j + 3])  # fmt: skip
    for i in range(16, 64):
        s0 = _turn(w[i - 15], 7) ^ _turn(w[i - 15], 18) ^ (w[i - 15] >> uint32(3))
        s1 = _turn(w[i - 2], 17) ^ _turn(w[i - 2], 19) ^ (w[i - 2] >> uint32(10))
        w[i] = uint32(w[i - 16] + s0 + w[i - 7] + s1)
    a, b, c, d, e, f, g, h = state[0], state[1], state[2], state[3], state[4], state[5], state[6], state[7]
    for i in range(64):
        s1 = _turn(e, 6) ^ _turn(e, 11) ^ _turn(e, 25)
        choice = (e & f) ^ (~e & g)
        t1 = uint32(h + s1 + choice + _K[i] + w[i])
        s0 = _turn(a, 2) ^ _turn(a, 13) ^ _turn(a, 22)
        majority = (a & b) ^ (a & c) ^ (b & c)
        t2 = uint32(s0 + majority)
        h, g, f, e = g, f, e, uint32(d + t1)
        d, c, b, a = c, b, a, uint32(t1 + t2)
    state[0] += a
    state[1] += b
    state[2] += c
    state[3] += d
    state[4] += e
    state[5] += f
    state[6] += g
    state[7] += h


@njit(cache=True, nogil=True)
def sha256_modulo(message, length, buckets, state, block, w):  # type: ignore[no-untyped-def]
    """SHA-256 of ``message[:length]`` as one number, modulo ``buckets`` (below 2^31)."""
    for i in range(8):
        state[i] = _START[i]
    # one bit and the length in bits stand behind the message, in as few blocks as hold them
    blocks = (length + 8) // 64 + 1
    bits = uint64(length) * uint64(8)
    for k in range(blocks):
        for i in range(64):
            at = 64 * k + i
            block[i] = message[at] if at < length else (128 if at == length else 0)
        if k == blocks - 1:
            for i in range(8):
                block[63 - i] = (bits >> uint64(8 * i)) & uint64(255)
        _compress(state, block, w)
    found = uint64(0)
    for i in range(8):
        found = ((found << uint64(32)) | uint64(state[i])) % uint64(buckets)
    return int64(found)


@njit(cache=True, nogil=True)
def _character(data, i):  # type: ignore[no-untyped-def]
    """Code point at ``i`` of valid UTF-8, and its bytes."""
    b = int64(data[i])
    if b < 0x80:
        return b, 1
    if b < 0xE0:
        return (b & 0x1F) << 6 | (int64(data[i + 1]) & 0x3F), 2
    if b < 0xF0:
        return (b & 0x0F) << 12 | (int64(data[i + 1]) & 0x3F) << 6 | (int64(data[i + 2]) & 0x3F), 3
    high = (b & 0x07) << 18 | (int64(data[i + 1]) & 0x3F) << 12
    return high | (int64(data[i + 2]) & 0x3F) << 6 | (int64(data[i + 3]) & 0x3F), 4


@njit(cache=True, nogil=True)
def _next_token(data, i, end, kinds):  # type: ignore[no-untyped-def]
    """Start and end of the first token at or after ``i``; (end, end) if there is none."""
    while i < end:
        code, width = _character(data, i)
        kind = kinds[code]
        if kind != SPACE:
            start = i
            i += width
            while i < end:
                code, width = _character(data, i)
                if kinds[code] != kind:
                    break
                i += width
            return start, i
        i += width
    return end, end


@njit(cache=True, nogil=True)
def ngram_batch(data, offsets, kinds, buckets, longest, counts, log_ratio, weights, tokens):  # type: ignore[no-untyped-def]
    """Count or weigh all words and pairs of lower-cased texts.

    Args:
        data, offsets: lower-cased UTF-8; value ``i`` is ``data[offsets[i]:offsets[i + 1]]``.
        longest: longest text in bytes: the size of the scratch space.
        counts: int64, one per bucket: added to; empty: not wanted.
        log_ratio: float64, one per bucket: summed per text into ``weights``; empty: not wanted.
        weights: float64, one per text: set if ``log_ratio`` is given.
        tokens: int64, one per text: set.
    """
    message = np.empty(2 * longest + 2, np.uint8)
    state, block, w = np.empty(8, np.uint32), np.empty(64, np.uint8), np.empty(64, np.uint32)
    count, weigh = counts.shape[0] > 0, log_ratio.shape[0] > 0
    for row in range(offsets.shape[0] - 1):
        end = offsets[row + 1]
        held = 0  # bytes of the token before and the space behind it, at the front of the message
        n = 0
        total = 0.0
        start, stop = _next_token(data, offsets[row], end, kinds)
        while stop > start:
            size = stop - start
            # the pair with the token before (if there is one), then the token alone, moved to the front
            for front in (held, 0) if held else (0, -1):
                if front < 0:
                    break
                for j in range(size):
                    message[front + j] = data[start + j]
                bucket = sha256_modulo(message, front + size, buckets, state, block, w)
                if count:
                    counts[bucket] += 1
                if weigh:
                    total += log_ratio[bucket]
            message[size] = 32
            held = size + 1
            n += 1
            start, stop = _next_token(data, stop, end, kinds)
        tokens[row] = n
        if weigh:
            weights[row] = total
