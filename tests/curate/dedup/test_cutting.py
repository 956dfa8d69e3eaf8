"""Spans out of texts, and white space at the seams."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup.cutting import cut_spans
from curate.dedup.substring.labels import SPANS
from curate.errors import VerificationError


def spans(*documents: list[tuple[int, int]] | None) -> pa.Array:
    return pa.array([None if d is None else [{"start": s, "end": e} for s, e in d] for d in documents], SPANS)


def cut(text: str, *pieces: str) -> str:
    """The text without the first occurrence of each piece."""
    raw = text.encode()
    found = [(raw.index(p.encode()), raw.index(p.encode()) + len(p.encode())) for p in pieces]
    return str(cut_spans(pa.array([text]), [spans(found)]).texts[0])


@pytest.mark.parametrize(
    ("text", "pieces", "left"),
    [
        ("a CUT b", ["CUT"], "a b"),
        ("aCUTb", ["CUT"], "ab"),
        ("a (CUT) b", ["CUT"], "a () b"),
        ("CUT\n\nb", ["CUT"], "b"),
        ("a\n\nCUT", ["CUT"], "a"),
        ("a\n\nCUT \n", ["CUT"], "a"),
        ("a CUT\n\nb", ["CUT"], "a\n\nb"),
        ("a\n\nCUT b", ["CUT"], "a\n\nb"),
        ("a\n\nCUT\nb", ["CUT"], "a\n\nb"),
        ("a\nCUT\r\nb", ["CUT"], "a\nb"),
        ("a\tCUT b", ["CUT"], "a\tb"),
        ("aCUT b", ["CUT"], "a b"),
        ("a CUT \n THAT b", ["CUT", "THAT"], "a b"),
        ("a CUT x THAT b", ["CUT", "THAT"], "a x b"),
        ("a CUT. THAT", ["CUT", "THAT"], "a ."),
        ("  CUT  ", ["CUT"], ""),
        ("CUT", ["CUT"], ""),
        (" é CUTé ", ["CUTé"], " é"),
        ("日本CUT語", ["CUT"], "日本語"),
        (" a b ", [], " a b "),
    ],
)  # fmt: skip
def test_white_space_at_seams_follows_the_rule(text: str, pieces: list[str], left: str) -> None:
    assert cut(text, *pieces) == left


def test_spans_of_several_columns_are_united() -> None:
    texts = pa.array(["0123456789", "abc", None, "xyz"])
    found = cut_spans(texts, [spans([(6, 8), (1, 3)], [], None, None), spans([(2, 4), (7, 7)], None, None, [(0, 3)])])
    assert found.texts.to_pylist() == ["04589", "abc", None, ""]
    assert found.bytes_cut.tolist() == [5, 0, 0, 3]
    assert found.changed.tolist() == [True, False, False, True]
    assert found.words().tolist() == [1, 1, 0, 0]


def test_columns_that_are_parts_of_larger_ones_are_read_in_place() -> None:
    texts = pa.array(["no", "a CUT b", "no"]).slice(1, 1)
    assert cut_spans(texts, [spans([(0, 1)], [(2, 5)], None).slice(1, 1)]).texts.to_pylist() == ["a b"]


def test_no_texts_no_spans() -> None:
    assert len(cut_spans(pa.array([], pa.string()), [spans()]).texts) == 0
    assert cut_spans(pa.array(["a "]), []).texts.to_pylist() == ["a "]


@pytest.mark.parametrize("bad", [[(0, 9)], [(-1, 1)], [(2, 1)], [(0, 2)], [(0, 1), (0, 2)], [(2, 3)]])
def test_spans_of_another_text_are_refused(bad: list[tuple[int, int]]) -> None:
    with pytest.raises(VerificationError, match="row 1: it was recorded for another text"):
        cut_spans(pa.array(["ok", "aé."]), [spans([], bad)])


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.text("aé\n .", max_size=12), st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12))))))
def test_without_white_space_exactly_the_spans_go(documents: list[tuple[str, list[tuple[int, int]]]]) -> None:
    texts, columns, wanted = [], [], []
    for text, places in documents:
        marked = [any(s <= i < e for s, e in places) for i in range(len(text))]
        borders = [len(text[:i].encode()) for i in range(len(text) + 1)]
        texts.append(text)
        columns.append([(borders[min(s, len(text))], borders[min(e, len(text))]) for s, e in places if s <= e])
        wanted.append("".join(c for c, gone in zip(text, marked, strict=True) if not gone and not c.isspace()))
    found = cut_spans(pa.array(texts, pa.string()), [spans(*columns)])
    new = found.texts.to_pylist()
    assert ["".join(t.split()) for t in new] == wanted
    assert found.bytes_cut.tolist() == [len(a.encode()) - len(b.encode()) for a, b in zip(texts, new, strict=True)]
    assert [t for t, c in zip(new, columns, strict=True) if not any(s < e for s, e in c)] == [
        t for t, c in zip(texts, columns, strict=True) if not any(s < e for s, e in c)
    ]
