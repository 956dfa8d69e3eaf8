"""What a command found: values for programs, text for people, and how the process ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    """The result of a command.

    Attributes:
        data: JSON-able; what ``--json`` prints, with ``schema`` and ``command`` put before it.
        text: what people see on stdout; called only if it is shown.
        exit_code: how the process ends.
        notes: lines for stderr, e.g. the next useful command; not shown with ``--json``.
    """

    data: dict[str, Any]
    text: Callable[[], str]
    exit_code: int = 0
    notes: Sequence[str] = ()
