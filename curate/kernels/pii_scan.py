"""Where personal identifiers stand in a column of UTF-8 text, in one pass over the bytes.

The scan stops only at ``@`` and at the first digit of a run of digits; everything else costs one table look-up per
byte. At a stop every matcher looks at a bounded neighbourhood (at most 254 bytes for an address of mail, 64 for
numbers), so that the time is linear in the bytes whatever the text is made of. Matchers work on ASCII digits and
letters; digits of other scripts are not numbers here.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from curate.kernels.pii_numbers import card, groups, iban, joined_before, ssn
from curate.kernels.pii_phones import phone

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
Hashes = npt.NDArray[np.uint64]

#: kinds in the order of their codes
KINDS = ("emails", "ip_addresses", "phone_numbers", "card_numbers", "ibans", "us_ssns")
EMAIL, IP, PHONE, CARD, IBAN, SSN = range(6)

_DIGIT, _ALPHA, _LOCAL, _HEX = 1, 2, 4, 8
#: Four numbers below this are a section or a version unless something says that they are an address: of random
#: addresses one in fifteen hundred is like this, of such numbers in 3,000 pages of documentation nine in ten were not.
_SECTIONS = 40


def _classes() -> Bytes:
    table = np.zeros(256, np.uint8)
    for c in b"0123456789":
        table[c] |= _DIGIT | _LOCAL | _HEX
    for c in b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ":
        table[c] |= _ALPHA | _LOCAL
    for c in b"abcdefABCDEF":
        table[c] |= _HEX
    for c in b"._%+-'~":
        table[c] |= _LOCAL
    # Latin letters with accents (U+00C0 to U+024F) in internationalised addresses: their UTF-8 lead and trail bytes.
    # Other scripts are left out: text without spaces would be swallowed with the address.
    table[0xC3 : 0xC9 + 1] |= _LOCAL
    table[0x80:0xC0] |= _LOCAL
    return table


CLASSES = _classes()


def word_hash(word: bytes) -> int:
    """The FNV-1a hash (64 bit) of an ASCII-lower-cased word, as the kernels compute it."""
    h = 0xCBF29CE484222325
    for c in word:
        h = ((h ^ (c + 32 if 65 <= c <= 90 else c)) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return h


def hash_table(words: list[str]) -> Hashes:
    """Sorted hashes of words, for binary search."""
    return np.array(sorted({word_hash(w.encode()) for w in words}), np.uint64)


@njit(cache=True, nogil=True)
def _hash(data: Bytes, start: int, end: int) -> Any:
    h = np.uint64(0xCBF29CE484222325)
    for i in range(start, end):
        c = data[i]
        if 65 <= c <= 90:
            c += 32
        h = (h ^ np.uint64(c)) * np.uint64(0x100000001B3)
    return h


@njit(cache=True, nogil=True)
def _known(table: Hashes, data: Bytes, start: int, end: int) -> bool:
    h = _hash(data, start, end)
    at = np.searchsorted(table, h)
    return bool(at < len(table) and table[at] == h)


@njit(cache=True, nogil=True)
def _local_start(data: Bytes, lo: int, at: int, classes: Bytes) -> int:
    """Where the local part before ``@`` starts; -1 if there is none of 1 to 64 bytes."""
    i = at
    while i > lo and at - i <= 64 and classes[data[i - 1]] & 4:
        c = data[i - 1]
        if c >= 0x80 and not _accented(data, lo, i - 1):
            break
        i -= 1
    if at - i > 64:
        return -1
    while i < at and not (classes[data[i]] & 3) and data[i] < 0xC3:
        i += 1  # a quotation mark or a dot before the address is not part of it
    if i == at or data[at - 1] == 46:
        return -1
    for k in range(i, at - 1):
        if data[k] == 46 and data[k + 1] == 46:
            return -1
    return i


@njit(cache=True, nogil=True)
def _accented(data: Bytes, lo: int, i: int) -> bool:
    """Whether byte ``i`` belongs to a letter from U+00C0 to U+024F."""
    c = data[i]
    if 0xC3 <= c <= 0xC9:
        return True
    return 0x80 <= c < 0xC0 and i > lo and 0xC3 <= data[i - 1] <= 0xC9


@njit(cache=True, nogil=True)
def _domain_end(data: Bytes, hi: int, start: int, classes: Bytes, tlds: Hashes) -> int:
    """Where the domain that starts at ``start`` ends: after the last label that is a top-level domain; -1 if none."""
    i, label, labels, best = start, start, 0, -1
    limit = min(hi, start + 254)
    while i <= limit:
        c = data[i] if i < limit else np.uint8(0)
        inside = classes[c] & 3 or c == 45 or (c >= 0x80 and _accented(data, start, i))
        if inside:
            i += 1
            continue
        length = i - label
        if length == 0 or length > 63 or data[label] == 45 or data[i - 1] == 45:
            return best
        labels += 1
        if labels > 1 and _top_level(data, label, i, tlds):
            best = i
        if c != 46:
            return best
        i += 1
        label = i
    return best


@njit(cache=True, nogil=True)
def _top_level(data: Bytes, start: int, end: int, tlds: Hashes) -> bool:
    if end - start >= 6 and (data[start] | 32) == 120 and (data[start + 1] | 32) == 110 and data[start + 2] == 45:
        return bool(data[start + 3] == 45)  # xn--…
    return bool(_known(tlds, data, start, end))


@njit(cache=True, nogil=True)
def _email(data: Bytes, lo: int, hi: int, at: int, classes: Bytes, tlds: Hashes, span: Ints) -> bool:
    """An address of mail around the ``@`` at ``at``; writes its span."""
    start = _local_start(data, lo, at, classes)
    if start < 0:
        return False
    before = data[start - 1] if start > lo else np.uint8(32)
    if before in (36, 64):  # $1@host: a variable; @user@host: a handle of a federated network
        return False
    if before == 47 and start - 1 > lo and data[start - 2] == 47:  # //user@host/: part of a URL
        return False
    end = _domain_end(data, hi, at + 1, classes, tlds)
    if end < 0:
        return False
    if end + 1 < hi and data[end] == 58 and (classes[data[end + 1]] & 2 or data[end + 1] in (47, 126)):
        return False  # git@host:path
    span[0], span[1] = start, end
    return True


@njit(cache=True, nogil=True)
def _ipv4_end(data: Bytes, hi: int, start: int, parts: Ints) -> int:
    """Where four numbers of 0 to 255 joined by dots end; -1 if they do not stand here. Writes the numbers."""
    i = start
    for k in range(4):
        begin, value = i, 0
        while i < hi and 48 <= data[i] <= 57 and i - begin < 4:
            value = value * 10 + data[i] - 48
            i += 1
        length = i - begin
        if length == 0 or length > 3 or value > 255 or (length > 1 and data[begin] == 48):
            return -1
        parts[k] = value
        if k < 3:
            if i >= hi or data[i] != 46:
                return -1
            i += 1
    return i


@njit(cache=True, nogil=True)
def ipv4_public(a: int, b: int, c: int, d: int) -> bool:
    """Whether the address is globally reachable by the registry of special addresses (RFC 6890 and successors)."""
    if a in (0, 10, 127) or a >= 224:
        return False
    if (a == 100 and 64 <= b < 128) or (a == 169 and b == 254) or (a == 172 and 16 <= b < 32):
        return False
    if a == 192 and ((b == 0 and c == 2) or b == 168 or (b == 0 and c == 0 and d not in (9, 10))):
        return False
    if a == 198 and (b in (18, 19) or (b == 51 and c == 100)):
        return False
    return not (a == 203 and b == 0 and c == 113)


@njit(cache=True, nogil=True)
def _numbered(data: Bytes, lo: int, i: int, versions: Hashes) -> bool:
    """Whether the word before ``i`` says that a version or a section follows."""
    k = i
    while k > lo and i - k < 6 and data[k - 1] in (32, 58, 61, 40, 34, 46, 35):
        k -= 1
    end = k
    while k > lo and end - k < 16 and (65 <= data[k - 1] <= 90 or 97 <= data[k - 1] <= 122 or data[k - 1] >= 0x80):
        k -= 1
    return bool(end > k and _known(versions, data, k, end))


@njit(cache=True, nogil=True)
def _addressed(data: Bytes, lo: int, hi: int, i: int, end: int, words: Hashes) -> bool:
    """Whether a port or a prefix length follows, or the word before says that an address comes."""
    if end + 1 < hi and data[end] in (47, 58) and 48 <= data[end + 1] <= 57:
        return True
    return bool(_numbered(data, lo, i, words))


@njit(cache=True, nogil=True)
def _ipv4(data: Bytes, lo: int, hi: int, i: int, versions: Hashes, words: Hashes, parts: Ints) -> int:
    end = _ipv4_end(data, hi, i, parts)
    if end < 0 or not ipv4_public(parts[0], parts[1], parts[2], parts[3]):
        return -1
    if end < hi:
        c = data[end]
        if (65 <= c <= 90) or (97 <= c <= 122) or c == 95:
            return -1
        if c == 46 and end + 1 < hi and 48 <= data[end + 1] <= 57:
            return -1
        if c == 45 and end + 1 < hi and (65 <= data[end + 1] <= 90 or 97 <= data[end + 1] <= 122):
            return -1  # 2.3.4.5-beta
    if parts[0] == 1 and parts[1] == 2 and parts[2] == 3 and parts[3] == 4:
        return -1  # the placeholder that everybody writes
    same = parts[0] == parts[1] and parts[1] == parts[2] and parts[2] == parts[3] and parts[0] > 7  # 8.8.8.8, 9.9.9.9
    small = max(parts[0], parts[1], parts[2], parts[3]) < _SECTIONS and not same
    if small and not _addressed(data, lo, hi, i, end, words):
        return -1
    if _numbered(data, lo, i, versions):
        return -1
    return int(end)


@njit(cache=True, nogil=True)
def _ipv6(data: Bytes, hi: int, start: int, classes: Bytes, parts: Ints) -> int:
    """Where a global unicast address (2000::/3) ends that starts at ``start``; -1 if there is none."""
    n, i, gap, gap_at = 0, start, False, 0
    while n < 8:
        begin, value = i, 0
        while i < hi and i - begin < 5 and classes[data[i]] & 8:
            c = data[i]
            value = value * 16 + (c - 48 if c <= 57 else (c | 32) - 87)
            i += 1
        if i - begin > 4 or (i == begin and not gap):
            return -1
        if i == begin:
            break
        parts[n] = value
        n += 1
        if n == 1 and (i - begin < 4 or not 0x2000 <= value <= 0x3FFF):
            return -1
        if i >= hi or data[i] != 58 or n == 8:
            break
        if i + 1 < hi and data[i + 1] == 58:
            if gap:
                return -1
            gap, gap_at = True, n
            i += 2
            if i >= hi or not classes[data[i]] & 8:
                break
        elif i + 1 < hi and classes[data[i + 1]] & 8:
            i += 1
        else:
            break
    if (not gap and n < 8) or (gap and n > 7):
        return -1
    if i < hi and (classes[data[i]] & 3 or data[i] == 95):
        return -1
    if i + 1 < hi and data[i] in (46, 58) and classes[data[i + 1]] & 3:
        return -1
    second = parts[1] if n > 1 and gap_at != 1 else 0
    if parts[0] == 0x2001 and (second < 0x200 or second == 0x0DB8):
        return -1
    if parts[0] == 0x2002 or (parts[0] == 0x3FFF and second < 0x1000):
        return -1
    return i


@njit(cache=True, nogil=True)
def _number(
    data: Bytes, lo: int, hi: int, i: int, on: Bytes, classes: Bytes, versions: Hashes, hosts: Hashes, words: Hashes,
    span: Ints, scratch: Ints,
) -> int:  # fmt: skip
    """Kind of the number that starts with the digit at ``i``, -1 if it is none; writes its span."""
    if on[4] and i - 2 >= lo:
        end = iban(data, lo, hi, i - 2)
        if end > 0:
            span[0], span[1] = i - 2, end
            return 4
    if joined_before(data, lo, i):
        return -1
    if on[1]:
        end = _ipv4(data, lo, hi, i, versions, hosts, scratch)
        inner = i - 2 >= lo and data[i - 1] == 58 and (classes[data[i - 2]] & 8 or data[i - 2] == 58)
        if end < 0 and data[i] in (50, 51) and not inner:
            end = _ipv6(data, hi, i, classes, scratch)
        if end > 0:
            span[0], span[1] = i, end
            return 1
    n = groups(data, hi, i, scratch)
    if on[3]:
        end = card(data, lo, hi, i, n, scratch)
        if end > 0:
            span[0], span[1] = i, end
            return 3
    if on[5] and ssn(data, hi, i, n, scratch):
        span[0], span[1] = i, i + 11
        return 5
    if on[2] and phone(data, lo, hi, i, n, scratch, words, span):
        return 2
    return -1


@njit(cache=True, nogil=True)
def scan(
    data: Bytes, offsets: Ints, on: Bytes, classes: Bytes, tlds: Hashes, versions: Hashes, hosts: Hashes,
    words: Hashes, found: npt.NDArray[np.int64],
) -> int:  # fmt: skip
    """Write the spans of all identifiers into ``found`` and return how many there are.

    Args:
        on: per kind, whether to look for it.
        found: ``(capacity, 4)``: document, first byte, byte after the last (both relative to ``data``), kind; in order
            of position. If the result exceeds the capacity, only the first ones were written: call again with more.
    """
    count = 0
    span, scratch = np.zeros(2, np.int64), np.zeros(64, np.int64)
    for doc in range(len(offsets) - 1):
        lo, hi = offsets[doc], offsets[doc + 1]
        free, i = lo, lo  # free: end of the last span
        while i < hi:
            c = data[i]
            kind = -1
            if c == 64:
                if on[0] and _email(data, free, hi, i, classes, tlds, span):
                    kind = 0
            elif 48 <= c <= 57:
                kind = _number(data, free, hi, i, on, classes, versions, hosts, words, span, scratch)
                if kind < 0:
                    while i + 1 < hi and 48 <= data[i + 1] <= 57:
                        i += 1
            if kind >= 0:
                if count < len(found):
                    found[count, 0], found[count, 1], found[count, 2], found[count, 3] = doc, span[0], span[1], kind
                count += 1
                free = span[1]
                i = max(i + 1, free)
            else:
                i += 1
    return count


@njit(cache=True, nogil=True)
def replace(
    data: Bytes, offsets: Ints, found: npt.NDArray[np.int64], tokens: Bytes, token_offsets: Ints, out: Bytes,
    out_offsets: Ints,
) -> None:  # fmt: skip
    """Copy the column into ``out`` with every span replaced by the token of its kind."""
    at, k = 0, 0
    for doc in range(len(offsets) - 1):
        out_offsets[doc] = at
        i = offsets[doc]
        while k < len(found) and found[k, 0] == doc:
            for j in range(i, found[k, 1]):
                out[at] = data[j]
                at += 1
            kind = found[k, 3]
            for j in range(token_offsets[kind], token_offsets[kind + 1]):
                out[at] = tokens[j]
                at += 1
            i = found[k, 2]
            k += 1
        for j in range(i, offsets[doc + 1]):
            out[at] = data[j]
            at += 1
    out_offsets[len(offsets) - 1] = at


@njit(cache=True, nogil=True)
def code_points(data: Bytes, offsets: Ints, found: npt.NDArray[np.int64], out: npt.NDArray[np.int32]) -> None:
    """Write for every span where it starts and ends in its document, in code points."""
    doc, i, points = -1, 0, 0
    for k in range(len(found)):
        if found[k, 0] != doc:
            doc = found[k, 0]
            i, points = offsets[doc], 0
        for side in range(2):
            while i < found[k, 1 + side]:
                points += (data[i] & 0xC0) != 0x80
                i += 1
            out[k, side] = points


__all__ = ["CLASSES", "KINDS", "code_points", "hash_table", "replace", "scan", "word_hash"]
