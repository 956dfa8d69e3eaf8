"""Which numbers in UTF-8 text are phone numbers, payment cards, IBANs or US social security numbers.

Each matcher looks at one digit run and at most seven more that single separators join to it, so it is bounded. Grouping
is kept because it tells more than the digits: ``0171/1234567`` is a phone number, ``01712345.67`` is a price.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

# Layout of the scratch array that `groups` fills: starts, lengths and separators of up to eight digit runs.
_START, _LENGTH, _SEP, _MOST = 0, 16, 32, 8
# Separators: what stands between a run and the one before it.
_SPACE, _HYPHEN, _DOT, _SLASH, _PAREN = 1, 2, 3, 4, 5

#: Length of the IBAN per country (SWIFT IBAN registry, release 99 and before).
IBAN_LENGTHS = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27, "BR": 29,
    "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28, "EE": 20, "EG": 29,
    "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23, "GL": 18, "GR": 27, "GT": 28,
    "HN": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27, "JO": 30, "KW": 30, "KZ": 20,
    "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25, "MC": 27, "MD": 24, "ME": 22, "MK": 19,
    "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18, "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29,
    "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33, "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24,
    "SM": 27, "SO": 23, "ST": 25, "SV": 28, "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20,
    "YE": 30,
}  # fmt: skip

#: Two-digit ITU calling codes; +1 and +7 have one digit, all other codes have three.
_TWO_DIGIT_CODES = (
    20, 27, 30, 31, 32, 33, 34, 36, 39, 40, 41, 43, 44, 45, 46, 47, 48, 49, 51, 52, 53, 54, 55, 56, 57, 58,
    60, 61, 62, 63, 64, 65, 66, 81, 82, 84, 86, 90, 91, 92, 93, 94, 95, 98,
)  # fmt: skip
_THREE_DIGIT_FIRST = (21, 22, 23, 24, 25, 26, 29, 35, 37, 38, 42, 50, 59, 67, 68, 69, 80, 85, 87, 88, 96, 97, 99)


def _iban_table() -> npt.NDArray[np.int64]:
    table = np.zeros(26 * 26, np.int64)
    for code, length in IBAN_LENGTHS.items():
        table[(ord(code[0]) - 65) * 26 + ord(code[1]) - 65] = length
    return table


def _code_table() -> npt.NDArray[np.int64]:
    """First two digits of a number after ``+`` → whether a calling code starts like this."""
    table = np.zeros(100, np.int64)
    for code in (*_TWO_DIGIT_CODES, *_THREE_DIGIT_FIRST, *range(10, 20), *range(70, 80)):
        table[code] = 1
    return table


_IBAN = _iban_table()
_CODES = _code_table()


@njit(cache=True, nogil=True)
def _digit(c: int) -> bool:
    return 48 <= c <= 57


@njit(cache=True, nogil=True)
def _alpha(c: int) -> bool:
    return 65 <= c <= 90 or 97 <= c <= 122


@njit(cache=True, nogil=True)
def joined_before(data: Bytes, lo: int, i: int) -> bool:
    """Whether the number at ``i`` is the rest of a word, a longer number, a price or a URL."""
    if i <= lo:
        return False
    c = data[i - 1]
    if _digit(c) or _alpha(c) or c in (95, 64, 36, 35, 61, 38, 63, 37, 92, 126):  # _ @ $ # = & ? % \ ~
        return True
    before = data[i - 2] if i - 2 >= lo else np.uint8(32)
    if c in (46, 44, 58, 43):  # . , : +
        return bool(_digit(before))
    if c in (45, 47):  # - /
        return bool(_digit(before) or _alpha(before) or before == 95)
    pound_or_yen = before == 0xC2 and c in (0xA3, 0xA5)
    return bool(pound_or_yen or (before == 0x82 and i - 3 >= lo and data[i - 3] == 0xE2))  # U+2080 to U+20BF: €, ₹ …


@njit(cache=True, nogil=True)
def joined_after(data: Bytes, hi: int, end: int) -> bool:
    """Whether what stands at ``end`` belongs to the number before it."""
    if end >= hi:
        return False
    c = data[end]
    if _digit(c) or _alpha(c) or c in (95, 64, 37):  # _ @ %
        return True
    after = data[end + 1] if end + 1 < hi else np.uint8(32)
    if c in (46, 44, 58, 47, 43):  # . , : / +
        return bool(_digit(after))
    if c == 45:
        return bool(_digit(after) or _alpha(after))
    return bool(c == 0xC2 and after in (0xB0, 0xB2, 0xB3))  # ° ² ³


@njit(cache=True, nogil=True)
def _separator(data: Bytes, hi: int, i: int, out: Ints) -> int:
    """Code of the separator at ``i``, 0 if a digit does not follow one; writes where the next digit run starts."""
    sep, k = 0, i
    if k < hi and data[k] == 41:  # )
        sep, k = 5, k + 1
    if k < hi and data[k] in (32, 45, 46, 47):
        c = data[k]
        if sep == 0:
            sep = 1 if c == 32 else 2 if c == 45 else 3 if c == 46 else 4
        k += 1
    elif k + 1 < hi and data[k] == 0xC2 and data[k + 1] == 0xA0:  # no-break space
        sep, k = max(sep, 1), k + 2
    elif k + 2 < hi and data[k] == 0xE2 and data[k + 1] == 0x80 and 0x90 <= data[k + 2] <= 0x93:  # hyphens, en dash
        sep, k = max(sep, 2), k + 3
    if k < hi and data[k] == 40:  # (
        sep, k = 5, k + 1
    out[0] = k
    return sep if sep and k < hi and _digit(data[k]) else 0


@njit(cache=True, nogil=True)
def groups(data: Bytes, hi: int, i: int, scratch: Ints) -> int:
    """Number of digit runs from ``i`` on, at most eight; their starts, lengths and separators go into ``scratch``."""
    n, sep, k = 0, 0, i
    after = scratch[48:49]
    while n < _MOST:
        begin = k
        while k < hi and _digit(data[k]) and k - begin <= 20:
            k += 1
        scratch[_START + n], scratch[_LENGTH + n], scratch[_SEP + n] = begin, k - begin, sep
        n += 1
        if k - begin > 20:
            break
        sep = _separator(data, hi, k, after)
        if sep == 0:
            break
        k = after[0]
    return n


@njit(cache=True, nogil=True)
def _digits(data: Bytes, scratch: Ints, first: int, n: int, out: Ints) -> int:
    """Digits of ``n`` groups from group ``first`` on, written to ``out``; at most 19."""
    m = 0
    for g in range(first, first + n):
        for k in range(scratch[_START + g], scratch[_START + g] + scratch[_LENGTH + g]):
            if m >= 19:
                return 20
            out[m] = data[k] - 48
            m += 1
    return m


@njit(cache=True, nogil=True)
def _issued(d: Ints, n: int) -> bool:
    """Whether an issuer's prefix and its number of digits fit."""
    two = d[0] * 10 + d[1]
    four = two * 100 + d[2] * 10 + d[3]
    three = four // 10
    if d[0] == 4:
        return n in (13, 16, 19)
    if 51 <= two <= 55 or 2221 <= four <= 2720:
        return n == 16
    if two in (34, 37):
        return n == 15
    if 300 <= three <= 305 or four == 3095 or two in (36, 38, 39):
        return n == 14 or n >= 16
    if four == 6011 or 644 <= three <= 649 or two in (65, 62) or 3528 <= four <= 3589 or 2200 <= four <= 2204:
        return n >= 16
    return four in (5018, 5020, 5038, 5893, 6304, 6759, 6761, 6762, 6763)


