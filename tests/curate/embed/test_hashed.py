"""The encoder without a model: what it sees, what it does not, and that nothing but the text decides."""

from __future__ import annotations

import random

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from curate.embed.config import VectorsConfig
from curate.embed.encoders import encoded, unit_rows
from curate.embed.hashed import HashedEncoder, WordWeights
from tests.running import WORDS


def invented(seed: int, words: int = 120) -> list[str]:
    """A text over its own part of a large vocabulary, with the common words of running.WORDS between."""
    draw = random.Random(seed)
    own = [f"{draw.choice(WORDS)}{draw.randrange(500)}" for _ in range(words // 2)]
    return [draw.choice(own) if draw.random() < 0.6 else draw.choice(WORDS) for _ in range(words)]


def encoder(texts: list[str], **options: int) -> HashedEncoder:
    counted = WordWeights()
    counted.add(pa.array(texts, pa.string()))
    return HashedEncoder(VectorsConfig(**options), counted.weights())


def unit(with_: HashedEncoder, *texts: str) -> npt.NDArray[np.float32]:
    return encoded(with_, pa.array(texts, pa.string()))[0]


@pytest.fixture(scope="module")
def corpus() -> list[str]:
    return [" ".join(invented(seed)) for seed in range(300)]


@pytest.fixture(scope="module")
def hashed(corpus: list[str]) -> HashedEncoder:
    return encoder(corpus)


def test_families_stay_together_and_strangers_apart(hashed: HashedEncoder) -> None:
    draw = random.Random(7)
    for seed in range(40):
        words = invented(seed)
        sentences = [words[i : i + 10] for i in range(0, len(words), 10)]
        draw.shuffle(sentences)
        reordered = " ".join(w for s in sentences for w in s)
        synonyms = " ".join("otherword" if i % 20 == 3 else w for i, w in enumerate(words))
        vectors = unit(hashed, " ".join(words), reordered, synonyms, " ".join(invented(seed + 1000)))
        original, same, near, stranger = vectors @ vectors[0]
        assert original == pytest.approx(1, abs=1e-6)
        assert same > 0.9
        assert near > 0.8
        assert stranger < 0.5


def test_case_and_punctuation_do_not_matter(hashed: HashedEncoder) -> None:
    plain, loud = unit(hashed, "boats passed the old mill", "BOATS passed, the old -- mill!")
    assert np.array_equal(plain, loud)


def test_word_order_matters_a_little(hashed: HashedEncoder) -> None:
    plain, turned = unit(hashed, "farmers counted sacks of grain", "grain of sacks counted farmers")
    assert 0.5 < float(plain @ turned) < 0.95


def test_scripts_without_spaces_are_seen_by_character() -> None:
    texts = ["图书馆保存着最古老的地图", "图书馆保存着古老的信件和地图", "牧羊人在山上养蜜蜂"]
    vectors = unit(encoder(texts), *texts)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2


def test_a_vector_does_not_depend_on_its_batch(hashed: HashedEncoder, corpus: list[str]) -> None:
    whole = hashed.encode(pa.array(corpus[:50]))
    parts = [hashed.encode(pa.array(corpus[a:b])) for a, b in ((0, 1), (1, 33), (33, 50))]
    assert np.array_equal(whole, np.concatenate(parts))
    assert np.array_equal(whole[10:50], hashed.encode(pa.array(corpus).slice(10, 40)))


@pytest.mark.parametrize("text", ["", " \n\t ", "… — !!", "\u3000"])
def test_a_text_without_words_has_no_vector(hashed: HashedEncoder, text: str) -> None:
    vectors, status = encoded(hashed, pa.array([text, "a word"]))
    assert not vectors[0].any()
    assert status.to_pylist() == ["empty", "ok"]


def test_seed_and_weights_decide_the_digest(corpus: list[str]) -> None:
    one, again, other = (encoder(corpus[:20], dimension=64, seed=s) for s in (1, 1, 2))
    assert one.digest == again.digest != other.digest
    assert encoder(corpus[:21], dimension=64, seed=1).digest != one.digest
    assert np.array_equal(unit(one, corpus[0]), unit(again, corpus[0]))
    assert unit(one, corpus[0]).shape == (1, 64)


def test_the_order_of_counting_does_not_matter(corpus: list[str]) -> None:
    forward, backward = WordWeights(), WordWeights()
    forward.add(pa.array(corpus[:40]))
    for text in reversed(corpus[:40]):
        backward.add(pa.array([text]))
    assert np.array_equal(forward.weights(), backward.weights())


def test_what_is_not_finite_is_zero_and_said() -> None:
    rows = np.array([[3, 4], [0, 0], [np.nan, 1], [np.inf, 0], [1e-30, 0], [1e38, 1e38]], np.float32)
    vectors, status = unit_rows(rows)
    assert status.to_pylist() == ["ok", "empty", "not_finite", "not_finite", "ok", "ok"]
    assert vectors[[1, 2, 3]].any() == np.False_
    np.testing.assert_allclose(vectors[[0, 4, 5]], [[0.6, 0.8], [1, 0], [0.5**0.5, 0.5**0.5]], rtol=1e-6)
