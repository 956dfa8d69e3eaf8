"""What the encoder backend refuses, how it reads windows, and what it makes of outputs."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed (extra `models`)")
pytest.importorskip("transformers", reason="transformers is not installed (extra `models`)")

from classifiers.backends.encoder_columns import activated, columns
from classifiers.backends.encoder_options import Column, Options, check_columns
from classifiers.backends.encoder_tokens import Tokens, open_tokens
from classifiers.cards import CARDS, Card, Window, load_card
from classifiers.choice import RaterChoice
from classifiers.contract import Texts, rater_stage
from classifiers.windows import Pieces
from curate.errors import ConfigError, ModelError
from curate.stages.base import Context
from tests.classifiers.test_encoder_cards import labels, opened
from tests.classifiers.tiny_encoders import choice, documents, make, save_tokenizer


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("made")
    for name in ("fineweb_edu", "nvidia_quality", "meta_rater_reasoning", "jql_edu"):
        make(name, root / name)
    return root


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Any:
    """A copy of a model that a test may damage."""
    return lambda name: Path(shutil.copytree(made / name, tmp_path / name))


def refusal(name: str, path: Path, **said: Any) -> str:
    with pytest.raises(ModelError) as caught:
        opened(name, path, **said)
    return str(caught.value)


def changed(path: Path, **entries: Any) -> Path:
    config = path / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), **entries}))
    return path


def test_a_pickle_in_the_place_of_the_weights_is_refused_and_never_opened(folder: Any, tmp_path: Path) -> None:
    class Malicious:
        def __reduce__(self) -> Any:
            return Path.touch, (tmp_path / "ran",)

    path = folder("fineweb_edu")
    (path / "model.safetensors").unlink()
    (path / "pytorch_model.bin").write_bytes(pickle.dumps(Malicious()))
    assert "pytorch_model.bin: model refused: a pickle" in refusal("fineweb_edu", path)
    (path / "pytorch_model.bin").rename(path / "model.safetensors")
    assert "model refused" in refusal("fineweb_edu", path)
    assert not (tmp_path / "ran").exists()


def test_a_pickle_that_nobody_reads_does_not_matter(folder: Any) -> None:
    path = folder("fineweb_edu")
    (path / "training_args.bin").write_bytes(pickle.dumps({"lr": 1}))
    opened("fineweb_edu", path)


def test_truncated_weights_are_refused(folder: Any) -> None:
    path = folder("fineweb_edu")
    whole = (path / "model.safetensors").read_bytes()
    for size in (len(whole) - 1, len(whole) // 2, 4, 0):
        (path / "model.safetensors").write_bytes(whole[:size])
        assert "model refused" in refusal("fineweb_edu", path)


def test_weights_that_are_not_a_number_are_refused(folder: Any) -> None:
    from safetensors.torch import load_file, save_file

    path = folder("fineweb_edu")
    state = load_file(path / "model.safetensors")
    state["classifier.weight"][0, 0] = float("nan")
    save_file(state, path / "model.safetensors")
    assert "finite" in refusal("fineweb_edu", path)


def test_a_missing_head_is_refused_and_not_made_up(folder: Any) -> None:
    from safetensors.torch import load_file, save_file

    for name, head in (("fineweb_edu", "classifier.weight"), ("nvidia_quality", "fc.bias")):
        path = folder(name)
        state = load_file(path / "model.safetensors")
        del state[head]
        save_file(state, path / "model.safetensors", metadata={"format": "pt"})
        assert "model refused" in refusal(name, path)


def test_a_wrong_digest_is_refused(folder: Any) -> None:
    path = folder("fineweb_edu")
    assert "expected sha256" in refusal("fineweb_edu", path, sha256=hashlib.sha256(b"").hexdigest())


def test_an_unpinned_model_needs_a_digest_or_leave(made: Path) -> None:
    with pytest.raises(ConfigError, match="allow_unpinned"):
        rater_stage(RaterChoice(card="fineweb_edu", model=str(made / "fineweb_edu")))
    with pytest.raises(ConfigError, match="HuggingFaceFW/fineweb-edu-classifier"):
        rater_stage("fineweb_edu")


def test_remote_code_needs_leave_by_name_from_card_and_config(folder: Any, made: Path) -> None:
    with pytest.raises(ConfigError, match="runs code of its own"):
        rater_stage(choice("weborganizer_topic", made, allow_remote_code=("other/model",)))
    path = changed(folder("fineweb_edu"), auto_map={"AutoModelForSequenceClassification": "modeling.Evil"})
    (path / "modeling.py").write_text("raise SystemExit('it ran')")
    assert "auto_map" in refusal("fineweb_edu", path, allow_remote_code=("HuggingFaceFW/fineweb-edu-classifier",))


def test_another_label_set_is_refused_by_name(folder: Any) -> None:
    path = folder("nvidia_quality")
    said = refusal("nvidia_quality", changed(path, id2label={"0": "High", "1": "Middle", "2": "Low"}))
    assert "label set of the model does not match the card" in said and "Medium" in said and "Middle" in said
    assert "2 outputs" in refusal("nvidia_quality", changed(path, id2label={"0": "High", "1": "Low"}))
    assert "id2label" in refusal("nvidia_quality", changed(path, id2label={"1": "High", "2": "Low"}))
    reasoning = folder("meta_rater_reasoning")
    assert "regression" in refusal("meta_rater_reasoning", changed(reasoning, problem_type="regression"))


def test_names_decide_which_output_is_which_and_not_their_order(folder: Any) -> None:
    path = folder("nvidia_quality")
    text = "grain before winter"
    before = labels(opened("nvidia_quality", path), [text])[0]
    changed(path, id2label={"0": "Low", "1": "High", "2": "Medium"})
    after = labels(opened("nvidia_quality", path), [text])[0]
    assert (after["low"], after["high"], after["medium"]) == (before["high"], before["medium"], before["low"])


def test_numbered_outputs_are_taken_in_the_cards_order(made: Path, folder: Any) -> None:
    path = changed(folder("meta_rater_reasoning"), id2label={str(i): f"LABEL_{i}" for i in range(6)})
    text = documents(1, 30)
    assert labels(opened("meta_rater_reasoning", path), text) == labels(
        opened("meta_rater_reasoning", made / "meta_rater_reasoning"), text
    )


def test_heads_that_are_pickles_or_no_perceptrons_are_refused(folder: Any) -> None:
    from safetensors.torch import load_file, save_file

    path = folder("jql_edu")
    head = path / "heads" / "edu-mistral-snowflake-balanced.safetensors"
    state = load_file(head)
    save_file({**state, "net.3.weight": state["net.3.weight"][:, :7].contiguous()}, head)
    assert "no linear layer over 20 inputs" in refusal("jql_edu", path)
    head.unlink()
    head.with_suffix(".ckpt").write_bytes(b"\x80\x04.")
    assert "is a pickle" in refusal("jql_edu", path)


def test_outputs_that_are_not_numbers_are_model_errors(made: Path) -> None:
    rater = opened("fineweb_edu", made / "fineweb_edu")
    rater._backend._model.head = lambda x: x[:, :1] * float("nan")  # type: ignore[attr-defined]
    row = labels(rater, ["the tide rises"])[0]
    assert row == {"score": None, "int_score": None, "status": "model_error"}


def test_a_window_longer_than_the_model_is_refused(made: Path, tmp_path: Path) -> None:
    card = (
        (CARDS / "fineweb_edu.yaml").read_text().replace("head: 510", "head: 600").replace("tokens: 512", "tokens: 700")
    )
    (tmp_path / "fineweb_edu.yaml").write_text(card)
    said = RaterChoice(card=str(tmp_path / "fineweb_edu.yaml"), model=str(made / "fineweb_edu"), allow_unpinned=True)
    with pytest.raises(ModelError, match="602 tokens, the model has places for 512"):
        rater_stage(said, base=tmp_path).open(Context())


@pytest.mark.parametrize(("raw", "wanted"), [(2.5, 2), (3.5, 4), (2.51, 3), (0.5, 0), (1.5, 2), (-0.3, 0), (5.7, 5)])
def test_fineweb_edu_integers_round_halves_to_even(raw: float, wanted: int) -> None:
    card = load_card("fineweb_edu", Path())
    assert made_columns(card, [[raw]])["int_score"] == [wanted]
    assert made_columns(card, [[raw]])["score"] == [pytest.approx(raw)]


def test_nemo_names_exactly_two_and_a_half_high_although_its_integer_is_two() -> None:
    found = made_columns(load_card("nvidia_mixtral_edu", Path()), [[2.5]])
    assert (found["int_score"], found["quality"]) == ([2], ["high_quality"])


def test_qurater_weighs_chunks_by_their_tokens() -> None:
    card = load_card("qurater", Path())
    parts = Pieces(np.array([0, 0]), np.array([0, 512]), np.array([512, 600]), np.array([512.0, 88.0]))
    found = made_columns(card, [[1.0] * 4, [-1.0] * 4], parts)
    assert found["writing_style"] == [pytest.approx(0.706667, abs=1e-6)]


def test_toxicity_keeps_the_worst_passage_and_the_mean() -> None:
    parts = Pieces(np.array([0, 0]), np.array([0, 510]), np.array([510, 680]), np.array([510.0, 170.0]))
    found = made_columns(load_card("toxic_bert", Path()), [[0.0] * 6, [np.log(9)] * 6], parts)
    assert found["threat_max"] == [pytest.approx(0.9)]
    assert found["threat_mean"] == [pytest.approx(0.75 * 0.5 + 0.25 * 0.9)]


def test_the_expected_class_knows_what_the_class_hides() -> None:
    card = load_card("meta_rater_reasoning", Path())
    logits = [np.log([0.01, 0.01, 0.01, 0.5, 0.46, 0.01]).tolist()]
    found = made_columns(card, logits)
    assert found["class"] == [3]
    assert found["score"] == [pytest.approx(0.01 * (0 + 1 + 2 + 5) + 0.5 * 3 + 0.46 * 4)]
    assert found["p4"] == [pytest.approx(0.46)]


def made_columns(card: Card, logits: list[list[float]], parts: Pieces | None = None) -> dict[str, list[Any]]:
    options = Options.model_validate(card.options)
    one = parts or Pieces(np.array([0]), np.array([0]), np.array([1]), np.array([1.0]))
    values = activated(np.array(logits), options.activation)
    found = columns(card, check_columns(card, options), card.heads, values, one, 1)
    return {name: array.to_pylist() for name, array in found.items()}


def tokens(tmp_path: Path, window: dict[str, Any], **options: Any) -> Tokens:
    save_tokenizer(tmp_path, "bert")
    return open_tokens(tmp_path, Window(unit="tokens", **window), Options.model_validate(options))


def test_a_head_is_the_same_however_long_the_rest(tmp_path: Path) -> None:
    read = tokens(tmp_path, {"policy": "head", "head": 50})
    long = " ".join(documents(400, 60))
    whole = read._tokens([long])[0][:50]
    for text in (long, long[:5000], long * 3, "\n" * 3000 + long, "x" * 5000 + " " + long):
        ids = read.inputs(Texts.of([text])).ids[0]
        assert ids[1:-1].tolist() == read._tokens([text])[0][:50].tolist()
    assert read.inputs(Texts.of([long])).ids[0][1:-1].tolist() == whole.tolist()


def test_head_and_tail_are_one_input_joined_by_what_the_card_says(tmp_path: Path) -> None:
    read = tokens(tmp_path, {"policy": "head_tail", "head": 4, "tail": 3}, between=" tide ")
    text = " ".join(documents(30, 60))
    all_, joint = read._tokens([text])[0].tolist(), read._tokens(["tide"])[0].tolist()
    inputs = read.inputs(Texts.of([text, "", "the moon"]))
    assert inputs.ids[0][1:-1].tolist() == all_[:4] + joint + all_[-3:]
    assert inputs.parts.document.tolist() == [0, 2] and len(inputs.ids[1]) == 4


def test_finepdfs_reads_both_ends_of_long_texts_without_the_cut_words(tmp_path: Path) -> None:
    read = tokens(tmp_path, {"policy": "chunk_max", "chunk": 30, "most": 2}, ends={"characters": 60, "tokens": 30})
    short, long = "alpha " + "tide " * 10 + "omega", "alpha " + "moon " * 40 + "omega"
    inputs = read.inputs(Texts.of([short, long, "single"]))
    assert inputs.parts.document.tolist() == [0, 1, 1]
    word = {name: read._tokens([name])[0].tolist() for name in ("alpha", "tide", "moon", "omega")}
    shown = [i[1:-1].tolist() for i in inputs.ids]
    assert shown[0][: len(word["alpha"])] == word["alpha"] and word["tide"][0] in shown[0]
    assert shown[1][: len(word["alpha"])] == word["alpha"] and shown[2][-len(word["omega"]) :] == word["omega"]
    assert shown[1][-len(word["moon"]) :] == word["moon"] and len(max(shown, key=len)) <= 30


def test_cards_that_contradict_themselves_are_refused() -> None:
    card = load_card("nvidia_quality", Path())
    for column, why in (
        (Column(head="Best"), "there is no output 'Best'"),
        (Column(top=True), "a name comes from argmax or cut"),
    ):
        options = Options.model_validate(card.options).model_copy(update={"columns": {"quality": column}})
        with pytest.raises(ConfigError, match=why):
            check_columns(card, options)
