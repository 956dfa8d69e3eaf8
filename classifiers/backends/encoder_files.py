"""Files of an encoder as its hub lays them out: what may be loaded, and whether the outputs are the card's.

Weights are read from safetensors only. Pickles beside them (``training_args.bin``) are never opened. Code beside a
model (``auto_map``) runs only where card and config allow it by name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from curate.errors import ModelError
from curate.models import check_model

__all__ = ["check_outputs", "read_config", "weight_files"]

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.h5", "*.msgpack")
_UNNAMED = re.compile(r"LABEL_\d+")
#: what a config says of its outputs → activations that fit
_PROBLEMS = {
    "regression": {"none"},
    "single_label_classification": {"softmax", "none"},
    "multi_label_classification": {"sigmoid", "none"},
}


def read_config(folder: Path, *, remote_code: bool) -> dict[str, Any]:
    """The model's ``config.json``.

    Raises:
        ModelError: there is no such folder or file, it is not a JSON object, or it asks for code that may not run.
    """
    if not folder.is_dir():
        raise ModelError(f"{folder}: there is no such folder; name the folder that holds config.json and the weights")
    path = folder / "config.json"
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ModelError(f"{path}: the model has no config.json; fetch the whole folder from its hub") from None
    except (ValueError, RecursionError, OSError):
        raise ModelError(f"{path}: model refused: not readable JSON; fetch the file again") from None
    if not isinstance(found, dict):
        raise ModelError(f"{path}: model refused: not a JSON object; fetch the file again")
    if "auto_map" in found and not remote_code:
        raise ModelError(
            f"{path}: model refused: auto_map asks for code beside the model, and the card says nothing of it; use the "
            f"model that the card names"
        )
    return found


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of the weights, all of them whole and finite.

    Raises:
        ModelError: there are none (only pickles, say), one of those that the index names is missing, or one is
            damaged or holds NaN.
    """
    single, index = folder / "model.safetensors", folder / "model.safetensors.index.json"
    if single.is_file():
        files = [single]
    elif index.is_file():
        files = _shards(index)
    else:
        pickles = sorted(p.name for pattern in _PICKLES for p in folder.glob(pattern))
        if pickles:
            raise ModelError(
                f"{folder / pickles[0]}: model refused: a pickle runs code when it is loaded; convert the weights to "
                f"model.safetensors on a machine that may be lost"
            )
        raise ModelError(f"{folder}: there is no model.safetensors; fetch the whole folder from its hub")
    for file in files:
        check_model(file, kind="safetensors")
    return files


def check_outputs(path: Path, config: dict[str, Any], heads: Sequence[str], activation: str) -> tuple[int, ...]:
    """Where each output of the card is among the model's: the model's names decide, not their order in the card.

    Configs whose outputs are only numbered (``LABEL_0`` …) are taken in the card's order, if there are as many.

    Raises:
        ModelError: other names, another number of outputs, or outputs of another kind than the card says.
    """
    given = config.get("id2label")
    names = _names(path, given) if given is not None else [f"LABEL_{i}" for i in range(config.get("num_labels") or 2)]
    problem = config.get("problem_type")
    if problem in _PROBLEMS and activation not in _PROBLEMS[problem]:
        raise ModelError(f"{path}: model refused: its outputs are for {problem}, the card reads them by {activation}")
    if len(names) == len(heads) and all(_UNNAMED.fullmatch(name) for name in names):
        return tuple(range(len(heads)))
    if len(names) == len(heads) == 1:
        return (0,)
    if sorted(names) != sorted(heads):
        missing, more = sorted(set(heads) - set(names)), sorted(set(names) - set(heads))
        raise ModelError(
            f"{path}: model refused: the label set of the model does not match the card: {len(names)} outputs, the "
            f"card has {len(heads)}; not in the model: {missing}, not in the card: {more}"
        )
    return tuple(names.index(head) for head in heads)


def _names(path: Path, given: Any) -> list[str]:
    try:
        found = {int(i): str(name) for i, name in given.items()}
    except (AttributeError, ValueError):
        found = {}
    if sorted(found) != list(range(len(found))) or not found:
        raise ModelError(f"{path}: model refused: id2label must map 0, 1, … to names")
    return [found[i] for i in range(len(found))]


def _shards(index: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_bytes())["weight_map"].values()))
    except (ValueError, KeyError, AttributeError, TypeError):
        raise ModelError(f"{index}: model refused: not an index of safetensors files") from None
    files = [index.parent / str(name) for name in names]
    for file in files:
        if file.parent != index.parent or file.suffix != ".safetensors" or not file.is_file():
            raise ModelError(f"{file}: the index names this file and it is not there, or no safetensors file beside it")
    return files
