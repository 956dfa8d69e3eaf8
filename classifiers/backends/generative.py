"""Raters that are language models behind an OpenAI-compatible server (vLLM in production).

The card says how the model is asked and what it may answer (``classifiers.generative``), the config where the server
is: ``{card: dataman, options: {url: "http://127.0.0.1:8000/v1"}}``, or the environment variable that ``url_env`` names.

Every answer is in the journal of the run (``journal/rate/<card>/<shard>``) before it is used. A worker that dies, a run
that is stopped, or a config with another address or other limits asks nothing again. The journal grows by about 0.5 kB
per answer, 3 kB with probabilities; delete it when the corpus is done. Budgets hold for the whole run, up to one batch
(512 documents) of each other worker.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from classifiers.cards import Card
from classifiers.contract import Backend, Texts
from classifiers.generative.forms import Form, Reading
from classifiers.generative.purse import Purse
from curate.errors import BudgetError, ConfigError, ThresholdError
from curate.rewrite.requests import Answer, Request
from curate.rewrite.usage import Usage
from curate.stages.base import Context

_JOURNAL = "journal/rate"
#: so many answers in a row without the probabilities that the card needs: the server does not give them
_WITHOUT_PROBABILITIES = 20
#: questions of a task after which shares of statuses are compared with their limits
_LEAST_FOR_SHARES = 100
#: options that decide no value: where the server is, how fast and how long it is asked, what it may cost
_NOT_DECIDING = (
    "url", "url_env", "api_key_env", "ca_file", "unix_socket", "start_concurrency", "max_concurrency", "connect_s",
    "request_s", "total_s", "max_attempts", "max_bad_replies", "backoff_s", "max_backoff_s", "retry_share",
    "retries_per_second", "breaker_failures", "breaker_cooldown_s", "patience_s", "on_outage", "max_reply_bytes",
    "max_tokens", "max_cost", "price_prompt", "price_completion", "health_s", "max_error_share",
    "max_unparseable_share",
)  # fmt: skip


class Options(BaseModel):
    """The options of a card beside those of the client (``curate.rewrite.config.ClientConfig``).

    Attributes:
        form: how the model is asked: dataman, yes_no, taxonomy or rubric.
        ask: what the form can be told; a rubric by its name, its path (relative to the card) or its whole content.
        url_env: environment variable with the server's address where the options name none.
        health_s: how long a server that is still starting is waited for before the first question, in seconds.
        max_error_share, max_unparseable_share: share of a shard's questions that may end as ``model_error``, and as
            ``unparseable``, once there are 100; beyond it the task stops (exit 3) before it writes labels. Errors are
            asked again when the run goes on. Null: no limit.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    form: Literal["dataman", "yes_no", "taxonomy", "rubric"]
    ask: dict[str, Any] = Field(default_factory=dict)
    url_env: str = "CURATE_LLM_URL"
    health_s: float = Field(60.0, ge=0)
    max_error_share: float | None = Field(0.2, ge=0, le=1)
    max_unparseable_share: float | None = Field(0.5, ge=0, le=1)


