"""Documents per CPU-second of each kind of rater on texts of about 3 kB; prints JSON lines.

    python tests/benchmarks/rate_backends.py [--documents 64] [--size published] [--only fineweb_edu]

Encoders are of the published sizes (``--size published``: BERT-base, DeBERTa-v3-base, ModernBERT-base, XLM-R-base,
GTE-base; QuRater's Llama of 1.3 billion weights is left out) or tiny, with random weights: the time does not depend on
their values. One thread, float32. ``padding`` is the share of padding among the tokens that the encoder read;
``second`` is what a second card on the same encoder adds, as a share of the first alone.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks.rate_lite import texts

#: sizes of the published encoders
PUBLISHED: dict[str, dict[str, Any]] = {
    "base": {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072},
    "modernbert": {"hidden_size": 768, "num_hidden_layers": 22, "num_attention_heads": 12, "intermediate_size": 1152},
}
#: one card per kind of encoder
CARDS = ("fineweb_edu", "nvidia_domain", "nvidia_quality", "meta_rater_reasoning", "toxic_xlm_roberta", "jql_edu")


def batch(documents: list[str]) -> Any:
    from curate.documents import Batch

    ids = [f"{i:032x}" for i in range(len(documents))]
    return Batch(pa.RecordBatch.from_pydict({"id": ids, "text": documents}))


def timed(raters: list[Any], given: Any) -> float:
    """CPU-seconds of a pass of these raters over one batch, after a first small one."""
    from curate.documents import Batch

    for rater in raters:
        rater.process(Batch(given.rows.slice(0, 2)))
    start = time.process_time()
    out = given
    for rater in raters:
        out = rater.process(out)
    return time.process_time() - start


def encoder(name: str, size: str, documents: list[str]) -> dict[str, Any]:
    """Figures of the card ``name`` over a model of this size."""
    from classifiers.backends.encoder_models import batches
    from classifiers.contract import SharedTexts, rater_stage
    from curate.stages.base import Context
    from tests.classifiers import tiny_encoders as tiny

    if size == "published":
        shape = PUBLISHED.get(tiny.FAMILIES[name], PUBLISHED["base"])
        tiny.SIZE.update(shape)
        if tiny.FAMILIES[name] == "modernbert":
            tiny.SHAPES["modernbert"].update(global_attn_every_n_layers=3, local_attention=128)
    with tempfile.TemporaryDirectory() as folder:
        path = tiny.make(name, Path(folder) / name)
        shared = SharedTexts()
        raters = [rater_stage(tiny.choice(name, path), shared=shared) for _ in range(2)]
        for rater in raters:
            rater.open(Context())
        given = batch(documents)
        one, both = timed(raters[:1], given), timed(raters, batch(documents))
        import numpy as np

        inputs = next(v for k, v in shared._held[3].shared.items() if k[0] == "encoder inputs")  # type: ignore[index]
        lengths = np.array([len(i) for i in inputs.ids])
        padded = sum(int(lengths[rows].max()) * len(rows) for rows in batches(lengths, 4096))
    return {
        "card": name,
        "backend": "encoder",
        "model": f"{tiny.FAMILIES[name]}, {size}",
        "documents_per_cpu_s": round(len(documents) / one, 2),
        "tokens_per_cpu_s": round(int(lengths.sum()) / one),
        "padding": round(1 - int(lengths.sum()) / padded, 4),
        "second": round(max(0.0, both / one - 1), 3),
    }


def plain(name: str, documents: list[str]) -> dict[str, Any]:
    """Figures of a card whose model is part of this project."""
    from classifiers.cards import load_card
    from classifiers.contract import rater_stage
    from curate.stages.base import Context

    rater = rater_stage(name)
    rater.open(Context())
    spent = timed([rater], batch(documents))
    return {
        "card": name,
        "backend": load_card(name, Path()).backend,
        "model": "as shipped",
        "documents_per_cpu_s": round(len(documents) / spent, 2),
    }


def table(documents: int, size: str, only: str | None = None) -> list[dict[str, Any]]:
    """One row per rater that can run here."""
    from classifiers.cards import card_names, load_card

    given = texts(documents, 3000)
    shipped = [n for n in card_names() if load_card(n, Path()).self_contained]
    found = [plain(n, texts(2000, 3000)) for n in shipped if only in (None, n)]
    if importlib.util.find_spec("torch") is not None:
        found += [encoder(n, size, given) for n in CARDS if only in (None, n)]
    return found


@pytest.mark.bench
def test_a_second_card_on_an_encoder_costs_little() -> None:
    pytest.importorskip("torch", reason="torch is not installed (extra `models`)")
    row = encoder("fineweb_edu", "tiny", texts(256, 3000))
    print(json.dumps(row))
    assert row["second"] < 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=64)
    parser.add_argument("--size", choices=("published", "tiny"), default="published")
    parser.add_argument("--only")
    arguments = parser.parse_args()
    for row in table(arguments.documents, arguments.size, arguments.only):
        print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
