"""spaCy's English chunk algorithm, compiled.

``split_chunk`` does to one whitespace-free chunk what ``EnglishRules.chunk`` does, on UTF-8 bytes, with class bits
instead of regular expressions. It leaves one question open: whether a chunk that would be cut inside might be a URL.
Those it reports (``ASK``), and Python answers.

A token is a row of three uint64: byte span in its chunk (start, end << 32); code points, flags << 32, stop word << 40,
place in the second pass's alphabet << 48; polynomial hash of its bytes.
"""

# ruff: noqa: PLR1714, SIM109 -- comparisons compile to a few instructions, a set or tuple of constants does not

from __future__ import annotations

from numba import int64, njit, uint64

from curate.kernels.hashing import polynomial, slice_key
from curate.kernels.words_rules import (
    CURRENCY,
    DOT_LEFT,
    DOT_RIGHT,
    DOT_SUFFIX,
    INFIX,
    IS_ALPHA,
    LETTER,
    LOWER,
    PREFIX,
    PUNCT,
    SENTENCE_END,
    SUFFIX,
    SYMBOL,
    UPPER,
)
from curate.kernels.words_table import find

ASK = -1
"""The rules' URL pattern decides; nothing was written."""

NON_SYMBOL, ALPHABETIC, ENDS_SENTENCE, PUNCTUATION = 1, 2, 4, 8

_DOT, _PLUS, _MINUS, _ZERO, _NINE, _QUOTE, _CURLY = 46, 43, 45, 48, 57, 39, 0x2019
_ELLIPSIS, _DEGREE, _DOLLAR, _EN_DASH, _EM_DASH, _TILDE = 0x2026, 0xB0, 36, 0x2013, 0x2014, 126


@njit(cache=True, nogil=True)
def bits_of(pages, index, c):  # type: ignore[no-untyped-def]
    """Class bits of a code point."""
    return int64(pages[index[c >> 8], c & 255])


@njit(cache=True, nogil=True)
def decode(data, start, end, points, places):  # type: ignore[no-untyped-def]
    """Writes code points and their byte places (relative to ``start``); how many. The bytes must be valid UTF-8."""
    n = 0
    i = int64(start)
    while i < end:
        c = int64(data[i])
        places[n] = i - start
        if c < 0x80:
            i += 1
        elif c < 0xE0:
            c = (c & 31) << 6 | (int64(data[i + 1]) & 63)
            i += 2
        elif c < 0xF0:
            c = (c & 15) << 12 | (int64(data[i + 1]) & 63) << 6 | (int64(data[i + 2]) & 63)
            i += 3
        else:
            c = (c & 7) << 18 | (int64(data[i + 1]) & 63) << 12 | (int64(data[i + 2]) & 63) << 6
            c |= int64(data[i + 3]) & 63
            i += 4
        points[n] = c
        n += 1
    places[n] = end - start
    return n


@njit(cache=True, nogil=True)
def is_digit(c):  # type: ignore[no-untyped-def]
    """ASCII digits only, like the rules' ``[0-9]``."""
    return _ZERO <= c <= _NINE


@njit(cache=True, nogil=True)
def prefix_length(points, low, high, pages, index):  # type: ignore[no-untyped-def]
    """Code points cut off at the front of ``points[low:high]``."""
    c = int64(points[low])
    if bits_of(pages, index, c) & PREFIX:
        return 1
    if c == _PLUS:
        return 0 if low + 1 < high and is_digit(points[low + 1]) else 1
    if c == _DOT:
        n = int64(1)
        while low + n < high and points[low + n] == _DOT:
            n += 1
        return n if n > 1 else 0
    if (c == 65 or c == 67) and low + 1 < high and points[low + 1] == _DOLLAR:
        return 2
    if c == 85 and low + 2 < high and points[low + 1] == 83 and points[low + 2] == _DOLLAR:
        return 3
    return 0


@njit(cache=True, nogil=True)
def _after_digit(points, low, high, pages, index, units, unit_starts):  # type: ignore[no-untyped-def]
    """Longest currency sign or unit at the end with an ASCII digit before it."""
    best = int64(0)
    last = int64(points[high - 1])
    sign = last == _PLUS or bits_of(pages, index, last) & CURRENCY
    if sign and high - low >= 2 and is_digit(points[high - 2]):
        best = int64(1)
    if last == _DOLLAR:
        before = int64(points[high - 2]) if high - low >= 3 else int64(0)
        if (before == 65 or before == 67) and is_digit(points[high - 3]):
            best = int64(2)
        if before == 83 and high - low >= 4 and points[high - 3] == 85 and is_digit(points[high - 4]):
            best = int64(3)
    for u in range(unit_starts.shape[0] - 1):
        a = unit_starts[u]
        n = unit_starts[u + 1] - a
        if n <= best or high - low <= n or units[a + n - 1] != last or not is_digit(points[high - n - 1]):
            continue
        k = int64(0)
        while k < n and units[a + k] == points[high - n + k]:
            k += 1
        if k == n:
            best = n
    return best


