"""Hashed features: what counts as a word, what is read of a long text, and that the fast path equals the plain sum."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from curate.kernels.hashed_features import STATISTICS, HashedFeatures, count_words, word_hash
from curate.kernels.strings import string_buffers

_MIX = 0x9E3779B97F4A7C15
_ALL = (1 << 64) - 1


def buffers(*texts: str) -> tuple[Any, Any]:
    return string_buffers(pa.array(texts, pa.string()))


def features(head: int = 4000, tail: int = 1000, words: int = 16, runs: int = 0) -> HashedFeatures:
    return HashedFeatures(head, tail, words, runs)


def counted(text: str, model: HashedFeatures) -> dict[int, int]:
    _, indices, counts, _ = model.counts(*buffers(text))
    return dict(zip(indices.tolist(), counts.tolist(), strict=True))


def bucket(word: str, bits: int = 16) -> int:
    return ((word_hash(word) * _MIX) & _ALL) >> (64 - bits)


def statistics(text: str) -> dict[str, float]:
    row = features().counts(*buffers(text))[3][0]
    return dict(zip(STATISTICS, row.tolist(), strict=True))


def test_words_are_folded_and_counted() -> None:
    found = counted("Ships SHIPS ships, boats", features())
    assert found[bucket("ships")] == 3 and found[bucket("boats")] == 1


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("don't", ["don't"]),
        ("don\u2019t", ["don't"]),
        ("'quoted' words", ["quoted", "words"]),
        ("well-known", ["well", "known"]),
        ("caf\u00e9\u00a0cr\u00e8me", ["caf\u00e9", "cr\u00e8me"]),
        ("a\u2014b\u2026c", ["a", "b", "c"]),
        ("\u201cyes\u201d", ["yes"]),
        ("x1 2y", ["x1", "2y"]),
        ("rock '", ["rock"]),
    ],
)
def test_what_a_word_is(text: str, words: list[str]) -> None:
    found = counted(text, features())
    assert all(found.get(bucket(word), 0) >= 1 for word in words)
    assert count_words(*buffers(text), 100).tolist() == [len(words)]
    assert statistics(text)["log_words"] == pytest.approx(np.log1p(len(words)), abs=1e-6)


def test_pairs_know_order_and_line_breaks() -> None:
    one, two, broken = (set(counted(t, features())) for t in ("red house", "house red", "red\nhouse"))
    alone = {bucket("red"), bucket("house")}
    assert one & two == broken & one & two
    assert len(one - alone - two) >= 1 and len(broken - alone - one) >= 1


def test_counting_stops_at_the_most_that_is_asked() -> None:
    assert count_words(*buffers("one two three four", "", "one"), 2).tolist() == [2, 0, 1]


def test_only_head_and_tail_are_read_and_cuts_split_no_word() -> None:
    model = features(head=20, tail=10)
    text = "beginning of the text " + "middle " * 50 + "the very end"
    found = counted(text, model)
    assert bucket("beginning") in found and bucket("end") in found
    assert bucket("middle") not in found
    assert statistics("word " * 2000)["window_share"] == pytest.approx(0.5, abs=0.01)


def test_a_window_never_cuts_a_character() -> None:
    for head in range(10, 30):
        counted("\u6f22\u5b57" * 40 + "\u00e9" * 40, features(head=head, tail=head))


def test_statistics_of_a_small_text() -> None:
    found = statistics("I like bees. You like BEES!\n\nhttp\n- see 12 bees\n- see 12 bees")
    assert found["log_lines"] == pytest.approx(np.log1p(4))
    assert found["list_lines"] == pytest.approx(0.5)
    assert found["repeated_lines"] == pytest.approx(0.25)
    assert found["blank_lines"] == pytest.approx(0.25)
    assert found["ended_lines"] == pytest.approx(0.25)
    assert found["shouted_words"] == pytest.approx(1 / 13)
    assert found["numeric_words"] == pytest.approx(2 / 13)
    assert found["first_person"] == pytest.approx(np.sqrt(1 / 13))
    assert found["second_person"] == pytest.approx(np.sqrt(1 / 13))
    assert found["mean_sentence"] == pytest.approx(np.log1p(3.0))
    assert found["sentence_spread"] == 0


def test_an_empty_text_has_finite_statistics_and_no_words() -> None:
    indptr, indices, _, rows = features(runs=16).counts(*buffers("", "\n \t", "..."))
    assert indptr.tolist()[:2] == [0, 0] and np.isfinite(rows).all()
    assert (indices >= 1 << 16).all()


def test_projection_equals_the_sum_over_the_sparse_rows() -> None:
    rng = np.random.default_rng(5)
    model = features(head=60, tail=30, words=10, runs=9)
    texts = ["some words are here, some are there", "", "a", "longer text with many words " * 20, "\u00fcber \u2603 12"]
    table = rng.integers(-127, 128, (model.buckets, 8)).astype(np.int8)
    idf = rng.uniform(1, 5, model.buckets).astype(np.float32)
    latent, rows = model.project(*buffers(*texts), idf, table)
    indptr, indices, counts, plain = model.counts(*buffers(*texts))
    assert np.array_equal(rows, plain)
    for d in range(len(texts)):
        span = slice(indptr[d], indptr[d + 1])
        where, weight = indices[span], (1 + np.log(counts[span])) * idf[indices[span]]
        for block, inside in enumerate((where < 1 << 10, where >= 1 << 10)):
            length = np.sqrt((weight[inside] ** 2).sum())
            expected = (weight[inside, None] * table[where[inside]]).sum(axis=0) / max(length, 1e-9)
            assert latent[d, block] == pytest.approx(expected, rel=1e-4, abs=1e-3)


def test_a_bucket_that_is_hit_very_often_is_counted_up_to_its_limit() -> None:
    found = counted("z" * 200_000, HashedFeatures(300_000, 0, 8, 8))
    assert max(found.values()) == 65535
