"""Spherical k-means: planted clusters are found; the seed decides, threads, engines and order of shards do not."""

from __future__ import annotations

import importlib.util

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from curate.documents import document_id
from curate.embed import nearest
from curate.embed.kmeans import Clustering, SmallestKeys, distances, sample_keys, spherical_kmeans
from curate.embed.nearest import open_nearest, search_all
from curate.errors import ConfigError

F32 = npt.NDArray[np.float32]


def planted(clusters: int, each: int, dimension: int = 32, seed: int = 0) -> tuple[F32, npt.NDArray[np.int64]]:
    random = np.random.default_rng(seed)
    centres = random.normal(size=(clusters, dimension))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    truth = random.permutation(np.repeat(np.arange(clusters), each))
    rows = centres[truth] + 0.03 * random.normal(size=(len(truth), dimension))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32), truth


def labels_of(found: Clustering, rows: F32) -> npt.NDArray[np.int32]:
    return search_all(open_nearest(found.centroids, "numpy"), rows)[0]


def test_planted_clusters_are_found() -> None:
    rows, truth = planted(4, 60)
    found = spherical_kmeans(rows, 16, seed=3, engine="numpy")
    labels = labels_of(found, rows)
    assert all(len(np.unique(truth[labels == k])) == 1 for k in np.unique(labels))  # no cluster mixes two
    assert found.cosine > 0.98
    np.testing.assert_allclose(np.linalg.norm(found.centroids, axis=1), 1, rtol=1e-6)


def test_threads_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "BLOCK", 64)
    rows, _ = planted(5, 100)
    one, four = (spherical_kmeans(rows, 7, seed=1, engine="numpy", threads=t) for t in (1, 4))
    assert np.array_equal(one.centroids, four.centroids)
    assert one.sizes.tolist() == four.sizes.tolist()


def test_the_seed_decides() -> None:
    rows, _ = planted(5, 40)
    one, again, other = (spherical_kmeans(rows, 7, seed=s, engine="numpy") for s in (1, 1, 2))
    assert np.array_equal(one.centroids, again.centroids)
    assert not np.array_equal(one.centroids, other.centroids)


def test_there_are_never_more_clusters_than_vectors() -> None:
    rows, _ = planted(3, 1)
    found = spherical_kmeans(rows, 10, engine="numpy")
    assert len(found.centroids) == 3
    assert sorted(labels_of(found, rows).tolist()) == [0, 1, 2]
    assert len(spherical_kmeans(rows[:0], 10, engine="numpy").centroids) == 0


def test_equal_vectors_leave_clusters_empty_and_no_more() -> None:
    rows = np.tile(np.array([[0.6, 0.8]], np.float32), (20, 1))
    found = spherical_kmeans(rows, 4, engine="numpy")
    assert np.isfinite(found.centroids).all()
    assert found.sizes.sum() == 20


def test_an_empty_cluster_takes_the_worst_fitting_vector() -> None:
    rows = np.concatenate([np.tile([[1.0, 0.0]], (30, 1)), [[0.0, 1.0]]]).astype(np.float32)
    found = spherical_kmeans(rows, 2, seed=0, engine="numpy")
    assert sorted(found.sizes.tolist()) == [1, 30]


def test_the_sample_does_not_depend_on_shards() -> None:
    ids = [document_id("a", i) for i in range(3000)]
    whole, cut = SmallestKeys(100), SmallestKeys(100)
    whole.add(sample_keys(pa.array(ids), 5), 0, np.arange(3000))
    for number, start in enumerate(range(2700, -1, -300)):
        cut.add(sample_keys(pa.array(ids[start : start + 300]), 5), number, np.arange(300))
    keys, _, rows = whole.chosen()
    others = cut.chosen()
    assert sorted(keys.tolist()) == sorted(others[0].tolist())
    assert {ids[r] for r in rows} == {ids[2700 - 300 * s + r] for s, r in zip(others[1], others[2], strict=True)}
    assert len(keys) == 100
    assert sorted(sample_keys(pa.array(ids), 6).argsort()[:100]) != sorted(rows.tolist())


def test_distances_do_not_depend_on_the_search() -> None:
    rows, _ = planted(3, 10)
    found = distances(rows, rows[:1], np.zeros(len(rows), np.int32))
    assert found[0] == 0
    np.testing.assert_allclose(found, 1 - rows @ rows[0], atol=1e-6)


def test_more_centroids_than_are_compared_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, _ = planted(40, 3)
    whole = search_all(open_nearest(rows[:50], "numpy"), rows)[0]
    monkeypatch.setattr(nearest, "_CENTROIDS", 7)
    assert search_all(open_nearest(rows[:50], "numpy"), rows)[0].tolist() == whole.tolist()


@pytest.mark.skipif(importlib.util.find_spec("faiss") is None, reason="FAISS is not installed (extra `models`)")
def test_faiss_finds_the_same_clusters() -> None:
    rows, _ = planted(6, 80)
    one, other = (spherical_kmeans(rows, 6, seed=2, engine=e, threads=2) for e in ("numpy", "faiss"))
    assert "faiss" in other.engine
    np.testing.assert_allclose(one.centroids, other.centroids, atol=1e-5)


@pytest.mark.gpu
def test_a_gpu_is_chosen_by_itself() -> None:
    faiss = nearest.faiss_module()
    if faiss is None or not nearest.gpu_count(faiss):
        pytest.skip("no GPU that FAISS can use")
    rows, _ = planted(6, 80)
    found = spherical_kmeans(rows, 6, seed=2)
    assert "GPU" in found.engine
    np.testing.assert_allclose(found.centroids, spherical_kmeans(rows, 6, seed=2, engine="numpy").centroids, atol=1e-4)


@pytest.mark.skipif(importlib.util.find_spec("faiss") is not None, reason="FAISS is installed")
def test_faiss_that_is_asked_for_and_missing_is_said() -> None:
    with pytest.raises(ConfigError, match=r"curate\[models\]"):
        open_nearest(np.eye(3, dtype=np.float32), "faiss")