@njit(cache=True, nogil=True)
def _luhn(d: Ints, n: int) -> bool:
    total, same = 0, True
    for k in range(n):
        v = d[n - 1 - k]
        same = same and v == d[0]
        if k % 2 == 1:
            v = v * 2 - 9 if v > 4 else v * 2
        total += v
    return total % 10 == 0 and not same


@njit(cache=True, nogil=True)
def _card_groups(scratch: Ints, n: int) -> int:
    """How many groups form one of the printed layouts: 4-4-4-4, 4-4-4-4-3, 4-6-5, 4-6-4; 1 if unbroken; 0 if none."""
    if 13 <= scratch[_LENGTH] <= 19:
        return 1
    if n < 3 or scratch[_LENGTH] != 4:
        return 0
    sep = scratch[_SEP + 1]
    if sep not in (_SPACE, _HYPHEN) or scratch[_SEP + 2] != sep:
        return 0
    if scratch[_LENGTH + 1] == 6 and scratch[_LENGTH + 2] in (4, 5):
        return 3
    if n < 4 or scratch[_LENGTH + 1] != 4 or scratch[_LENGTH + 2] != 4 or scratch[_LENGTH + 3] != 4:
        return 0
    if scratch[_SEP + 3] != sep:
        return 0
    if n > 4 and scratch[_SEP + 4] == sep and scratch[_LENGTH + 4] == 4:
        return 0  # a column of numbers with four digits
    return 4


