"""MinHash against datatrove and rensa on the same texts in one run; prints agreement first, then ratios, as JSON lines.

    CURATE_PEERS_PYTHON=/path/to/python python tests/benchmarks/minhash.py [TEXTS.parquet …] [--sizes 1000,10000,100000]

Without files, the texts of ``weborganizer_dev`` and ``annotated_web_dev`` are read (``CURATE_SHARED``). Times are CPU
seconds of one process, compiled code loaded beforehand. Cold: the table of known chunks starts empty.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPO = Path(__file__).resolve().parents[2]
SIGNED = 600
STAGE_ONE = 1000
COMPATIBLE = {"compatible": True}


def emit(name: str, **values: Any) -> None:
    print(json.dumps({"name": name, **values}), flush=True)


def cpu(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = call()
    return time.process_time() - start, result


def peak_mb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def default_files() -> list[Path]:
    data = Path(os.environ.get("CURATE_SHARED", REPO.parent / "shared")) / "data"
    return [data / "weborganizer_dev" / "docs.parquet", data / "annotated_web_dev" / "docs.parquet"]


def read_texts(files: list[Path]) -> list[str]:
    import pyarrow.parquet as pq

    return [text for file in files for text in pq.read_table(file, columns=["text"])["text"].to_pylist() if text]


def make_pieces(texts: list[str], count: int) -> list[str]:
    """About 900 characters each, put together from three passages; one in ten is a copy with 0–4 words dropped."""
    rng = random.Random(11)
    passages = [text[i : i + 300] for text in texts for i in range(0, len(text) - 299, 300)]
    out = [" ".join(rng.sample(passages, 3)) for _ in range(count - count // 10)]
    for _ in range(count // 10):
        words = out[rng.randrange(count - count // 10)].split(" ")
        for _ in range(rng.choice([0, 1, 2, 4])):
            del words[rng.randrange(len(words))]
        out.append(" ".join(words))
    rng.shuffle(out)
    return out


def ask_peer(task: str, work: Path) -> dict[str, float]:
    python = os.environ["CURATE_PEERS_PYTHON"]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "LOGURU_LEVEL": "ERROR"}
    subprocess.run([python, str(Path(__file__).with_name("minhash_peers.py")), task, str(work)], check=True, env=env)
    answer: dict[str, float] = json.loads((work / "peer.json").read_text())
    return answer


# ---------------------------------------------------------------- ours


def record_batches(texts: list[str]) -> list[Any]:
    import pyarrow as pa
    import xxhash

    ids = [xxhash.xxh3_128_hexdigest(str(i).encode()) for i in range(len(texts))]
    return pa.table({"id": ids, "text": pa.array(texts, pa.string())}).to_batches(max_chunksize=1024)


def warm_up() -> None:
    from curate.dedup import TableTexts, resolve, sign_shard
    from curate.dedup.config import MinhashConfig

    batches = record_batches(["one two three four five six", "ein ΣΑΣ e\u0301", "one two three four five six"] * 2)
    for config in (MinhashConfig(**COMPATIBLE), MinhashConfig()):
        resolve([(0, sign_shard(batches, config))], TableTexts({0: batches[0]}), config)


def compare_signatures(texts: list[str], work: Path) -> None:
    import numpy as np

    from curate.dedup import sign_shard
    from curate.dedup.config import MinhashConfig
    from curate.dedup.minhash import _splitter

    sample = random.Random(5).sample(texts, min(SIGNED, len(texts)))
    (work / "texts.json").write_text(json.dumps(sample))
    peer = ask_peer("signatures", work)
    batches, config = record_batches(sample), MinhashConfig(**COMPATIBLE)
    _splitter.cache_clear()
    _splitter()
    cold, table = cpu(lambda: sign_shard(batches, config, signatures=True))
    filled, _ = cpu(lambda: sign_shard(batches, config))
    plain, _ = cpu(lambda: sign_shard(batches, MinhashConfig()))
    rows = [b"\xff" * 896 if row is None else row for row in table["signature"].to_pylist()]
    ours = np.frombuffer(b"".join(rows), np.uint64).reshape(-1, 112)
    same = int((ours == np.load(work / "peer.npy")).all(axis=1).sum())
    emit("agreement of 14x8 signatures with datatrove", documents=len(sample), identical=same)
    per = 1e3 / len(sample)
    megabytes = sum(len(text.encode()) for text in sample) / 1e6
    emit(
        "signatures, ms per document",
        mean_bytes=round(megabytes * 1e6 / len(sample)),
        datatrove=peer["datatrove_s"] * per, rensa_from_text=peer["rensa_s"] * per,
        compatible_cold=cold * per, compatible_filled=filled * per, words_16x6=plain * per,
    )  # fmt: skip
    emit(
        "signatures, ratios",
        datatrove_over_cold=peer["datatrove_s"] / cold, datatrove_over_filled=peer["datatrove_s"] / filled,
        rensa_over_cold=peer["rensa_s"] / cold, rensa_over_words=peer["rensa_s"] / plain,
    )  # fmt: skip


def write_peer_files(table: Any, folder: Path) -> None:
    """The signatures as datatrove's stage 1 writes them: per band sorted records of 8 values and the position."""
    import numpy as np

    rows = table["signature"].to_pylist()
    live = np.array([i for i, row in enumerate(rows) if row is not None], np.uint32)
    matrix = np.frombuffer(b"".join(row for row in rows if row is not None), np.uint64).reshape(-1, 112)
    for band in range(14):
        records = np.empty(len(live), np.dtype([("s", "<u8", (8,)), ("d", "<u4")]))
        records["s"], records["d"] = matrix[:, band * 8 : band * 8 + 8], live
        keys = [records["s"][:, j] for j in range(7, -1, -1)]
        target = folder / f"bucket_{band:03d}"
        target.mkdir(parents=True)
        records[np.lexsort((records["d"], *keys))].tofile(target / "00000.minhash.sig")


