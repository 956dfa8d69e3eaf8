"""What the rater makes of a backend's answers, what raters share, and what a config must permit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from ruamel.yaml import YAML

from classifiers.choice import RaterChoice
from classifiers.contract import BACKENDS, Rater, SharedTexts, rater_stage
from classifiers.model_files import model_digest
from curate.documents import Batch
from curate.errors import ConfigError, ModelError
from curate.models import check_model
from curate.stages.base import Context
from tests.classifiers.toy import Toy

TOYS = {"toy": "Toy", "silent": "Silent", "served": "Served"}


@pytest.fixture(autouse=True)
def backends() -> Iterator[None]:
    """The toys are backends like any other."""
    added = {name: f"tests.classifiers.toy:{cls}" for name, cls in TOYS.items()}
    BACKENDS.update(added)
    yield
    for name in added:
        del BACKENDS[name]


def write_card(folder: Path, name: str = "toy", **changes: Any) -> str:
    card = {
        "name": name, "title": "a toy", "revision": "1", "backend": "served", "licence": "none", "source": "a test",
        "labels": [
            {"name": "score", "range": [0, 1], "meaning": "as it says"},
            {"name": "kind", "type": "name", "values": ["good", "bad"], "meaning": "as it says"},
        ],
        **changes,
    }  # fmt: skip
    with (folder / f"{name}.yaml").open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(card, file)
    return f"{name}.yaml"


def batch(texts: list[str]) -> Batch:
    return Batch(
        pa.record_batch({"id": [f"{i:032x}" for i in range(len(texts))], "text": pa.array(texts, pa.string())})
    )


def rate(folder: Path, texts: list[str], **changes: Any) -> list[tuple[Any, ...]]:
    rater = rater_stage(write_card(folder, **changes), folder)
    rater.open(Context())
    rows = rater.process(batch(texts)).rows.to_pylist()
    return [(row["toy_score"], row["toy_kind"], row["toy_status"]) for row in rows]


def test_what_is_no_number_and_no_name_of_the_card_is_an_error_and_never_a_score(tmp_path: Path) -> None:
    found = rate(tmp_path, ["0.5 good", "nan good", "inf good", "-inf bad", "0.5 evil", "0.5 none", "1 bad"])
    broken = (None, None, "model_error")
    assert found == [(0.5, "good", "ok"), broken, broken, broken, broken, broken, (1.0, "bad", "ok")]


def test_a_status_of_the_backend_stands_and_leaves_no_number(tmp_path: Path) -> None:
    assert rate(tmp_path, ["unparseable", "0.25 bad", "too_short"]) == [
        (None, None, "unparseable"), (0.25, "bad", "ok"), (None, None, "too_short"),
    ]  # fmt: skip


def test_a_status_that_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the status 'tired', which is none"):
        rate(tmp_path, ["tired"])


def test_an_optional_label_may_be_null_alone(tmp_path: Path) -> None:
    labels = [
        {"name": "score", "range": [0, 1], "meaning": "as it says", "optional": True},
        {"name": "kind", "type": "name", "values": ["good", "bad"], "meaning": "as it says", "optional": True},
    ]
    found = rate(tmp_path, ["0.5 none", "nan good", "0.5 evil"], labels=labels)
    assert found == [(0.5, None, "ok"), (None, "good", "ok"), (None, None, "model_error")]


def test_a_label_that_the_backend_does_not_give_is_told(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="gave None values of kind for 1 texts; the label set"):
        rate(tmp_path, ["0.5 good"], backend="silent")


def test_canaries_of_any_backend_are_held_against_the_card(tmp_path: Path) -> None:
    right = {"text": "0.5 good", "labels": {"score": 0.4999, "kind": "good"}}
    assert rate(tmp_path, ["1 good"], canaries=[right]) == [(1.0, "good", "ok")]
    for labels in ({"score": 0.6}, {"kind": "bad"}):
        with pytest.raises(ModelError, match="canary 1 should have"):
            rate(tmp_path, [], canaries=[right, {"text": "0.5 good", "labels": labels}])
    with pytest.raises(ModelError, match="the model says None"):
        rate(tmp_path, [], canaries=[{"text": "unparseable", "labels": {"score": 0.5}}])
    with pytest.raises(ConfigError, match="canaries: there is no label colour"):
        rate(tmp_path, [], canaries=[{"text": "0.5 good", "labels": {"colour": 1}}])


def test_raters_of_a_pass_share_the_texts_and_what_was_made_of_them(tmp_path: Path) -> None:
    shared = SharedTexts()
    raters = [rater_stage(write_card(tmp_path, name), tmp_path, shared) for name in ("one", "two", "three")]
    raters.append(rater_stage(write_card(tmp_path, "long", min_words=2), tmp_path, shared))
    raters.append(rater_stage(write_card(tmp_path, "longer", min_words=2), tmp_path, shared))
    given = batch(["0.5 good", "unparseable", "1 bad"])
    for rater in raters:
        given = rater.process(given)
    seen = [_toy(rater).seen[0] for rater in raters]
    assert seen[0] is seen[1] is seen[2] and seen[0].strings() is seen[1].strings()
    assert seen[3] is seen[4] and seen[3].strings() == ["0.5 good", "1 bad"]
    assert seen[3].ids is not None and seen[3].ids.to_pylist() == [f"{i:032x}" for i in (0, 2)]
    assert given.column("long_status").to_pylist() == ["ok", "too_short", "ok"]


def test_another_batch_of_the_same_shape_is_another_batch(tmp_path: Path) -> None:
    rater = rater_stage(write_card(tmp_path), tmp_path)
    for i in range(50):
        out = rater.process(batch([f"0.{i:02} good"]))
        assert out.column("toy_score").to_pylist() == [pytest.approx(i / 100)]


def _toy(rater: Rater) -> Toy:
    found = rater._backend
    assert isinstance(found, Toy)
    return found


def test_remote_code_runs_only_where_the_config_names_the_model(tmp_path: Path) -> None:
    card = write_card(tmp_path, remote_code=True, model_id="owner/name")
    for allowed in ((), ("owner/other",), ("toy",)):
        with pytest.raises(ConfigError, match=r"loads owner/name, .* allow_remote_code: \[owner/name\]"):
            rater_stage(RaterChoice(card=card, allow_remote_code=allowed), tmp_path)
    assert rater_stage(RaterChoice(card=card, allow_remote_code=("owner/name",)), tmp_path).card.remote_code
    with pytest.raises(ConfigError, match="remote_code needs model_id"):
        rater_stage(write_card(tmp_path, remote_code=True), tmp_path)


def test_a_model_without_a_digest_is_refused_whoever_forgot_it(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"1")
    with pytest.raises(ConfigError, match="gives no sha256 under `files`"):
        rater_stage(write_card(tmp_path, backend="toy"), tmp_path)
    with pytest.raises(ConfigError, match="needs its model, which is not part of this project"):
        rater_stage(write_card(tmp_path, backend="toy", pinned=False), tmp_path)
    digest = hashlib.sha256(b"1").hexdigest()
    with pytest.raises(ConfigError, match=f"sha256: {digest}"):
        rater_stage(write_card(tmp_path, backend="toy", pinned=False, model="weights"), tmp_path)


def folder_card(tmp_path: Path, **changes: Any) -> RaterChoice:
    """A card of a pinned folder of two files, and where the folder is."""
    (tmp_path / "model").mkdir(exist_ok=True)
    (tmp_path / "model/a.json").write_text("{}")
    (tmp_path / "model/b.json").write_text("[]")
    files = {"a.json": hashlib.sha256(b"{}").hexdigest(), "b.json": hashlib.sha256(b"[]").hexdigest()}
    return RaterChoice(card=write_card(tmp_path, backend="toy", **{"files": files, **changes}), model="model")


def test_every_file_of_a_pinned_folder_is_named_and_has_its_digest(tmp_path: Path) -> None:
    rater = rater_stage(folder_card(tmp_path), tmp_path)
    rater.open(Context())
    assert set(rater.assets(tmp_path)) == {"a.json", "b.json", "model"}
    (tmp_path / "model/README.md").write_text("notes")
    rater.open(Context())
    (tmp_path / "model/c.json").write_text("{}")
    with pytest.raises(ModelError, match=r"c\.json: model refused: the card toy does not name this file"):
        rater.open(Context())
    (tmp_path / "model/c.json").unlink()
    (tmp_path / "model/b.json").write_text("[ ]")
    with pytest.raises(ModelError, match=r"b\.json: model refused: expected sha256"):
        rater.open(Context())


def test_a_config_pins_a_folder_that_its_card_does_not(tmp_path: Path) -> None:
    choice = folder_card(tmp_path, files={}, pinned=False)
    digest = model_digest(tmp_path / "model")
    assert check_model(tmp_path / "model").digest == f"sha256:{digest}"
    rater = rater_stage(choice.model_copy(update={"sha256": digest}), tmp_path)
    rater.open(Context())
    (tmp_path / "model/c.json").write_text("{}")
    with pytest.raises(ModelError, match=f"expected sha256 {digest}"):
        rater.open(Context())
    free = rater_stage(choice.model_copy(update={"allow_unpinned": True}), tmp_path)
    free.open(Context())


def test_the_fingerprint_does_not_change_with_what_a_card_leaves_at_its_default(tmp_path: Path) -> None:
    plain = rater_stage(write_card(tmp_path), tmp_path).config.model_dump()["card"]
    said = rater_stage(write_card(tmp_path, min_words=0, dtype="float32", window={"policy": "whole"}), tmp_path)
    assert said.config.model_dump()["card"] == plain and "dtype" not in plain
