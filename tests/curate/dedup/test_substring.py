"""Repeated spans: the five passes against every window written out."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.dedup import substring as passes
from curate.dedup import substring_joins, substring_texts
from curate.dedup.substring_config import SubstringConfig
from curate.documents import document_id
from tests.curate.dedup.substring_reference import Shards, found_by_passes, reference

WORDS = ("a", "b", "Ab", "été", "e\u0301te\u0301", "Σας", "ΣΑΣ", "की", "x_1", "İz")
SEPARATORS = (" ", ", ", "\n", " — ", "\u0301 ", "-")


def numbered(texts: list[list[str]]) -> dict[str, list[tuple[str, str]]]:
    """Shards of (id, text), ids as documents have them."""
    return {f"{s:05d}": [(document_id(f"file-{s}", d), t) for d, t in enumerate(of)] for s, of in enumerate(texts)}


def agrees(shards: Shards, config: SubstringConfig, batch_rows: int = 3) -> dict[str, Any]:
    """Compare; the reference's answer."""
    documents = [document for of in shards.values() for document in of]
    wanted = reference(documents, config)
    with tempfile.TemporaryDirectory() as folder:
        found = found_by_passes(Path(folder), shards, config, batch_rows)
    sizes = {id_: len(text.encode()) for id_, text in documents}
    assert found.keys() == wanted.keys()
    for id_, (cut, kept, repeated) in wanted.items():
        assert found[id_][:2] == (cut, kept)
        assert found[id_][2] == pytest.approx(repeated / sizes[id_] if sizes[id_] else 0.0)
    return wanted


@st.composite
def worded(draw: st.DrawFn) -> str:
    return "".join(w + s for w, s in draw(st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(SEPARATORS)))))


TEXTS = st.one_of(worded(), st.text("ab", max_size=30), st.text("aé文𐍈 ", max_size=20))
CONFIGS = st.builds(
    SubstringConfig, unit=st.sampled_from(["words", "characters", "bytes"]), n=st.integers(2, 9),
    min_occurrences=st.integers(2, 3), within=st.booleans(), keep=st.sampled_from(["first", "none"]),
    partitions=st.sampled_from([1, 2, 8]),
)  # fmt: skip


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.lists(TEXTS, max_size=5), min_size=1, max_size=3), CONFIGS, st.integers(1, 4))
def test_spans_equal_those_of_brute_force(texts: list[list[str]], config: SubstringConfig, batch_rows: int) -> None:
    agrees(numbered(texts), config, batch_rows)


def test_small_blocks_and_pieces_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passes, "BLOCK_ROWS", 7)
    monkeypatch.setattr(substring_joins, "JOIN_ROWS", 5)
    monkeypatch.setattr(substring_texts, "SLICE_BYTES", 20)
    texts = [["abcabcab" * 3, "xyxyxyxyx", "abcab"], ["", "cabcabca", "qqqqqqqq"], ["abcabcab" * 2 + "zz"]]
    for partitions in (1, 8):
        for within in (False, True):
            config = SubstringConfig(unit="bytes", n=5, within=within, partitions=partitions)
            assert any(cut for cut, _, _ in agrees(numbered(texts), config).values())
