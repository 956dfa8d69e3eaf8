"""Measures the rater ``lite`` as it ships against people's judgement of pages that it has not seen.

    python -m classifiers.evaluate_lite --shared ../shared

`dclm_human_quality`: 331 pages that several people called good or not good to train on. 150 of them are among the
training documents of ``lite`` (with other labels); they are left out. Length alone says much about these pages, so it
is measured beside the rater, and the rater also within thirds of length.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

_SET = "dclm_human_quality"


def human_judgement(shared: Path) -> dict[str, float]:
    """AUC of ``lite_overall_score``, of length alone, and of the score within thirds of length."""
    from classifiers.contract import rater_stage
    from curate.documents import Batch
    from curate.stages.base import Context

    pages = pq.read_table(shared / f"data/ratings_dev/{_SET}.parquet")
    seen = pq.read_table(shared / "data/annotated_web_dev/docs.parquet", columns=["id"])["id"].to_pylist()
    names = pa.array([i.removeprefix(f"{_SET}-") for i in seen if i.startswith(f"{_SET}-")])
    pages = pages.filter(pc.invert(pc.is_in(pages["id"].cast(pa.string()), value_set=names)))
    rater = rater_stage("lite")
    rater.open(Context())
    text = pages["text"].combine_chunks()
    rated = rater.process(Batch(pa.RecordBatch.from_arrays([text], ["text"])))
    score = rated.column("lite_overall_score").fill_null(1.0).to_numpy(zero_copy_only=False)
    good = np.asarray(pages["human_good"].to_numpy()).astype(bool)
    words = np.asarray(pages["n_words"].to_numpy(), np.float64)
    third = np.searchsorted(np.quantile(words, [1 / 3, 2 / 3]), words)
    within = sum(auc(score[third == k], good[third == k]) for k in range(3)) / 3
    found = {"human_auc": auc(score, good), "human_auc_length": auc(words, good), "human_auc_within_length": within}
    return {name: round(value, 3) for name, value in found.items()}


def auc(score: npt.NDArray[np.floating], good: npt.NDArray[np.bool_]) -> float:
    """Chance that a good page has a higher score than another, ties counting half."""
    from scipy.stats import rankdata

    ranks, n = rankdata(score), int(good.sum())
    return float((ranks[good].sum() - n * (n + 1) / 2) / (n * (len(good) - n)))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path(os.environ.get("CURATE_SHARED", "../shared")))
    print(json.dumps(human_judgement(parser.parse_args().shared)))  # noqa: T201


if __name__ == "__main__":
    main()
