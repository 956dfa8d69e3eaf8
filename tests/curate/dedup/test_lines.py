"""Lines and paragraphs that documents share are counted as brute force counts them, however the counting is cut up."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.dedup.lines.config import LinesConfig, ParagraphsConfig
from curate.dedup.lines.count import (
    COUNTS,
    Counts,
    ExactRepeats,
    ShardCounter,
    halves,
    histogram,
    marks_of,
    merged,
    read_counts,
    units_of,
)
from curate.documents import document_id
from curate.errors import VerificationError
from curate.store.folder import LocalFolder
from curate.store.sections import SectionReader


# ------------------------------------------------------------------- the same in plain Python
def normal(unit: str, config: LinesConfig) -> str:
    unit = unicodedata.normalize("NFC", unit).lower()
    if config.digits == "zero":
        unit = "".join("0" if unicodedata.category(c) == "Nd" else c for c in unit)
    gap = [unicodedata.category(c)[0] in "PZ" or unicodedata.category(c) in ("Cc", "Cf") or c.isspace() for c in unit]
    return " ".join("".join(" " if g else c for c, g in zip(unit, gap, strict=True)).split(" ")).strip()


def tidy(unit: str) -> str:
    return re.sub(" +", " ", unit)


def pieces(text: str, config: LinesConfig) -> list[tuple[int, int, str]]:
    """(start, end, normal form) of every unit that counts; positions in bytes."""
    lines = list(re.finditer(r"[^\n]*\n|[^\n]+$", text))
    blocks: list[list[re.Match[str]]] = [[line] for line in lines]
    if isinstance(config, ParagraphsConfig) and config.separator == "blank_line":
        blocks = []
        for before, line in pairwise([None, *lines]):
            assert line is not None
            blank = not line[0].strip()
            if blank and blocks:
                blocks[-1].append(line)
            elif not blank and (not blocks or (before is not None and not before[0].strip())):
                blocks.append([line])
            elif not blank:
                blocks[-1].append(line)
    found = []
    for block in blocks:
        whole = "".join(line[0] for line in block)
        form = tidy(normal(whole, config))
        if form and len(form.split(" ")) >= config.min_words and len(form.encode()) >= config.min_bytes:
            start = len(text[: block[0].start()].encode())
            found.append((start, start + len(whole.encode()), form))
    return found


def cut_by_hand(texts: dict[str, str], config: LinesConfig) -> dict[str, list[tuple[int, int]]]:
    holders: dict[str, set[str]] = defaultdict(set)
    for id_, text in texts.items():
        for _, _, form in pieces(text, config):
            holders[form].add(id_)
    out: dict[str, list[tuple[int, int]]] = {}
    for id_, text in texts.items():
        seen: set[str] = set()
        spans: list[tuple[int, int]] = []
        for start, end, form in pieces(text, config):
            repeated = len(holders[form]) >= config.min_occurrences
            kept = config.keep == "first" and id_ == min(holders[form]) and form not in seen
            seen.add(form)
            if repeated and not kept:
                spans = (
                    [*spans[:-1], (spans[-1][0], end)] if spans and spans[-1][1] == start else [*spans, (start, end)]
                )
        out[id_] = spans
    return out


# ------------------------------------------------------------------- ours
def cut(
    shards: list[dict[str, str]], config: LinesConfig, folder: Path, *, partitions: int = 1, most_held: int = 1 << 20
) -> dict[str, list[tuple[int, int]]]:
    home = LocalFolder(folder)
    sealed = []
    for i, shard in enumerate(shards):
        counter = ShardCounter(config, folder / "scratch", most_held)
        for id_, text in shard.items():
            counter.add(pa.array([id_]), pa.array([text]))
        sealed.append(counter.write(home, f"counts-{i}.parquet"))
    tables: list[Counts] = []
    for k in range(partitions):
        parts = []
        for one in sealed:
            with SectionReader(home, one.output.path, one) as reader:
                parts.append(read_counts(reader, k, partitions))
        whole = merged(parts, most_held)
        tables.append(whole.chosen(whole.documents >= config.min_occurrences))
    out: dict[str, list[tuple[int, int]]] = {}
    for shard in shards:
        ids, texts = pa.array(list(shard), pa.string()), pa.array(list(shard.values()), pa.string())
        found = units_of(texts, config)
        high, low = halves(ids)
        marked = np.zeros(len(found.key), np.bool_)
        for table in tables:
            repeats = ExactRepeats(table, config.keep == "first")
            marked |= repeats.marked(found.key, high[found.document], low[found.document], found.first)
        marks = marks_of(found, marked, len(ids))
        spans = list(zip(marks.start.tolist(), marks.end.tolist(), strict=True))
        for id_, n in zip(shard, marks.spans.tolist(), strict=True):
            out[id_], spans = spans[:n], spans[n:]
    return out


PARTS = st.sampled_from(
    ["Home | About", "home  about!", "12 May 2020", "99 May 1999", "", "  ", "\t", "…", "É", "E\u0301", "ß", "日本語",
     "की", "का", "a\u200db", "Σας", "ΣΑΣ", "x", "Long line of words, here", "\u00a0", "---", "²", "٣", "3"]
)  # fmt: skip
TEXTS = st.lists(PARTS, max_size=9).map("\n".join) | st.text(alphabet="ab \n1.É", max_size=30)
CONFIGS = st.builds(
    ParagraphsConfig, min_occurrences=st.integers(2, 3), keep=st.sampled_from(["first", "none"]),
    digits=st.sampled_from(["zero", "same"]), min_words=st.integers(0, 2), min_bytes=st.sampled_from([0, 3]),
    separator=st.sampled_from(["blank_line", "newline"]),
)  # fmt: skip


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(TEXTS, max_size=5), min_size=1, max_size=3), CONFIGS, st.sampled_from([1, 2, 8]), st.data())
def test_what_is_cut_is_what_brute_force_cuts(
    tmp_path_factory: pytest.TempPathFactory,
    texts: list[list[str]],
    config: LinesConfig,
    partitions: int,
    data: st.DataObject,
) -> None:
    shards = [{document_id(f"s{i}", j): text for j, text in enumerate(shard)} for i, shard in enumerate(texts)]
    expected = cut_by_hand({k: v for shard in shards for k, v in shard.items()}, config)
    folder = tmp_path_factory.mktemp("lines")
    assert cut(data.draw(st.permutations(shards)), config, folder, partitions=partitions) == expected


def many(n: int) -> list[dict[str, str]]:
    """Four shards whose documents share lines with each other."""
    lines = [f"word{i} and its number {i % 7} of words" for i in range(60)]
    return [
        {document_id(f"s{s}", d): "\n".join(lines[(d * 7 + s + j * j) % 60] for j in range(12)) for d in range(n)}
        for s in range(4)
    ]


def test_order_of_shards_key_ranges_and_memory_decide_nothing(tmp_path: Path) -> None:
    shards = many(30)
    config = LinesConfig(min_occurrences=5)
    expected = cut_by_hand({k: v for shard in shards for k, v in shard.items()}, config)
    assert sum(map(len, expected.values())) > 100
    for i, (order, partitions, held) in enumerate([(shards, 1, 1 << 20), (shards[::-1], 8, 1 << 20), (shards, 2, 40)]):
        folder = tmp_path / str(i)
        assert cut(order, config, folder, partitions=partitions, most_held=held) == expected
        assert list((folder / "scratch").glob("*")) == []


def test_one_of_all_occurrences_stays_or_none(tmp_path: Path) -> None:
    footer = "All rights reserved, 2020\n"
    shards = [{document_id("a", i): f"text {'x' * i}\n{footer}{footer}" for i in range(5)}]
    first = min(shards[0])
    kept = cut(shards, LinesConfig(min_occurrences=3, min_words=3), tmp_path / "1")
    assert [id_ for id_, spans in kept.items() if spans and spans[0][1] - spans[0][0] == len(footer)] == [first]
    none = cut(shards, LinesConfig(min_occurrences=3, min_words=3, keep="none"), tmp_path / "2")
    assert all(spans[0][1] - spans[0][0] == 2 * len(footer) for spans in none.values())
    assert not any(cut(shards, LinesConfig(min_occurrences=6), tmp_path / "3").values())


def test_a_damaged_count_is_an_error_and_never_fewer_lines(tmp_path: Path) -> None:
    counter = ShardCounter(LinesConfig(), tmp_path)
    counter.add(pa.array([document_id("a", 0)]), pa.array(["one\ntwo\nthree"]))
    sealed = counter.write(LocalFolder(tmp_path), "c.parquet")
    path = tmp_path / "c.parquet"
    whole = path.read_bytes()
    for broken in (whole[:-1], whole[:40] + bytes([whole[40] ^ 1]) + whole[41:]):
        path.write_bytes(broken)
        with pytest.raises(VerificationError), SectionReader(LocalFolder(tmp_path), "c.parquet", sealed) as reader:
            read_counts(reader, 0, 1)


def test_a_histogram_counts_every_unit_once() -> None:
    assert histogram(np.array([1, 1, 2, 3, 4, 5, 8, 9], np.uint32)) == {"1": 2, "2": 1, "3-4": 2, "5-8": 2, "9-16": 1}
    assert histogram(np.zeros(0, np.uint32)) == {}


def test_nothing_counts_as_nothing(tmp_path: Path) -> None:
    sealed = ShardCounter(LinesConfig(), tmp_path).write(LocalFolder(tmp_path), "c.parquet")
    with SectionReader(LocalFolder(tmp_path), "c.parquet", sealed) as reader:
        assert len(read_counts(reader, 3, 8)) == 0 and reader.schema.names == COUNTS.names
    assert len(merged([])) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"partitions": 3}, "power of two"),
        ({"counting": "bloom"}, "keep: none"),
        ({"counting": "bloom", "keep": "none", "min_occurrences": 16}, "counts to 15"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        LinesConfig(**options)  # type: ignore[arg-type]
