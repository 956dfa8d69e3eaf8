"""A student from a table: its files load as a rater, its figures are of texts it has not seen, leaks are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from classifiers.contract import rater_stage
from classifiers.train import Trained, train
from classifiers.train_config import TrainConfig
from curate.documents import Batch
from curate.errors import ConfigError, ModelError
from curate.stages.base import Context

GOOD, BAD = ("careful proof lemma theorem shows clearly".split(), "buy cheap click now offer winner".split())
KINDS = [
    {"name": "score", "kind": "regression", "range": [0, 1], "calibrated": True},
    {"name": "level", "kind": "ordinal"},
    {"name": "topic", "kind": "classification"},
]


def table(rows: int = 120) -> pa.Table:
    rng = np.random.default_rng(1)
    share = rng.random(rows)
    texts = [
        " ".join(rng.choice(GOOD if rng.random() < s else BAD) for _ in range(40)) + f" w{i}"
        for i, s in enumerate(share)
    ]
    topic = ["proof" if s > 0.5 else "shop" for s in share]
    return pa.table({
        "id": [f"d{i}" for i in range(rows)], "text": texts, "site": [f"s{i // 2}" for i in range(rows)],
        "score": share, "level": np.round(share * 3), "topic": topic,
    })  # fmt: skip


def config(**changed: Any) -> TrainConfig:
    said = {
        "name": "mine", "output": "out", "data": {"path": "t.parquet", "id": "id", "group": "site"}, "labels": KINDS,
        "features": [{"kind": "hashed", "word_bits": 10, "run_bits": 0}, {"kind": "statistics", "waves": 64}],
        "penalties": [1e-4, 1e-2], "resamples": 20,
    }  # fmt: skip
    return TrainConfig.model_validate(said | changed)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    folder = tmp_path_factory.mktemp("student")
    pq.write_table(table(), folder / "t.parquet")
    return train(config(), folder)


def rated(card: Path, texts: list[str]) -> pa.RecordBatch:
    rater = rater_stage(str(card), card.parent)
    rater.open(Context())
    return rater.process(Batch(pa.RecordBatch.from_arrays([pa.array(texts)], ["text"])))


def test_the_card_rates_at_once_and_knows_what_was_learned(made: Trained) -> None:
    out = rated(made.card, [" ".join(GOOD * 6), " ".join(BAD * 6), ""])
    assert out.column("mine_status").to_pylist() == ["ok", "ok", "too_short"]
    good, bad, none = out.column("mine_score").to_pylist()
    assert none is None
    assert 0 <= bad < 0.3
    assert 0.7 < good <= 1
    assert out.column("mine_topic").to_pylist() == ["proof", "shop", None]
    high, low = out.column("mine_level_level").to_pylist()[:2]
    assert high > low


def test_figures_are_of_texts_that_were_not_seen(made: Trained) -> None:
    held = pq.read_table(made.predictions)
    assert made.figures["score"]["spearman"] > 0.8
    assert made.figures["topic"]["accuracy"] > 0.8
    assert len(made.figures["score"]["penalties"]) == 6
    assert not any(np.isnan(held["score"].to_numpy()))
    groups = dict.fromkeys(
        zip([int(i[1:]) // 2 for i in held["id"].to_pylist()], held["fold"].to_pylist(), strict=True)
    )
    assert len(groups) == 60
    assert "Limits" in made.model_card.read_text()


def test_the_same_table_gives_the_same_bytes(made: Trained, tmp_path: Path) -> None:
    pq.write_table(table(), tmp_path / "t.parquet")
    assert train(config(), tmp_path).weights.read_bytes() == made.weights.read_bytes()


def test_batches_do_not_matter(made: Trained) -> None:
    texts = table()["text"].to_pylist()[:9]
    whole = rated(made.card, texts).column("mine_score").to_pylist()
    assert whole == [rated(made.card, [t]).column("mine_score")[0].as_py() for t in texts]


def test_changed_weights_are_refused(made: Trained, tmp_path: Path) -> None:
    for file in (made.card, made.weights):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / made.weights.name).write_bytes(made.weights.read_bytes() + b"x")
    with pytest.raises(ModelError):
        rated(tmp_path / made.card.name, ["x"])


def test_pairs_teach_which_is_better(tmp_path: Path) -> None:
    data = table()
    pq.write_table(data, tmp_path / "t.parquet")
    score, rng = data["score"].to_numpy(), np.random.default_rng(2)
    a, b = rng.integers(0, 120, (2, 3000))
    a, b = a[a != b], b[a != b]
    pairs = pa.table(
        {"a": [f"d{i}" for i in a], "b": [f"d{i}" for i in b], "winner": np.where(score[a] > score[b], 1.0, 0.0)}
    )
    pq.write_table(pairs, tmp_path / "p.parquet")
    found = train(config(labels=[{"name": "better", "kind": "pairwise", "pairs": {"path": "p.parquet"}}]), tmp_path)
    assert found.figures["better"]["agreement"] > 0.8
    good, bad = rated(found.card, [" ".join(GOOD * 6), " ".join(BAD * 6)]).column("mine_better").to_pylist()
    assert good > bad


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.set_column(3, "score", pa.array([0.5] * len(t))), "is constant"),
        (lambda t: t.slice(0, 20), "are too few"),
        (lambda t: t.append_column("fold", pa.array(np.arange(len(t)) % 3)), "stand in two folds"),
        (lambda t: t.drop_columns(["score"]), "no column score"),
    ],
)
def test_what_would_give_false_figures_is_refused(change: Any, said: str, tmp_path: Path) -> None:
    changed = change(table())
    pq.write_table(changed, tmp_path / "t.parquet")
    data = {"path": "t.parquet", "id": "id", "group": "site"}
    if "fold" in changed.column_names:
        data["fold"] = "fold"
    with pytest.raises(ConfigError, match=said):
        train(config(data=data, labels=[{"name": "score", "kind": "regression"}]), tmp_path)
