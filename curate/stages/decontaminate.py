"""How much of a benchmark's items a document contains, by word n-grams; a label, and a drop if asked for.

The index is built from JSONL files that the config names. Text is lower-cased and split into words without punctuation
(``curate.kernels.ngram_index``); every distinct run of ``n`` words of an item is a key. Follows GPT-3's 13-grams (arXiv
2005.14165, appendix C), but keeps the share of the item that was found instead of a yes or no.

Short items: one with fewer than ``n`` words and at least ``min_words`` is one key as a whole (its overlap is 0 or 1); a
shorter one is left out and counted, since a handful of common words would accuse half of the Web. N-grams shared by
more than ``max_items`` items are the benchmark's template and are left out too; an item of nothing else is left out.
"""

from __future__ import annotations

import gzip
import io
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field, model_validator

from curate.documents import Batch, column
from curate.errors import ConfigError
from curate.kernels.strings import string_buffers
from curate.stages.base import Context, Stage, StageConfig

_LOG = logging.getLogger(__name__)


class Benchmark(StageConfig):
    """One JSONL file (plain, .gz or .zst).

    Attributes:
        path: the file, relative to the config.
        name: how ``decontaminate_benchmark`` calls it; the file's name without endings if left out.
        fields: keys whose texts form an item, in this order; lists and objects are joined. An item that has none of
            them is an error.
    """

    path: Path
    name: str | None = None
    fields: Annotated[tuple[str, ...], Field(min_length=1)] = ("text",)

    @property
    def label(self) -> str:
        """The name, or what the file's name says."""
        return self.name or self.path.name.split(".")[0]


class DecontaminateConfig(StageConfig):
    """The benchmarks and what to do about a match.

    Attributes:
        benchmarks: files of items.
        n: words per n-gram.
        min_words: items with fewer words are left out.
        max_items: n-grams of more items than this are left out.
        action: ``label`` only, or ``drop`` documents with at least ``threshold`` overlap.
        threshold: share of an item's n-grams, 0–1.
        max_ngrams: keys at most (about 40 bytes of memory each); more is an error before any work.
    """

    benchmarks: Annotated[tuple[Benchmark, ...], Field(min_length=1)]
    n: Annotated[int, Field(ge=2, le=64)] = 13
    min_words: Annotated[int, Field(ge=2)] = 8
    max_items: Annotated[int, Field(ge=1)] = 16
    action: Literal["label", "drop"] = "label"
    threshold: Annotated[float, Field(gt=0, le=1)] = 0.5
    max_ngrams: Annotated[int, Field(ge=1)] = 20_000_000

    @model_validator(mode="after")
    def _names_differ(self) -> DecontaminateConfig:
        names = [benchmark.label for benchmark in self.benchmarks]
        if len(set(names)) < len(names):
            raise ValueError("two benchmarks have the same name: give each its own `name`")
        return self


@dataclass(frozen=True)
class Index:
    """Keys of all items, ready for the kernel.

    Attributes:
        keys, slots: n-gram hashes and their open-addressing table.
        starts, items: which items hold a key.
        totals: distinct keys per item.
        owners: benchmark of each item.
        lengths: the n of the n-grams that occur: ``n``, and the lengths of short items.
        too_short, template: items left out, by rule.
    """

    keys: Any
    slots: Any
    starts: Any
    items: Any
    totals: Any
    owners: Any
    lengths: Any
    too_short: int
    template: int

    @property
    def nbytes(self) -> int:
        """Memory of the index, in bytes, with the working space of one comparison."""
        arrays = (self.keys, self.slots, self.starts, self.items, self.totals, self.owners)
        return int(sum(a.nbytes for a in arrays)) + 4 * len(self.keys) + 8 * len(self.totals)

    def report(self) -> dict[str, int]:
        """Counts for the log: items, ngrams, items left out, bytes."""
        return {
            "items": int((self.totals > 0).sum()),
            "ngrams": len(self.keys),
            "items_too_short": self.too_short,
            "items_of_template_only": self.template,
            "bytes": self.nbytes,
        }


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as raw:
        if path.suffix == ".gz":
            with gzip.open(raw) as lines:
                yield from lines
        elif path.suffix == ".zst":
            import zstandard

            yield from io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(raw))
        else:
            yield from raw


