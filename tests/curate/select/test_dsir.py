"""Importance weights equal those of the public package; data-selection 1.0.3 with nltk 3.8.1 made the golden file."""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.errors import ConfigError
from curate.select.budget import top_k
from curate.select.dsir import Importance, count_ngrams, kl_divergence
from curate.select.sampling import gumbel_keys
from tests.curate.select.made import ids

GOLDEN: dict[str, Any] = json.loads((Path(__file__).parent / "golden/dsir.json").read_text(encoding="utf-8"))


def estimator() -> Importance:
    corpus, _ = count_ngrams(pa.array(GOLDEN["raw"]), 10_000)
    target, _ = count_ngrams(pa.array(GOLDEN["target"]), 10_000)
    return Importance.fit(corpus, target)


def test_buckets_are_the_packages() -> None:
    counts, tokens = count_ngrams(pa.array(["Alice went"]), 10_000)
    assert counts[GOLDEN["buckets"]["alice"]] == 1 and counts[GOLDEN["buckets"]["alice went"]] == 1
    assert counts.sum() == 3 and tokens.tolist() == [2]


def test_log_ratio_and_weights_are_the_packages() -> None:
    found = estimator()
    assert found.log_ratio.sum() == pytest.approx(GOLDEN["log_ratio_sum"], rel=1e-12)
    assert {k: found.log_ratio[int(k)] for k in GOLDEN["log_ratio_at"]} == GOLDEN["log_ratio_at"]
    weights = found.weights(pa.array(GOLDEN["raw"]), min_tokens=0)
    known = np.array(GOLDEN["tokens"]) > 0
    assert weights[known] == pytest.approx(np.array(GOLDEN["weights"])[known], rel=1e-9, abs=1e-9)
    assert np.isnan(weights[~known]).all()  # an empty text has no weight, where the package gives 0
    assert count_ngrams(pa.array(GOLDEN["raw"]), 10_000)[1].tolist() == GOLDEN["tokens"]


def test_the_packages_own_test_data() -> None:
    """Set CURATE_DSIR_DATA to a folder with toy_pile_data.jsonl, toy_target_data*.jsonl of the package's tests, and
    golden.npz (log_diff, weights, tokens) that the package made of them."""
    folder = os.environ.get("CURATE_DSIR_DATA")
    if not folder:
        pytest.skip("the package's test data are not shipped (set CURATE_DSIR_DATA)")
    raw, target = (
        pa.array([json.loads(line)["contents"] for p in sorted(Path(folder).glob(name))
                  for line in p.read_text(encoding="utf-8").split("\n") if line])
        for name in ("toy_pile_data.jsonl", "toy_target_data*.jsonl")
    )  # fmt: skip
    golden = np.load(Path(folder) / "golden.npz")
    corpus, tokens = count_ngrams(raw, 10_000)
    found = Importance.fit(corpus, count_ngrams(target, 10_000)[0])
    assert (found.log_ratio == golden["log_diff"]).all() and (tokens == golden["tokens"]).all()
    assert found.weights(raw, min_tokens=0) == pytest.approx(golden["weights"], rel=1e-9, abs=1e-9)


@given(st.lists(st.text(), max_size=5), st.sampled_from([7, 1000]))
@settings(max_examples=40, deadline=None)
def test_counts_of_any_text_equal_brute_force(texts: list[str], buckets: int) -> None:
    texts = [t.encode("utf-8", "ignore").decode() for t in texts]
    wanted = np.zeros(buckets, np.int64)
    lengths = []
    for text in texts:
        words = re.findall(r"\w+|[^\w\s]+", text.lower())
        lengths.append(len(words))
        for one in [*words, *(f"{a} {b}" for a, b in itertools.pairwise(words))]:
            wanted[int(hashlib.sha256(one.encode()).hexdigest(), 16) % buckets] += 1
    counts, tokens = count_ngrams(pa.array(texts, pa.string()), buckets)
    assert (counts == wanted).all() and tokens.tolist() == lengths


def test_words_of_all_lengths_hash_like_sha256() -> None:
    words = ["a" * n for n in (1, 54, 55, 56, 63, 64, 65, 119, 120, 128, 300)]
    buckets = 2**31 - 1
    for word in words:
        counts = Importance(np.arange(997, dtype=np.float64)).weights(pa.array([word]), min_tokens=1)
        assert counts[0] == int(hashlib.sha256(word.encode()).hexdigest(), 16) % 997
    assert buckets > 997


def test_resampling_moves_the_corpus_towards_the_target() -> None:
    rng = np.random.default_rng(0)
    maths, prose = "sum proof prime number integer".split(), "river mill boat grain farmer".split()
    texts = [" ".join(rng.choice(maths if i % 4 == 0 else prose, 60)) for i in range(400)]
    raw, target = pa.array(texts), pa.array([" ".join(rng.choice(maths, 60)) for _ in range(20)])
    corpus, wanted = count_ngrams(raw, 2000)[0], count_ngrams(target, 2000)[0]
    weights = Importance.fit(corpus, wanted, smoothing=0.1).weights(raw, min_tokens=50)
    keys = gumbel_keys(weights, ids(400), temperature=1, seed=0)
    chosen = top_k(keys, np.ones(400, np.int64), ids(400), 80)
    after = count_ngrams(raw.filter(pa.array(chosen)), 2000)[0]
    assert kl_divergence(wanted, after) < 0.2 * kl_divergence(wanted, corpus)
    assert np.isnan(Importance.fit(corpus, wanted).weights(raw, min_tokens=61)).all()
    assert np.isnan(kl_divergence(wanted, np.zeros(2000, np.int64)))


def test_per_token_weights_do_not_grow_with_length() -> None:
    found = estimator()
    text = "primes are numbers"
    once, often = found.weights(pa.array([text, " ".join([text] * 50)]), min_tokens=1, per_token=True)
    assert once == pytest.approx(often, rel=0.35)
    once, often = found.weights(pa.array([text, " ".join([text] * 50)]), min_tokens=1)
    assert often > 20 * once


def test_an_empty_target_is_refused() -> None:
    counts = count_ngrams(pa.array(["a b"]), 10)[0]
    with pytest.raises(ConfigError, match="the target holds no word"):
        Importance.fit(counts, np.zeros(10, np.int64))
