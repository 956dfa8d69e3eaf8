"""Token counts: right, bounded, and without touching the process's settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from curate.documents import Batch
from curate.errors import ConfigError, ModelError
from curate.stages.base import Context
from curate.stages.tokens import BUNDLED, Tokens, TokensConfig, pieces

ASSETS = Path(sys.modules[Tokens.__module__].__file__ or "").parent / "assets"


def stage_of(**config: object) -> Tokens:
    stage = Tokens(TokensConfig.model_validate(config))
    stage.open(Context())
    return stage


@pytest.fixture(scope="module")
def bundled() -> Tokens:
    return stage_of()


def count(stage: Tokens, *texts: str) -> list[int]:
    rows = stage.process(Batch(pa.RecordBatch.from_pydict({"text": pa.array(texts, pa.string())}))).rows
    assert rows.schema.remove(0).equals(stage.adds(), check_metadata=True)
    return rows.column("tokens_count").to_pylist()


@pytest.fixture(scope="module")
def letters(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer whose counts can be seen by eye: one token per word, with truncation, padding and a special token."""
    spec = {
        "version": "1.0", "added_tokens": [{"id": 0, "content": "[S]", "special": True, "single_word": False,
        "lstrip": False, "rstrip": False, "normalized": False}], "normalizer": None,
        "truncation": {"direction": "Right", "max_length": 3, "strategy": "LongestFirst", "stride": 0},
        "padding": {"strategy": {"Fixed": 8}, "direction": "Right", "pad_to_multiple_of": None, "pad_id": 0,
                    "pad_type_id": 0, "pad_token": "[S]"},
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "[S]", "type_id": 0}},
                           {"Sequence": {"id": "A", "type_id": 0}}], "pair": [{"Sequence": {"id": "A", "type_id": 0}},
                           {"Sequence": {"id": "B", "type_id": 1}}],
                           "special_tokens": {"[S]": {"id": "[S]", "ids": [0], "tokens": ["[S]"]}}},
        "decoder": None, "model": {"type": "WordLevel", "vocab": {"[S]": 0, "a": 1, "?": 2}, "unk_token": "?"},
    }  # fmt: skip
    path = tmp_path_factory.mktemp("t") / "words.json"
    path.write_text(json.dumps(spec))
    return path


def test_any_tokenizers_file_counts_without_special_tokens_truncation_and_padding(letters: Path) -> None:
    stage = stage_of(tokenizer=str(letters))
    assert count(stage, "a b a b a b a b a b", "a", "", "  ") == [10, 1, 0, 0]


def test_a_relative_path_is_relative_to_the_config(letters: Path) -> None:
    stage = Tokens(TokensConfig(tokenizer=letters.name))
    stage.open(Context(base=letters.parent))
    assert count(stage, "a a") == [2]
    assert dict(stage.assets(letters.parent)) == {"tokenizer": letters}


def test_the_shipped_tokenizer_loses_nothing_and_is_small() -> None:
    path = ASSETS / f"{BUNDLED}.json"
    tokenizer = Tokenizer.from_file(str(path))
    text = "Größe, naïve 東京 😀 1234 don't\n\n  indent\tمرحبا \u0301"
    assert tokenizer.decode(tokenizer.encode(text).ids) == text
    assert tokenizer.get_vocab_size() == 16_384
    assert path.stat().st_size < 1_500_000


def test_the_shipped_tokenizer_packs_english_well(bundled: Tokens) -> None:
    text = "The people of the city have known for a long time that the river would rise again in the spring. " * 20
    (n,) = count(bundled, text)
    assert 3.5 < len(text) / n < 6


def test_digits_are_tokens_one_by_one(bundled: Tokens) -> None:
    assert count(bundled, "1234567") == [7]


def test_a_long_text_counts_like_its_whole(bundled: Tokens) -> None:
    text = ("Some words,  and   more\n\nlines; 12 numbers. " * 12_000)[:450_000]
    whole = len(Tokenizer.from_file(str(ASSETS / f"{BUNDLED}.json")).encode(text).ids)
    assert count(bundled, text, "x") == [whole, count(bundled, "x")[0]]


@given(st.text(alphabet="ab \n", max_size=60), st.integers(min_value=2, max_value=9))
def test_pieces_are_bounded_and_make_up_the_text(text: str, size: int) -> None:
    got = list(pieces(text, size))
    assert "".join(got) == text and all(len(piece) <= size for piece in got)


def test_pieces_end_before_white_space() -> None:
    assert list(pieces("aaaa bbbb cccc", 6)) == ["aaaa", " bbbb", " cccc"]
    assert list(pieces("abcdefgh", 4)) == ["abcd", "efgh"]


def test_the_estimate_is_a_quarter_of_the_bytes_and_says_so() -> None:
    stage = stage_of(estimate="bytes")
    assert count(stage, "", "a", "abcd", "abcde", "東京") == [0, 1, 1, 2, 2]
    assert b"ESTIMATE" in stage.adds().field(0).metadata[b"doc"]
    assert dict(stage.assets(Path())) == {}


def test_a_missing_file_and_a_file_that_is_no_tokenizer_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no file .*gpt2"):
        stage_of(tokenizer="gpt2")
    (tmp_path / "t.json").write_text("{}")
    with pytest.raises(ModelError, match="not a tokenizers file"):
        stage_of(tokenizer=str(tmp_path / "t.json"))


def test_neither_import_nor_counting_leaves_a_trace_in_the_environment(bundled: Tokens) -> None:
    before = dict(os.environ)
    count(bundled, "some text")
    assert dict(os.environ) == before
    code = "import sys, os, curate.stages.tokens\n"
    code += "print('TOKENIZERS_PARALLELISM' in os.environ, 'tokenizers' in sys.modules)"
    environment = {k: v for k, v in os.environ.items() if k != "TOKENIZERS_PARALLELISM"}
    environment["PYTHONPATH"] = str(ASSETS.parents[2])
    got = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert got.stdout.split() == ["False", "False"]


def test_the_output_does_not_depend_on_the_batch(bundled: Tokens) -> None:
    texts = ["one", "", "two words", "x" * 5_000, "東京" * 300]
    assert count(bundled, *texts) == [count(bundled, text)[0] for text in texts]


@pytest.mark.parametrize("food", ["a", " ", "a@", "1-", "<", "東", "\u0301", "://", "\n "])
def test_a_megabyte_of_slow_regex_food_takes_less_than_two_seconds(bundled: Tokens, food: str) -> None:
    text = food * (1_000_000 // len(food.encode()))
    started = time.process_time()
    count(bundled, text)
    assert time.process_time() - started < 2
