"""fastText raters: what the model reads, what its labels become, and which files are refused."""

from __future__ import annotations

import hashlib
import pickle
import random
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from ruamel.yaml import YAML

from classifiers.backends.fasttext_child import value_of
from classifiers.backends.fasttext_text import preparation
from classifiers.cards import card_names, load_card
from classifiers.choice import RaterChoice
from classifiers.contract import Rater, rater_stage
from curate.documents import Batch
from curate.errors import ConfigError, ModelError
from curate.models import load_fasttext
from curate.stages.base import Context

GOOD, BAD = ["maple", "because", "explain", "answer"], ["cheap", "click", "shoes", "buy"]
TEXTS = [
    "maple trees explain",
    "buy cheap shoes\nclick here because",
    "",
    "unseen words only",
    "click\n\nmaple\r\nanswer\u2028because",
    "explain " * 3000 + "\nbuy",
    "ünïcode ﬁ 東京 because",
]
#: the text of the newline goldens
RAGGED = " A line \r\nsecond\x0bthird\u2028fourth\n\n\nlast  "


_TRAIN = """
import json, sys
import fasttext
corpus, folder = sys.argv[1:]
for seed in range(20):
    try:
        model = fasttext.train_supervised(
            corpus, dim=16, epoch=5, wordNgrams=2, bucket=1000, lr=0.5, thread=1, verbose=0, seed=seed
        )
    except RuntimeError:
        continue
    model.save_model(folder + "/model.bin")
    model.quantize(input=corpus, retrain=False)
    model.save_model(folder + "/model.ftz")
    break
"""


def train(folder: Path, classes: dict[str, list[str]]) -> None:
    """Write model.bin and model.ftz, a tiny model over the words of each class.

    Training with this fastText build may end in "Encountered NaN", by chance and by what lay in the process's memory
    before: seldom with word pairs, hash buckets and 16 dimensions in a fresh process, and then another seed helps.
    """
    draw = random.Random(0)
    lines = []
    for _ in range(200):
        for name, words in classes.items():
            lines.append(f"__label__{name} " + " ".join(draw.choices([*words, "the", "of"], k=8)))
    corpus = folder / "train.txt"
    corpus.write_text("\n".join(lines) + "\n", encoding="utf-8")
    subprocess.run([sys.executable, "-c", _TRAIN, str(corpus), str(folder)], check=True)


def renamed(model: Path, to: Path, names: dict[str, str]) -> Path:
    """The model with other label names; names lie in the file one by one, each with a NUL behind it."""
    content = model.read_bytes()
    for old, new in names.items():
        assert content.count(b"__label__%s\0" % old.encode()) == 1
        content = content.replace(b"__label__%s\0" % old.encode(), b"__label__%s\0" % new.encode())
    to.write_bytes(content)
    return to


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model.bin and model.ftz of the classes hq and cc."""
    folder = tmp_path_factory.mktemp("fasttext")
    train(folder, {"hq": GOOD, "cc": BAD})
    return folder


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_card(folder: Path, model: Path, **changes: Any) -> Path:
    """A card for ``model`` in ``folder``."""
    options = {
        "prepare": ["strip", "lines_space"],
        "classes": ["hq", "cc"],
        "columns": {"score": {"label": "hq"}},
        **changes.pop("options", {}),
    }
    card = {
        "name": "tiny", "title": "a stand-in", "revision": "1", "backend": "fasttext", "model": str(model),
        "files": {"model": sha256(model)} if model.is_file() else {}, "options": options, "licence": "none",
        "source": "trained by a test", "labels": [{"name": "score", "range": [0, 1], "meaning": "higher is better"}],
        **changes,
    }  # fmt: skip
    path = folder / "tiny.yaml"
    with path.open("w", encoding="utf-8") as file:
        YAML(typ="safe").dump(card, file)
    return path


def batch(texts: list[str]) -> Batch:
    return Batch(
        pa.record_batch({"id": [f"{i:032x}" for i in range(len(texts))], "text": pa.array(texts, pa.string())})
    )


def rate(card: Path | RaterChoice, texts: list[str], base: Path | None = None) -> list[dict[str, Any]]:
    """Labels of the texts, without the card's name before them."""
    rater = rater_stage(str(card) if isinstance(card, Path) else card, base)
    rater.open(Context())
    try:
        out = rater.process(batch(texts)).rows
    finally:
        rater.close()
    names = [name for name in out.schema.names if name.startswith(f"{rater.card.name}_")]
    return [{name.removeprefix(f"{rater.card.name}_"): row[name] for name in names} for row in out.to_pylist()]


