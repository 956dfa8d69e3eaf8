"""The models: an encoder that turns tokens into one vector per input, and heads that turn vectors into outputs.

Split so, raters whose encoders hold the same weights (FineWeb-Edu's classifier and NVIDIA's two on the same frozen
embedding model, or heads trained here) compute the vectors once, and hold one copy of the encoder per worker.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import numpy as np
import numpy.typing as npt
import xxhash

from classifiers.backends.encoder_files import read_config, weight_files
from classifiers.backends.encoder_options import Options
from curate.errors import ModelError
from curate.models import check_model

if TYPE_CHECKING:
    import torch  # type: ignore[import-not-found,unused-ignore]

__all__ = ["Body", "Model", "batches", "open_model", "vectors"]

F32 = npt.NDArray[np.float32]

log = logging.getLogger(__name__)

#: families whose classifiers read the last token
_LAST = ("score",)
#: families whose encoders have a pooler, which their classifiers read
_POOLER = frozenset({"bert", "albert", "gte", "ernie"})
#: families whose classifiers read the first token
_FIRST = frozenset({"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "deberta-v2", "electra", "distilbert"})
#: encoders in use by what they hold, so that raters of one pass share them
_BODIES: WeakValueDictionary[str, Body] = WeakValueDictionary()


@dataclass
class Body:
    """An encoder.

    Attributes:
        key: names weights, configuration, precision and device: the same key gives the same vectors.
        module: the network.
        run: (tokens, mask) → (inputs, dimension).
        longest: most tokens that it can tell the places of; 0: unknown.
    """

    key: str
    module: Any
    run: Callable[[Any, Any], Any]
    longest: int
    __hash__ = object.__hash__


@dataclass
class Model:
    """An encoder with its heads: ``head`` maps vectors to outputs, both float tensors on ``device``."""

    body: Body
    head: Callable[[Any], Any]
    config: dict[str, Any]
    device: Any
    dtype: Any


def open_model(folder: Path, options: Options, *, device: str, dtype: str, remote_code: bool) -> Model:
    """The model in a folder, checked and ready.

    Args:
        device: where it runs.
        dtype: precision on a GPU; a CPU always computes in float32.
        remote_code: whether code beside the model may run; card and config allowed it.

    Raises:
        ModelError: a file is missing, damaged or refused, or the weights are not those of the architecture.
    """
    import torch

    config = read_config(folder, remote_code=remote_code)
    place = torch.device(device)
    kind = torch.float32 if place.type == "cpu" else getattr(torch, dtype)
    weight_files(folder)
    try:
        if options.layout == "sequence":
            body, head = _sequence(folder, kind, place, remote_code=remote_code)
        elif options.layout == "first_token_linear":
            body, head = _first_token_linear(folder, config, options, kind, place)
        else:
            body, head = _embedding_mlp(folder, options, kind, place, remote_code=remote_code)
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, ImportError) as error:
        why = str(error).strip().splitlines()[0][:200] if str(error).strip() else ""
        raise ModelError(
            f"{folder}: model refused: transformers cannot build it ({type(error).__name__}: {why}); fetch the whole "
            f"folder again, or take the version of the model that the card names"
        ) from None
    return Model(body, head, config, place, kind)


def batches(lengths: npt.NDArray[np.int64], budget: int) -> list[npt.NDArray[np.int64]]:
    """Rows in batches of at most ``budget`` tokens, padding counted (a longer row alone), the longest first.

    Rows of about one length stand together, so that little is padding.
    """
    order = np.argsort(-lengths, kind="stable")
    found, at = [], 0
    while at < len(order):
        size = max(1, budget // max(1, int(lengths[order[at]])))
        found.append(order[at : at + size])
        at += size
    return found


def vectors(model: Model, ids: list[npt.NDArray[np.int32]], budget: int) -> F32:
    """(inputs, dimension): what the encoder says of each input; NaN stays NaN."""
    import torch

    lengths = np.array([len(i) for i in ids], np.int64)
    found: F32 | None = None
    with torch.inference_mode():
        for rows in batches(lengths, budget):
            longest = int(lengths[rows].max())
            tokens = np.zeros((len(rows), longest), np.int64)
            mask = np.zeros((len(rows), longest), np.int64)
            for place, row in enumerate(rows):
                tokens[place, : lengths[row]] = ids[row]
                mask[place, : lengths[row]] = 1
            got = model.body.run(torch.from_numpy(tokens).to(model.device), torch.from_numpy(mask).to(model.device))
            if found is None:
                found = np.empty((len(ids), got.shape[1]), np.float32)
            found[rows] = got.float().cpu().numpy()
    return found if found is not None else np.empty((0, 0), np.float32)


def _sequence(folder: Path, kind: torch.dtype, place: torch.device, *, remote_code: bool) -> tuple[Body, Any]:
    from transformers import AutoModelForSequenceClassification  # type: ignore[import-not-found,unused-ignore]

    model = _pretrained(AutoModelForSequenceClassification, folder, kind, remote_code=remote_code).to(place).eval()
    base = model.base_model
    family = str(model.config.model_type)
    longest = _longest(model.config)
    custom = type(model).__module__.startswith("transformers_modules")
    if custom or base is model or not _splits(model, family):
        key = _key(model, kind, place, "whole")
        return Body(key, model, lambda ids, mask: model(input_ids=ids, attention_mask=mask).logits, longest), _same
    pool, head = _parts(model, family)
    body = _body(base, kind, place, pool)
    setattr(model, model.base_model_prefix, body.module)  # one copy of equal encoders
    return body, head


def _body(base: Any, kind: Any, place: Any, pool: Callable[[Any, Any], Any]) -> Body:
    """The encoder, or the equal one that is in use already."""
    key = _key(base, kind, place, pool.__name__)
    body = _BODIES.get(key)
    if body is None:
        body = _BODIES[key] = Body(key, base, _pooled(base, pool), _longest(base.config))
    return body


def _splits(model: Any, family: str) -> bool:
    if family in _POOLER | _FIRST | {"modernbert"}:
        return hasattr(model, "classifier") and family not in {"distilbert"}
    return any(hasattr(model, name) for name in _LAST)


def _parts(model: Any, family: str) -> tuple[Callable[[Any, Any], Any], Callable[[Any], Any]]:
    """How an encoder's output becomes one vector, and the rest of the classifier."""
    if family in _POOLER:
        return _pooler, model.classifier
    if family == "modernbert":
        pool = _first if model.config.classifier_pooling == "cls" else _mean
        return pool, lambda x: model.classifier(model.head(x))
    if family == "deberta-v2":
        return _first, lambda x: model.classifier(model.pooler(x[:, None, :]))
    if family in _FIRST:
        return _first, lambda x: model.classifier(x[:, None, :])
    return _last, model.score


