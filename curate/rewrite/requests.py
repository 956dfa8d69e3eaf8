"""What is asked and what comes back: ``Request`` → exactly one ``Answer`` or ``Failure``."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, ClassVar, Literal

import orjson

from curate.rewrite.constraints import Constraint, Dialect
from curate.rewrite.usage import NO_USAGE, Usage

_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a chat. A last message of the assistant begins the answer; the model goes on from there."""

    role: Literal["system", "user", "assistant"]
    content: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How the answer is drawn; ``None`` leaves a value to the server.

    Attributes:
        max_tokens: most tokens of the answer; 0 with ``echo`` scores the prompt alone.
        temperature: 0 takes the likeliest token.
        logprobs: number of likeliest tokens to report beside each token of the answer; 0 reports the chosen ones only.
        echo: the answer begins with the prompt (completions only); with ``logprobs`` this scores a text.
        extra: further fields of the body as (name, JSON text), for what one server alone knows; see ``extra_fields``.
    """

    max_tokens: int = 512
    temperature: float = 0.0
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    logprobs: int | None = None
    echo: bool = False
    extra: tuple[tuple[str, str], ...] = ()

    def fields(self, chat: bool) -> dict[str, Any]:
        """The fields of the request's body."""
        body: dict[str, Any] = {"max_tokens": self.max_tokens, "temperature": self.temperature}
        for name in _OPTIONAL:
            value = getattr(self, name)
            if value is not None:
                body[name] = value
        if self.stop:
            body["stop"] = list(self.stop)
        if self.logprobs is not None and chat:
            body["logprobs"] = True
            body["top_logprobs"] = self.logprobs
        elif self.logprobs is not None:
            body["logprobs"] = self.logprobs
        if self.echo:
            body["echo"] = True
        body.update((name, orjson.loads(value)) for name, value in self.extra)
        return body