def opened(card: Path) -> Rater:
    rater = rater_stage(str(card))
    rater.open(Context())
    return rater


@pytest.mark.parametrize("suffix", ["bin", "ftz"])
def test_scores_are_those_of_the_library(models: Path, tmp_path: Path, suffix: str) -> None:
    path = models / f"model.{suffix}"
    native = load_fasttext(path)
    found = rate(write_card(tmp_path, path), TEXTS)
    for text, row in zip(TEXTS, found, strict=True):
        line = " ".join(text.strip().splitlines())
        direct = {name: p for p, name in native.predict(line + "\n", -1, 0.0, "strict")}
        assert row["score"] == pytest.approx(min(1.0, direct["__label__hq"]), abs=1e-7)
    assert {row["status"] for row in found} == {"ok"}


def test_the_library_itself_stops_at_a_newline(models: Path) -> None:
    """Why a preparation that leaves newlines is refused: what stands behind the first one changes nothing."""
    native = load_fasttext(models / "model.bin")
    assert native.predict("maple\ncheap cheap cheap\n", -1, 0.0, "strict") == native.predict(
        "maple\n", -1, 0.0, "strict"
    )


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (["strip", "lines_space"], "A line  second third fourth   last"),  # DCLM
        (["strip", "newline_remove"], "A line \rsecond\x0bthird\u2028fourthlast"),  # datatrove's default
        (["newline_space", "strip"], "A line \r second\x0bthird\u2028fourth   last"),  # Dolma's Jigsaw taggers
        (["strip", "words_space"], "A line second third fourth last"),  # Dolma's quality model
        (["newline_escape"], " A line \\r\\nsecond\x0bthird\u2028fourth\\n\\n\\nlast  "),
        (
            ["newline_two", "newline_escape", "spaces_one", "strip"],
            "A line \\r\\nsecond\x0bthird\u2028fourth\\n\\nlast",
        ),
    ],
)
def test_newlines_are_treated_as_each_model_needs(steps: list[str], expected: str) -> None:
    assert preparation(steps)(RAGGED) == expected


def test_ultra_fineweb_preparation_without_its_tokenizer() -> None:
    steps = [s for s in load_card("ultrafineweb_en", Path()).options["prepare"] if s != "tokens_space"]
    assert preparation(steps)("Café\n\n\n\nNAÏVE ① ﬁt\tx") == "cafe\\n\\nnaive 1 fit\\tx"


def test_newline_treatment_changes_the_score(models: Path, tmp_path: Path) -> None:
    text = ["because\nmaple\nclick"]
    spaced = rate(write_card(tmp_path, models / "model.bin"), text)
    glued = rate(write_card(tmp_path, models / "model.bin", options={"prepare": ["newline_remove"]}), text)
    assert abs(spaced[0]["score"] - glued[0]["score"]) > 0.05


def test_tokens_are_decoded_one_by_one(tmp_path: Path) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.pre_tokenizers import Whitespace

    vocabulary = {word: i for i, word in enumerate(["[UNK]", "un", "##seen", "word", "##s"])}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    prepare = preparation(["tokens_space"], tmp_path / "tokenizer.json")
    assert prepare("unseen words") == "un ##seen word ##s" and prepare("") == ""


RANKED = [("cc", 0.75), ("hq", 0.2), ("mid", 0.05)]


