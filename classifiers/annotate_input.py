"""The documents of an annotation: a sample that depends on ids and seed alone, and pairs of them."""

from __future__ import annotations

import gzip
import hashlib
import heapq
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import orjson
import xxhash

from classifiers.annotate_config import AnnotateConfig
from curate.errors import ConfigError
from curate.store.folder import Folder, open_folder

__all__ = ["pairs_of", "sample_of"]


def sample_of(config: AnnotateConfig) -> dict[str, str]:
    """Id → text of the documents drawn, in order of ids. Memory: the sample, and one batch of a file.

    Raises:
        ConfigError: there is no input, it lacks a column, or two different texts have one id.
    """
    heap: list[tuple[int, str, str]] = []
    drawn: dict[str, str] = {}
    for name, text in _documents(config):
        known = drawn.get(name)
        if known is not None:
            if known != text:
                raise ConfigError(f"input: two different texts have the id {name}; name a column with own ids in `id`")
            continue
        rank = -_draw(config.seed, name)
        if config.sample is None or len(heap) < config.sample:
            heapq.heappush(heap, (rank, name, text))
            drawn[name] = text
        elif rank > heap[0][0]:
            _, gone, _ = heapq.heapreplace(heap, (rank, name, text))
            del drawn[gone]
            drawn[name] = text
    if not drawn:
        raise ConfigError(f"input: no documents in {', '.join(config.input)}")
    return dict(sorted(drawn.items()))


def pairs_of(ids: list[str], per_document: int, seed: int) -> list[tuple[str, str]]:
    """Pairs of different documents, no pair twice, each with its smaller id first; a function of ids and seed.

    Each document is in ``per_document`` pairs or a few less: where a draw repeats a pair, it is left out, and where the
    number of documents is odd, one sits out per round.
    """
    found: set[tuple[str, str]] = set()
    for turn in range(per_document):
        order = sorted(ids, key=lambda name: (_draw(seed, f"{turn}\0{name}"), name))
        found.update((min(a, b), max(a, b)) for a, b in zip(order[::2], order[1::2], strict=False))
    return sorted(found)


def _draw(seed: int, name: str) -> int:
    return xxhash.xxh64_intdigest(name.encode("utf-8", "surrogatepass"), seed)


def _documents(config: AnnotateConfig) -> Iterator[tuple[str, str]]:
    for place in config.input:
        if "://" in place or Path(place).is_dir():
            yield from _of_run(open_folder(place), config)
            continue
        path = Path(place)
        files = sorted(path.parent.glob(path.name)) if any(c in path.name for c in "*?[") else [path]
        if not files or not files[0].is_file():
            raise ConfigError(f"input: no file {place}")
        for file in files:
            yield from _of_file(file, config)


def _of_run(folder: Folder, config: AnnotateConfig) -> Iterator[tuple[str, str]]:
    names = [n for n in folder.names("corpus") if n.endswith(".parquet")]
    if not names:
        raise ConfigError(f"input: {folder.url} has no corpus/; give the folder of a finished run, or files")
    for name in names:
        with folder.parquet(name) as file:
            yield from _rows(file, name, config)


def _of_file(path: Path, config: AnnotateConfig) -> Iterator[tuple[str, str]]:
    if path.suffix == ".parquet":
        import pyarrow.parquet as pq

        with pq.ParquetFile(path) as file:
            yield from _rows(file, str(path), config)
        return
    with _opened(path) as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError:
                raise ConfigError(f"{path}:{number}: not a line of JSON; correct the file") from None
            yield _one(row.get(config.id), row.get(config.text), f"{path}:{number}", config)


def _rows(file: Any, name: str, config: AnnotateConfig) -> Iterator[tuple[str, str]]:
    there = set(file.schema_arrow.names)
    if config.text not in there:
        raise ConfigError(f"{name}: there is no column {config.text!r}; name the right one in `text`")
    columns = [c for c in (config.id, config.text) if c in there]
    for batch in file.iter_batches(512, columns=columns):
        for row in batch.to_pylist():
            yield _one(row.get(config.id), row[config.text], name, config)


def _one(name: Any, text: Any, where: str, config: AnnotateConfig) -> tuple[str, str]:
    if not isinstance(text, str):
        raise ConfigError(f"{where}: {config.text!r} is missing or no text; name the right column in `text`")
    if name is None:
        name = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return str(name), text


def _opened(path: Path) -> IO[bytes]:
    if path.suffix == ".gz":
        return cast("IO[bytes]", gzip.open(path, "rb"))
    if path.suffix == ".zst":
        import io

        import zstandard

        return io.BufferedReader(zstandard.ZstdDecompressor().stream_reader(path.open("rb")))
    return path.open("rb")
