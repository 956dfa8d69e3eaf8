"""A form: the question that a document becomes, and the only answers that count.

An answer either has exactly the form that was asked for, or the document has no value. There is no default, no guess
from half an answer, and a refusal is no low score.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

from curate.rewrite.constraints import Constraint, Dialect
from curate.rewrite.requests import Answer, Failure, Message, Outcome, Request, Sampling, extra_fields

__all__ = ["Form", "Prepared", "Reading", "refuses"]

#: Beginnings of answers by which a model declines. Only looked at where an answer does not have the form asked for.
_REFUSALS = re.compile(
    r"""\A[\s"'*>#-]*(?:
        (?:i['\u2019]?m|i\s+am|we\s+are)\s+(?:very\s+|truly\s+|really\s+)?(?:sorry|afraid|unable|not\s+able|not\s+comfortable)
      | (?:sorry|unfortunately|apologies|my\s+apologies)\b
      | i\s+(?:can['\u2019]?t|cannot|can\s+not|won['\u2019]?t|will\s+not|must\s+decline|refuse|do\s+not\s+feel)
      | as\s+an?\s+(?:ai|artificial|language)\b
      | (?:this|the)\s+(?:text|content|request|page|document)\s+(?:violates|is\s+(?:inappropriate|harmful|explicit))
    )""",
    re.IGNORECASE | re.VERBOSE,
)

#: failure of the client → status of the document; the others are the model's or the server's fault
_FAILED = {"reply.refusal": "refused", "reply.constraint": "unparseable"}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A text as the model reads it; ``truncated`` if part of it was left out."""

    text: str = field(repr=False)
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Reading:
    """What an answer says: values of labels by name (null: the model abstains), or the status that says why none."""

    status: str
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether there are values."""
        return self.status == "ok"


class Form(ABC):
    """How a rater is asked; made from its options, knows nothing of servers.

    Attributes:
        version: raise it whenever the same document may be asked or read in another way.
    """

    version: ClassVar[int] = 1

    @property
    @abstractmethod
    def sampling(self) -> Sampling:
        """How the answer is drawn."""

    @property
    @abstractmethod
    def constraint(self) -> Constraint | None:
        """The form of the answer, for servers that can hold a model to it."""

    @abstractmethod
    def prepare(self, text: str, document: str) -> Prepared:
        """The part of a text that is read."""

    @abstractmethod
    def messages(self, text: str, document: str) -> tuple[Message, ...]:
        """The turns of the chat about a prepared text."""

    @abstractmethod
    def parse(self, answer: Answer) -> Mapping[str, Any] | None:
        """Values of the labels; null if the answer does not have the form."""

    def request(
        self, text: str, document: str, purpose: str, dialect: Dialect, part: int = 0, tag: Any = None
    ) -> Request:
        """The question about a prepared text.

        The constraint is sent, but not left to the client to check: the form checks the answer itself, and the journal
        then keeps what the model really said.
        """
        sampling = self.sampling
        if self.constraint is not None:
            given = extra_fields(self.constraint.fields(dialect))
            sampling = replace(sampling, extra=(*sampling.extra, *given))
        return Request(
            document=document, purpose=purpose, messages=self.messages(text, document), sampling=sampling, part=part,
            tag=tag,
        )  # fmt: skip

    def read(self, outcome: Outcome) -> Reading:
        """What came of a question."""
        if isinstance(outcome, Failure):
            return Reading(_FAILED.get(outcome.code, "model_error"))
        if outcome.finish_reason == "content_filter":
            return Reading("refused")
        values = self.parse(outcome)
        if values is not None:
            return Reading("ok", values)
        return Reading("refused" if refuses(outcome.text) else "unparseable")


def refuses(text: str) -> bool:
    """Whether an answer begins as refusals do."""
    return _REFUSALS.match(text) is not None