@pytest.mark.parametrize(
    ("column", "ranked", "expected"),
    [
        ({"label": "hq", "other": "cc"}, [("cc", 0.75), ("hq", 0.2499)], 0.25),
        ({"label": "hq", "other": "cc"}, [("hq", 0.9), ("cc", 0.1)], 0.9),
        ({"label": "hq"}, RANKED, 0.2),
        ({"label": "rare"}, RANKED, 0.0),
        ({"mean": {"cc": 1.0, "hq": 5.0, "mid": 3.0}}, RANKED, 0.75 + 1.0 + 0.15),
        ({"rank": 1, "give": "label"}, RANKED, "cc"),
        ({"rank": 2, "give": "label"}, RANKED, "hq"),
        ({"rank": 3, "give": "probability"}, RANKED, 0.05),
        ({"rank": 4, "give": "label"}, RANKED, None),
    ],
)
def test_what_a_column_takes_from_the_labels(column: dict[str, Any], ranked: Any, expected: Any) -> None:
    assert value_of(column, ranked) == (pytest.approx(expected) if isinstance(expected, float) else expected)


def test_probabilities_above_one_are_cut(models: Path, tmp_path: Path) -> None:
    text = "maple " * 200
    raw = load_fasttext(models / "model.bin").predict(text + "\n", 1, 0.0, "strict")[0][0]
    assert raw > 1  # fastText adds 1e-5 inside its logarithm
    assert rate(write_card(tmp_path, models / "model.bin"), [text])[0]["score"] == 1.0


def test_names_ranks_and_means_in_one_prediction(tmp_path: Path) -> None:
    classes = {"Low": BAD, "Mid": ["tea", "cup", "spoon"], "High": GOOD}
    train(tmp_path, classes)
    number = {"range": [0, 5], "meaning": "a number"}
    card = write_card(
        tmp_path,
        tmp_path / "model.bin",
        options={
            "classes": list(classes),
            "columns": {
                "best": {"rank": 1, "give": "label"},
                "best_score": {"rank": 1},
                "worth": {"mean": {"Low": 1, "Mid": 3, "High": 5}},
            },
        },
        labels=[
            {"name": "best", "type": "name", "values": list(classes), "meaning": "the best label"},
            {"name": "best_score", **number},
            {"name": "worth", **number},
        ],
    )
    rows = rate(card, ["maple because", "cup spoon tea", "buy shoes"])
    assert [row["best"] for row in rows] == ["High", "Mid", "Low"]
    assert rows[0]["worth"] > rows[1]["worth"] > rows[2]["worth"] >= 1
    assert all(row["best_score"] > 0.5 for row in rows)


def test_batches_do_not_matter(models: Path, tmp_path: Path) -> None:
    rater = opened(write_card(tmp_path, models / "model.bin"))
    whole = rater.process(batch(TEXTS)).column("tiny_score").to_pylist()
    for size in (1, 3):
        parts = [rater.process(batch(TEXTS[i : i + size])).column("tiny_score") for i in range(0, len(TEXTS), size)]
        assert [value for part in parts for value in part.to_pylist()] == whole
    assert len(rater.process(batch([]))) == 0
    rater.close()


def test_windows_of_a_card_are_kept(models: Path, tmp_path: Path) -> None:
    """Twenty words at the head; four chunks of twenty words, of which the first is the good one."""
    text, good, bad = "maple because " * 10 + "cheap shoes " * 30, "maple because " * 10, "cheap shoes " * 10
    path = models / "model.bin"
    low, high = (row["score"] for row in rate(write_card(tmp_path, path), [bad, good]))
    head = {"policy": "head", "unit": "words", "head": 20}
    mean = {"policy": "chunk_mean", "unit": "words", "chunk": 20}
    assert rate(write_card(tmp_path, path, window=head), [text])[0]["score"] == high
    found = rate(write_card(tmp_path, path, window=mean), [text, ""])
    assert found[0]["score"] == pytest.approx((high + 3 * low) / 4, abs=1e-6)
    assert found[1] == {"score": None, "status": "too_short"}


def test_canaries_with_the_right_answer_open_and_others_refuse(models: Path, tmp_path: Path) -> None:
    right = rate(write_card(tmp_path, models / "model.bin"), ["maple trees explain"])[0]["score"]
    canary = {"text": "maple trees explain", "labels": {"score": right}}
    opened(write_card(tmp_path, models / "model.bin", canaries=[canary])).close()
    canary["labels"] = {"score": right - 0.1}
    with pytest.raises(ModelError, match="canary 0 should have score"):
        opened(write_card(tmp_path, models / "model.bin", canaries=[canary]))