_OPTIONAL = ("top_p", "top_k", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty", "seed")


def extra_fields(fields: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """``Sampling.extra`` from a mapping, e.g. ``{"chat_template_kwargs": {"enable_thinking": False}}``."""
    return tuple((k, orjson.dumps(v, option=orjson.OPT_SORT_KEYS).decode()) for k, v in sorted(fields.items()))


@dataclass(frozen=True, slots=True)
class Request:
    """One question about one document.

    Attributes:
        document: id of the document that it is about.
        purpose: what the answer is for, e.g. ``rewrite.wrap_medium@1`` or ``rate.dataman``; part of the key.
        messages: the turns of a chat; or
        prompt: a plain text that the model continues. Exactly one of the two is given.
        part: which of several equal questions about the document this is (chunk, k-th rewrite); part of the key.
        tag: anything of the caller's; comes back with the outcome, is not part of the key.
    """

    document: str
    purpose: str
    messages: tuple[Message, ...] = ()
    prompt: str | None = field(default=None, repr=False)
    sampling: Sampling = Sampling()
    constraint: Constraint | None = None
    part: int = 0
    tag: Any = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if bool(self.messages) == (self.prompt is not None):
            raise ValueError("a request has either messages or a prompt")

    @property
    def chat(self) -> bool:
        """Whether it goes to the chat endpoint."""
        return self.prompt is None

    def texts(self) -> list[str]:
        """All that the model will read, without the template."""
        return [m.content for m in self.messages] if self.prompt is None else [self.prompt]

    def prompt_digest(self) -> str:
        """32 hex digits over roles and texts."""
        digest = hashlib.blake2b(digest_size=16)
        roles: list[str] = [m.role for m in self.messages] or [""]
        for role, text in zip(roles, self.texts(), strict=True):
            data = text.encode("utf-8", "surrogatepass")
            digest.update(f"{role}:{len(data)}:".encode())
            digest.update(data)
        return digest.hexdigest()

    def key(self, model: str, revision: str | None) -> bytes:
        """16 bytes that name the answer: document, purpose, part, prompt, model and revision, parameters."""
        parameters = parameters_digest(self.sampling, self.constraint)
        parts = [self.document, self.purpose, self.part, self.prompt_digest(), model, revision, parameters]
        return hashlib.blake2b(orjson.dumps(parts), digest_size=16).digest()

    def body(self, model: str, dialect: Dialect) -> bytes:
        """The JSON body. Lone surrogates, which JSON cannot carry, become U+FFFD."""
        body: dict[str, Any] = {"model": model, **self.sampling.fields(self.chat)}
        if self.constraint is not None:
            body.update(self.constraint.fields(dialect))
        if self.prompt is not None:
            body["prompt"] = self.prompt
        else:
            body["messages"] = [{"role": m.role, "content": m.content} for m in self.messages]
            if self.messages[-1].role == "assistant" and dialect != "openai":
                body["add_generation_prompt"] = False
                body["continue_final_message"] = True
        try:
            return orjson.dumps(body)
        except TypeError:
            return orjson.dumps(_without_surrogates(body))


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATES.sub("\ufffd", value)
    if isinstance(value, dict):
        return {k: _without_surrogates(v) for k, v in value.items()}
    return [_without_surrogates(v) for v in value] if isinstance(value, list) else value


@lru_cache(maxsize=1024)
def parameters_digest(sampling: Sampling, constraint: Constraint | None) -> str:
    """32 hex digits over everything but prompt and model that decides the answer."""
    chosen = None if constraint is None else [constraint.kind, constraint.value]
    fields = [sampling.fields(chat=True), sampling.echo, chosen]
    return hashlib.blake2b(orjson.dumps(fields, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class TokenLogprob:
    """One token of the answer with its natural-log probability and the likeliest tokens at its place.

    ``logprob`` is null where the server gives none (the first token of an echoed prompt). Under a constraint vLLM
    normalises over the allowed tokens, without one over the whole vocabulary; what a grammar forbids is left out.
    """

    token: str
    logprob: float | None
    top: tuple[tuple[str, float], ...] = ()


#: whether an attempt was paid for: ``maybe`` is a request that was sent and whose answer never came whole
Paid = Literal["no", "maybe", "yes"]


@dataclass(frozen=True, slots=True)
class Answer:
    """The model answered and the answer meets the request's constraint; whether it is any good is for the caller.

    Attributes:
        finish_reason: ``stop``, ``length`` (cut: never a whole rewrite), ``content_filter`` …; null if not said.
        usage: tokens of this answer.
        wasted: tokens of earlier replies to the same request that could not be used.
        model: what the server says has answered.
        attempts: requests sent for it in this run; 0 means that it came from the journal.
    """

    key: bytes
    document: str
    purpose: str
    part: int
    text: str = field(repr=False)
    finish_reason: str | None
    usage: Usage
    wasted: Usage = NO_USAGE
    logprobs: tuple[TokenLogprob, ...] | None = field(default=None, repr=False)
    model: str | None = None
    attempts: int = 0
    tag: Any = field(default=None, compare=False, repr=False)
    ok: ClassVar[bool] = True


@dataclass(frozen=True, slots=True)
class Failure:
    """No answer for this request.

    Attributes:
        code: see ``FAILURES``.
        detail: for people; never text of the document or of the reply.
        attempts: requests sent for it in this run; 0 means that it was never sent, or that it came from the journal.
        paid: whether anything was paid.
        usage: tokens known to be paid.
        final: asking again would give the same; such a failure is kept in the journal if it was paid.
    """

    key: bytes
    document: str
    purpose: str
    part: int
    code: str
    detail: str
    attempts: int
    paid: Paid = "no"
    usage: Usage = NO_USAGE
    final: bool = False
    tag: Any = field(default=None, compare=False, repr=False)
    ok: ClassVar[bool] = False


Outcome = Answer | Failure

#: every failure code, with what it means
FAILURES = {
    "endpoint.connect": "no connection could be made",
    "endpoint.disconnect": "the server hung up before it answered",
    "endpoint.cut": "the connection broke in the middle of the answer",
    "endpoint.timeout": "no whole answer within the deadline of one attempt",
    "endpoint.down": "the server has not answered anybody for longer than the patience that the config sets",
    "endpoint.busy": "the server asked to wait (408, 409, 425, 429)",
    "endpoint.error": "the server failed (5xx)",
    "endpoint.status": "a status that no completion server should give",
    "deadline": "the request's total deadline passed, waiting included",
    "reply.too_large": "the reply is larger than the config allows",
    "reply.encoded": "the reply is compressed although that was not asked for",
    "reply.not_json": "a reply with status 200 that is no JSON, such as a proxy's error page",
    "reply.nonsense": "JSON, but no completion",
    "reply.error": "status 200 with an error inside",
    "reply.no_choices": "a completion without an answer",
    "reply.ambiguous": "more answers than were asked for",
    "reply.refusal": "the server marked the answer as a refusal",
    "reply.constraint": "the answer breaks the constraint that was asked for",
    "request.too_long": "the prompt does not fit the model's window",
    "request.refused": "the server does not take this request (400, 413, 422)",
    "stopped": "not sent, or given up, because the run is stopping",
    "budget": "not sent, because the budget is used up",
}
