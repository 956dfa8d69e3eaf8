"""What runs in the guarded child of the fastText backend: one text in, the values of all columns out."""

from __future__ import annotations

import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from classifiers.backends.fasttext_text import preparation
from curate.errors import ModelError

#: CPU seconds that loading a model may take, and how many more for each GB of it
_LOAD_SECONDS, _LOAD_SECONDS_PER_GB = 30.0, 60.0


class Predictor:
    """A loaded model.

    Args:
        path: the file; the parent has checked its digest and walked its structure.
        prefix: what labels start with in the file.
        classes: the labels that the model must have, all of them, without the prefix.
        prepare, tokenizer: see ``classifiers.backends.fasttext_text``.
        columns: what each column holds: one of ``label``, ``label`` and ``other``, ``mean``, ``rank`` and ``give``.
    """

    def __init__(
        self,
        path: str,
        prefix: str,
        classes: Sequence[str],
        prepare: Sequence[str],
        tokenizer: str | None,
        columns: Mapping[str, Mapping[str, Any]],
    ) -> None:
        # a loader that runs in circles over a file that passed the check is ended like a text that does
        gigabytes = Path(path).stat().st_size / 1e9 if Path(path).exists() else 0
        signal.setitimer(signal.ITIMER_PROF, _LOAD_SECONDS + _LOAD_SECONDS_PER_GB * gigabytes)
        self._predict = _loaded(path)
        self._prepare = preparation(prepare, Path(tokenizer) if tokenizer is not None else None)
        signal.setitimer(signal.ITIMER_PROF, 0)
        self._prefix = len(prefix)
        self._check_labels(path, prefix, classes)
        self._columns = [dict(column) for column in columns.values()]
        self.schema = pa.schema(
            [(n, pa.string() if c.get("give") == "label" else pa.float64()) for n, c in columns.items()]
        )

    def _check_labels(self, path: str, prefix: str, classes: Sequence[str]) -> None:
        """Raise ModelError unless the model has these labels and no others."""
        found, _ = self._predict.getLabels("strict")
        odd = [name for name in found if not name.startswith(prefix)]
        if odd:
            raise ModelError(f"{path}: model refused: the label {odd[0][:80]!r} does not start with {prefix!r}")
        have, wanted = {name[len(prefix) :] for name in found}, set(classes)
        if have != wanted:
            lacks, more = sorted(wanted - have), sorted(have - wanted)
            said = [f"lacks {lacks[:5]}"] if lacks else []
            said += [f"has {more[:5]} beside them"] if more else []
            raise ModelError(f"{path}: the label set of the model does not match the card: it {' and '.join(said)}")

    def __call__(self, text: str) -> tuple[Any, ...]:
        """One value per column; null in all of them where the model knows nothing of the text."""
        # newline included: fastText reads to the end of the line, and without one it reads another text
        found = self._predict.predict(self._prepare(text) + "\n", -1, 0.0, "strict")
        if not found:
            return (None,) * len(self._columns)
        ranked = [(name[self._prefix :], min(1.0, p)) for p, name in found]
        return tuple([value_of(column, ranked) for column in self._columns])


def _loaded(path: str) -> Any:
    """The native model: the Python wrapper around it fails with NumPy 2 in some builds."""
    from fasttext.FastText import fasttext as native

    model = native.fasttext()
    try:
        model.loadModel(path)
    except (ValueError, RuntimeError, MemoryError) as error:
        raise ModelError(f"{path}: the fastText loader refused it ({type(error).__name__}); fetch it again") from None
    return model


def value_of(column: Mapping[str, Any], ranked: Sequence[tuple[str, float]]) -> float | str | None:
    """The value of a column, from labels and probabilities, the best first.

    ``label``: its probability, 0 where it is so unlikely that the model left it out. ``label`` with ``other``, for
    models of two labels: that of the label if it is on top, else one minus that of the other, as the scripts of such
    models do. ``mean``: values of the labels, weighted by probability. ``rank`` (1: the best): the label, or its
    probability.
    """
    if column.get("mean"):
        total = sum(p for _, p in ranked)
        worth: Mapping[str, float] = column["mean"]
        return sum(worth[name] * p for name, p in ranked) / total if total > 0 else None
    if column.get("rank"):
        if column["rank"] > len(ranked):
            return None
        name, p = ranked[int(column["rank"]) - 1]
        return name if column["give"] == "label" else p
    if column.get("other") and ranked[0][0] == column["other"]:
        return 1.0 - ranked[0][1]
    return dict(ranked).get(column["label"], 0.0)
