"""Semantic duplicates within a cluster: against a definition in plain Python, and however the work is cut."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.dedup.semantic import Compared, SemanticConfig, compare, preference

F32 = npt.NDArray[np.float32]
EPSILONS = (0.0, 0.01, 0.05, 0.2)


def cosine(a: F32, b: F32) -> float:
    x, y = a.astype(np.float64), b.astype(np.float64)
    return float(np.floor(np.sum(x * y) / np.sqrt(np.sum(x * x) * np.sum(y * y)) * 1e6 + 0.5) / 1e6)


def by_definition(rows: F32, epsilon: float) -> list[tuple[int, float]]:
    """Survivor and cosine per row, −1 for those that stay: in order, the first kept row that is similar enough."""
    kept: list[int] = []
    out = []
    for i, row in enumerate(rows):
        found = next((j for j in kept if cosine(row, rows[j]) >= round(1 - epsilon, 6)), -1)
        out.append((found, cosine(row, rows[found]) if found >= 0 else -2.0))
        if found < 0:
            kept.append(i)
    return out


def families(seed: int, documents: int, dimension: int = 24) -> F32:
    """Unit vectors around a few centres, at distances that straddle every epsilon; some equal."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(max(1, documents // 4), dimension))
    spread = random.choice([0.0, 0.02, 0.05, 0.1, 0.3], size=(documents, 1))
    rows = centres[random.integers(0, len(centres), documents)] + spread * random.normal(size=(documents, dimension))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16).astype(np.float64)
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def run(rows: F32, epsilon: float, **cut: int) -> Compared:
    return compare(lambda a, b: rows[a:b].copy(), len(rows), EPSILONS, epsilon, **cut)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10**6), documents=st.integers(1, 40), epsilon=st.sampled_from(EPSILONS),
    window=st.integers(1, 45), block=st.integers(1, 12), chunk=st.integers(1, 9),
)  # fmt: skip
def test_equals_the_definition_however_the_work_is_cut(
    seed: int, documents: int, epsilon: float, window: int, block: int, chunk: int
) -> None:
    rows = families(seed, documents)
    found = run(rows, epsilon, window=window, block=block, chunk=chunk)
    expected = by_definition(rows, epsilon)
    assert found.survivor.tolist() == [s for s, _ in expected]
    assert found.similarity[found.survivor >= 0].tolist() == [c for s, c in expected if s >= 0]
    assert found.removed.tolist() == [sum(s >= 0 for s, _ in by_definition(rows, e)) for e in EPSILONS]


def test_nothing_falls_through_a_chain() -> None:
    angles = np.radians([0, 15, 30, 45, 60])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    found = compare(lambda a, b: rows[a:b].copy(), 5, (0.05,), 0.05)  # 15 degrees: 0.966; 30 degrees: 0.866
    assert found.survivor.tolist() == [-1, 0, -1, 2, -1]


def test_epsilon_zero_removes_equal_vectors_only() -> None:
    rows = families(3, 30)
    rows[7] = rows[2]
    near = rows[2] + np.float32(0.003) * np.eye(24, dtype=np.float32)[0]
    rows[9] = near / np.linalg.norm(near)
    found = run(rows, 0.0)
    assert found.survivor[7] == 2 and found.similarity[7] == 1.0
    assert found.survivor[9] == -1


def test_the_survivor_is_the_most_preferred_of_those_that_are_similar() -> None:
    angles = np.radians([0, 1, 25, 14])
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    found = compare(lambda a, b: rows[a:b].copy(), 4, (0.05,), 0.05)
    assert found.survivor.tolist() == [-1, 0, -1, 0]  # the last resembles rows 0 and 2


def test_the_histogram_counts_every_document_but_the_first() -> None:
    found = run(families(5, 33), 0.05)
    assert found.histogram.sum() == 32


@pytest.mark.parametrize(("keep", "expected"), [("farthest", [1, 2, 0, 3]), ("nearest", [3, 2, 0, 1])])
def test_order_of_preference_is_distance_then_id(keep: str, expected: list[int]) -> None:
    order = preference(np.array([0.2, 0.5, 0.2, 0.1], np.float32), pa.array(["b", "c", "a", "d"]), keep)  # type: ignore[arg-type]
    assert order.tolist() == expected


def test_the_number_of_clusters_never_exceeds_the_documents() -> None:
    assert SemanticConfig(k=50).clusters(7) == 7
    assert SemanticConfig().clusters(0) == 0
    assert SemanticConfig().clusters(12_000) == 3
    assert SemanticConfig().clusters(10**10) == 65_536


def test_values_out_of_range_are_refused() -> None:
    for wrong in ({"epsilon": 1.0}, {"epsilon": -0.1}, {"sweep": [0.1, 1.5]}, {"keep": "middle"}, {"k": 0}):
        with pytest.raises(ValidationError):
            SemanticConfig.model_validate(wrong)
