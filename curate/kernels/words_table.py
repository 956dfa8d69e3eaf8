"""The chunk table: open addressing, two key words and the length, so that no collision gives wrong words.

An entry is a row of four uint64: two key words (``hashing.slice_key``), ``length << 32 | count + 1`` (0: the slot is
free), payload.
"""

from __future__ import annotations

from numba import int64, njit, uint64

from curate.kernels.hashing import K1, K2, K3, slice_key


@njit(cache=True, nogil=True)
def find(table, w0, w1, length):  # type: ignore[no-untyped-def]
    """Slot of the key, or the free slot where it belongs. The table must have a free slot; its size is a power of 2."""
    mask = table.shape[0] - 1
    h = (w0 ^ (w1 * K3) ^ uint64(length)) * K1
    h = (h ^ (h >> uint64(32))) * K2
    slot = int64(h >> uint64(24)) & mask
    while True:
        tag = table[slot, 2]
        if tag == uint64(0):
            return slot
        if table[slot, 0] == w0 and table[slot, 1] == w1 and int64(tag >> uint64(32)) == length:
            return slot
        slot = (slot + 1) & mask


@njit(cache=True, nogil=True)
def put(table, slot, w0, w1, length, count, payload):  # type: ignore[no-untyped-def]
    """Fills a free slot."""
    table[slot, 0] = w0
    table[slot, 1] = w1
    table[slot, 2] = uint64(length) << uint64(32) | uint64(count + 1)
    table[slot, 3] = uint64(payload)


@njit(cache=True, nogil=True)
def copy_entries(old, new):  # type: ignore[no-untyped-def]
    """Puts every entry of ``old`` into the larger, empty table ``new``."""
    for row in range(old.shape[0]):
        tag = old[row, 2]
        if tag != uint64(0):
            slot = find(new, old[row, 0], old[row, 1], int64(tag >> uint64(32)))
            new[slot] = old[row]


@njit(cache=True, nogil=True)
def fill(data, offsets, payloads, table):  # type: ignore[no-untyped-def]
    """Enters every text with its payload; texts are distinct and not empty."""
    for t in range(payloads.shape[0]):
        length = offsets[t + 1] - offsets[t]
        w0, w1 = slice_key(data, offsets[t], offsets[t + 1])
        put(table, find(table, w0, w1, length), w0, w1, length, int64(0), payloads[t])
