"""Repeated spans: the five passes against every window written out."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.dedup.substring import find as passes
from curate.dedup.substring import joins as substring_joins
from curate.dedup.substring import texts as substring_texts
from curate.dedup.substring.config import SubstringConfig
from curate.documents import document_id
from curate.errors import VerificationError
from curate.store.folder import LocalFolder
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


CORPORA = st.lists(st.lists(TEXTS, max_size=5), min_size=1, max_size=3)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CORPORA, CONFIGS, st.integers(1, 4))
def test_spans_equal_those_of_brute_force(texts: list[list[str]], config: SubstringConfig, batch_rows: int) -> None:
    agrees(numbered(texts), config, batch_rows)


@pytest.mark.slow
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CORPORA, CONFIGS, st.integers(1, 4))
def test_many_spans_equal_those_of_brute_force(
    texts: list[list[str]], config: SubstringConfig, batch_rows: int
) -> None:
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


def spans_of(texts: list[str], **options: Any) -> list[tuple[str, ...]]:
    """What would be cut from each text, one document per shard, ids in the order of the texts."""
    shards = {f"{i:05d}": [(f"{i:032x}", text)] for i, text in enumerate(texts)}
    config = SubstringConfig(**options)
    found = agrees(shards, config)
    return [
        tuple(text.encode()[start:end].decode() for start, end in found[f"{i:032x}"][0]) for i, text in enumerate(texts)
    ]


def test_words_repeat_whatever_case_and_punctuation_stand_between() -> None:
    texts = ["One, two: three - FOUR.", "«one Two\nthree four» five"]
    assert spans_of(texts, n=4) == [(), ("one Two\nthree four",)]
    assert spans_of(texts, n=5) == [(), ()]
    assert spans_of(texts, n=4, keep="none") == [("One, two: three - FOUR",), ("one Two\nthree four",)]


def test_the_smallest_id_keeps_the_span_in_whatever_order_the_shards_come() -> None:
    shards = {"b": [("f" * 32, "abcdef")], "a": [("0" * 31 + "1", "abcdef")], "c": [("0" * 32, "__abcdef")]}
    config = SubstringConfig(unit="bytes", n=6)
    for names in (["a", "b", "c"], ["c", "b", "a"]):
        found = agrees({name: shards[name] for name in names}, config)
        assert [found[i][0] for i in ("f" * 32, "0" * 31 + "1", "0" * 32)] == [[(0, 6)], [(0, 6)], []]


def test_nothing_of_a_first_occurrence_is_cut_where_spans_overlap() -> None:
    # the second text has the first place of "cdefgh", so of "abcd", which is first in another, only "ab" goes
    assert spans_of(["xabcdx", "abcdefgh", "_cdefgh"], unit="characters", n=4) == [(), ("ab",), ("cdefgh",)]


def test_inside_one_document_repeats_count_only_when_asked() -> None:
    text = "the end of it. the end of it. the end of it"
    assert spans_of([text], n=4) == [()]
    assert spans_of([text], n=4, within=True) == [
        ("it. the end of it",)
    ]  # all four turns have their first place before
    assert spans_of([text], n=4, within=True, min_occurrences=4) == [()]


def test_bytes_never_leave_half_a_character() -> None:
    # "é" and "ê" share their first byte; the common bytes around them are not all of a character
    assert spans_of(["aaaé!", "aaaê?"], unit="bytes", n=4) == [(), ("aaa",)]


def test_licences_with_small_changes_repeat_between_the_changes() -> None:
    clauses = [
        " ".join(f"{VERBS[(i * 7 + j * 3) % 11]} {NOUNS[(i + j * j) % 13]}" for j in range(30)) for i in range(6)
    ]
    texts = []
    for year in range(8):
        own = " ".join(f"{NOUNS[(year * j) % 13]}{year}{j}" for j in range(40))
        rest = [clause for c, clause in enumerate(clauses) if c != year]  # one clause is missing, another amended
        rest[year % 5] = rest[year % 5].replace("keep", f"keep{year}", 1)
        texts.append(f"{own}\n\nCopyright (c) {2000 + year} Mill & Sons {year}.\n\n" + ".\n\n".join(rest))
    for n in (8, 50):
        found = spans_of(texts, n=n, partitions=4)
        assert sum(map(len, found)) > 5
        assert not any("Copyright" in span for spans in found for span in spans)


VERBS = "give take keep copy sell lend use mark name show hold".split()
NOUNS = "page text work part code list term note file form name mark page2".split()


def test_versions_of_real_policies_repeat_as_brute_force_says(shared: Path) -> None:
    table = pq.read_table(shared / "data/ota_neardup_dev/texts.parquet", columns=["text"])
    texts = [text for text in table["text"].to_pylist() if len(text) < 40_000][:220:20]
    shards = {str(s): [(document_id(str(s), i), t) for i, t in enumerate(texts) if i % 3 == s] for s in range(3)}
    wanted = agrees(shards, SubstringConfig(n=50, partitions=8), batch_rows=512)
    assert sum(repeated for _, _, repeated in wanted.values()) > 10_000


@pytest.fixture
def joined(tmp_path: Path) -> Path:
    """A folder in which all five passes are done."""
    shards = numbered([["abcdefgh" * 3, "xyz"], ["abcdefgh", "zzzzzzzz"]])
    found_by_passes(tmp_path, shards, SubstringConfig(unit="bytes", n=5, partitions=2))
    return tmp_path


@pytest.mark.parametrize("name", ["substring_seeds/00001", "substring_active/range-0001"])
def test_a_missing_file_is_an_error_not_no_duplicates(joined: Path, name: str) -> None:
    (joined / f"steps/{name}.parquet").unlink()
    config = SubstringConfig(unit="bytes", n=5, partitions=2)
    with pytest.raises(FileNotFoundError):
        if "seeds" in name:
            passes.join_seeds(LocalFolder(joined), ["00000", "00001"], config, 0, 2)
        else:
            passes.find_windows(LocalFolder(joined), "00000", [BATCH], config, 2)


def test_damaged_files_are_never_read_as_data(joined: Path) -> None:
    config, folder = SubstringConfig(unit="bytes", n=5, partitions=2), LocalFolder(joined)
    path = joined / "steps/substring_windows/00001.parquet"
    whole = path.read_bytes()
    first = pq.ParquetFile(path).metadata.row_group(0).column(0)
    flipped = bytearray(whole)
    flipped[first.data_page_offset + first.total_compressed_size - 1] ^= 1
    for damaged in (bytes(flipped), whole[:-9], b""):
        path.write_bytes(damaged)
        with pytest.raises((OSError, pa.ArrowInvalid)):
            for k in range(2):
                passes.join_windows(folder, ["00000", "00001"], config, k, 2)


def test_ranges_of_another_number_and_masks_of_other_shards_are_refused(joined: Path) -> None:
    folder, shards = LocalFolder(joined), ["00000", "00001"]
    with pytest.raises(VerificationError, match="2 key ranges, the join asks for 4"):
        passes.join_seeds(folder, shards, SubstringConfig(unit="bytes", n=5, partitions=4), 0, 4)
    config = SubstringConfig(unit="bytes", n=5, partitions=2)
    passes.join_seeds(folder, ["00000"], config, 0, 2)
    passes.join_seeds(folder, ["00000"], config, 1, 2)
    with pytest.raises(VerificationError, match="no answer for shard 00001"):
        passes.find_windows(folder, "00001", [BATCH], config, 2)


def test_the_most_frequent_stretches_are_told_with_their_first_document(tmp_path: Path) -> None:
    shards = numbered([["abcdefgh", "vwxyz abcdefgh"], ["abcdefgh", "vwxyz"]])
    ids = {text: [i for of in shards.values() for i, t in of if text in t] for text in ("abcde", "vwxyz")}
    for partitions in (1, 2):
        config = SubstringConfig(unit="bytes", n=5, partitions=partitions)
        found_by_passes(tmp_path, shards, config)
        joins = [
            passes.join_windows(LocalFolder(tmp_path), list(shards), config, k, partitions) for k in range(partitions)
        ]
        top = passes.most_frequent(one for _, of, _ in joins for one in of)
        assert sum(different for _, _, different in joins) == 5
        # "abcde" to "defgh" are one text: one of them stands for the four
        assert [(f.count, f.document) for f in top] == [(3, min(ids["abcde"])), (2, min(ids["vwxyz"]))]


BATCH = pa.RecordBatch.from_arrays(
    [pa.array(["0" * 32]), pa.array(["abcdefgh"]), pa.array([0], pa.int32())], names=["id", "text", "row"]
)