@njit(cache=True, nogil=True)
def card(data: Bytes, lo: int, hi: int, i: int, n: int, scratch: Ints) -> int:
    """Where the payment card number at ``i`` ends; -1 if there is none. Prefix, digits, layout and Luhn must fit."""
    k = _card_groups(scratch, n)
    if k == 0:
        return -1
    if k > 1 and i - 2 >= lo and data[i - 1] == 32 and _digit(data[i - 2]):
        return -1
    most = 5 if k == 4 and n > 4 and scratch[_LENGTH + 4] == 3 and scratch[_SEP + 4] == scratch[_SEP + 1] else k
    digits = np.zeros(20, np.int64)
    for used in range(most, k - 1, -1):  # the longest layout first
        m = _digits(data, scratch, 0, used, digits)
        end = scratch[_START + used - 1] + scratch[_LENGTH + used - 1]
        if 13 <= m <= 19 and _issued(digits, m) and _luhn(digits, m) and not joined_after(data, hi, end):
            return int(end)
    return -1


@njit(cache=True, nogil=True)
def iban(data: Bytes, lo: int, hi: int, i: int) -> int:
    """Where the IBAN at ``i`` ends; -1 if there is none: country, its length, and the remainder modulo 97 must fit.

    Written together, or in groups of four with single spaces; capital letters only.
    """
    if not (65 <= data[i] <= 90 and 65 <= data[i + 1] <= 90) or i + 15 > hi:
        return -1
    if i > lo and (_digit(data[i - 1]) or _alpha(data[i - 1]) or data[i - 1] == 95):
        return -1
    length = _IBAN[(data[i] - 65) * 26 + data[i + 1] - 65]
    if length == 0 or not _digit(data[i + 2]) or not _digit(data[i + 3]):
        return -1
    k, m, spaced, remainder = i, 0, False, np.int64(0)
    while m < length and k < hi:
        c = data[k]
        if m % 4 == 0 and m > 0 and c == 32 and (spaced or m == 4):
            spaced, k = True, k + 1
            if k >= hi:
                return -1
            c = data[k]
        elif spaced and m % 4 == 0 and m > 0:
            return -1
        if _digit(c):
            value, shift = c - 48, 10
        elif 65 <= c <= 90:
            value, shift = c - 55, 100
        else:
            return -1
        if m >= 4:
            remainder = (remainder * shift + value) % 97
        m, k = m + 1, k + 1
    if m < length or (k < hi and (_digit(data[k]) or _alpha(data[k]) or data[k] == 95)):
        return -1
    # The first four characters count as if they stood at the end; letters are two digits, the check digits are two.
    return k if (remainder * 1_000_000 + head_value(data, i)) % 97 == 1 else -1


@njit(cache=True, nogil=True)
def head_value(data: Bytes, i: int) -> int:
    """Country and check digits as the six digits that they stand for."""
    first, second = np.int64(data[i]) - 55, np.int64(data[i + 1]) - 55
    return int(first * 10_000 + second * 100 + (np.int64(data[i + 2]) - 48) * 10 + np.int64(data[i + 3]) - 48)


@njit(cache=True, nogil=True)
def ssn(data: Bytes, hi: int, i: int, n: int, scratch: Ints) -> bool:
    """Whether a US social security number in the form 3-2-4 stands at ``i``, by the rules of its numbering."""
    if n < 3 or scratch[_LENGTH] != 3 or scratch[_LENGTH + 1] != 2 or scratch[_LENGTH + 2] != 4:
        return False
    if data[i + 3] != 45 or data[i + 6] != 45 or joined_after(data, hi, i + 11):
        return False
    area = (data[i] - 48) * 100 + (data[i + 1] - 48) * 10 + data[i + 2] - 48
    zero_group = data[i + 4] == 48 and data[i + 5] == 48
    zero_serial = data[i + 7] == 48 and data[i + 8] == 48 and data[i + 9] == 48 and data[i + 10] == 48
    return not (area in (0, 666) or area >= 900 or zero_group or zero_serial)


@njit(cache=True, nogil=True)
def calling_code(data: Bytes, hi: int, i: int) -> bool:
    """Whether the digits at ``i`` start with a country's calling code."""
    if data[i] in (49, 55):
        return True
    return bool(i + 1 < hi and _digit(data[i + 1]) and _CODES[(data[i] - 48) * 10 + data[i + 1] - 48])
