"""Variety: clusters covered, and facility location against brute force."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.select.diversity import coverage, covered_target, facility_location, rounds
from curate.select.taken import Taken, band_names
from tests.curate.select.made import ids


@given(st.lists(st.tuples(st.integers(-1, 4), st.sampled_from([0.0, 1.0, 2.5])), min_size=1, max_size=30))
@settings(deadline=None)
def test_any_number_taken_from_the_front_covers_as_many_clusters_as_it_can(documents: list[tuple[int, float]]) -> None:
    clusters, scores = (np.array(x) for x in zip(*documents, strict=True))
    names = ids(len(documents))
    found = rounds(clusters, scores, names)
    for i, (cluster, score) in enumerate(documents):
        better = [j for j, (c, s) in enumerate(documents) if c == cluster >= 0
                  and (-s, names[j].as_py()) < (-score, names[i].as_py())]  # fmt: skip
        assert found[i] == (len(better) if cluster >= 0 else -1)
    known = np.flatnonzero(found >= 0)
    order = known[np.argsort(found[known], kind="stable")]
    for k in range(1, len(order) + 1):
        assert len(set(clusters[order[:k]].tolist())) == min(k, len(set(clusters[known].tolist())))


def test_coverage_by_hand() -> None:
    even = coverage(np.array([0, 0, 1, 2, -1]), np.array([1, 1, 2, 2, 99]))
    assert even == pytest.approx({"clusters": 3, "effective_clusters": 3, "largest_share": 1 / 3})
    assert coverage(np.array([5, 5]), np.array([1, 3]))["effective_clusters"] == pytest.approx(1)
    assert coverage(np.array([-1]), np.array([1])) == {"clusters": 0, "effective_clusters": 0, "largest_share": 0}


def unit(rows: npt.ArrayLike) -> npt.NDArray[np.float32]:
    array = np.asarray(rows, np.float32)
    return array / np.maximum(np.linalg.norm(array, axis=1, keepdims=True), 1e-9).astype(np.float32)


def objective(vectors: npt.NDArray[np.float32], rows: list[int]) -> float:
    return float(np.maximum(vectors @ vectors[rows].T, 0).max(axis=1).sum()) if rows else 0.0


@given(st.integers(0, 10_000), st.integers(3, 8), st.integers(1, 3))
@settings(max_examples=30, deadline=None)
def test_greedy_reaches_its_bound_and_equals_plain_greedy(seed: int, n: int, k: int) -> None:
    vectors = unit(np.random.default_rng(seed).normal(size=(n, 3)))
    found = facility_location(vectors, ids(n), k)
    best = max(objective(vectors, list(c)) for c in itertools.combinations(range(n), k))
    assert found.objective == pytest.approx(objective(vectors, found.rows), rel=1e-5)
    assert found.objective >= (1 - (1 - 1 / k) ** k) * best - 1e-5
    plain: list[int] = []
    for gain in found.gains:
        gains = [objective(vectors, [*plain, j]) - objective(vectors, plain) for j in range(n)]
        assert gain == pytest.approx(max(gains), abs=1e-4)
        plain.append(found.rows[len(plain)])
    assert all(a >= b - 1e-4 for a, b in itertools.pairwise(found.gains))


def test_one_document_of_each_heap_is_taken_and_lazily() -> None:
    rng = np.random.default_rng(0)
    centres = unit(rng.normal(size=(5, 16)))
    heap = np.repeat(np.arange(5), 60)
    vectors = unit(centres[heap] + 0.05 * rng.normal(size=(300, 16)))
    found = facility_location(vectors, ids(300), 5)
    assert set(heap[found.rows].tolist()) == set(range(5))
    assert found.evaluations < 5 * 300


def test_rows_in_another_order_give_the_same_documents() -> None:
    vectors, names = unit(np.random.default_rng(3).normal(size=(80, 8))), ids(80)
    order = np.random.default_rng(4).permutation(80)
    one = [names[r].as_py() for r in facility_location(vectors, names, 10).rows]
    shuffled = names.take(pa.array(order))
    two = [shuffled[r].as_py() for r in facility_location(vectors[order], shuffled, 10).rows]
    assert one == two


def test_a_budget_of_tokens_is_kept() -> None:
    vectors, costs = unit(np.random.default_rng(5).normal(size=(40, 4))), [7] * 40
    found = facility_location(vectors, ids(40), costs=costs, budget=50)
    assert len(found.rows) == 7
    assert facility_location(np.zeros((3, 2), np.float32), ids(3), 2).objective == 0


def test_target_documents_that_nothing_chosen_is_near() -> None:
    target, chosen = unit([[1, 0], [0, 1]]), unit([[1, 0.1]])
    assert covered_target(target, chosen, 0.1).tolist() == [True, False]


def test_what_was_taken_by_domain_and_length() -> None:
    one, whole = Taken(), Taken()
    tokens, chosen = np.array([100, 200, 600, 50_000]), np.array([True, False, True, True])
    domains = ["law", "law", None, "news"]
    whole.add(domains, tokens, chosen, np.array([2, 0, 1, 1], np.int32))
    for i in range(4):
        one.add(domains[i : i + 1], tokens[i : i + 1], chosen[i : i + 1], np.array([[2, 0, 1, 1][i]], np.int32))
    assert one.as_json() == whole.as_json()
    twice = Taken()
    twice.merge(whole.as_json())
    twice.merge(whole.as_json())
    assert twice.report()["all"]["taken_tokens"] == 2 * 50_700
    report = whole.report()
    assert report["by_domain"]["law"]["taken_documents"] == 1
    assert report["by_domain"]["law"]["share_before"] == pytest.approx(300 / 50_900)
    assert report["by_domain"]["law"]["share_after"] == pytest.approx(200 / 50_800)
    assert list(report["by_tokens"]) == ["0-127", "128-511", "512-2047", "32768+"]
    assert band_names()[-1] == "32768+"