def _first_token_linear(
    folder: Path, config: dict[str, Any], options: Options, kind: torch.dtype, place: torch.device
) -> tuple[Body, Any]:
    """NVIDIA's classifiers: state ``model.*`` is the encoder, ``fc`` the layer over its first token."""
    from transformers import AutoConfig, AutoModel

    if options.base is None:
        raise ModelError(f"{folder}: the card names no base model for the layout first_token_linear")
    named = config.get("base_model")
    if named not in (None, options.base.name):
        raise ModelError(f"{folder}: model refused: it stands on {named}, the card on {options.base.name}")
    own = {k: v for k, v in config.items() if k not in {"id2label", "label2id", "model_type"}}
    shape: dict[str, Any] = {**options.base.config, **own}
    base = AutoModel.from_config(AutoConfig.for_model(shape.pop("model_type"), **shape))
    state = _state(folder)
    layer = _linear(folder, state, "fc")
    wanted = {name.removeprefix("model."): value for name, value in state.items() if name.startswith("model.")}
    _strict(folder, base.load_state_dict(wanted, strict=False), state, {"fc.weight", "fc.bias"})
    if layer.in_features != base.config.hidden_size or layer.out_features != len(config.get("id2label") or ()):
        raise ModelError(f"{folder}: model refused: its layer fc does not fit the encoder, or the names of its outputs")
    base, layer = base.to(place, kind).eval(), layer.to(place, kind).eval()
    return _body(base, kind, place, _first), layer


def _embedding_mlp(
    folder: Path, options: Options, kind: torch.dtype, place: torch.device, *, remote_code: bool
) -> tuple[Body, Any]:
    """An embedding model with perceptrons over its normalised first token, one per output."""
    import torch
    from transformers import AutoModel

    base = _pretrained(AutoModel, folder, kind, remote_code=remote_code, optional=("pooler.",)).to(place).eval()
    body = _body(base, kind, place, _unit_first)
    heads = [_perceptron(folder / file, base.config.hidden_size).to(place, kind) for file in options.heads.values()]
    return body, lambda x: torch.cat([head(x) for head in heads], dim=1)


def _perceptron(path: Path, width: int) -> Any:
    """Linear layers with ReLU between them, as a file holds them: ``<name>.weight`` and ``<name>.bias`` per layer.

    Layers stand in the order of the numbers in their names, must fit each other, and end in one output.
    """
    import re

    import torch
    from safetensors.torch import load_file

    if not path.is_file():
        pickles = sorted(p.name for p in path.parent.glob(f"{path.stem}.*")) if path.parent.is_dir() else []
        found = f" ({', '.join(pickles)} is a pickle, which runs code when it is loaded)" if pickles else ""
        raise ModelError(f"{path}: the head is not there{found}; convert its state to safetensors on another machine")
    check_model(path, kind="safetensors")
    state = load_file(path)
    names = sorted(
        {name.rpartition(".")[0] for name in state}, key=lambda n: [int(k) for k in re.findall(r"\d+", n)] or [0]
    )
    layers: list[Any] = []
    for name in names:
        weight, bias = state.get(f"{name}.weight"), state.get(f"{name}.bias")
        if weight is None or bias is None or weight.ndim != 2 or weight.shape[1] != width:
            raise ModelError(f"{path}: model refused: {name} is no linear layer over {width} inputs")
        layer = torch.nn.Linear(width, weight.shape[0])
        layer.load_state_dict({"weight": weight.float(), "bias": bias.float()})
        layers += [torch.nn.ReLU(), layer] if layers else [layer]
        width = int(weight.shape[0])
    if len(state) != 2 * len(names) or width != 1:
        raise ModelError(f"{path}: model refused: {len(state)} tensors that end in {width} outputs; a head has one")
    return torch.nn.Sequential(*layers).eval()