class Generative(Backend):
    """Asks one question per text; ``rate`` returns when all texts of the batch have their answer or their failure."""

    version: ClassVar[int] = 1
    holds_model: ClassVar[bool] = False
    indifferent: ClassVar[tuple[str, ...]] = _NOT_DECIDING

    def __init__(self, card: Card) -> None:
        self._card = card
        try:
            self.options = Options.model_validate(card.options)
            self._told = _told_by(card, self.options)
            self._form = form_of(self.options.form, self._told, None)
        except ValidationError as error:
            faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
            raise ConfigError(f"labels: options of the card {card.name!r}: {faults}") from None
        self._client = _client(card, self.options, "http://127.0.0.1/v1")
        self._journal: Any = None
        self._purse: Purse | None = None
        self._stats: Any = None
        self._healthy = False
        self._statuses: Counter[str] = Counter()
        self._used = self._wasted = Usage()
        self._without = 0

    def open(self, context: Context) -> None:
        """Loads the tokenizer and opens this task's journal; the server is first spoken to with the first texts.

        Raises:
            ConfigError: neither options nor environment name the server.
        """
        from curate.rewrite.client import Stats
        from curate.rewrite.journal import Journal

        self._client = _client(self._card, self.options, self._address())
        self._form = form_of(self.options.form, self._told, self._card.named_model)
        self._stats = Stats()
        self._statuses, self._without = Counter(), 0
        self._used = self._wasted = Usage()
        if context.journal is not None:
            task = context.task or "task"
            self._journal = Journal(context.journal, task, f"{_JOURNAL}/{self._card.name}", others=False)
            self._purse = Purse(context.journal, f"{_JOURNAL}/{self._card.name}", task)
            self._purse.tell(self._journal.spent)

    def assets(self) -> Mapping[str, Path]:
        """The file of a rubric that the card names."""
        rubric = self._told.get("rubric") if self.options.form == "rubric" else None
        return {"rubric": Path(rubric)} if isinstance(rubric, str) else {}

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()
        self._journal = self._purse = None

    def rate(self, texts: Texts) -> Mapping[str, pa.Array]:
        """Values and status of each text; the same whatever its neighbours, as far as the server keeps to that.

        Raises:
            BudgetError, EnvironmentGone, ConfigError: as ``complete_all`` says; the journal keeps what is answered.
            ThresholdError: too many questions of this task ended as errors, or as answers of another form.
        """
        readings: list[Reading | None] = [None] * len(texts)
        truncated = [False] * len(texts)
        for place, reading in self._ask(texts, truncated):
            readings[place] = reading
        found = [r if r is not None else Reading("model_error") for r in readings]
        self._statuses.update(r.status for r in found)
        self._check_shares()
        values: dict[str, pa.Array] = {}
        for label in self._card.labels:
            if label.name == "truncated":
                values["truncated"] = pa.array(truncated)
                continue
            column = [r.values.get(label.name) if r.ok else None for r in found]
            values[label.name] = pa.array(column, label.arrow_type())
        values["status"] = pa.array([None if r.ok else r.status for r in found], pa.string())
        return values

    def counts(self) -> dict[str, Any]:
        """For the receipt: what became of the questions, and what the answers cost, whenever they were paid for.

        ``wasted_tokens`` are those of replies that could not be used; they are part of the cost.
        """
        if not self._statuses:
            return {}
        return {
            "statuses": dict(sorted(self._statuses.items())), "prompt_tokens": self._used.prompt_tokens,
            "completion_tokens": self._used.completion_tokens, "wasted_tokens": self._wasted.tokens,
            "cost": round(self._client.price.of(self._used + self._wasted), 6),
        }  # fmt: skip

    def _address(self) -> str:
        url = (self.options.model_extra or {}).get("url") or os.environ.get(self.options.url_env, "").strip()
        if not url:
            raise ConfigError(
                f"labels: the card {self._card.name!r} asks a language model's server and nothing says where it is: "
                f"write {{card: {self._card.choice.card or self._card.name}, options: {{url: http://HOST:PORT/v1}}}} "
                f"or set the environment variable {self.options.url_env}"
            )
        return str(url)

    def _ask(self, texts: Texts, truncated: list[bool]) -> Iterator[tuple[int, Reading]]:
        """Place and reading of every text, in the order of the answers."""
        from curate.rewrite.complete import complete_all

        requests = list(self._requests(texts, truncated))
        # what the journal holds whole can be read again without a server
        health = None if self._healthy or all(map(self._known, requests)) else self.options.health_s
        client = self._purse.limits(self._client) if self._purse is not None else self._client
        outcomes = complete_all(requests, client, journal=self._journal, stats=self._stats, health_s=health)
        try:
            for outcome in outcomes:
                self._healthy |= outcome.attempts > 0
                if isinstance(outcome, Answer):
                    self._check_probabilities(outcome)
                    self._used, self._wasted = self._used + outcome.usage, self._wasted + outcome.wasted
                else:
                    self._wasted += outcome.usage
                yield outcome.tag, self._form.read(outcome)
        except BudgetError as error:
            others = self._purse.others().tokens if self._purse is not None else 0
            raise BudgetError(
                f"labels: the card {self._card.name!r}: after {others:,} tokens of the other shards: {error}"
            ) from None
        finally:
            if self._purse is not None:
                self._purse.tell(self._journal.spent)
        if self._stats.last_limit:  # go on as fast as the last batch ended
            begin = max(1, min(self._stats.last_limit, self._client.max_concurrency))
            self._client = self._client.model_copy(update={"start_concurrency": begin})

    def _requests(self, texts: Texts, truncated: list[bool]) -> Iterator[Request]:
        ids = texts.ids.to_pylist() if texts.ids is not None else [str(i) for i in range(len(texts))]
        purpose = f"rate.{self._card.name}@{self._form.version}"
        for place, (text, document) in enumerate(zip(texts.strings(), ids, strict=True)):
            prepared = self._form.prepare(text, document)
            truncated[place] = prepared.truncated
            yield self._form.request(prepared.text, document, purpose, self._client.dialect, tag=place)

    def _known(self, request: Request) -> bool:
        return self._journal is not None and request.key(self._client.model, self._client.revision) in self._journal

    def _check_shares(self) -> None:
        """Labels of a shard in which the model hardly ever answers are no labels."""
        limits = {"model_error": self.options.max_error_share, "unparseable": self.options.max_unparseable_share}
        asked = self._statuses.total()
        for status, limit in limits.items():
            share = self._statuses[status] / asked if asked else 0.0
            if limit is not None and asked >= _LEAST_FOR_SHARES and share > limit:
                name = "max_error_share" if status == "model_error" else "max_unparseable_share"
                raise ThresholdError(
                    f"labels: the card {self._card.name!r}: {share:.0%} of {asked} questions to {self._client.root} "
                    f"ended as {status}, {limit:.0%} are allowed ({name}); check that the server serves the card's "
                    "model, then run the same command again: what was answered is in the journal"
                )

    def _check_probabilities(self, answer: Answer) -> None:
        """A card whose only score is a probability cannot use a server that gives none."""
        if self.options.form != "yes_no" or self._without < 0:
            return
        self._without = self._without + 1 if answer.logprobs is None else -1
        if self._without >= _WITHOUT_PROBABILITIES:
            raise ConfigError(
                f"labels: {self._client.root} gives no log-probabilities (top_logprobs), which the card "
                f"{self._card.name!r} needs; use a server that does, such as vLLM"
            )


