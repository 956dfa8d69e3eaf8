"""The peers' side of ``minhash.py``; runs in the environment that has datatrove and rensa: TASK FOLDER."""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def cpu(call: Callable[[], Any]) -> tuple[float, Any]:
    start = time.process_time()
    result = call()
    return time.process_time() - start, result


def peak_mb() -> float:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)


def peer_signatures(work: Path) -> None:
    import numpy as np
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature

    texts = json.loads((work / "texts.json").read_text())
    stage = MinhashDedupSignature(output_folder=str(work / "unused"), config=MinhashConfig())
    stage.get_signature(stage.get_shingles("one two three four five six seven"))

    def sign(text: str) -> list[int]:
        shingles = stage.get_shingles(text)
        return [value for band in stage.get_signature(shingles) for value in band] if shingles.size else []

    seconds, rows = cpu(lambda: [sign(text) for text in texts])
    np.save(work / "peer.npy", np.array([row or [2**64 - 1] * 112 for row in rows], np.uint64))
    rensa_seconds = _rensa(texts)
    (work / "peer.json").write_text(json.dumps({"datatrove_s": seconds, "rensa_s": rensa_seconds}))


def _rensa(texts: list[str]) -> float:
    import re

    import rensa

    def sign(text: str) -> Any:
        words = re.findall(r"\w+", text.lower())
        sketch = rensa.RMinHash(num_perm=112, seed=1)
        sketch.update(list({" ".join(words[i : i + 5]) for i in range(len(words) - 4)}))
        return sketch.digest()

    return cpu(lambda: [sign(text) for text in texts])[0]


def peer_clusters(work: Path) -> None:
    """datatrove's stages 2 and 3 over signature files in its own format."""
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupBuckets, MinhashDedupCluster

    config = MinhashConfig()

    def run() -> None:
        for rank in range(14):
            MinhashDedupBuckets(str(work / "s1"), str(work / "s2"), config=config).run(None, rank, 14)
        MinhashDedupCluster(str(work / "s2"), str(work / "s3"), config=config).run(None, 0, 1)

    seconds, _ = cpu(run)
    removed = sum(file.stat().st_size // 4 for file in (work / "s3").glob("*.remove"))
    (work / "peer.json").write_text(json.dumps({"cpu_s": seconds, "removed": removed, "peak_mb": peak_mb()}))


def peer_stage_one(work: Path) -> None:
    from datatrove.data import Document
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature

    texts = json.loads((work / "texts.json").read_text())
    stage = MinhashDedupSignature(output_folder=str(work / "stage1"), config=MinhashConfig())
    stage.get_shingles("one two three four five six seven")
    documents = (Document(text=text, id=str(i)) for i, text in enumerate(texts))
    seconds, _ = cpu(lambda: stage.run(documents, 0, 1))
    (work / "peer.json").write_text(json.dumps({"cpu_s": seconds}))


if __name__ == "__main__":
    TASKS = {"signatures": peer_signatures, "clusters": peer_clusters, "stage_one": peer_stage_one}
    TASKS[sys.argv[1]](Path(sys.argv[2]))
