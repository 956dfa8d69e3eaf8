"""One budget for all shards of a run: what each has spent, told in a small file beside its journal."""

from __future__ import annotations

import orjson

from curate.rewrite.config import ClientConfig
from curate.rewrite.usage import Usage
from curate.store.folder import open_folder

__all__ = ["Purse"]

_SUFFIX = ".spent"


class Purse:
    """What this task and the others have spent. Each writes its own file, so nobody waits for anybody.

    Args:
        folder: the run's folder, a path or any URL.
        prefix: where in it the journals of the rater are.
        task: name of this task.
    """

    def __init__(self, folder: str, prefix: str, task: str) -> None:
        self._folder = open_folder(folder)
        self._prefix = prefix
        self._own = f"{prefix}/{task}{_SUFFIX}"
        self._told = Usage()

    def tell(self, spent: Usage) -> None:
        """Write what this task has spent in all, if that has changed."""
        if (spent.prompt_tokens, spent.completion_tokens) != (self._told.prompt_tokens, self._told.completion_tokens):
            self._folder.write(self._own, orjson.dumps([spent.prompt_tokens, spent.completion_tokens]))
            self._told = spent

    def others(self) -> Usage:
        """What the other tasks have told; one that is writing for the first time counts from its next batch on."""
        total = Usage()
        for name in self._folder.names(self._prefix):
            if name.endswith(_SUFFIX) and name != self._own:
                prompt, completion = orjson.loads(self._folder.read(name))
                total += Usage(prompt, completion)
        return total

    def limits(self, client: ClientConfig) -> ClientConfig:
        """``client`` with what is left of its budget for this task: the limits less what the others have spent."""
        if client.max_tokens is None and client.max_cost is None:
            return client
        others = self.others()
        left: dict[str, float] = {}
        if client.max_tokens is not None:
            left["max_tokens"] = max(0, client.max_tokens - others.tokens)
        if client.max_cost is not None:
            left["max_cost"] = max(0.0, client.max_cost - client.price.of(others))
        return client.model_copy(update=left)