@njit(cache=True, nogil=True)
def _final_dots(points, low, high, pages, index):  # type: ignore[no-untyped-def]
    """Full stops that are cut off at the end of ``points[low:high]``, which ends in one."""
    n = int64(1)
    while high - n > low and points[high - n - 1] == _DOT:
        n += 1
    if n > 1:
        return n
    if high - low < 2:
        return int64(0)
    c = int64(points[high - 2])
    bits = bits_of(pages, index, c)
    if bits & DOT_SUFFIX:
        return int64(1)
    if high - low >= 3:
        if bits & UPPER and bits_of(pages, index, int64(points[high - 3])) & UPPER:
            return int64(1)
        if points[high - 3] == _DEGREE and (c == 70 or c == 102 or c == 67 or c == 99 or c == 75 or c == 107):
            return int64(1)
    return int64(0)


@njit(cache=True, nogil=True)
def suffix_length(points, low, high, pages, index, units, unit_starts):  # type: ignore[no-untyped-def]
    """Code points cut off at the end of ``points[low:high]``: the longest of the suffix patterns, as a search from
    the left finds it."""
    if low >= high:
        return int64(0)
    last = int64(points[high - 1])
    if last == _DOT:
        return _final_dots(points, low, high, pages, index)
    best = int64(1) if bits_of(pages, index, last) & SUFFIX else int64(0)
    if high - low >= 2:
        before = int64(points[high - 2])
        possessive = (last == 115 or last == 83) and (before == _QUOTE or before == _CURLY)
        if possessive or (last == _ELLIPSIS and before == _ELLIPSIS):
            best = int64(2)
        best = max(best, _after_digit(points, low, high, pages, index, units, unit_starts))
    return best


@njit(cache=True, nogil=True)
def infix_length(points, i, low, high, pages, index):  # type: ignore[no-untyped-def]
    """Length of the inner separator at ``i`` of ``points[low:high]``; 0 if there is none."""
    c = int64(points[i])
    left = bits_of(pages, index, int64(points[i - 1])) if i > low else int64(0)
    left_digit = i > low and is_digit(points[i - 1])
    right = int64(points[i + 1]) if i + 1 < high else int64(0)
    right_bits = bits_of(pages, index, right) if i + 1 < high else int64(0)
    if c == _DOT:
        if right == _DOT:
            n = int64(2)
            while i + n < high and points[i + n] == _DOT:
                n += 1
            return n
        return int64(1) if left & DOT_LEFT and right_bits & DOT_RIGHT else int64(0)
    if bits_of(pages, index, c) & INFIX:
        return int64(1)
    if left_digit and (c == _PLUS or c == _MINUS or c == 42 or c == 94) and (is_digit(right) or right == _MINUS):
        return int64(1)
    if c == 44:
        return int64(1) if left & LETTER and right_bits & LETTER else int64(0)
    if not (left & LETTER or left_digit):
        return int64(0)
    if c == 58 or c == 60 or c == 62 or c == 61 or c == 47:
        return int64(1) if right_bits & LETTER else int64(0)
    if c == _MINUS or c == _EM_DASH or c == _EN_DASH or c == _TILDE:
        longest = int64(3) if c == _MINUS else (int64(2) if c == _EM_DASH else int64(1))
        n = int64(1)
        while n <= longest and i + n < high:
            if bits_of(pages, index, int64(points[i + n])) & LETTER:
                return n
            if points[i + n] != c:
                return int64(0)
            n += 1
    return int64(0)


@njit(cache=True, nogil=True)
def may_be_url(points, low, high, pages, index):  # type: ignore[no-untyped-def]
    """Whether ``points[low:high]`` has what every URL has: a dot before two lower-case letters, or three dots before
    digits (an IP address)."""
    dots = 0
    for i in range(low + 1, high - 1):
        if points[i] != _DOT:
            continue
        if is_digit(points[i + 1]):
            dots += 1
        elif i + 2 < high and bits_of(pages, index, points[i + 1]) & bits_of(pages, index, points[i + 2]) & LOWER:
            return True
    return dots >= 3


@njit(cache=True, nogil=True)
def describe(data, base, a, b, points, low, high, pages, index, lexicon, row):  # type: ignore[no-untyped-def]
    """Writes the token of bytes ``[a, b)`` and code points ``[low, high)`` of the chunk at ``base`` into ``row``."""
    seen = int64(0)
    plain = int64(SYMBOL)
    punct = int64(PUNCT)
    for i in range(low, high):
        bits = bits_of(pages, index, int64(points[i]))
        seen |= bits
        plain &= bits
        punct &= bits
    flags = (NON_SYMBOL if plain == 0 else 0) | (ALPHABETIC if seen & IS_ALPHA else 0)
    flags |= (ENDS_SENTENCE if high - low == 1 and seen & SENTENCE_END else 0) | (PUNCTUATION if punct else 0)
    w0, w1 = slice_key(data, base + a, base + b)
    slot = find(lexicon, w0, w1, b - a)
    row[0] = uint64(a) | uint64(b) << uint64(32)
    row[1] = uint64(high - low) | uint64(flags) << uint64(32)
    if lexicon[slot, 2] != uint64(0):
        row[1] |= (lexicon[slot, 3] >> uint64(32)) << uint64(40)
    row[2] = polynomial(data, base + a, base + b)


