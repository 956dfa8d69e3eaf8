"""Transformer encoders: sequence classifiers and regressors, several outputs, NVIDIA's and JQL's own heads.

Length-sorted batches of a token budget, float32 on a CPU, the card's precision (bf16) on a GPU. On a CPU a score does
not move by more than 1e-5 with the order of the batch, its size, or the padding (held by the tests).

Memory of a worker: one copy of each different encoder among its raters, the tokens of one batch of documents, and one
pass of ``batch_tokens`` through the model.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from classifiers.backends.encoder_columns import activated, columns
from classifiers.backends.encoder_files import check_outputs, read_config
from classifiers.backends.encoder_models import Model, open_model, vectors
from classifiers.backends.encoder_options import Options, check_columns, head_names
from classifiers.backends.encoder_tokens import Inputs, Tokens, open_tokens
from classifiers.cards import Card
from classifiers.contract import Backend, Texts
from curate.errors import ConfigError, ModelError
from curate.stages.base import Context

__all__ = ["Encoder"]

log = logging.getLogger(__name__)


class Encoder(Backend):
    """All labels of a card from one pass of its model over each input."""

    version: ClassVar[int] = 1
    indifferent: ClassVar[tuple[str, ...]] = ("batch_tokens", "threads", "device")

    def __init__(self, card: Card) -> None:
        self._card = card
        self.options = Options.model_validate(card.options)
        self._columns = check_columns(card, self.options)
        self._heads = head_names(card)
        self._model: Model | None = None
        self._tokens: Tokens | None = None
        self._places: tuple[int, ...] = ()
        self._read = {"inputs": 0, "tokens": 0}

    def open(self, context: Context) -> None:
        """Checks and loads tokeniser and model.

        Raises:
            ConfigError: torch or transformers are not installed.
            ModelError: a file is missing, damaged, a pickle, or asks for code; the outputs are not the card's; or the
                window does not fit the model.
        """
        folder, card = self._card.model_path, self._card
        remote = card.remote_code and card.model_id in card.choice.allow_remote_code
        config = read_config(folder, remote_code=remote)
        if self.options.layout != "embedding_mlp":
            place = folder / "config.json"
            self._places = check_outputs(place, config, self._heads, self.options.activation)
        else:
            self._places = tuple(range(len(self._heads)))
        device = self._device()
        self._tokens = open_tokens(folder, card.window, self.options)
        self._model = open_model(folder, self.options, device=device, dtype=card.dtype, remote_code=remote)
        for most, whose in ((card.tokens, "the card allows"), (self._model.body.longest, "the model has places for")):
            if most and self._tokens.most > most:
                raise ModelError(
                    f"card {card.name}: its window makes inputs of {self._tokens.most} tokens, {whose} {most}; shorten "
                    f"the window"
                )
        log.info("card %s: %s on %s in %s", card.name, folder.name, device, self._model.dtype)

    def rate(self, texts: Texts) -> Mapping[str, pa.Array]:
        """The card's labels; ``too_short`` for a text without a token."""
        if self._model is None or self._tokens is None:
            raise ModelError(f"card {self._card.name}: the model is not open")
        inputs = self._tokens.inputs(texts)
        outputs = self._outputs(inputs, texts)
        values = activated(outputs, self.options.activation)
        found = columns(self._card, self._columns, self._heads, values, inputs.parts, len(texts))
        status = np.full(len(texts), "too_short", object)
        status[inputs.parts.document] = None
        found["status"] = pa.array(status.tolist(), pa.string())
        self._read["inputs"] += len(inputs.ids)
        self._read["tokens"] += sum(len(i) for i in inputs.ids)
        return found

    def counts(self) -> Mapping[str, Any]:
        """Inputs and tokens that were read, and where and in what precision."""
        model = self._model
        where = {"device": str(model.device), "dtype": str(model.dtype).removeprefix("torch.")} if model else {}
        return {**self._read, **where}

    def close(self) -> None:
        self._model = self._tokens = None

    def _outputs(self, inputs: Inputs, texts: Texts) -> Any:
        """(inputs, heads) in the card's order; the encoder's vectors are kept for other heads on the same encoder."""
        import torch  # type: ignore[import-not-found,unused-ignore]

        model, tokens = self._model, self._tokens
        if model is None or tokens is None or not inputs.ids:
            return np.empty((0, len(self._heads)), np.float32)
        key = ("encoder vectors", model.body.key, tokens.key)
        if key not in texts.shared:
            budget = self.options.batch_tokens or (4096 if model.device.type == "cpu" else 65_536)
            texts.shared[key] = vectors(model, inputs.ids, budget)
        with torch.inference_mode():
            given = torch.from_numpy(texts.shared[key]).to(model.device, model.dtype)
            outputs = model.head(given).float().cpu().numpy()
        if outputs.shape[1] != len(self._heads):
            raise ModelError(
                f"card {self._card.name}: the model gives {outputs.shape[1]} outputs, the card has {len(self._heads)}: "
                f"the label set of the model does not match the card"
            )
        return outputs[:, list(self._places)]

    def _device(self) -> str:
        """Where to run; workers beside each other take different GPUs. Limits a CPU worker to its threads."""
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "true" if self.options.threads > 1 else "false")
        try:
            import torch
            import transformers  # type: ignore[import-not-found,unused-ignore]
        except ImportError as error:
            raise ConfigError(
                f"card {self._card.name}: {error.name} is not installed; `pip install 'curate[models]'`"
            ) from None
        transformers.logging.set_verbosity_error()
        transformers.logging.disable_progress_bar()
        torch.set_num_threads(self.options.threads)
        if self.options.device is not None:
            return self.options.device
        gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
        return f"cuda:{os.getpid() % gpus}" if gpus else "cpu"