def clusters_unverified(table: Any, config: Any) -> int:
    """Documents that connected components of shared bands would remove: what datatrove's stages 2 and 3 compute."""
    import numpy as np

    from curate.dedup.config import as_plan
    from curate.dedup.join import join
    from curate.dedup.survivors import load_corpus
    from curate.kernels.clusters import components

    plan = as_plan(config)
    corpus = load_corpus([(0, table)], plan)
    codes = join([(0, table)], corpus, plan).codes
    left, right = (codes >> np.uint64(32)).astype(np.int64), (codes & np.uint64(2**32 - 1)).astype(np.int64)
    return int((components(len(corpus), left, right) != np.arange(len(corpus))).sum())


def growth(count: int, texts: list[str], work: Path) -> None:
    """One size; runs in a process of its own, so that its peak memory is its own."""
    from curate.dedup import TableTexts, resolve, sign_shard
    from curate.dedup.config import MinhashConfig

    pieces = make_pieces(texts, count)
    texts.clear()
    batches, config = record_batches(pieces), MinhashConfig(**COMPATIBLE)
    warm_up()
    before = peak_mb()
    signing, table = cpu(lambda: sign_shard(batches, config, signatures=True))
    clustering, removed = cpu(lambda: clusters_unverified(table, config))
    import pyarrow as pa

    reader = TableTexts({0: pa.Table.from_batches(batches)})
    light = table.drop_columns(["signature"])
    resolving, resolved = cpu(lambda: resolve([(0, light)], reader, config))
    peak = peak_mb()
    write_peer_files(table, work / "s1")
    (work / "texts.json").write_text(json.dumps(pieces[:STAGE_ONE]))
    peer = ask_peer("clusters", work)
    stage_one = ask_peer("stage_one", work)["cpu_s"] / min(STAGE_ONE, count)
    emit(
        "agreement of clusters without verification", documents=count, ours_removed=removed,
        datatrove_removed=peer["removed"],
    )  # fmt: skip
    total = signing + resolving
    emit(
        "growth",
        documents=count,
        sign_us=signing / count * 1e6, cluster_us=clustering / count * 1e6, verified_us=resolving / count * 1e6,
        datatrove_sign_us=stage_one * 1e6, datatrove_cluster_us=peer["cpu_s"] / count * 1e6,
        cluster_ratio=peer["cpu_s"] / clustering,
        verified_ratio=peer["cpu_s"] / resolving,
        whole_ratio=(stage_one * count + peer["cpu_s"]) / total,
        removed=count - resolved.report.survivors, compared=resolved.report.compared,
        uncompared_pairs=resolved.report.uncompared_pairs,
        peak_mb=peak, peak_before_mb=before, datatrove_cluster_peak_mb=peer["peak_mb"],
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--sizes", default="1000,10000,100000")
    parser.add_argument("--work", type=Path)
    parser.add_argument("--growth", type=int)
    args = parser.parse_args()
    sys.path.insert(0, str(REPO))
    files = args.files or default_files()
    work = args.work or Path(tempfile.mkdtemp())
    if args.growth:
        growth(args.growth, read_texts(files), work)
        return
    warm_up()
    compare_signatures(read_texts(files), work)
    for size in args.sizes.split(","):
        folder = work / size
        folder.mkdir()
        command = [sys.executable, __file__, *map(str, files), "--growth", size, "--work", str(folder)]
        subprocess.run(command, check=True)
    shutil.rmtree(work)


@pytest.mark.bench
@pytest.mark.peers
def test_minhash_against_peers() -> None:
    if not os.environ.get("CURATE_PEERS_PYTHON"):
        pytest.skip("CURATE_PEERS_PYTHON names no Python with the peers installed")
    if not all(file.exists() for file in default_files()):
        pytest.skip("development data not found (set CURATE_SHARED)")
    subprocess.run([sys.executable, __file__, "--sizes", "1000"], check=True)


if __name__ == "__main__":
    main()
