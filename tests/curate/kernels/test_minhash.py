"""MinHash kernels against NumPy and Python written out."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import xxhash

from curate.kernels.clusters import components, equal_groups, first_pairs, open_pairs
from curate.kernels.minhash import (
    PRIME,
    band_keys,
    distinct,
    intersections,
    permutations,
    signatures,
    text_shingles,
    word_shingles,
)


def buffers(texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    raw = [t.encode() for t in texts]
    data = np.frombuffer(b"".join(raw), np.uint8)
    return data, np.concatenate([[0], np.cumsum([len(r) for r in raw])]).astype(np.int64)


def spans(texts: list[str]) -> tuple[np.ndarray, ...]:
    data, offsets = buffers(texts)
    starts, ends, documents = [], [], [0]
    for text, start in zip(texts, offsets, strict=False):
        place = int(start)
        for word in text.split(" "):
            if word:
                starts.append(place)
                ends.append(place + len(word.encode()))
            place += len(word.encode()) + 1
        documents.append(len(starts))
    return data, np.array(starts, np.int64), np.array(ends, np.int64), np.array(documents, np.int64)


def hashed(shingles: list[str]) -> list[int]:
    return [xxhash.xxh64_intdigest(s.encode()) for s in shingles]


def split(hashes: np.ndarray, borders: np.ndarray) -> list[list[int]]:
    return [hashes[a:b].tolist() for a, b in pairwise(borders)]


def test_word_shingles_are_hashes_of_joined_words() -> None:
    texts = ["one  two three", "", "α β", "x"]
    expected = [["one two", "two three"], [], ["α β"], []]
    assert split(*word_shingles(*spans(texts), 2, False)) == [hashed(s) for s in expected]


def test_a_short_document_is_one_shingle_where_asked() -> None:
    texts = ["x y", "", "a b c d"]
    expected = [["x y"], [], ["a b c", "b c d"]]
    assert split(*word_shingles(*spans(texts), 3, True)) == [hashed(s) for s in expected]
    hashes, borders, units = text_shingles(*buffers(texts), 3, True, True)
    assert split(hashes, borders) == [hashed(s) for s in expected]
    assert units.tolist() == [2, 0, 4]


def test_character_shingles_count_code_points() -> None:
    hashes, borders, units = text_shingles(*buffers(["aßc😀", "é", ""]), 3, True, False)
    assert split(hashes, borders) == [hashed(["aßc", "ßc😀"]), hashed(["é"]), []]
    assert units.tolist() == [4, 1, 0]


@pytest.mark.parametrize("width", [1, 96, 112])
def test_signature_is_the_least_permuted_hash(width: int) -> None:
    hashes = np.random.default_rng(3).integers(0, 2**64, 500, dtype=np.uint64)
    a, b = permutations(1, width)
    found = signatures(hashes, np.array([0, 0, 200, 500]), a, b)
    assert (found[0] == 2**64 - 1).all()
    for row, part in ((1, hashes[:200]), (2, hashes[200:])):
        assert found[row].tolist() == ((part[:, None] * a + b) % PRIME).min(axis=0).tolist()


def test_values_at_the_modulus_are_reduced() -> None:
    one = np.array([1], np.uint64)
    for value in (int(PRIME) - 1, int(PRIME), int(PRIME) + 3, 2**64 - 1):
        found = signatures(np.array([value], np.uint64), np.array([0, 1]), one, np.array([0], np.uint64))
        assert int(found[0, 0]) == value % int(PRIME)


def test_band_keys_are_equal_only_for_equal_rows_of_the_same_band() -> None:
    signature = np.array([[1, 2, 1, 2], [1, 2, 9, 9], [2, 1, 1, 2]], np.uint64)
    keys = band_keys(signature, 2, 2)
    assert keys[0, 0] == keys[1, 0]
    assert keys[0, 1] == keys[2, 1]
    assert len(np.unique(keys)) == 4


def test_sets_and_intersections() -> None:
    lists = [[5, 7, 5, 0, 9], [9, 9, 7, 1], [], list(range(1000, 3000)), list(range(2500, 4000))]
    borders = np.concatenate([[0], np.cumsum([len(x) for x in lists])]).astype(np.int64)
    hashes, new = distinct(np.array([h for x in lists for h in x], np.uint64), borders)
    assert split(hashes, new)[:3] == [[5, 7, 1, 9], [9, 7, 1], []]
    left, right = np.array([0, 0, 1, 2, 3, 4]), np.array([1, 2, 2, 2, 4, 3])
    assert intersections(hashes, new, left, right).tolist() == [3, 0, 0, 0, 500, 500]


@pytest.mark.parametrize("distinct_keys", [1, 3, 50, 5000])
def test_equal_keys_are_grouped_whatever_their_number(distinct_keys: int) -> None:
    rng = np.random.default_rng(distinct_keys)
    values = rng.integers(0, 2**64, distinct_keys, dtype=np.uint64)
    keys = values[rng.integers(0, distinct_keys, 4000)]
    order = rng.permutation(4000)
    grouped, borders = equal_groups(keys[order], order.astype(np.int32))
    expected = {tuple(np.flatnonzero(keys == v).tolist()) for v in values}
    assert {tuple(g) for g in split(grouped, borders)} == {g for g in expected if len(g) > 1}


def test_a_document_with_a_key_twice_is_not_its_own_neighbour() -> None:
    keys = np.array([8, 8, 16, 16, 16], np.uint64)
    grouped, borders = equal_groups(keys, np.array([0, 0, 1, 1, 2], np.int32))
    assert split(grouped, borders) == [[1, 2]]


def decode(codes: np.ndarray) -> list[tuple[int, int]]:
    return [(int(c) >> 32, int(c) & 0xFFFFFFFF) for c in codes]


def test_large_groups_give_a_star_small_ones_all_pairs() -> None:
    grouped, borders = np.array([1, 4, 6, 0, 2, 3, 9]), np.array([0, 3, 7])
    assert decode(first_pairs(grouped, borders, 3, 0)) == [(1, 4), (1, 6), (4, 6), (0, 2), (0, 3), (0, 9)]


def test_documents_of_earlier_runs_are_not_paired_with_each_other() -> None:
    grouped, borders = np.array([1, 4, 6, 0, 2, 3, 9]), np.array([0, 3, 7])
    assert decode(first_pairs(grouped, borders, 3, 5)) == [(1, 6), (4, 6), (0, 9)]
    codes, _ = open_pairs(np.array([0, 1, 2, 3]), np.array([0, 4]), np.ones(4, np.bool_), np.zeros(0, np.uint64),
                          2, 9, 1000, 10**6)  # fmt: skip
    assert (0, 1) not in decode(codes)
    assert set(decode(codes)) == {(0, 2), (0, 3), (1, 2), (1, 3), (2, 3)}


def test_open_pairs_leave_out_the_dropped_and_the_known_and_count_what_is_beyond_the_bound() -> None:
    grouped, borders = np.array([0, 1, 2, 3, 4]), np.array([0, 5])
    alive = np.array([True, False, True, True, True])
    known = np.array([2, 3, 4], np.uint64)  # pairs (0, 2), (0, 3), (0, 4)
    codes, beyond = open_pairs(grouped, borders, alive, known, 0, 1, 1000, 10**6)
    assert (decode(codes), beyond) == ([(2, 3), (2, 4)], 0)
    codes, beyond = open_pairs(grouped, borders, alive, known, 0, 9, 2, 10**6)
    assert (decode(codes), beyond) == ([(2, 3), (2, 4)], 1)


def test_components_are_named_by_their_smallest_member() -> None:
    found = components(7, np.array([5, 1, 3]), np.array([6, 5, 2]))
    assert found.tolist() == [0, 1, 2, 2, 4, 1, 1]