@pytest.mark.parametrize("keep", [0, 3, 40, 200, 0.5, -1])
@pytest.mark.parametrize("suffix", ["bin", "ftz"])
def test_a_file_that_is_cut_is_refused(models: Path, tmp_path: Path, suffix: str, keep: float) -> None:
    content = (models / f"model.{suffix}").read_bytes()
    size = int(keep * len(content)) if isinstance(keep, float) else keep
    cut = tmp_path / f"cut.{suffix}"
    cut.write_bytes(content[:size])
    with pytest.raises(ModelError, match="refused"):
        opened(write_card(tmp_path, cut))


def test_garbage_and_pickles_are_refused(models: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"

    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (ran,))

    for content in (b"not a model at all", pickle.dumps(Evil()), (models / "model.bin").read_bytes() + b"x"):
        path = tmp_path / "model.bin"
        path.write_bytes(content)
        with pytest.raises(ModelError, match="refused"):
            opened(write_card(tmp_path, path))
    assert not ran.exists()


def test_weights_that_are_not_finite_are_refused(models: Path, tmp_path: Path) -> None:
    content = bytearray((models / "model.bin").read_bytes())
    content[-4:] = b"\x00\x00\xc0\x7f"  # the last weight becomes NaN
    path = tmp_path / "model.bin"
    path.write_bytes(bytes(content))
    with pytest.raises(ModelError, match="NaN or infinite"):
        opened(write_card(tmp_path, path))


def test_another_digest_is_refused(models: Path, tmp_path: Path) -> None:
    card = write_card(tmp_path, models / "model.bin", files={"model": "0" * 64})
    with pytest.raises(ModelError, match=f"expected sha256 {'0' * 64}, found {sha256(models / 'model.bin')}"):
        opened(card)


@pytest.mark.parametrize(
    ("classes", "said"), [(["hq", "cc", "mid"], r"lacks \['mid'\]"), (["hq"], r"has \['cc'\] beside them")]
)
def test_another_label_set_is_refused(models: Path, tmp_path: Path, classes: list[str], said: str) -> None:
    card = write_card(tmp_path, models / "model.bin", options={"classes": classes})
    with pytest.raises(ModelError, match=f"label set of the model does not match the card: it {said}"):
        opened(card)


