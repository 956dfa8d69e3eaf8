"""From the bytes of a reply to an answer, or to what is wrong with it and what follows from that."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from typing import Any

import orjson

from curate.rewrite.requests import Paid, Request, TokenLogprob
from curate.rewrite.usage import NO_USAGE, BytesOverFour, Usage, prompt_tokens

#: vLLM reports tokens that a grammar forbids with a log-probability of -9999
_FORBIDDEN = -1000.0
_BUSY = {408, 409, 425, 429}
_COUNTER = BytesOverFour()


class Course(Enum):
    """What is to be done about a failed attempt."""

    AGAIN = "ask again"
    REASK = "ask again, but not often: this was paid for"
    DOCUMENT = "give up on this request"
    CONFIG = "stop: nothing will work like this"
    BUDGET = "stop: no money left"


@dataclass(frozen=True, slots=True)
class Trouble:
    """One attempt without a usable answer.

    Attributes:
        congested: the server asks for fewer requests at once.
        down: the server itself seems unwell.
        retry_after: seconds that the server asks to wait.
    """

    code: str
    detail: str
    course: Course
    paid: Paid = "no"
    congested: bool = False
    down: bool = False
    retry_after: float | None = None
    usage: Usage = NO_USAGE


@dataclass(frozen=True, slots=True)
class Parsed:
    """A usable answer."""

    text: str
    finish_reason: str | None
    usage: Usage
    logprobs: tuple[TokenLogprob, ...] | None
    model: str | None


def read_reply(request: Request, status: int, body: bytes, wait: float | None) -> Parsed | Trouble:
    """What a whole reply means; ``wait`` is its Retry-After in seconds."""
    if status != 200:
        return _refusal(request, status, body, wait)
    try:
        reply = orjson.loads(body)
    except orjson.JSONDecodeError:
        if body.lstrip()[:1] == b"{":  # cut, or with NaN or half a surrogate in it
            return Trouble("reply.nonsense", "JSON that cannot be read", Course.REASK, "maybe")
        return Trouble("reply.not_json", "status 200 without JSON", Course.AGAIN, "maybe", down=True)
    if not isinstance(reply, dict):
        return Trouble("reply.nonsense", "the reply is no JSON object", Course.REASK, "maybe")
    if reply.get("error") and not reply.get("choices"):
        return _error_inside(request, reply, wait)
    return _completion(request, reply)


def _error_inside(request: Request, reply: dict[str, Any], wait: float | None) -> Trouble:
    """Some gateways answer 200 and put the real status into the error."""
    code = _error(reply).get("code")
    if isinstance(code, int) and 400 <= code < 600:
        return _refusal(request, code, orjson.dumps(reply), wait)
    return Trouble("reply.error", "status 200 with an error inside", Course.AGAIN, "maybe", down=True)


def _completion(request: Request, reply: dict[str, Any]) -> Parsed | Trouble:
    choices = reply.get("choices")
    if not isinstance(choices, list):
        return Trouble("reply.nonsense", "the reply has no list of choices", Course.REASK, "maybe")
    usage = _usage(request, reply.get("usage"), choices)
    if not choices:
        return Trouble("reply.no_choices", "the list of choices is empty", Course.REASK, "yes", usage=usage)
    if len(choices) != 1:
        detail = f"{len(choices)} choices where one was asked for"
        return Trouble("reply.ambiguous", detail, Course.REASK, "yes", usage=usage)
    choice = choices[0]
    if not isinstance(choice, dict):
        return Trouble("reply.nonsense", "a choice is no JSON object", Course.REASK, "yes", usage=usage)
    message = choice.get("message")
    text = (message.get("content") if isinstance(message, dict) else None) if request.chat else choice.get("text")
    if not isinstance(text, str):
        if isinstance(message, dict) and isinstance(message.get("refusal"), str):
            return Trouble("reply.refusal", "marked as a refusal", Course.DOCUMENT, "yes", usage=usage)
        return Trouble("reply.no_choices", "the choice holds no text", Course.REASK, "yes", usage=usage)
    if request.constraint is not None and (wrong := request.constraint.violation(text)):
        # At temperature 0 the same question has the same answer
        course = Course.REASK if request.sampling.temperature > 0 else Course.DOCUMENT
        return Trouble("reply.constraint", wrong, course, "yes", usage=usage)
    reason, model = choice.get("finish_reason"), reply.get("model")
    return Parsed(
        text,
        reason if isinstance(reason, str) else None,
        usage,
        _logprobs(choice.get("logprobs")) if request.sampling.logprobs is not None else None,
        model if isinstance(model, str) else None,
    )


def _usage(request: Request, usage: Any, choices: list[Any]) -> Usage:
    """What the server says was used, or bytes/4 of prompt and reply."""
    if isinstance(usage, dict):
        prompt, completion = usage.get("prompt_tokens"), usage.get("completion_tokens", 0)
        if isinstance(prompt, int) and isinstance(completion, int) and prompt >= 0 and completion >= 0:
            details = usage.get("prompt_tokens_details")
            cached = details.get("cached_tokens") if isinstance(details, dict) else 0
            return Usage(prompt, completion, cached if isinstance(cached, int) else 0)
    size = sum(len(orjson.dumps(c)) for c in choices)
    return Usage(prompt_tokens(request, _COUNTER), -(-size // 4), 0, estimated=True)


def _logprobs(found: Any) -> tuple[TokenLogprob, ...] | None:
    """Log-probabilities of either form; null where the server gave none or nothing that can be read."""
    if not isinstance(found, dict):
        return None
    try:
        if isinstance(found.get("content"), list):
            return tuple(
                TokenLogprob(
                    e["token"],
                    _real(e["logprob"]),
                    _top((t["token"], t["logprob"]) for t in e.get("top_logprobs") or ()),
                )
                for e in found["content"]
            )
        if isinstance(found.get("tokens"), list):
            tops = found.get("top_logprobs") or [None] * len(found["tokens"])
            return tuple(
                TokenLogprob(token, _real(value), _top((top or {}).items()))
                for token, value, top in zip(found["tokens"], found["token_logprobs"], tops, strict=True)
            )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None
    return None


def _real(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) and value > _FORBIDDEN else None


def _top(pairs: Any) -> tuple[tuple[str, float], ...]:
    kept = [(token, value) for token, raw in pairs if (value := _real(raw)) is not None]
    return tuple(sorted(kept, key=lambda pair: (-pair[1], pair[0])))


def _error(reply: Any) -> dict[str, Any]:
    error = reply.get("error", reply) if isinstance(reply, dict) else {}
    return error if isinstance(error, dict) else {"message": error}


def _refusal(request: Request, status: int, body: bytes, wait: float | None) -> Trouble:
    """What a status other than 200 means."""
    try:
        error = _error(orjson.loads(body))
    except orjson.JSONDecodeError:
        error = {}
    kind = " ".join(str(error[k]) for k in ("type", "code") if isinstance(error.get(k), str | int))[:100]
    detail = f"status {status}{f' ({kind})' if kind else ''}"
    if status == 402 or "insufficient_quota" in kind:
        return Trouble("endpoint.status", f"{detail}: the account is out of money", Course.BUDGET)
    if status in _BUSY:
        return Trouble("endpoint.busy", detail, Course.AGAIN, congested=True, retry_after=wait)
    if status >= 500:
        congested = status == 503
        return Trouble("endpoint.error", detail, Course.AGAIN, congested=congested, down=True, retry_after=wait)
    if status in {400, 413, 422}:
        return _document_refused(request, error, detail)
    return Trouble("endpoint.status", f"{detail}{_said(request, error)}", Course.CONFIG)


def _document_refused(request: Request, error: dict[str, Any], detail: str) -> Trouble:
    message = str(error.get("message", "")).lower()
    marks = f"{error.get('code')} {error.get('param')}"
    too_long = "context_length" in marks or "input_tokens" in marks or "string_above_max_length" in marks
    if too_long or "context length" in message or "too long" in message or "maximum model length" in message:
        return Trouble("request.too_long", detail, Course.DOCUMENT)
    return Trouble("request.refused", f"{detail}{_said(request, error)}", Course.DOCUMENT)


def _said(request: Request, error: dict[str, Any]) -> str:
    """The server's own words for people, unless they might quote the document or a key."""
    message = error.get("message")
    if not isinstance(message, str) or "key" in message.lower():
        return ""
    texts = request.texts()
    windows = (message[i : i + 16] for i in range(0, max(1, len(message) - 15)))
    if any(window in text for window in windows for text in texts):
        return ""
    return f": {' '.join(message.split())[:200]}"
