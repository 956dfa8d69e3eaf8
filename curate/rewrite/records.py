"""Outcomes as the journal keeps them, and back."""

from __future__ import annotations

from typing import Any

from curate.rewrite.requests import Answer, Failure, Outcome, Request, TokenLogprob
from curate.rewrite.usage import Usage


def to_record(outcome: Outcome, request: Request, model: str, revision: str | None) -> tuple[dict[str, Any], Usage]:
    """The JSON of an outcome and the tokens that were paid for it; no times and no attempts."""
    from curate.rewrite.requests import parameters_digest

    record: dict[str, Any] = {
        "document": outcome.document,
        "purpose": outcome.purpose,
        "part": outcome.part,
        "prompt": request.prompt_digest(),
        "parameters": parameters_digest(request.sampling, request.constraint),
        "model": model,
        "revision": revision,
    }
    if isinstance(outcome, Failure):
        record |= {"code": outcome.code, "detail": outcome.detail, "paid": outcome.paid, "usage": _pack(outcome.usage)}
        return record, outcome.usage
    record |= {
        "text": outcome.text,
        "finish_reason": outcome.finish_reason,
        "usage": _pack(outcome.usage),
        "answered_by": outcome.model,
    }
    if outcome.wasted.tokens:
        record["wasted"] = _pack(outcome.wasted)
    if outcome.logprobs is not None:
        record["logprobs"] = [[t.token, t.logprob, t.top] for t in outcome.logprobs]
    return record, outcome.usage + outcome.wasted


def from_record(record: dict[str, Any], key: bytes, tag: Any) -> Outcome:
    """The outcome again; ``attempts`` is 0."""
    about = (key, record["document"], record["purpose"], record["part"])
    usage = _unpack(record["usage"])
    if "code" in record:
        return Failure(*about, record["code"], record["detail"], 0, record["paid"], usage, True, tag)
    logprobs = record.get("logprobs")
    return Answer(
        *about,
        record["text"],
        record["finish_reason"],
        usage,
        _unpack(record["wasted"]) if "wasted" in record else Usage(),
        None
        if logprobs is None
        else tuple(TokenLogprob(t, value, tuple((a, b) for a, b in top)) for t, value, top in logprobs),
        record["answered_by"],
        0,
        tag,
    )


def _pack(usage: Usage) -> list[int]:
    return [usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, int(usage.estimated)]


def _unpack(numbers: list[int]) -> Usage:
    return Usage(numbers[0], numbers[1], numbers[2], bool(numbers[3]))
