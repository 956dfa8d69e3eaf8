"""Words, the nine repetition values and the word counts: agreement with datatrove, then CPU time against it.

    CURATE_PEERS_PYTHON=… python tests/benchmarks/words_and_ngrams.py docs.parquet [--column text] [--limit 2000]

Both sides do the same work in the same run on the same texts: words once, nine values, word counts. CPU time is user +
system of the process that works. Prints JSON lines; ends with 1 if any value differs.

cold: empty chunk table. steady: second half of the texts after the first half. warm: every chunk known.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def read_texts(path: str, column: str, limit: int | None) -> Any:
    """The column's non-null texts, an Arrow array."""
    import pyarrow.parquet as pq

    texts = pq.read_table(path, columns=[column])[column].drop_null()
    return (texts if limit is None else texts[:limit]).combine_chunks()


def digest(words: list[str]) -> str:
    """Names a word list; no word contains a space."""
    return hashlib.blake2b(" ".join(words).encode("utf-8"), digest_size=12).hexdigest()


# ------------------------------------------------------------------ the other side, in its own environment


def peer_values(text: str, tokenize: Callable[[str], list[str]]) -> tuple[list[str], list[float]]:
    """One document by datatrove's own functions, in the order of ``own_values``."""
    from datatrove.pipeline.filters import gopher_repetition_filter as r
    from datatrove.pipeline.filters.gopher_quality_filter import STOP_WORDS
    from datatrove.utils.text import PUNCTUATION_SET

    words = tokenize(text)
    size = max(len(text), 1)
    grams = [r.get_n_grams(words, n) for n in (2, 3, 4)]
    values = [r.find_top_duplicate(g) / size if g else 0.0 for g in grams]
    values += [r.find_all_duplicate(words, n) / size for n in range(5, 11)]
    plain = [w for w in words if any(ch not in PUNCTUATION_SET for ch in w)]
    mean = sum(map(len, plain)) / len(plain) if plain else -1.0
    letters = sum(any(c.isalpha() for c in w) for w in words)
    stops = len(set(STOP_WORDS).intersection(words))
    return words, [*values, len(words), len(plain), mean, letters, stops]