@njit(cache=True, nogil=True)
def special(data, base, places, low, high, lexicon, longest):  # type: ignore[no-untyped-def]
    """Number of the exception that ``[low, high)`` of the chunk is, 0 if none."""
    if high <= low or high - low > longest:
        return int64(0)
    a = base + places[low]
    b = base + places[high]
    w0, w1 = slice_key(data, a, b)
    slot = find(lexicon, w0, w1, b - a)
    return int64(lexicon[slot, 3] & uint64(0xFFFFFFFF)) if lexicon[slot, 2] != uint64(0) else int64(0)


@njit(cache=True, nogil=True)
def _affixes(data, base, n, points, places, stack, rules):  # type: ignore[no-untyped-def]
    """Cuts prefixes and suffixes; ``(low, high, exception, prefixes, suffixes)``. Ends of prefixes are written from
    the front of ``stack``, starts of suffixes from its back."""
    pages, index, units, unit_starts, lexicon, longest = rules[0], rules[1], rules[2], rules[3], rules[4], rules[5]
    low = int64(0)
    high = int64(n)
    fronts = int64(0)
    backs = int64(0)
    top = stack.shape[0] - 1
    while low < high:
        number = special(data, base, places, low, high, lexicon, longest)
        if number:
            return low, high, number, fronts, backs
        prefix = prefix_length(points, low, high, pages, index)
        if prefix:
            number = special(data, base, places, low + prefix, high, lexicon, longest)
            if number:
                stack[fronts] = low + prefix
                return low + prefix, high, number, fronts + 1, backs
        suffix = suffix_length(points, low + prefix, high, pages, index, units, unit_starts)
        if suffix:
            number = special(data, base, places, low, high - suffix, lexicon, longest)
            if number:
                stack[top - backs] = high - suffix
                return low, high - suffix, number, fronts, backs + 1
        if prefix == 0 and suffix == 0:
            break
        if prefix:
            low += prefix
            stack[fronts] = low
            fronts += 1
        if suffix:
            high -= suffix
            stack[top - backs] = high
            backs += 1
    return low, high, int64(0), fronts, backs


@njit(cache=True, nogil=True)
def _infixes(data, base, low, high, points, places, rules, pool, k):  # type: ignore[no-untyped-def]
    """Tokens between the affixes; the pool's new length or ASK."""
    pages, index, lexicon = rules[0], rules[1], rules[4]
    start = low
    i = low
    asked = False
    while i < high:
        length = infix_length(points, i, low, high, pages, index)
        if length == 0 or i == low:
            i += length if length else 1
            continue
        if not asked:
            asked = True
            if may_be_url(points, low, high, pages, index):
                return ASK
        if i > start:
            describe(data, base, places[start], places[i], points, start, i, pages, index, lexicon, pool[k])
            k += 1
        start = i + length
        describe(data, base, places[i], places[start], points, i, start, pages, index, lexicon, pool[k])
        k += 1
        i = start
    if start < high:
        describe(data, base, places[start], places[high], points, start, high, pages, index, lexicon, pool[k])
        k += 1
    return k


@njit(cache=True, nogil=True)
def split_chunk(data, base, end, points, places, stack, rules, pool, k):  # type: ignore[no-untyped-def]
    """Appends the tokens of chunk ``data[base:end]`` to ``pool`` at ``k``; the new length, or ASK.

    ``points``, ``places`` and ``stack`` need one place more than the chunk has bytes; ``pool`` as many rows.
    """
    pages, index, lexicon, exception_starts, exception_tokens = rules[0], rules[1], rules[4], rules[6], rules[7]
    n = decode(data, base, end, points, places)
    low, high, number, fronts, backs = _affixes(data, base, n, points, places, stack, rules)
    first = int64(0)
    for f in range(fronts):
        last = int64(stack[f])
        describe(data, base, places[first], places[last], points, first, last, pages, index, lexicon, pool[k])
        k += 1
        first = last
    if number:
        shift = uint64(places[low])
        for t in range(exception_starts[number - 1], exception_starts[number]):
            pool[k, 0] = exception_tokens[t, 0] + (shift | shift << uint64(32))
            pool[k, 1] = exception_tokens[t, 1]
            pool[k, 2] = exception_tokens[t, 2]
            k += 1
    elif low < high:
        k = _infixes(data, base, low, high, points, places, rules, pool, k)
        if k == ASK:
            return ASK
    top = stack.shape[0] - 1
    for f in range(backs - 1, -1, -1):
        first = int64(stack[top - f])
        last = int64(stack[top - f + 1]) if f > 0 else int64(n)
        describe(data, base, places[first], places[last], points, first, last, pages, index, lexicon, pool[k])
        k += 1
    return k