def _texts(value: Any, depth: int = 0) -> Iterator[str]:
    """All strings and numbers in a JSON value, in order."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        yield str(value)
    elif depth < 16 and isinstance(value, (list, dict)):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _texts(each, depth + 1)


def read_items(benchmark: Benchmark, base: Path) -> Iterator[str]:
    """The text of every item of a benchmark.

    Raises:
        ConfigError: the file cannot be read, a line is not a JSON object, or an item has none of the fields.
    """
    path = base / benchmark.path
    try:
        for number, line in enumerate(_lines(path), 1):
            if not line.strip():
                continue
            try:
                item = orjson.loads(line)
            except orjson.JSONDecodeError:
                raise ConfigError(f"{path}:{number}: not JSON; each line must be one object") from None
            fields = [f for f in benchmark.fields if isinstance(item, dict) and item.get(f) is not None]
            if not fields:
                have = ", ".join(sorted(item)[:10]) if isinstance(item, dict) else "no object"
                raise ConfigError(f"{path}:{number}: none of the fields {list(benchmark.fields)}; there are: {have}")
            yield " ".join(text for field in fields for text in _texts(item[field]))
    except (OSError, EOFError) as error:
        raise ConfigError(f"decontaminate: cannot read {path}: {type(error).__name__}") from None


def build_index(config: DecontaminateConfig, base: Path) -> Index:
    """The index of all benchmarks; ConfigError if a file is bad, or it would be empty or too large."""
    from curate.kernels.ngram_index import build_table, gram_hashes, word_hashes

    grams: list[Any] = []
    owners: list[int] = []
    lengths: set[int] = set()
    too_short = total = 0
    for owner, benchmark in enumerate(config.benchmarks):
        for text in read_items(benchmark, base):
            data, offsets = _lowered(pa.array([text.encode("utf-8", "replace").decode()], pa.string()))
            words = np.empty(len(data) + 1, np.uint64)
            n_words = word_hashes(data, int(offsets[0]), int(offsets[1]), words)
            if n_words < min(config.min_words, config.n):
                too_short += 1
                continue
            length = min(config.n, n_words)
            out = np.empty(n_words - length + 1, np.uint64)
            gram_hashes(words, n_words, length, out)
            lengths.add(length)
            grams.append(np.unique(out))
            owners.append(owner)
            total += len(grams[-1])
            if total > config.max_ngrams:
                raise ConfigError(
                    f"decontaminate: more than {config.max_ngrams} n-grams; raise max_ngrams or name fewer fields"
                )
    if not grams:
        raise ConfigError(f"decontaminate: no item has {config.min_words} words or more; see `fields`, `min_words`")
    flat = np.concatenate(grams)
    item_of = np.repeat(np.arange(len(grams), dtype=np.int32), [len(g) for g in grams])
    order = np.argsort(flat, kind="stable")
    keys, first, counts = np.unique(flat[order], return_index=True, return_counts=True)
    common = counts > config.max_items
    stays = ~np.repeat(common, counts)
    items, keys, counts = item_of[order][stays], keys[~common], counts[~common]
    del first
    totals = np.bincount(items, minlength=len(grams)).astype(np.int32)
    slots = np.full(1 << max(4, int(len(keys) * 2 - 1).bit_length()), -1, np.int32)
    build_table(keys, slots)
    return Index(
        keys=keys, slots=slots, starts=np.concatenate([[0], np.cumsum(counts)]).astype(np.int64), items=items,
        totals=totals, owners=np.array(owners, np.int32), lengths=np.array(sorted(lengths, reverse=True), np.int64),
        too_short=too_short, template=int((totals == 0).sum()),
    )  # fmt: skip


def _lowered(texts: pa.Array) -> tuple[Any, Any]:
    return string_buffers(pc.utf8_lower(texts))


class Decontaminate(Stage):
    """Labels ``decontaminate_overlap``, ``_matches`` and ``_benchmark``; drops if the config says so.

    Memory: the index (``Index.report``) and 16 bytes per byte of the longest text of a batch.
    """

    name = "decontaminate"
    follows = "GPT-3 (arXiv 2005.14165, appendix C), with the share of the item in place of any match"
    reasons: ClassVar[Mapping[str, str]] = {
        "benchmark_overlap": "contains at least the configured share of the n-grams of one benchmark item"
    }
    Config = DecontaminateConfig
    config: DecontaminateConfig

    def __init__(self, config: StageConfig | None = None) -> None:
        if config is None:
            raise ConfigError("decontaminate: name at least one file under `benchmarks`")
        super().__init__(config)
        self.index: Index | None = None

    def adds(self) -> pa.Schema:
        """Overlap (share), matches (count) and the benchmark's name."""
        overlap = "largest share of one benchmark item's n-grams that the document contains; 0 if none"
        matches = "distinct benchmark n-grams in the document"
        return pa.schema(
            [
                column("decontaminate_overlap", pa.float32(), overlap, range_="0–1", nullable=False),
                column("decontaminate_matches", pa.int32(), matches, unit="count", nullable=False),
                column("decontaminate_benchmark", pa.string(), "benchmark of that item; null if nothing matched"),
            ]
        )

    def assets(self, base: Path) -> Mapping[str, Path]:
        """The benchmark files, by name."""
        return {benchmark.label: base / benchmark.path for benchmark in self.config.benchmarks}

    def open(self, context: Context) -> None:
        """Build the index and log what it holds."""
        self.index = build_index(self.config, context.base)
        _LOG.info("decontaminate index: %s", self.index.report())

    def close(self) -> None:
        """Forget the index."""
        self.index = None

    def process(self, batch: Batch) -> Batch:
        """The batch with the labels, without documents over the threshold if ``action`` is ``drop``."""
        from curate.kernels.ngram_index import match

        index = self.index
        if index is None:
            raise RuntimeError("decontaminate: open() comes before process()")
        data, offsets = _lowered(batch.column("text"))
        overlap = np.zeros(len(batch), np.float32)
        matches, best = np.zeros(len(batch), np.int32), np.full(len(batch), -1, np.int32)
        match(
            data, offsets, index.lengths, index.keys, index.slots, index.starts, index.items, index.totals, overlap,
            matches, best,
        )  # fmt: skip
        owners = np.where(best >= 0, index.owners[np.maximum(best, 0)], 0)
        names = pa.array([b.label for b in self.config.benchmarks], pa.string())
        owner = names.take(pa.array(owners, mask=best < 0, type=pa.int32()))
        overlap_field, matches_field, benchmark_field = self.adds()
        batch = batch.with_columns(
            {overlap_field: pa.array(overlap), matches_field: pa.array(matches), benchmark_field: owner}
        )
        if self.config.action == "drop":
            threshold = np.float32(self.config.threshold)
            batch = batch.drop(
                overlap >= threshold, "benchmark_overlap", value=pa.array(overlap, pa.float32()),
                threshold=self.config.threshold, detail=owner,
            )  # fmt: skip
        return batch
