"""A diff accounts for every word of both texts, shows what differs, and costs little on texts that differ wholly."""

from __future__ import annotations

import random
import time

import pytest

from curate.dedup.audit.word_diff import MOST_WORDS, WordDiff, word_diff


def test_a_replaced_word_is_shown_between_its_neighbours() -> None:
    found = word_diff("the old mill stood by the river", "the new mill stood by the river")
    assert found.parts == (("=", "the"), ("-", "old"), ("+", "new"), ("=", "mill stood by the river"))
    assert (found.same, found.only_first, found.only_second, found.uncompared) == (6, 1, 1, 0)


def test_equal_texts_show_where_they_begin() -> None:
    text = " ".join(f"w{i}" for i in range(200))
    found = word_diff(text, text)
    assert found.parts == (("=", " ".join(f"w{i}" for i in range(24))), ("…", "176 the same"))


def test_a_script_without_spaces_is_compared_sign_by_sign() -> None:
    found = word_diff("今日は良い天気です", "今日は悪い天気です")
    assert found.parts == (("=", "今日は"), ("-", "良"), ("+", "悪"), ("=", "い天気です"))


@pytest.mark.parametrize("seed", range(20))
def test_every_word_of_both_texts_is_accounted_for(seed: int) -> None:
    draw = random.Random(seed)
    words = [f"w{i}" for i in range(40 + seed * 30)]
    one = [draw.choice(words) for _ in range(draw.choice([0, 5, 900]))]
    two = list(one)
    for _ in range(draw.choice([1, 10, 80])):
        at = draw.randrange(len(two) + 1)
        two[at : at + draw.randrange(2)] = [draw.choice(words)] * draw.randrange(2)
    found = word_diff(" ".join(one), "\n".join(two), most_shown=10**9)
    assert found.same + found.only_first == len(one) == told(found, "=-…")
    assert found.same + found.only_second == len(two) == told(found, "=+…")


def told(found: WordDiff, signs: str) -> int:
    """Words in the parts with these signs; those left out are counted by their text."""
    return sum(int(t.split()[0].replace(",", "")) if s == "…" else len(t.split()) for s, t in found.parts if s in signs)


def test_a_text_that_repeats_itself_is_aligned_by_runs_of_words() -> None:
    passage = [f"w{i % 37}" for i in range(300)]
    one = [*passage, *[f"x{i}" for i in range(5)], *passage, *passage]
    two = [*passage, *passage, *passage]
    found = word_diff(" ".join(one), " ".join(two))
    assert (found.only_first, found.only_second) == (5, 0)


def test_what_lies_beyond_the_limit_is_counted_not_passed_over() -> None:
    one = " ".join(f"a{i}" for i in range(MOST_WORDS + 50))
    two = " ".join(f"b{i}" for i in range(MOST_WORDS + 70))
    found = word_diff(one, two)
    assert (found.same, found.only_first, found.uncompared) == (0, MOST_WORDS, 120)
    assert found.parts[-1][0] == "…"


def test_texts_without_anchors_cost_no_more_than_a_bound() -> None:
    draw = random.Random(0)
    one, two = (" ".join(str(draw.randrange(30)) for _ in range(100_000)) for _ in range(2))
    start = time.process_time()
    word_diff(one, two)
    assert time.process_time() - start < 10
