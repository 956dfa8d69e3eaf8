"""What is wrong with a config: every mistake at once, each with its place, the line it stands on, and the nearest name.

An issue never shows a secret: messages and source lines pass through ``redact`` before they are stored.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from curate.errors import ConfigError

MAX_SHOWN = 20

#: Values that look like credentials whatever key they stand under.
_SECRET_VALUE = re.compile(
    r"""
      \bsk-[A-Za-z0-9_-]{8,}
    | \b(?:AKIA|ASIA)[0-9A-Z]{16}\b
    | \bgh[pousr]_[A-Za-z0-9]{20,}
    | \bgithub_pat_[A-Za-z0-9_]{20,}
    | \bhf_[A-Za-z0-9]{20,}
    | \bxox[abprs]-[A-Za-z0-9-]{10,}
    | \bAIza[0-9A-Za-z_-]{30,}
    | -----BEGIN\s[A-Z ]*PRIVATE\sKEY-----
    | \beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+
    | (?<=://)[^/\s:@]*:[^/\s@]+(?=@)
    | (?<=[?&])(?:X-Amz-Signature|X-Amz-Security-Token|sig|signature|token|api_key|key)=[^&\s"']+
    """,
    re.VERBOSE | re.IGNORECASE,
)
#: Keys whose value is a credential whatever it looks like; ``…_env`` names a variable and is fine.
_SECRET_KEY = re.compile(
    r"(?:^|_)(?:api_?key|secret|secret_?key|password|passwd|access_?key|access_?token|auth_?token|bearer|credentials?)$",
    re.IGNORECASE,
)
_SECRET_LINE = re.compile(
    r"((?:api_?key|secret|secret_?key|password|passwd|access_?key|access_?token|auth_?token|bearer|credentials?)"
    r"[\"']?\s*[:=]\s*)(?!\s*\$\{)\S.*",
    re.IGNORECASE,
)


def redact(text: str) -> str:
    """``text`` with everything that looks like a credential replaced by ``***``."""
    return _SECRET_VALUE.sub("***", _SECRET_LINE.sub(r"\1***", text))


def looks_secret(key: str, value: str) -> bool:
    """Whether ``key: value`` is a credential written out."""
    return bool(_SECRET_VALUE.search(value)) or (bool(_SECRET_KEY.search(key)) and value != "")


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name closest to ``name``; None if none is close."""
    found = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    if found:
        return found[0]
    lower = {k.lower(): k for k in known}
    return lower.get(name.lower())


@dataclass(frozen=True)
class ConfigIssue:
    """One mistake.

    Attributes:
        file: config file as it was given, or ``--set``.
        line: 1-based; 0 where the mistake has no line (``--set``, a missing file).
        column: 1-based column of the first wrong character.
        path: the key, e.g. ``stages.language.min_score``; empty for the file as a whole.
        code: kind of mistake, e.g. ``unknown_key``; stable, for programs.
        message: what was found and what was expected.
        hint: what to do; empty if the message says it all.
        source: the line it stands on, without credentials.
        width: number of characters to underline.
    """

    file: str
    line: int
    column: int
    path: str
    code: str
    message: str
    hint: str = ""
    source: str = ""
    width: int = 1

    def __post_init__(self) -> None:
        for field in ("message", "hint", "source"):
            object.__setattr__(self, field, redact(getattr(self, field)))

    def __str__(self) -> str:
        """The issue as people read it: place, message, source line, caret and hint."""
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        head = f"{place}: error: {self.message}"
        if not self.source:
            return f"{head}\n        {self.hint}" if self.hint else head
        start = max(0, self.column - 1)
        shift = max(0, start - 60)
        line = self.source.expandtabs(1)[shift : shift + 100]
        width = max(1, min(self.width, len(line) - (start - shift)))
        number = f"{self.line:>6}" if self.line else " " * 6
        caret = " " * (start - shift) + "^" * width
        return f"{head}\n{number} | {line}\n{' ' * 6} | {caret}{'  ' + self.hint if self.hint else ''}"

    def to_json(self) -> dict[str, Any]:
        """Plain values for ``--json``."""
        return {k: v for k, v in asdict(self).items() if k not in ("source", "width")}


class ConfigProblems(ConfigError):
    """A config with one or more mistakes; ``issues`` holds all of them, by line."""

    def __init__(self, issues: Sequence[ConfigIssue]) -> None:
        self.issues = sorted(issues, key=lambda issue: (issue.file == "--set", issue.file, issue.line, issue.column))
        shown = [str(issue) for issue in self.issues[:MAX_SHOWN]]
        if len(self.issues) > MAX_SHOWN:
            shown.append(f"… and {len(self.issues) - MAX_SHOWN} more")
        super().__init__("\n".join(shown))

    def to_json(self) -> list[dict[str, Any]]:
        """All issues as plain values."""
        return [issue.to_json() for issue in self.issues]
