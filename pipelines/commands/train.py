"""`curate train`: a student from a table of ratings, with figures on held-out texts, a card, and a model card."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from curate.errors import ConfigError
from pipelines.commands.answer import Answer


def main(config: Path, overrides: Sequence[str]) -> Answer:
    """The files of the student and its figures; paths in the config are relative to it."""
    from classifiers.train import train
    from classifiers.train_config import TrainConfig
    from pipelines.config_errors import ConfigProblems
    from pipelines.overrides import apply_overrides
    from pipelines.validation import Layer
    from pipelines.yaml_reader import read_yaml

    document = read_yaml(config)
    layer = Layer(document)
    issues = [*document.issues, *apply_overrides(layer, overrides, tuple(TrainConfig.model_fields), {})]
    if issues:
        raise ConfigProblems(issues)
    try:
        wanted = TrainConfig.model_validate(document.data)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc'])) or 'config'}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"{config}: {faults}") from None
    found = train(wanted, config.resolve().parent, lambda line: print(line, file=sys.stderr, flush=True))  # noqa: T201
    files = {name: str(getattr(found, name)) for name in ("card", "weights", "predictions", "model_card", "report")}
    lines = [f"{name.replace('_', ' ')}: {path}" for name, path in files.items()]
    text = "\n".join([*_figures(found.figures), *lines])
    return Answer({**files, "figures": found.figures}, lambda: text, notes=[f"rate with it: labels: [{found.card}]"])


def _figures(figures: dict[str, dict[str, object]]) -> list[str]:
    names = ("spearman", "pearson", "accuracy", "macro_f1", "auc", "agreement")
    lines = []
    for label, values in figures.items():
        said = ", ".join(f"{n} {v:.3f}" for n in names if isinstance(v := values.get(n), float))
        lines.append(f"{label}: held out: {said}")
    return lines
