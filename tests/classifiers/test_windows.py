"""Windows: what is read of a text, and how scores of parts become the score of a document."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from classifiers.cards import Window
from classifiers.texts import Texts
from classifiers.windows import Pieces, cut, excerpts, pieces, pool

SIZE = st.integers(1, 40)
LENGTHS = st.lists(st.integers(0, 200), max_size=12)


@st.composite
def windows(draw: st.DrawFn) -> Window:
    policy = draw(st.sampled_from(["whole", "head", "head_tail", "head_middle_tail", "chunk_mean", "chunk_max"]))
    parts = {"head", "middle", "tail"} if policy == "head_middle_tail" else set(policy.split("_"))
    sizes = {name: draw(SIZE) for name in ("head", "middle", "tail", "chunk") if name in parts}
    most = draw(st.integers(0, 4)) if "chunk" in parts else 0
    return Window(policy=policy, unit="characters", most=most, limit=draw(st.sampled_from([0, 0, 50])), **sizes)


def names(n: int) -> list[str]:
    return [f"{i:032x}" for i in range(n)]


def spans(parts: Pieces, document: int = 0) -> list[tuple[int, int]]:
    rows = zip(parts.document.tolist(), parts.start.tolist(), parts.end.tolist(), strict=True)
    return [(start, end) for found, start, end in rows if found == document]


def one(length: int, window: Window, name: str = "0" * 32) -> list[tuple[int, int]]:
    return spans(pieces([length], window, [name]))


@given(LENGTHS, windows())
def test_pieces_lie_in_their_document_in_order_and_do_not_overlap(lengths: list[int], window: Window) -> None:
    parts = pieces(lengths, window, names(len(lengths)))
    assert parts.document.tolist() == sorted(parts.document.tolist())
    for document, length in enumerate(lengths):
        found = spans(parts, document)
        size = min(length, window.limit) if window.limit else length
        assert all(0 <= start < end <= size for start, end in found)
        assert all(a[1] <= b[0] for a, b in pairwise(found))
        assert bool(found) == (length > 0)
    assert parts.weight.tolist() == (parts.end - parts.start).tolist()


@given(LENGTHS, windows())
def test_whole_and_all_chunks_cover_every_unit_and_short_texts_are_whole(lengths: list[int], window: Window) -> None:
    parts = pieces(lengths, window, names(len(lengths)))
    ends = window.head + window.middle + window.tail
    for document, length in enumerate(lengths):
        size = min(length, window.limit) if window.limit else length
        covered = sum(end - start for start, end in spans(parts, document))
        if window.policy == "whole" or (window.chunk and not window.most):
            assert covered == size
        elif window.chunk:
            assert covered == min(size, window.most * window.chunk)
        else:
            assert covered == min(size, ends)
            assert size > ends or spans(parts, document) == ([(0, size)] if size else [])


@given(LENGTHS, windows())
def test_pieces_of_a_document_do_not_depend_on_its_neighbours(lengths: list[int], window: Window) -> None:
    ids = names(len(lengths))
    together = pieces(lengths, window, ids)
    for document, length in enumerate(lengths):
        assert spans(together, document) == one(length, window, ids[document])


def test_the_middle_depends_on_the_id_and_lies_anywhere_between() -> None:
    window = Window(policy="head_middle_tail", unit="characters", head=2, middle=1, tail=3)
    starts = [one(10, window, f"{i:x}")[1][0] for i in range(200)]
    assert starts == [one(10, window, f"{i:x}")[1][0] for i in range(200)]
    assert set(starts) == {2, 3, 4, 5, 6}
    assert all(one(10, window, f"{i:x}")[0] == (0, 2) and one(10, window, f"{i:x}")[2] == (7, 10) for i in range(20))


def test_without_ids_there_is_no_middle_to_draw() -> None:
    with pytest.raises(ValueError, match="give the ids"):
        pieces([10], Window(policy="head_middle_tail", head=1, middle=1, tail=1))


@pytest.mark.parametrize(
    ("window", "expected"),
    [
        (Window(policy="head", head=4), [(0, 4)]),
        (Window(policy="head_tail", head=4, tail=3), [(0, 4), (7, 10)]),
        (Window(policy="head_tail", head=4, tail=6), [(0, 10)]),
        (Window(policy="chunk_mean", chunk=4), [(0, 4), (4, 8), (8, 10)]),
        (Window(policy="chunk_max", chunk=4, limit=6), [(0, 4), (4, 6)]),
        (Window(policy="chunk_max", chunk=3, most=2), [(0, 3), (7, 10)]),
        (Window(policy="chunk_max", chunk=3, most=1), [(0, 3)]),
        (Window(policy="chunk_max", chunk=3, most=4), [(0, 3), (3, 6), (6, 9), (9, 10)]),
        (Window(policy="whole", limit=7), [(0, 7)]),
    ],
)
def test_pieces_of_ten_units(window: Window, expected: list[tuple[int, int]]) -> None:
    assert one(10, window) == expected


def test_mean_over_chunks_counts_their_units() -> None:
    """QuRating's document score: chunks of 512 and 88 tokens with 1 and -1 give 424 / 600."""
    window = Window(policy="chunk_mean", unit="tokens", chunk=512)
    found = pool([[1.0, 2.0], [-1.0, 2.0]], pieces([600], window), 1, window)
    assert found[0] == pytest.approx([424 / 600, 2.0])
    assert math.isclose(found[0, 0], 0.706667, abs_tol=1e-6)


