"""What every rater must do, whatever its card."""

from __future__ import annotations

import pickle
from pathlib import Path

import pyarrow as pa
import pytest

from classifiers.cards import card_names, load_card
from classifiers.contract import STATUSES, Rater, rater_stage
from curate.documents import Batch
from curate.stages.base import Context

TEXTS = [
    "The tide rises twice a day because the moon pulls at the water, and the earth turns beneath it.",
    "",
    " \n\t ",
    "word",
    "BUY NOW!!! best price best price best price click here to buy the best price shoes for the best price",
    "zażółć gęślą jaźń — the naïve café; “quotes” … ½ ① ﬁ 東京 and 🙂🙃 emoji, \u200bwide\u2029separators\x0b here",
    "A\nB\n\nC\n- item one of the list\n- item two of the list\n",
    "e\u0301" * 400 + " and some plain words at the end of it all",
    "line of text number one goes here\n" * 3000,
    "x" * 50_000 + " five more words than that",
    "0 1 2 3 4 5 6 7 8 9 " * 40,
]


@pytest.fixture(scope="module", params=[name for name in card_names() if load_card(name, Path()).self_contained])
def rater(request: pytest.FixtureRequest) -> Rater:
    found = rater_stage(request.param)
    found.open(Context())
    return found


def batch(texts: list[str], **columns: list[str | None]) -> Batch:
    rows = {"id": [f"{i:032x}" for i in range(len(texts))], "text": texts, **columns}
    schema = pa.schema([(name, pa.string()) for name in rows])
    return Batch(pa.RecordBatch.from_pydict(rows, schema=schema))


def labels(rater: Rater, out: Batch) -> list[dict[str, object]]:
    return [{name: row[name] for name in rater.adds().names} for row in out.rows.to_pylist()]


def test_adds_exactly_the_declared_columns(rater: Rater) -> None:
    given = batch(TEXTS)
    out = rater.process(given)
    assert out.schema.names == [*given.schema.names, *rater.adds().names]
    for field in rater.adds():
        assert out.schema.field(field.name).type == field.type
        assert field.name.startswith(f"{rater.card.name}_")
        assert field.metadata[b"doc"]


def test_drops_nothing_and_leaves_its_input_alone(rater: Rater) -> None:
    given = batch(TEXTS)
    before = given.rows.to_pylist()
    out = rater.process(given)
    assert len(out) == len(given) and not out.fates.drops and not out.fates.failures
    assert given.rows.to_pylist() == before
    assert out.rows.select(["id", "text"]).to_pylist() == before


def test_twice_gives_the_same(rater: Rater) -> None:
    assert rater.process(batch(TEXTS)).rows.equals(rater.process(batch(TEXTS)).rows)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_neighbours_in_the_batch_do_not_matter(rater: Rater, size: int) -> None:
    whole = labels(rater, rater.process(batch(TEXTS)))
    parts = [labels(rater, rater.process(batch(TEXTS[i : i + size]))) for i in range(0, len(TEXTS), size)]
    assert [row for part in parts for row in part] == whole


def test_order_in_the_batch_does_not_matter(rater: Rater) -> None:
    assert labels(rater, rater.process(batch(TEXTS[::-1])))[::-1] == labels(rater, rater.process(batch(TEXTS)))


def test_an_empty_batch_has_the_columns_and_no_rows(rater: Rater) -> None:
    out = rater.process(batch([]))
    assert len(out) == 0 and set(rater.adds().names) <= set(out.schema.names)


def test_a_sliced_batch_is_rated_like_a_whole_one(rater: Rater) -> None:
    out = rater.process(Batch(batch(TEXTS).rows.slice(4, 3)))
    assert labels(rater, out) == labels(rater, rater.process(batch(TEXTS[4:7])))


def test_null_exactly_where_the_status_is_not_ok(rater: Rater) -> None:
    for row in labels(rater, rater.process(batch(TEXTS))):
        status = row.pop(f"{rater.card.name}_status")
        assert status in STATUSES
        assert all((value is not None) == (status == "ok") for value in row.values())


def test_short_texts_get_a_status_and_no_number(rater: Rater) -> None:
    if rater.card.min_words < 1:
        pytest.skip("this card rates texts of any length")
    words = ["word"] * rater.card.min_words
    out = rater.process(batch(["", "?!", " ".join(words), " ".join(words[1:])]))
    assert [r[f"{rater.card.name}_status"] for r in labels(rater, out)] == ["too_short", "too_short", "ok", "too_short"]


def test_languages_it_does_not_know_get_a_status_and_no_number(rater: Rater) -> None:
    if not rater.card.languages:
        pytest.skip("this card is valid for all languages")
    valid, text = rater.card.languages[0], TEXTS[0]
    out = rater.process(batch([text] * 3, language_code=["qaa", valid, None]))
    assert [r[f"{rater.card.name}_status"] for r in labels(rater, out)] == ["language", "ok", "language"]
    alone = rater.process(batch([text]))
    assert labels(rater, out)[1] == labels(rater, alone)[0]


def test_values_stay_in_the_declared_range(rater: Rater) -> None:
    for row in labels(rater, rater.process(batch(TEXTS))):
        for label in rater.card.labels:
            value = row[f"{rater.card.name}_{label.name}"]
            if value is None:
                continue
            if label.values:
                assert value in label.values
            if label.range:
                assert label.range[0] <= value <= label.range[1]  # type: ignore[operator]


def test_its_config_survives_pickling(rater: Rater) -> None:
    again = pickle.loads(pickle.dumps(rater.config))
    assert again == rater.config
    assert again.model_dump(mode="json") == rater.config.model_dump(mode="json")


def test_the_fingerprint_sees_the_card_and_the_files(rater: Rater) -> None:
    assert rater.config.model_dump()["card"]["revision"] == rater.card.revision
    files = rater.assets(Path())
    assert set(files) == set(rater.card.files)
    assert all(path.is_file() for path in files.values())


def test_the_card_says_where_it_comes_from(rater: Rater) -> None:
    card = rater.card
    assert card.licence and card.source and card.training and card.limits and card.citation
    assert all(label.meaning for label in card.labels)
