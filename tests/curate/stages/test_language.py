"""Language labels: codes, scores, what is dropped, and that a prefix decides as the whole text would."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from curate.documents import IDENTITY, Batch
from curate.errors import ConfigError, ModelError
from curate.stages.base import Context
from curate.stages.language import Language, LanguageConfig
from curate.stages.language_codes import language_code

ENGLISH = "The river runs past the old mill, and in the evening the children walk home along its bank."
GERMAN = "Der Fluss fließt an der alten Mühle vorbei, und abends gehen die Kinder am Ufer nach Hause."
JAPANESE = "川は古い水車小屋のそばを流れ、夕方になると子どもたちは岸辺を歩いて家に帰ります。"
RUSSIAN = "Река течёт мимо старой мельницы, а вечером дети идут домой вдоль берега."


def documents(*texts: str) -> Batch:
    n = len(texts)
    values: dict[str, list[Any]] = {
        "id": [f"{i:032x}" for i in range(n)],
        "url": [None] * n,
        "source": ["s"] * n,
        "offset": list(range(n)),
        "length": [1] * n,
        "source_id": [None] * n,
    }
    rows = {f.name: pa.array(values[f.name], f.type) for f in IDENTITY}
    return Batch(pa.record_batch({**rows, "text": pa.array(texts, pa.string())}), stage="language")


def labelled(*texts: str, base: Path | None = None, **config: Any) -> Batch:
    stage = Language(LanguageConfig(**config))
    stage.open(Context(base=base or Path.cwd()))
    after = stage.process(documents(*texts))
    stage.close()
    return after


def test_four_languages_are_told_apart_with_scores_and_margins() -> None:
    rows = labelled(ENGLISH, GERMAN, JAPANESE, RUSSIAN).rows
    assert rows.column("language_code").to_pylist() == ["en", "de", "ja", "ru"]
    scores, margins = rows.column("language_score").to_pylist(), rows.column("language_margin").to_pylist()
    assert all(0.6 < score <= 1 for score in scores)
    assert all(0 < margin <= score for margin, score in zip(margins, scores, strict=True))
    assert rows.column("language_script").null_count == 4


def test_columns_are_those_that_the_stage_declares() -> None:
    rows = labelled(ENGLISH).rows
    for field in Language().adds():
        assert rows.schema.field(field.name).equals(field, check_metadata=True)
    assert labelled().rows.schema == rows.schema


def test_score_is_fasttexts_own() -> None:
    fasttext = pytest.importorskip("fasttext")
    path = str(Language().assets(Path())["model"])
    model = fasttext.load_model(path)
    text = ENGLISH + "\n" + GERMAN
    ((first, label), (second, _)) = model.f.predict(text.replace("\n", " ") + "\n", 2, 0.0, "strict")
    row = labelled(text).rows.to_pylist()[0]
    assert "__label__" + row["language_code"] == label
    assert row["language_score"] == pytest.approx(first, abs=1e-6)
    assert row["language_margin"] == pytest.approx(first - second, abs=1e-6)


def test_top_labels_are_json_and_as_many_as_asked_for() -> None:
    row = labelled(ENGLISH, top_k=4).rows.to_pylist()[0]
    top = json.loads(row["language_top"])
    assert len(top) == 4 and top[0][0] == "en"
    assert [score for _, score in top] == sorted((score for _, score in top), reverse=True)
    assert len(json.loads(labelled(ENGLISH, top_k=1).rows.to_pylist()[0]["language_top"])) == 1
    assert labelled(ENGLISH, top_k=1).rows.to_pylist()[0]["language_margin"] > 0


def test_blank_text_has_no_language() -> None:
    rows = labelled("", " \n\t\u3000").rows
    assert all(rows.column(field.name).null_count == 2 for field in Language().adds())


def test_odd_texts_are_labelled_not_fatal() -> None:
    texts = ("\0", "a\0b", "\u0301" * 5000, "1234567890", "\u202e\ufeff", "x" * 300_000, "\r\x85\u2028")
    assert len(labelled(*texts, max_chars=None)) == len(texts)


def test_other_languages_and_uncertain_texts_leave_with_value_and_threshold() -> None:
    after = labelled(ENGLISH, GERMAN, "ok", "", keep=("eng",), min_score=0.65)
    assert after.rows.column("text").to_pylist() == [ENGLISH]
    found = [
        (text, reason, detail)
        for drop in after.fates.drops
        for text, reason, detail in zip(
            drop.rows.column("text").to_pylist(), drop.reason.to_pylist(), drop.detail.to_pylist(), strict=True
        )
    ]
    assert (GERMAN, "language_not_kept", "de") in found and ("", "language_not_kept", "none") in found
    assert {text for text, _, _ in found} == {GERMAN, "ok", ""}
    uncertain = labelled("ok", ENGLISH, min_score=0.9999).fates.drops[0]
    assert uncertain.reason.to_pylist()[0] == "language_uncertain"
    assert 0 < uncertain.value.to_pylist()[0] < 0.9999 and uncertain.threshold.to_pylist()[0] == 0.9999


def test_zero_is_a_threshold_and_none_is_off() -> None:
    assert len(labelled("", ENGLISH, min_score=0.0)) == 2
    assert len(labelled("", ENGLISH)) == 2


def test_only_the_first_characters_count() -> None:
    text = GERMAN * 2 + ENGLISH * 200
    assert labelled(text, max_chars=len(GERMAN)).rows.column("language_code").to_pylist() == ["de"]
    assert labelled(text, max_chars=None).rows.column("language_code").to_pylist() == ["en"]


def test_unknown_language_to_keep_is_an_error_with_near_names() -> None:
    with pytest.raises(ConfigError, match="'enx' is not among"):
        labelled(keep=("enx",))


def test_model_by_path_with_scripts_in_its_labels(tmp_path: Path) -> None:
    (tmp_path / "glot.bin").write_bytes(scripted_model())
    row = labelled("w0 w0", base=tmp_path, model="glot.bin").rows.to_pylist()[0]
    assert (row["language_code"], row["language_script"]) == ("zh", "Hans")
    # the second label is Chinese too, in the other script: it is no rival
    assert row["language_margin"] == row["language_score"]
    assert [name for name, _ in json.loads(row["language_top"])] == ["zh-Hans", "zh-Hant"]


def test_model_with_another_digest_or_cut_is_refused(tmp_path: Path) -> None:
    (tmp_path / "glot.bin").write_bytes(scripted_model())
    with pytest.raises(ModelError, match="expected 0000"):
        labelled(base=tmp_path, model="glot.bin", digest="sha256:" + "0" * 64)
    (tmp_path / "glot.bin").write_bytes(scripted_model()[:-3])
    with pytest.raises(ModelError, match="refused"):
        labelled(base=tmp_path, model="glot.bin")


def test_labels_do_not_depend_on_the_batch() -> None:
    texts = [ENGLISH, "", JAPANESE, "ok", GERMAN]
    whole = labelled(*texts).rows.to_pylist()
    single = [labelled(text).rows.to_pylist()[0] for text in texts]
    names = [field.name for field in Language().adds()]
    assert [[row[n] for n in names] for row in whole] == [[row[n] for n in names] for row in single]


@pytest.mark.parametrize(
    "label, code, script",
    [
        ("__label__en", "en", None),
        ("__label__eng_Latn", "en", "Latn"),
        ("eng", "en", None),
        ("EN", "en", None),
        ("__label__cmn_Hani", "zh", "Hani"),
        ("__label__arb_Arab", "ar", "Arab"),
        ("__label__nob_Latn", "nb", "Latn"),
        ("__label__als", "gsw", None),
        ("__label__als_Latn", "sq", "Latn"),
        ("__label__ceb", "ceb", None),
        ("__label__bh", "bho", None),
        ("__label__hbs_Cyrl", "sh", "Cyrl"),
        ("pt-br", "pt", None),
        ("__label__not a language", "not a language", None),
    ],
)
def test_codes_of_two_letters_where_there_are_any(label: str, code: str, script: str | None) -> None:
    assert language_code(label) == (code, script)


def scripted_model() -> bytes:
    """A fastText model of one word and two labels, the first of which always wins."""
    out = struct.pack("<ii12id", 793712314, 12, 2, 5, 5, 1, 5, 1, 3, 3, 0, 0, 0, 100, 1e-4)
    out += struct.pack("<iiiqq", 3, 1, 2, 100, -1) + b"w0\0" + struct.pack("<qb", 10, 0)
    for name in (b"__label__cmn_Hans", b"__label__cmn_Hant"):
        out += name + b"\0" + struct.pack("<qb", 10, 1)
    out += b"\0" + struct.pack("<qq2f", 1, 2, 1.0, 1.0)
    return out + b"\0" + struct.pack("<qq4f", 2, 2, 1.0, 1.0, -1.0, -1.0)
