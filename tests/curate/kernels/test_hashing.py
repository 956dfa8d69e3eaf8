from __future__ import annotations

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.kernels import hashing

PRIME = (1 << 61) - 1
BASE = int(hashing.BASE)
below_prime = st.integers(0, PRIME - 1)


def array(raw: bytes) -> np.ndarray:
    return np.frombuffer(raw, np.uint8)


def polynomial(raw: bytes) -> int:
    return int(hashing.polynomial(array(raw), 0, len(raw)))


@given(st.binary(max_size=200), st.integers(0, 20), st.integers(0, 2**64 - 1))
@settings(deadline=None)
def test_xxh64_of_a_slice_equals_the_reference_implementation(raw: bytes, start: int, seed: int) -> None:
    start = min(start, len(raw))
    ours = int(hashing.xxh64(array(raw), start, len(raw), np.uint64(seed)))
    assert ours == xxhash.xxh64_intdigest(raw[start:], seed=seed)


@given(below_prime, below_prime)
@settings(deadline=None)
def test_products_modulo_the_prime_equal_pythons(a: int, b: int) -> None:
    assert int(hashing.mul61(np.uint64(a), np.uint64(b))) == a * b % PRIME


@given(below_prime, below_prime)
@settings(deadline=None)
def test_sums_and_differences_modulo_the_prime_equal_pythons(a: int, b: int) -> None:
    assert int(hashing.add61(np.uint64(a), np.uint64(b))) == (a + b) % PRIME
    assert int(hashing.sub61(np.uint64(a), np.uint64(b))) == (a - b) % PRIME


@pytest.mark.parametrize("a", [0, 1, PRIME - 1])
@pytest.mark.parametrize("b", [0, 1, PRIME - 1])
def test_arithmetic_holds_at_the_edges(a: int, b: int) -> None:
    assert int(hashing.mul61(np.uint64(a), np.uint64(b))) == a * b % PRIME
    assert int(hashing.add61(np.uint64(a), np.uint64(b))) == (a + b) % PRIME


@given(st.binary(max_size=60))
@settings(deadline=None)
def test_polynomial_is_the_sum_that_its_docstring_names(raw: bytes) -> None:
    assert polynomial(raw) == sum((byte + 1) * pow(BASE, i, PRIME) for i, byte in enumerate(raw)) % PRIME


@given(st.binary(max_size=40), st.binary(max_size=40))
@settings(deadline=None)
def test_hash_of_a_concatenation_follows_from_its_parts(left: bytes, right: bytes) -> None:
    assert polynomial(left + right) == (polynomial(left) + pow(BASE, len(left), PRIME) * polynomial(right)) % PRIME


def test_power_tables_hold_powers_and_their_inverses() -> None:
    powers, inverses = hashing.power_tables(70)
    assert [int(p) * int(q) % PRIME for p, q in zip(powers, inverses, strict=True)] == [1] * 70
    assert int(powers[69]) == pow(BASE, 69, PRIME)
    assert int(hashing.power61(hashing.BASE, 69)) == pow(BASE, 69, PRIME)


@given(st.binary(min_size=1, max_size=16), st.binary(max_size=30))
@settings(deadline=None)
def test_key_of_a_short_slice_is_its_bytes_wherever_it_stands(raw: bytes, after: bytes) -> None:
    expected = (int.from_bytes(raw[:8], "little"), int.from_bytes(raw[8:], "little"))
    assert tuple(map(int, hashing.slice_key(array(raw), 0, len(raw)))) == expected
    assert tuple(map(int, hashing.slice_key(array(b"??" + raw + after), 2, 2 + len(raw)))) == expected


def test_mix_separates_neighbouring_numbers() -> None:
    mixed = {int(hashing.mix(np.uint64(i))) for i in range(1000)}
    assert len(mixed) == 1000
    assert len({value >> 44 for value in mixed}) > 990
