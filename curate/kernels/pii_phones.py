"""Which numbers in UTF-8 text are phone numbers.

Three kinds, from sure to conditional:

1. international: ``+`` (or ``00`` beside a word such as *tel*), a calling code that exists, 8 to 15 digits;
2. national by shape alone: North America ``(212) 555-0123``, ``212-555-0123``; France ``01 23 45 67 89``; Britain
   ``020 7946 0958``, ``07700 900123``; Japan and Korea ``03-1234-5678``; an area code in brackets that starts with 0;
3. anything of 7 to 15 digits beside a word that announces it (*tel, phone, fax, mobile, …* in a dozen languages) at
   most 40 bytes before it on the same line; dates and pairs of years are left out.

What that misses: national numbers without a word and without such a shape (``901820``, ``2125550123``). What it takes
too much: five two-digit numbers in a row of which the first starts with 0, and numbers that follow a phone number after
a single space.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from numba import njit

from curate.kernels.pii_numbers import calling_code, joined_after

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

_START, _LENGTH, _SEP = 0, 16, 32  # layout of the scratch array, see pii_numbers.groups
_SPACE, _HYPHEN, _DOT, _SLASH, _PAREN = 1, 2, 3, 4, 5

#: Words that announce a phone number, ASCII-lower-case; others as written, in the capitalisations that occur.
WORDS = [
    "tel", "tel.", "telephone", "phone", "phones", "telephones", "fon", "telefon", "telefone", "telefono", "fax",
    "telefax", "mobile", "mob", "cell", "cellphone", "handy", "mobil", "movil", "gsm", "call", "dial", "whatsapp",
    "viber", "sms", "hotline", "helpline", "tollfree", "ph", "fono", "celular", "cellulare", "portable", "natel",
    "telefoon", "telefonnummer", "rufnummer", "puhelin", "puh", "tlf", "tfn", "ring", "telf", "telp", "hp", "landline",
    "tél", "Tél", "téléphone", "Téléphone", "TÉL", "teléfono", "Teléfono", "móvil", "Móvil", "telemóvel", "Telemóvel",
    "тел", "Тел", "ТЕЛ", "телефон", "Телефон", "факс", "Факс", "моб", "τηλ", "Τηλ", "τηλέφωνο", "Τηλέφωνο",
    "هاتف", "טלפון",
    "☎", "☎️", "📞", "📱", "✆", "☏",
]  # fmt: skip
#: Words of scripts without spaces: the last two characters before the number decide.
ENDINGS = ["电话", "電話", "传真", "傳真", "手机", "手機", "携帯", "전화", "팩스", "番号"]


@njit(cache=True, nogil=True)
def _is_word(c: int) -> bool:
    return 65 <= c <= 90 or 97 <= c <= 122 or c >= 0x80


@njit(cache=True, nogil=True)
def _listed(table: Hashes, data: Bytes, start: int, end: int) -> bool:
    h = np.uint64(0xCBF29CE484222325)
    for i in range(start, end):
        c = data[i]
        if 65 <= c <= 90:
            c += 32
        h = (h ^ np.uint64(c)) * np.uint64(0x100000001B3)
    at = np.searchsorted(table, h)
    return bool(at < len(table) and table[at] == h)


@njit(cache=True, nogil=True)
def announced(data: Bytes, lo: int, i: int, words: Hashes) -> bool:
    """Whether one of the words stands in the 40 bytes before ``i``, on the same line."""
    k, limit = i, max(lo, i - 40)
    while k > limit:
        c = data[k - 1]
        if c == 10:
            return False
        if not _is_word(c):
            k -= 1
            continue
        end = k
        while k > limit and _is_word(data[k - 1]):
            k -= 1
        while end - k >= 3 and data[end - 3] == 0xEF and data[end - 2] == 0xBC:  # a full-width colon
            end -= 3
        whole = k == lo or not _is_word(data[k - 1])
        if whole and end < i and data[end] == 45 and _is_word(data[end + 1]):
            continue  # the first half of a compound, as in HP-UX
        if whole and _listed(words, data, k, end):
            return True
        if end - 6 >= k and data[end - 1] >= 0x80 and _listed(words, data, end - 6, end):
            return True
    return False


@njit(cache=True, nogil=True)
def _same(scratch: Ints, n: int, sep: int) -> bool:
    for g in range(1, n):  # noqa: SIM110 - compiled code has no generators
        if scratch[_SEP + g] != sep:
            return False
    return True


@njit(cache=True, nogil=True)
def _north_american(data: Bytes, n: int, scratch: Ints, open_paren: bool) -> int:
    """Number of groups of a North American number with its area code; 0 if there is none."""
    first = 1 if n > 3 and scratch[_LENGTH] == 1 and data[scratch[_START]] == 49 else 0
    if n < first + 3:
        return 0
    a, b, c = first, first + 1, first + 2
    if scratch[_LENGTH + a] != 3 or scratch[_LENGTH + b] != 3 or scratch[_LENGTH + c] != 4:
        return 0
    area, exchange = scratch[_START + a], scratch[_START + b]
    if data[area] < 50 or data[exchange] < 50 or (data[area + 1] == 49 and data[area + 2] == 49):
        return 0
    first_sep, second_sep = scratch[_SEP + b], scratch[_SEP + c]
    bracketed = first_sep == 5 and (open_paren or first == 1)
    plain = first_sep == second_sep and first_sep in (2, 3)
    mixed = first_sep == 1 and second_sep == 2  # 212 555-0123
    return first + 3 if (bracketed and second_sep in (1, 2, 3)) or plain or mixed else 0


@njit(cache=True, nogil=True)
def _by_shape(data: Bytes, n: int, scratch: Ints, open_paren: bool) -> int:
    """Number of groups of a number that starts with the trunk 0 and has the layout of a country; 0 if none."""
    if data[scratch[_START]] != 48 or n < 2:
        return 0
    size = scratch[_LENGTH : _LENGTH + 8]
    sep = scratch[_SEP + 1]
    if open_paren and sep == 5 and 3 <= size[0] <= 6:
        total, g = size[0], 1
        while g < n and total + size[g] <= 12 and (g == 1 or scratch[_SEP + g] in (1, 2)):
            total += size[g]
            g += 1
        return g if total >= 8 else 0
    pairs = n >= 5 and size[0] == 2 and size[1] == 2 and size[2] == 2 and size[3] == 2 and size[4] == 2
    if pairs and sep in (1, 3) and data[scratch[_START] + 1] != 48 and _same(scratch, 5, sep):
        return 5 if n == 5 or size[5] != 2 else 0
    if n >= 3 and sep == 2 and scratch[_SEP + 2] == 2 and 2 <= size[0] <= 4 and 2 <= size[1] <= 4 and size[2] == 4:
        return 3 if 10 <= size[0] + size[1] + size[2] <= 11 else 0
    if n >= 3 and sep == 1 and scratch[_SEP + 2] == 1:
        if size[0] == 3 and data[scratch[_START] + 1] == 50 and size[1] == 4 and size[2] == 4:
            return 3
        if size[0] in (4, 5) and size[1] == 3 and size[2] in (3, 4) and size[0] + size[2] == 8:
            return 3
    if n >= 2 and sep == 1 and size[0] == 5 and size[1] == 6 and data[scratch[_START] + 1] in (49, 55):
        return 2
    return 0


@njit(cache=True, nogil=True)
def _dated(data: Bytes, scratch: Ints, n: int) -> bool:
    """Whether the groups look like a date, a time or a span of years rather than a number to dial."""
    size = scratch[_LENGTH : _LENGTH + 8]
    if n >= 3 and (size[0] == 4 or size[2] == 4) and size[1] <= 2 and size[0] + size[2] <= 6:
        return True
    return bool(n == 2 and size[0] == 4 and size[1] == 4 and _century(data, scratch[_START]))


@njit(cache=True, nogil=True)
def _century(data: Bytes, i: int) -> bool:
    return bool((data[i] == 49 and data[i + 1] == 57) or (data[i] == 50 and data[i + 1] == 48))


@njit(cache=True, nogil=True)
def _end(data: Bytes, hi: int, scratch: Ints, g: int) -> int:
    """Where the first ``g`` groups end; -1 if there are none or what follows belongs to the last of them."""
    if g == 0:
        return -1
    end = scratch[_START + g - 1] + scratch[_LENGTH + g - 1]
    return -1 if joined_after(data, hi, end) else int(end)


@njit(cache=True, nogil=True)
def _longest(data: Bytes, hi: int, scratch: Ints, n: int, least: int, most: int, usual: int) -> int:
    """Where the longest number of ``least`` to ``most`` digits ends that groups make; -1 if none do.

    Beyond ``usual`` digits further groups count as another number, unless the first nine digits are not reached yet.
    """
    total, g = 0, 0
    while g < n:
        size = scratch[_LENGTH + g]
        if total + size > most or (total >= 9 and total + size > usual):
            break
        total += size
        g += 1
    while g > 0 and total >= least:
        end = _end(data, hi, scratch, g)
        if end > 0:
            return int(end)
        g -= 1
        total -= scratch[_LENGTH + g]
    return -1


@njit(cache=True, nogil=True)
def phone(data: Bytes, lo: int, hi: int, i: int, n: int, scratch: Ints, words: Hashes, span: Ints) -> bool:
    """Whether a phone number starts with the digit at ``i``; writes its span, with ``+`` and brackets."""
    start = i
    open_paren = i > lo and data[i - 1] == 40
    if open_paren:
        start -= 1
    plus = start > lo and data[start - 1] == 43
    if plus:
        start -= 1
        if not open_paren and start > lo and data[start - 1] == 40:  # (+44) 20 …
            start -= 1
    end = -1
    if plus:
        if not calling_code(data, hi, i):
            return False
        most = 11 if data[i] == 49 else 15
        end = _longest(data, hi, scratch, n, 8, most, 13)
    else:
        end = _end(data, hi, scratch, _north_american(data, n, scratch, open_paren))
        if end < 0:
            end = _end(data, hi, scratch, _by_shape(data, n, scratch, open_paren))
        if end < 0:
            end = _longest(data, hi, scratch, n, 7, 15, 11)
            # The look back comes last: it is the dearest.
            if end > 0 and (_dated(data, scratch, n) or not announced(data, lo, start, words)):
                end = -1
    if end < 0:
        return False
    span[0], span[1] = start, end
    return True