def form_of(kind: str, ask: Mapping[str, Any], tokenizer: Path | None) -> Form:
    """The form of that name, told ``ask``.

    Args:
        tokenizer: file or folder; null cuts texts by bytes.
    """
    from classifiers.generative.dataman import DataMan, DataManOptions
    from classifiers.generative.rubric import RubricForm, RubricOptions
    from classifiers.generative.taxonomy import Taxonomy, TaxonomyOptions
    from classifiers.generative.trimming import Trimmer
    from classifiers.generative.yes_no import YesNo, YesNoOptions

    trimmer = Trimmer(tokenizer)
    given = dict(ask)
    if kind == "dataman":
        return DataMan(DataManOptions.model_validate(given), trimmer)
    if kind == "yes_no":
        return YesNo(YesNoOptions.model_validate(given), trimmer)
    if kind == "taxonomy":
        return Taxonomy(TaxonomyOptions.model_validate(given))
    return RubricForm(RubricOptions.model_validate(given), trimmer)


def _told_by(card: Card, options: Options) -> dict[str, Any]:
    """What the form is told: by the options, by the card's window, and where a named rubric is."""
    from classifiers.generative.rubric import rubric_file

    told = dict(options.ask)
    window = card.window
    if options.form in ("dataman", "yes_no") and window.policy == "head_tail" and "text_tokens" not in told:
        if window.unit != "tokens" or window.head != window.tail:
            raise ConfigError(
                f"labels: the card {card.name!r}: its window must be as many tokens from head as from tail"
            )
        told["text_tokens"] = window.head + window.tail
    if options.form == "rubric" and isinstance(told.get("rubric"), str):
        told["rubric"] = str(rubric_file(told["rubric"], card.folder))
    return told


def _client(card: Card, options: Options, url: str) -> Any:
    from curate.rewrite.config import ClientConfig

    given = {**(options.model_extra or {}), "url": url}
    given.setdefault("model", card.model_id or card.name)
    given.setdefault("revision", card.revision)
    try:
        return ClientConfig.model_validate(given)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise ConfigError(f"labels: options of the card {card.name!r}: {faults}") from None
