"""What dedup configs accept, and the bands that follow from a threshold."""

from __future__ import annotations

import subprocess
import sys

import pytest
from pydantic import ValidationError

from curate.dedup import Bands, DedupStep, ExactConfig, MinhashConfig, Preference, as_plan, choose_bands
from curate.errors import ConfigError


def test_probability_is_the_curve_of_the_bands() -> None:
    assert Bands(14, 8).probability(0.8) == pytest.approx(0.924, abs=5e-4)  # the value datatrove documents
    assert Bands(1, 1).probability(0.3) == pytest.approx(0.3)


@pytest.mark.parametrize("threshold", [0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95])
def test_chosen_bands_find_a_pair_at_the_threshold(threshold: float) -> None:
    bands = choose_bands(threshold)
    assert bands.hashes <= 128
    assert bands.probability(threshold) >= 0.99
    more_rows = [Bands(b, bands.rows + 1) for b in range(1, 128 // (bands.rows + 1) + 1)]
    assert all(other.probability(threshold) < 0.99 for other in more_rows)


def test_default_bands_are_those_documented() -> None:
    plan = MinhashConfig().plan
    assert (plan.bands, plan.rows) == (16, 6)
    assert plan.probability(0.85) >= 0.999
    assert MinhashConfig(compatible=True).plan == Bands(14, 8)


@pytest.mark.parametrize(
    "bad",
    [
        {"threshold": 0.0},
        {"threshold": 1.2},
        {"bands": 4},
        {"rows": 4},
        {"treshold": 0.8},
        {"compatible": True, "normalisation": "words"},
        {"compatible": True, "shingle": {"unit": "characters", "n": 5}},
        {"shingle": {"n": 0}},
        {"partitions": 3},
        {"partitions": 2048},
        {"hash_bits": 16},
    ],
)
def test_nonsense_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        MinhashConfig.model_validate(bad)


def test_a_step_names_one_kind() -> None:
    assert DedupStep.model_validate({"exact": {}}).exact == ExactConfig()
    for bad in ({}, {"exact": {}, "minhash": {}}, {"semantic": {}}):
        with pytest.raises(ValidationError):
            DedupStep.model_validate(bad)
    with pytest.raises(ValidationError):
        ExactConfig(text=False)


def test_a_plan_has_each_kind_once_and_one_order() -> None:
    long_first = (Preference(column="n_words", descending=True),)
    plan = as_plan([DedupStep(exact=ExactConfig()), DedupStep(minhash=MinhashConfig(prefer=long_first))])
    assert plan.prefer == long_first
    with pytest.raises(ConfigError, match="each be named once"):
        as_plan([ExactConfig(), ExactConfig()])
    with pytest.raises(ConfigError, match="nothing to do"):
        as_plan([])
    assert as_plan([ExactConfig(partitions=4), MinhashConfig(partitions=4)]).partitions == 4
    assert as_plan([ExactConfig(), MinhashConfig(partitions=2)]).partitions == 2
    with pytest.raises(ConfigError, match="name different partitions"):
        as_plan([ExactConfig(partitions=4), MinhashConfig(partitions=2)])
    with pytest.raises(ConfigError, match="prefer different"):
        as_plan([ExactConfig(prefer=(Preference(column="id"),)), MinhashConfig(prefer=long_first)])


def test_configs_load_without_compiled_code() -> None:
    code = "import sys, curate.dedup; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