def test_labels_without_the_prefix_are_refused(models: Path, tmp_path: Path) -> None:
    card = write_card(tmp_path, models / "model.bin", options={"prefix": "__class__"})
    with pytest.raises(ModelError, match="does not start with '__class__'"):
        opened(card)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"options": {"prepare": ["strip", "lowercase"]}}, "leaves newlines in the text"),
        ({"options": {"prepare": ["lines_space", "tokens_space"]}}, "tokens_space needs a tokenizer"),
        ({"options": {"columns": {"other": {"label": "hq"}}}}, "the labels of the card are"),
        ({"options": {"columns": {"score": {"label": "hQ"}}}}, "speaks of"),
        ({"options": {"columns": {"score": {}}}}, "needs one of label, mean and rank"),
        (
            {"options": {"columns": {"score": {"label": "hq", "other": "cc"}}, "classes": ["hq", "cc", "x"]}},
            "right only for models of two labels",
        ),
        ({"options": {"columns": {"score": {"mean": {"hq": 1}}}}}, "needs a value for each"),
        ({"window": {"policy": "head", "unit": "tokens", "head": 5}}, "fastText counts no tokens"),
    ],
)
def test_a_card_that_would_score_wrongly_is_refused(
    models: Path, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        rater_stage(str(write_card(tmp_path, models / "model.bin", **changes)))


def test_a_crash_of_the_library_costs_the_document(models: Path, tmp_path: Path) -> None:
    """A child that is killed in the middle: the rater goes on with a new one."""
    rater = opened(write_card(tmp_path, models / "model.bin"))
    before = rater.process(batch(TEXTS)).column("tiny_score").to_pylist()
    rater._backend._guard._child.process.kill()  # type: ignore[attr-defined]
    assert rater.process(batch(TEXTS)).column("tiny_score").to_pylist() == before
    rater.close()


def test_a_text_that_takes_too_long_gets_a_status_and_its_neighbours_a_score(models: Path, tmp_path: Path) -> None:
    rater = rater_stage(str(write_card(tmp_path, models / "model.bin")))
    rater.open(Context(cpu_seconds=0.2))
    out = rater.process(batch(["maple", "maple because " * 2_000_000, "cheap"]))
    assert out.column("tiny_status").to_pylist() == ["ok", "model_error", "ok"]
    assert out.column("tiny_score").to_pylist()[1] is None
    rater.close()


FASTTEXT_CARDS = [name for name in card_names() if load_card(name, Path()).backend == "fasttext"]


@pytest.mark.parametrize("name", FASTTEXT_CARDS)
def test_published_cards_rate_with_a_stand_in_of_the_same_labels(models: Path, tmp_path: Path, name: str) -> None:
    card = load_card(name, tmp_path)
    good, bad = card.options["classes"]
    folder = tmp_path / "model"
    folder.mkdir()
    renamed(models / "model.bin", folder / card.options["file"], {"hq": good, "cc": bad})
    if card.options.get("tokenizer"):
        _word_tokenizer(folder / card.options["tokenizer"])
    choice = RaterChoice(card=name, model="model", allow_unpinned=True)
    rows = rate(choice, ["maple because\nexplain", "buy cheap\nshoes", "!?"], tmp_path)
    assert [row["status"] for row in rows] == ["ok", "ok", "too_short"]
    assert rows[0]["score"] > 0.5 > rows[1]["score"]


def _word_tokenizer(path: Path) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    words = ["[UNK]", *GOOD, *BAD]
    tokenizer = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    path.parent.mkdir(parents=True)
    tokenizer.save(str(path))


def test_a_published_model_needs_its_path_and_then_a_digest_or_leave(models: Path, tmp_path: Path) -> None:
    shutil.copy(models / "model.bin", tmp_path)
    with pytest.raises(
        ConfigError, match=r"get it from mlfoundations/fasttext-oh-eli5, and write \{card: dclm_oh_eli5"
    ):
        rater_stage("dclm_oh_eli5", tmp_path)
    found = sha256(tmp_path / "model.bin")
    with pytest.raises(ConfigError, match=rf"does not pin its model .*\(sha256: {found}\) or allow_unpinned: true"):
        rater_stage(RaterChoice(card="dclm_oh_eli5", model="model.bin"), tmp_path)
    rows = rate(RaterChoice(card="dclm_oh_eli5", model="model.bin", sha256=found), ["maple\nbecause"], tmp_path)
    assert rows[0]["status"] == "ok"
    with pytest.raises(ModelError, match="expected sha256"):
        rate(RaterChoice(card="dclm_oh_eli5", model="model.bin", sha256="0" * 64), ["maple"], tmp_path)


def test_options_of_the_config_win_over_the_card(models: Path, tmp_path: Path) -> None:
    shutil.copy(models / "model.bin", tmp_path)
    glue = RaterChoice(
        card="dclm_oh_eli5", model="model.bin", allow_unpinned=True, options={"prepare": ["newline_remove"]}
    )
    plain = RaterChoice(card="dclm_oh_eli5", model="model.bin", allow_unpinned=True)
    text = ["because\nmaple\nclick"]
    assert rate(glue, text, tmp_path) != rate(plain, text, tmp_path)
    assert rater_stage(glue, tmp_path).config != rater_stage(plain, tmp_path).config


def test_a_model_that_is_not_there_is_told(tmp_path: Path) -> None:
    choice = RaterChoice(card="dclm_oh_eli5", model="gone.bin", allow_unpinned=True)
    with pytest.raises(ModelError, match=r"gone\.bin: the model of the card dclm_oh_eli5 is not there"):
        rate(choice, ["maple"], tmp_path)
