"""Repeated spans by brute force, and the passes run over shards in a folder: what the tests compare."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

import pyarrow as pa

from curate.dedup.substring.config import SubstringConfig
from curate.dedup.substring.find import find_all
from curate.store.folder import LocalFolder

Spans = list[tuple[int, int]]
Shards = Mapping[str, list[tuple[str, str]]]


def reference(documents: list[tuple[str, str]], config: SubstringConfig) -> dict[str, tuple[Spans, Spans, int]]:
    """Per document the spans to cut, the first occurrences, and how many bytes repeat; every window is written out."""
    places = defaultdict(list)
    units = {id_: units_of(text, config.unit) for id_, text in documents}
    for id_, of_text in units.items():
        for i in range(len(of_text) - config.n + 1):
            places[tuple(key for key, _, _ in of_text[i : i + config.n])].append((id_, i))
    kept = {id_: [False] * len(of_text) for id_, of_text in units.items()}
    again = {id_: [False] * len(of_text) for id_, of_text in units.items()}
    for found in places.values():
        if len(found if config.within else {id_ for id_, _ in found}) < config.min_occurrences:
            continue
        first = min(found)
        for id_, i in found:
            is_first = config.keep == "first" and ((id_, i) == first if config.within else id_ == first[0])
            marked = (kept if is_first else again)[id_]
            marked[i : i + config.n] = [True] * config.n
    out = {}
    for id_, text in documents:
        raw, of_text = text.encode(), units[id_]
        cut = spans(raw, of_text, [a and not k for a, k in zip(again[id_], kept[id_], strict=True)])
        both = spans(raw, of_text, [a or k for a, k in zip(again[id_], kept[id_], strict=True)])
        out[id_] = (cut, spans(raw, of_text, kept[id_]), sum(e - s for s, e in both))
    return out


def units_of(text: str, unit: str) -> list[tuple[object, int, int]]:
    """(what is compared, first byte, byte after the last) of each unit."""
    if unit == "bytes":
        return [(byte, i, i + 1) for i, byte in enumerate(text.encode())]
    borders = [0]
    for char in text:
        borders.append(borders[-1] + len(char.encode()))
    if unit == "characters":
        return [(char, borders[i], borders[i + 1]) for i, char in enumerate(text)]
    out, i = [], 0
    while i < len(text):
        start = i
        if text[i].isalnum() or text[i] == "_":
            while i < len(text) and (text[i].isalnum() or text[i] == "_" or unicodedata.category(text[i])[0] == "M"):
                i += 1
            folded = "".join(c.lower()[0] for c in unicodedata.normalize("NFC", text[start:i]))
            out.append((folded.replace("ς", "σ"), borders[start], borders[i]))
        else:
            i += 1
    return out


def spans(raw: bytes, units: list[tuple[object, int, int]], marked: list[bool]) -> Spans:
    """Runs of marked units as bytes, without the parts of characters at their ends."""
    out, i = [], 0
    while i < len(units):
        start = i
        while i < len(units) and marked[i]:
            i += 1
        if i > start:
            piece = raw[units[start][1] : units[i - 1][2]]
            inner = piece.decode(errors="ignore").encode()
            if inner:
                begin = units[start][1] + piece.index(inner)
                out.append((begin, begin + len(inner)))
        i = max(i, start + 1)
    return out


def found_by_passes(
    path: Path, shards: Shards, config: SubstringConfig, batch_rows: int = 3
) -> dict[str, tuple[Spans, Spans, float]]:
    """The same from the five passes, each over files of ``path``."""
    batches = {name: _batches(documents, batch_rows) for name, documents in shards.items()}
    out = {}
    for name, part, found in find_all(LocalFolder(path), batches, config, config.partitions or 1):
        columns = [c.to_pylist() for c in found]
        for row, cut, kept, ratio in zip(part.rows.tolist(), *columns, strict=True):
            out[shards[name][row][0]] = (_pairs(cut), _pairs(kept), ratio)
    return out


def _batches(documents: list[tuple[str, str]], size: int) -> list[pa.RecordBatch]:
    out = []
    for start in range(0, len(documents), size):
        some = documents[start : start + size]
        rows = pa.array(range(start, start + len(some)), pa.int32())
        ids, texts = pa.array([i for i, _ in some], pa.string()), pa.array([t for _, t in some], pa.string())
        out.append(pa.RecordBatch.from_arrays([ids, texts, rows], names=["id", "text", "row"]))
    return out


def _pairs(spans: list[dict[str, int]]) -> Spans:
    return [(s["start"], s["end"]) for s in spans]
