"""Cards: what is refused, and with which words."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML
from safetensors.numpy import load_file, save_file

from classifiers.cards import CARDS, Card, card_names, load_card
from classifiers.contract import rater_stage
from curate.errors import ConfigError, ModelError
from curate.stages.base import Context

Edit = Callable[[dict[str, Any]], object]


def own_card(folder: Path, edit: Edit = lambda card: None) -> Path:
    """A copy of the card ``lite`` and of its weights, changed."""
    card = YAML(typ="safe").load((CARDS / "lite.yaml").read_text("utf-8"))
    digest = card["files"].pop("../weights/lite.safetensors")
    card["files"]["own.safetensors"] = digest
    card["options"]["weights"] = "own.safetensors"
    card["name"] = "own"
    shutil.copy(CARDS.parent / "weights/lite.safetensors", folder / "own.safetensors")
    edit(card)
    path = folder / "own.yaml"
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(card, file)
    return path


def test_a_card_of_ones_own_is_found_by_its_path_and_names_the_columns(tmp_path: Path) -> None:
    own_card(tmp_path)
    rater = rater_stage("own.yaml", tmp_path)
    rater.open(Context())
    assert rater.name == "own" and rater.adds().names[0] == "own_accuracy" and rater.adds().names[-1] == "own_status"


def test_an_unknown_name_is_told_with_the_nearest_one() -> None:
    with pytest.raises(ConfigError, match="no card 'lit'; did you mean 'lite'"):
        load_card("lit", Path())


def test_a_path_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no card file .*nothing\.yaml"):
        load_card("nothing.yaml", tmp_path)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda c: c.update(colour="red"), "colour: Extra inputs"),
        (lambda c: c.update(backend="magic"), "no backend magic; there are: .*hashed_linear"),
        (lambda c: c["labels"].append(c["labels"][0]), "two labels have the same name"),
        (lambda c: c["labels"][0].pop("range"), r"label accuracy needs a range"),
        (lambda c: c["labels"][0].update(name="status"), "the name status is taken"),
        (lambda c: c["labels"][0].update(range=[5, 1]), r"label accuracy needs a range"),
        (lambda c: c["files"].update({"own.safetensors": "abc"}), "own.safetensors needs its sha256"),
        (lambda c: c["window"].update(tail=0), "window policy head_tail needs tail of at least 1"),
        (lambda c: c.pop("licence"), "licence: Field required"),
    ],
)
def test_a_card_that_is_not_valid_is_refused(tmp_path: Path, edit: Edit, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        load_card(str(own_card(tmp_path, edit)), tmp_path)
    assert "own.yaml" in str(caught.value)


def test_a_card_that_is_no_yaml_is_refused_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("name: a\nlabels: [\n", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"broken\.yaml:\d+: the card is not valid YAML"):
        load_card("broken.yaml", tmp_path)


def test_weights_with_another_digest_are_refused(tmp_path: Path) -> None:
    path = own_card(tmp_path)
    weights = tmp_path / "own.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    expected = load_card(str(path), tmp_path).files["own.safetensors"]
    with pytest.raises(ModelError, match=rf"own\.safetensors: model refused: expected sha256 {expected}, found"):
        rater_stage(str(path)).open(Context())


def test_weights_that_are_gone_are_told(tmp_path: Path) -> None:
    path = own_card(tmp_path)
    (tmp_path / "own.safetensors").unlink()
    with pytest.raises(ModelError, match=r"own\.safetensors: the card names this file and it is not there"):
        rater_stage(str(path)).open(Context())


def test_weights_of_another_label_set_are_refused(tmp_path: Path) -> None:
    path = own_card(tmp_path, lambda c: c["labels"].pop(0))
    with pytest.raises(ModelError, match=r"array mixer has shape .* the card needs"):
        rater_stage(str(path)).open(Context())


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    import hashlib

    arrays = load_file(CARDS.parent / "weights/lite.safetensors")
    arrays["bias"][0] = np.nan
    own_card(tmp_path)
    save_file(arrays, tmp_path / "own.safetensors")
    digest = hashlib.sha256((tmp_path / "own.safetensors").read_bytes()).hexdigest()
    path = own_card_with(tmp_path, digest)
    with pytest.raises(ModelError, match="NaN or infinite"):
        rater_stage(str(path)).open(Context())


def own_card_with(folder: Path, digest: str) -> Path:
    """The card ``own`` over the weights that are in the folder already."""
    path = folder / "own.yaml"
    card = YAML(typ="safe").load(path.read_text("utf-8"))
    card["files"]["own.safetensors"] = digest
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(card, file)
    return path


def test_all_cards_are_valid_and_their_names_are_their_files() -> None:
    assert "lite" in card_names()
    for name in card_names():
        card = load_card(name, Path())
        assert isinstance(card, Card) and card.name == name


def test_weights_of_all_cards_stay_small() -> None:
    assert sum(path.stat().st_size for path in (CARDS.parent / "weights").iterdir()) < 15_000_000


@pytest.mark.parametrize("name", card_names())
def test_every_card_says_where_its_model_comes_from_and_what_it_is_not_good_for(name: str) -> None:
    card = load_card(name, Path())
    assert card.licence and card.source and card.training and card.limits and card.citation and card.follows
    assert card.self_contained or not card.pinned or card.files
    for label in card.labels:
        assert label.meaning and (label.threshold is None or label.threshold.why)


def test_toxicity_and_quality_are_never_labels_of_one_card() -> None:
    for name in card_names():
        harm = {"toxic", "nsfw", "hate", "obscene"}
        words = set(name.split("_")) | {
            part for label in load_card(name, Path()).labels for part in label.name.split("_")
        }
        assert not (harm & words and {"quality", "overall", "educational"} & words)
