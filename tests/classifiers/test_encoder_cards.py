"""Every card of a published encoder loads and reads a tiny model of the same architecture, heads and files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

pytest.importorskip("torch", reason="torch is not installed (extra `models`)")
pytest.importorskip("transformers", reason="transformers is not installed (extra `models`)")

from classifiers.backends.encoder_models import batches
from classifiers.backends.encoder_options import Options, head_names
from classifiers.cards import card_names, load_card
from classifiers.contract import Rater, SharedTexts, rater_stage
from curate.documents import Batch
from curate.stages.base import Context
from tests.classifiers.tiny_encoders import FAMILIES, choice, documents, make

#: how far a score may move with its neighbours, the batch size and the padding: float32 on a CPU
TOLERANCE = 1e-5
#: one card per architecture and layout
ONE_OF_EACH = (
    "fineweb_edu",
    "finepdfs_edu",
    pytest.param("nvidia_quality", marks=pytest.mark.slow),
    "qurater",
    "toxic_xlm_roberta",
    "weborganizer_topic",
    "jql_edu",
)
TEXTS = [*documents(5, 60), "", "tide", "x" * 300, " ".join(documents(12, 60, seed=3)), "café ½ ① 東京 🙂 \u2029"]


def batch(texts: list[str]) -> Batch:
    columns = {"id": [f"{i:032x}" for i in range(len(texts))], "text": texts}
    return Batch(pa.RecordBatch.from_pydict(columns, schema=pa.schema([("id", pa.string()), ("text", pa.string())])))


def opened(name: str, folder: Path, shared: SharedTexts | None = None, **said: Any) -> Rater:
    rater = rater_stage(choice(name, folder, **said), shared=shared)
    rater.open(Context())
    return rater


def labels(rater: Rater, texts: list[str]) -> list[dict[str, Any]]:
    return [
        {name.removeprefix(f"{rater.card.name}_"): row[name] for name in rater.adds().names}
        for row in rater.process(batch(texts)).rows.to_pylist()
    ]


def furthest(one: list[dict[str, Any]], other: list[dict[str, Any]]) -> float:
    """Largest difference of a number; names must be equal."""
    found = 0.0
    for a, b in zip(one, other, strict=True):
        for key, value in a.items():
            if isinstance(value, float) and isinstance(b[key], float):
                found = max(found, abs(value - b[key]))
            else:
                assert value == b[key], key
    return found


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Card → folder of its tiny model, made when first asked for."""
    root = tmp_path_factory.mktemp("models")

    class Made(dict[str, Path]):
        def __missing__(self, name: str) -> Path:
            self[name] = make(name, root / name)
            return self[name]

    return Made()


def test_every_card_of_this_backend_has_a_tiny_model() -> None:
    assert FAMILIES.keys() == {n for n in card_names() if load_card(n, Path()).backend == "encoder"}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_card_reads_its_model(name: str, models: dict[str, Path]) -> None:
    rater = opened(name, models[name])
    whole = labels(rater, TEXTS)
    empty = TEXTS.index("")
    assert whole[empty]["status"] == "too_short"
    for row, text in zip(whole, TEXTS, strict=True):
        if row["status"] == "ok":
            assert all(value is not None for value in row.values())
            for label in rater.card.labels:
                value = row[label.name]
                if label.range:
                    assert label.range[0] <= value <= label.range[1]
                else:
                    assert value in label.values
        else:
            assert len(text.split()) < 2 and all(v is None for k, v in row.items() if k != "status")
    assert max(len({row[label.name] for row in whole}) for label in rater.card.labels) > 2


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_neighbours_order_batch_size_and_padding_move_no_score(name: str, models: dict[str, Path]) -> None:
    rater = opened(name, models[name])
    whole = labels(rater, TEXTS)
    alone = [labels(rater, [text])[0] for text in TEXTS]
    reverse = labels(rater, TEXTS[::-1])[::-1]
    much = labels(opened(name, models[name], options={"batch_tokens": 10**6}), TEXTS)
    for other in (alone, reverse, much):
        assert furthest(whole, other) <= TOLERANCE


@pytest.mark.parametrize(
    "name", ("fineweb_edu", "finepdfs_edu", "meta_rater_reasoning", "qurater", "toxic_roberta", "weborganizer_topic")
)
def test_outputs_are_those_of_transformers(name: str, models: dict[str, Path]) -> None:
    """Encoder and head apart give what the library's own classifier gives for one input without padding."""
    import torch
    from tokenizers import Tokenizer
    from transformers import AutoModelForSequenceClassification

    card = load_card(name, Path())
    options = Options.model_validate(card.options)
    model = AutoModelForSequenceClassification.from_pretrained(models[name], dtype=torch.float32).eval()
    tokenizer = Tokenizer.from_file(str(models[name] / "tokenizer.json"))
    text = " ".join(["the tide rises twice a day and the moon pulls at the water"] * 3)
    said = text.rpartition(" ")[0] if options.ends else text
    ids = tokenizer.encode(said, add_special_tokens=options.special).ids
    with torch.inference_mode():
        logits = model(torch.tensor([ids])).logits[0].double()
    wanted = {"none": logits, "softmax": logits.softmax(0), "sigmoid": logits.sigmoid()}[options.activation].tolist()
    found = labels(opened(name, models[name]), [text])[0]
    heads = list(head_names(card))
    for label, column in options.columns.items():
        if column.head is not None and column.clip is None and column.cut is None:
            assert found[label] == pytest.approx(wanted[heads.index(column.head)], abs=TOLERANCE)
        if column.expected is not None:
            mean = sum(p * column.expected[head] for p, head in zip(wanted, heads, strict=True))
            assert found[label] == pytest.approx(mean, abs=TOLERANCE)
        if column.argmax:
            assert str(found[label]) == heads[int(np.argmax(wanted))]
    for head in set(heads) & found.keys():
        assert found[head] == pytest.approx(wanted[heads.index(head)], abs=TOLERANCE)


