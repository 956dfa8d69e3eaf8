"""The peers' side of ``neardup_truth.py``: NAME TEXTS.parquet ANSWER.npy THRESHOLD → which documents are kept.

datasketch and rensa give candidates by their own LSH at the threshold; as their manuals show, a document is kept if a
query of the index of those kept before returns nothing. datatrove runs its four stages with its defaults (14 × 8).
"""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np


def shingles(text: str) -> list[str]:
    words = re.findall(r"\w+", unicodedata.normalize("NFC", text).lower())
    if len(words) < 5:
        return [" ".join(words)] if words else []
    return sorted({" ".join(words[i : i + 5]) for i in range(len(words) - 4)})


def datasketch_keeps(texts: list[str], threshold: float) -> list[bool]:
    from datasketch import MinHash, MinHashLSH

    index = MinHashLSH(threshold=threshold, num_perm=128)
    kept = []
    for number, text in enumerate(texts):
        sketch = MinHash(num_perm=128)
        sketch.update_batch([s.encode() for s in shingles(text)])
        kept.append(not index.query(sketch))
        if kept[-1]:
            index.insert(str(number), sketch)
    return kept


def rensa_keeps(texts: list[str], threshold: float) -> list[bool]:
    import rensa

    index = rensa.RMinHashLSH(threshold=threshold, num_perm=128, num_bands=16)
    kept = []
    for number, text in enumerate(texts):
        sketch = rensa.RMinHash(num_perm=128, seed=42)
        sketch.update(shingles(text))
        kept.append(not index.query(sketch))
        if kept[-1]:
            index.insert(number, sketch)
    return kept


def datatrove_keeps(texts: list[str], threshold: float) -> list[bool]:
    from datatrove.data import Document
    from datatrove.pipeline.dedup.minhash import (
        MinhashConfig,
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )

    work = Path(tempfile.mkdtemp())
    config = MinhashConfig()
    documents = [Document(text=text, id=str(i)) for i, text in enumerate(texts)]
    MinhashDedupSignature(str(work / "s1"), config=config).run(iter(documents), 0, 1)
    for rank in range(config.num_buckets):
        MinhashDedupBuckets(str(work / "s1"), str(work / "s2"), config=config).run(None, rank, config.num_buckets)
    MinhashDedupCluster(str(work / "s2"), str(work / "s3"), config=config).run(None, 0, 1)
    left = {int(d.id) for d in MinhashDedupFilter(str(work / "s3")).run(iter(documents), 0, 1)}
    shutil.rmtree(work)
    return [i in left for i in range(len(texts))]


def main() -> None:
    import pyarrow.parquet as pq

    name, source, answer, threshold = sys.argv[1:]
    texts: list[str] = pq.read_table(source, columns=["text"])["text"].to_pylist()
    peers: dict[str, Any] = {
        "datatrove": datatrove_keeps, "datasketch": datasketch_keeps, "rensa": rensa_keeps,
    }  # fmt: skip
    np.save(answer, np.array(peers[name](texts, float(threshold)), np.bool_))


if __name__ == "__main__":
    main()