def _pretrained(auto: Any, folder: Path, kind: Any, *, remote_code: bool, optional: tuple[str, ...] = ()) -> Any:
    """The model of a folder; ModelError if a weight is missing or does not fit, which would leave it random."""
    model, info = auto.from_pretrained(
        str(folder),
        dtype=kind,
        use_safetensors=True,
        local_files_only=True,
        trust_remote_code=remote_code,
        output_loading_info=True,
    )
    missing = sorted(n for n in info["missing_keys"] if not n.startswith(optional) and "position_ids" not in n)
    wrong = sorted(str(n) for n in info.get("mismatched_keys") or ())
    if missing or wrong:
        raise ModelError(
            f"{folder}: model refused: {len(missing)} weights are missing (first: {missing[:1]}), {len(wrong)} have "
            f"another shape (first: {wrong[:1]}); it is not what its config.json says"
        )
    return model


def _state(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return {name: value for file in weight_files(folder) for name, value in load_file(file).items()}


def _linear(folder: Path, state: Mapping[str, Any], name: str) -> Any:
    import torch

    weight, bias = state.get(f"{name}.weight"), state.get(f"{name}.bias")
    if weight is None or bias is None or weight.ndim != 2 or bias.shape != weight.shape[:1]:
        raise ModelError(f"{folder}: model refused: there is no linear layer {name} in its weights")
    layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight.float(), "bias": bias.float()})
    return layer


def _strict(folder: Path, result: Any, state: Mapping[str, Any], others: set[str]) -> None:
    foreign = sorted(n for n in state if not n.startswith("model.") and n not in others)
    missing = [n for n in result.missing_keys if "position_ids" not in n]
    more = [n for n in result.unexpected_keys if "position_ids" not in n] + foreign
    if missing or more:
        raise ModelError(
            f"{folder}: model refused: {len(missing)} weights are missing (first: {missing[:1]}), {len(more)} belong "
            f"to another architecture (first: {more[:1]})"
        )


def _pooled(base: Any, pool: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    extra = {"use_cache": False} if pool is _last else {}
    return lambda ids, mask: pool(base(input_ids=ids, attention_mask=mask, **extra), mask)


def _pooler(output: Any, mask: Any) -> Any:
    return output.pooler_output


def _first(output: Any, mask: Any) -> Any:
    return output.last_hidden_state[:, 0]


def _unit_first(output: Any, mask: Any) -> Any:
    import torch

    return torch.nn.functional.normalize(output.last_hidden_state[:, 0], p=2, dim=1)


def _mean(output: Any, mask: Any) -> Any:
    hidden = output.last_hidden_state
    return (hidden * mask.unsqueeze(-1)).sum(dim=1) / mask.sum(dim=1, keepdim=True)


def _last(output: Any, mask: Any) -> Any:
    rows = mask.sum(dim=1) - 1
    return output.last_hidden_state[range(len(rows)), rows]


def _same(x: Any) -> Any:
    return x


def _longest(config: Any) -> int:
    """Places that a config has; families that tell places by distance alone set no limit."""
    places = int(getattr(config, "max_position_embeddings", 0) or 0)
    if getattr(config, "position_biased_input", True) is False:
        return 0
    # RoBERTa's first place stands behind the padding token's number
    return places - 2 if "roberta" in str(config.model_type) else places


def _key(module: Any, kind: Any, place: Any, pool: str) -> str:
    """Digest of all that decides the vectors of an encoder."""
    import torch

    digest = xxhash.xxh3_128(f"{type(module).__name__}\0{pool}\0{kind}\0{place}\0".encode())
    config = {k: v for k, v in module.config.to_dict().items() if k not in _NO_PART and "label" not in k}
    digest.update(repr(sorted(config.items(), key=lambda item: item[0])).encode())
    for name, value in module.state_dict().items():
        digest.update(f"\0{name}\0{tuple(value.shape)}\0".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


#: entries of a config that decide nothing in an encoder
_NO_PART = frozenset(
    {"_name_or_path", "architectures", "transformers_version", "problem_type", "classifier_dropout", "finetuning_task"}
)