def test_nvidias_head_reads_the_first_token_of_the_encoder(models: dict[str, Path]) -> None:
    import json

    import torch
    from safetensors.torch import load_file
    from tokenizers import Tokenizer
    from transformers import DebertaV2Config, DebertaV2Model

    folder = models["nvidia_quality"]
    config = json.loads((folder / "config.json").read_text())
    sizes = {k: config[k] for k in ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size")}
    options = Options.model_validate(load_card("nvidia_quality", Path()).options)
    assert options.base is not None
    shape = {**options.base.config, **sizes, "vocab_size": config["vocab_size"]}
    shape.pop("model_type")
    base = DebertaV2Model(DebertaV2Config(**shape)).eval()
    state = load_file(folder / "model.safetensors")
    base.load_state_dict({k.removeprefix("model."): v for k, v in state.items() if k.startswith("model.")})
    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode("grain before winter").ids
    with torch.inference_mode():
        first = base(torch.tensor([ids])).last_hidden_state[0, 0]
        wanted = (first @ state["fc.weight"].T + state["fc.bias"]).softmax(0).tolist()
    found = labels(opened("nvidia_quality", folder), ["grain before winter"])[0]
    assert [found["high"], found["medium"], found["low"]] == pytest.approx(wanted, abs=TOLERANCE)
    assert found["quality"] == ["High", "Medium", "Low"][int(np.argmax(wanted))]


def test_raters_on_equal_encoders_share_tokens_vectors_and_memory(tmp_path: Path) -> None:
    """FineWeb-Edu's classifier and NVIDIA's two stand on one frozen encoder; here two heads on the same weights."""
    import torch
    from safetensors.torch import load_file, save_file

    one = make("fineweb_edu", tmp_path / "one")
    other = make("nvidia_mixtral_edu", tmp_path / "other")
    state = load_file(other / "model.safetensors")
    state["classifier.weight"] = torch.ones_like(state["classifier.weight"])
    save_file(state, other / "model.safetensors", metadata={"format": "pt"})
    shared = SharedTexts()
    raters = [opened("fineweb_edu", one, shared), opened("nvidia_mixtral_edu", other, shared)]
    both = batch(TEXTS)
    out = raters[1].process(raters[0].process(both))
    kept = [key[0] for key in shared.of(out).shared if isinstance(key, tuple)]
    assert kept.count("encoder inputs") == kept.count("encoder vectors") == 1
    bodies = [rater._backend._model.body for rater in raters]  # type: ignore[attr-defined]
    assert bodies[0] is bodies[1]
    apart = labels(opened("nvidia_mixtral_edu", other), TEXTS)
    assert out.column("nvidia_mixtral_edu_raw").to_pylist() == [row["raw"] for row in apart]
    assert out.column("fineweb_edu_score").to_pylist() != out.column("nvidia_mixtral_edu_raw").to_pylist()


def test_encoders_with_other_weights_share_tokens_alone(tmp_path: Path) -> None:
    one, other = make("fineweb_edu", tmp_path / "one"), make("nvidia_nemotron_edu", tmp_path / "other", seed=7)
    shared = SharedTexts()
    out = batch(TEXTS)
    for name, folder in (("fineweb_edu", one), ("nvidia_nemotron_edu", other)):
        out = opened(name, folder, shared).process(out)
    kept = [key[0] for key in shared.of(out).shared if isinstance(key, tuple)]
    assert kept.count("encoder inputs") == 1 and kept.count("encoder vectors") == 2


def test_batches_hold_each_row_once_and_little_padding() -> None:
    rng = np.random.default_rng(0)
    lengths = np.minimum(512, 20 + rng.exponential(200, 2000)).astype(np.int64)
    made = batches(lengths, 16_384)
    assert sorted(np.concatenate(made).tolist()) == list(range(2000))
    sizes = [int(lengths[rows].max()) * len(rows) for rows in made]
    assert max(sizes) <= 16_384
    assert 1 - lengths.sum() / sum(sizes) < 0.06
    assert [len(rows) for rows in batches(np.array([9, 9, 9]), 4)] == [1, 1, 1]