def test_max_over_chunks_is_taken_for_each_head_alone() -> None:
    window = Window(policy="chunk_max", unit="tokens", chunk=2)
    found = pool([[1.0, -5.0], [3.0, -7.0], [-2.0, 0.5]], pieces([4, 0, 1], window), 3, window)
    assert found[0].tolist() == [3.0, -5.0] and np.isnan(found[1]).all() and found[2].tolist() == [-2.0, 0.5]


@pytest.mark.parametrize("policy", ["chunk_mean", "chunk_max"])
def test_nan_of_a_piece_is_nan_of_its_document_only(policy: str) -> None:
    window = Window(policy=policy, unit="tokens", chunk=2)
    found = pool([1.0, math.nan, 4.0], pieces([4, 2], window), 2, window)
    assert np.isnan(found[0, 0]) and found[1, 0] == 4.0


@pytest.mark.parametrize("policy", ["chunk_mean", "chunk_max"])
def test_no_documents_and_no_pieces(policy: str) -> None:
    window = Window(policy=policy, unit="tokens", chunk=2)
    assert pool(np.zeros((0, 3)), pieces([], window), 0, window).shape == (0, 3)
    assert np.isnan(pool(np.zeros((0, 3)), pieces([0, 0], window), 2, window)).all()


@settings(max_examples=50)
@given(st.lists(st.integers(1, 30), min_size=1, max_size=8), st.integers(0, 2**32 - 1))
def test_pooling_does_not_depend_on_the_batch_to_the_last_bit(lengths: list[int], seed: int) -> None:
    window = Window(policy="chunk_mean", unit="tokens", chunk=3)
    parts = pieces(lengths, window)
    values = np.random.default_rng(seed).normal(size=(len(parts), 2))
    together = pool(values, parts, len(lengths), window)
    for i, length in enumerate(lengths):
        alone = pool(values[parts.document == i], pieces([length], window), 1, window)
        assert alone[0].tolist() == together[i].tolist()


def test_bytes_are_cut_between_characters() -> None:
    window = Window(policy="head_tail", unit="bytes", head=2, tail=2)
    assert cut(["aéß"], window)[1] == ["a", "ß"]  # 5 bytes: the first two end inside é
    assert cut(["äöüß"], window)[1] == ["ä", "ß"]


@given(st.lists(st.text(max_size=30), max_size=5), windows())
def test_cut_bytes_are_whole_characters_of_the_text(texts: list[str], window: Window) -> None:
    bytewise = window.model_copy(update={"unit": "bytes"})
    parts, said = cut(texts, bytewise, names(len(texts)))
    for document, piece in zip(parts.document.tolist(), said, strict=True):
        assert piece in texts[document]


def test_words_keep_the_whitespace_between_them() -> None:
    window = Window(policy="chunk_mean", unit="words", chunk=2)
    parts, said = cut(["  one \n two\tthree ", "", "four"], window)
    assert said == ["one \n two", "three", "four"] and parts.document.tolist() == [0, 0, 2]


def test_excerpts_join_what_is_read_and_keep_empty_texts() -> None:
    window = Window(policy="head_tail", unit="characters", head=2, tail=1)
    texts = Texts.of(["abcdef", "", "abc"])
    assert excerpts(texts, window).to_pylist() == ["ab\nf", "", "abc"]
    assert excerpts(texts, Window()).to_pylist() == ["abcdef", "", "abc"]


def test_tokens_are_left_to_the_backend() -> None:
    with pytest.raises(ValueError, match="tokeniser"):
        cut(["a"], Window(policy="head", unit="tokens", head=1))


@pytest.mark.parametrize(
    ("sizes", "said"),
    [
        ({"policy": "head"}, "needs head"),
        ({"policy": "head_tail", "head": 3}, "needs tail"),
        ({"policy": "head_middle_tail", "head": 3, "tail": 3}, "needs middle"),
        ({"policy": "chunk_max"}, "needs chunk"),
        ({"policy": "head", "head": 3, "tail": 1}, "tail belongs to"),
        ({"policy": "whole", "chunk": 3}, "chunk belongs to"),
        ({"policy": "head", "head": 3, "most": 2}, "most counts chunks"),
    ],
)
def test_sizes_that_a_policy_lacks_or_does_not_know_are_refused(sizes: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Window.model_validate(sizes)