def peer_main(path: str, column: str, limit: int | None, output: str) -> None:
    """Runs in the peers' environment: values and CPU seconds into ``output``."""
    from datatrove.utils.word_tokenizers import load_word_tokenizer

    texts = read_texts(path, column, limit).to_pylist()
    tokenizer = load_word_tokenizer("en")
    peer_values("Warm up, please.", tokenizer.word_tokenize)
    results, seconds = [], [0.0, 0.0]
    for number, text in enumerate(texts):
        start = time.process_time()
        result = peer_values(text, tokenizer.word_tokenize)
        seconds[number >= len(texts) // 2] += time.process_time() - start
        results.append((digest(result[0]), result[1]))
    Path(output).write_text(json.dumps({"halves": seconds, "documents": results}), "utf-8")


def run_peer(python: str, args: argparse.Namespace) -> dict[str, Any]:
    """Starts this file in the peers' environment and reads what it wrote."""
    with tempfile.TemporaryDirectory() as folder:
        output = str(Path(folder) / "peer.json")
        command = [python, __file__, args.parquet, "--column", args.column, "--peer", output]
        command += ["--limit", str(args.limit)] if args.limit else []
        subprocess.run(command, check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
        found: dict[str, Any] = json.loads(Path(output).read_text("utf-8"))
        return found


# ------------------------------------------------------------------ our side


def batches(texts: Any, size: int = 512) -> Iterator[tuple[Any, Any]]:
    """The texts as buffers, a batch at a time."""
    from curate.kernels.strings import string_buffers

    for start in range(0, len(texts), size):
        yield string_buffers(texts[start : start + size])


def own_pass(splitter: Any, texts: Any) -> list[tuple[Any, dict[str, Any]]]:
    """Everything once: words, values and counts of every batch."""
    from curate.kernels.ngrams import counts, repetition

    done = []
    for data, offsets in batches(texts):
        words = splitter.split(data, offsets)
        done.append((words, {**repetition(words), **counts(words)}))
    return done


def own_values(done: list[tuple[Any, dict[str, Any]]]) -> Iterator[tuple[str, list[float]]]:
    """Per document: digest of the words, nine values, five counts; NaN as datatrove's side writes it."""
    import numpy as np

    from curate.kernels.ngrams import REPETITION

    names = [*REPETITION, "n_words", "n_non_symbol_words", "mean_word_length", "n_alpha_words", "n_stop_words"]
    for words, values in done:
        table = np.stack([values[name].astype(float) for name in names], axis=1)
        missing = np.where(np.array(names) == "mean_word_length", -1.0, 0.0)
        table = np.where(np.isnan(table), missing, table)
        for document in range(len(table)):
            yield digest(words.texts(document)), table[document].tolist()


def timed(run: Callable[[], Any]) -> float:
    """CPU seconds of the call."""
    start = time.process_time()
    run()
    return time.process_time() - start


def emit(**fields: Any) -> None:
    """One JSON line."""
    shown = {key: round(value, 4) if isinstance(value, float) else value for key, value in fields.items()}
    print(json.dumps(shown), flush=True)


def own_times(texts: Any, halves: list[float]) -> None:
    """Cold, steady and warm CPU time, and how many times faster than the peer on the same documents."""
    from curate.kernels.words import WordSplitter

    n, middle = len(texts), len(texts) // 2
    whole = sum(halves)
    cold = WordSplitter()
    measured = {"cold": (timed(lambda: own_pass(cold, texts)), whole, n)}
    entries = cold.table_entries
    measured["warm"] = (timed(lambda: own_pass(cold, texts)), whole, n)
    steady = WordSplitter()
    own_pass(steady, texts[:middle])
    before = steady.table_entries
    measured["steady"] = (timed(lambda: own_pass(steady, texts[middle:])), halves[1], n - middle)
    off = WordSplitter(table_limit=0)
    measured["no table"] = (timed(lambda: own_pass(off, texts)), whole, n)
    for state, (ours, theirs, documents) in measured.items():
        emit(
            measure=state,
            documents=documents,
            ms_per_document=ours / documents * 1e3,
            peer_ms_per_document=theirs / documents * 1e3,
            ratio=theirs / ours,
            distinct_chunks=entries,
            new_chunks_in_second_half=steady.table_entries - before,
        )


def main() -> None:
    """Compares values, then times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parquet")
    parser.add_argument("--column", default="text")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--peer", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.peer:
        peer_main(args.parquet, args.column, args.limit, args.peer)
        return
    python = os.environ.get("CURATE_PEERS_PYTHON")
    if not python:
        sys.exit("set CURATE_PEERS_PYTHON to a Python that has datatrove 0.10.1 and spaCy 3.8")
    sys.path.insert(0, str(ROOT))
    start = time.process_time()
    from curate.kernels.words import WordSplitter

    emit(measure="import", cpu_s=time.process_time() - start)
    emit(measure="rules and tables", cpu_s=timed(WordSplitter))
    texts = read_texts(args.parquet, args.column, args.limit)
    first = timed(lambda: own_pass(WordSplitter(), texts[:1]))
    emit(measure="first call (compile, or load from the cache)", cpu_s=first)
    peer = run_peer(python, args)
    ours = list(own_values(own_pass(WordSplitter(), texts)))
    pairs = list(zip(ours, peer["documents"], strict=True))
    word_lists = sum(mine[0] == theirs[0] for mine, theirs in pairs)
    values = sum(a == b for mine, theirs in pairs for a, b in zip(mine[1], theirs[1], strict=True))
    total = 14 * len(pairs)
    emit(measure="agreement", documents=len(pairs), same_words=word_lists, values=total, same_values=values)
    own_times(texts, peer["halves"])
    sys.exit(0 if word_lists == len(pairs) and values == total else 1)


if __name__ == "__main__":
    main()
