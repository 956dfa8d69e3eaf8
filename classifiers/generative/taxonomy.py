"""Essential-Web's taxonomy (arXiv 2506.14111): ten lines of codes, each with a second choice.

A code that says "cannot tell" is no level: -1 everywhere, and the last code of artifacts, missing content, reasoning
depth, technical correctness and education level, become null. So the largest number that remains is the best or most.
An answer with a wrong number of lines or a code out of range is read not at all: 0 is a valid code of some fields and
must never stand for a fault.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import xxhash
from pydantic import BaseModel, ConfigDict, Field

from classifiers.generative.forms import Form, Prepared
from curate.rewrite.constraints import Constraint, regex
from curate.rewrite.fences import strip_control_tokens
from curate.rewrite.requests import Answer, Message, Sampling

__all__ = ["FIELDS", "CodeField", "Taxonomy", "TaxonomyOptions", "parse_codes"]

_THIRD = 10_000
_MIDDLE_SEED = 0x656169
_DEWEY = re.compile(r"(\d{1,3})(\.\d+)?")


@dataclass(frozen=True, slots=True)
class CodeField:
    """One line of the answer: codes from ``low`` to ``high``, which of them say nothing, and their names, if any."""

    name: str
    low: int
    high: int
    unknown: frozenset[int] = frozenset()
    names: tuple[str, ...] = ()

    def value(self, code: int) -> int | str | None:
        """What a code in range says; null if nothing."""
        if code == -1 or code in self.unknown:
            return None
        return self.names[code - self.low] if self.names else code


#: lines of the answer after the first (the Dewey-like code), in order
FIELDS = (
    CodeField(
        "cognitive_process", 1, 6, names=("Remember", "Understand", "Apply", "Analyze", "Evaluate", "Create")
    ),
    CodeField("knowledge_domain", 1, 4, names=("Factual", "Conceptual", "Procedural", "Metacognitive")),
    CodeField(
        "document_type",
        1,
        17,
        names=(
            "News/Editorial", "Academic/Research", "Reference/Encyclopedic/Educational", "Code/Software",
            "Social/Forum", "Promotional/Advertisement", "Search/Directory/Bibliography", "Adult/Pornographic",
            "Personal/Misc", "Machine-Generated", "Legal/Regulatory", "Government/Political", "Literary/Creative",
            "Reviews/Critiques", "E-Commerce/Marketplace", "Images/Videos/Audio", "Other/Unclassified",
        ),
    ),
    CodeField(
        "artifacts", 0, 4, frozenset({4}),
        ("No Artifacts", "Leftover HTML", "Text Extraction Errors", "Irrelevant Content", "Indeterminate"),
    ),
    CodeField(
        "missing_content", 0, 6, frozenset({6}),
        (
            "No Missing Content", "Truncated Snippets", "Click Here References", "Incoherent Flow",
            "Missing Images or Figures", "Missing Referenced Data", "Indeterminate",
        ),
    ),
    CodeField(
        "format",
        1,
        25,
        names=(
            "About (Org.)", "About (Personal)", "Academic Writing", "Audio Transcript", "Comment Section",
            "Content Listing", "Creative Writing", "Documentation", "FAQ", "Knowledge Article", "Legal Notices",
            "Listicle", "News (Org.)", "News Article", "Nonfiction Writing", "Personal Blog", "Product Page",
            "Q&A Forum", "Spam / Ads", "Structured Data", "Customer Support", "Truncated", "Tutorial", "User Review",
            "Other/Unclassified",
        ),
    ),
    CodeField("reasoning_depth", 1, 6, frozenset({6})),
    CodeField("technical_correctness", 1, 6, frozenset({6})),
    CodeField("education_level", 1, 5, frozenset({5})),
)  # fmt: skip


class TaxonomyOptions(BaseModel):
    """What the card says: the first turn, which is all that the distilled model is told, and the answer's length."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    system: str = "taxonomy"
    max_tokens: int = Field(128, ge=64)
    seed: int = 0


class Taxonomy(Form):
    """The text alone, after a one-word instruction."""

    version: ClassVar[int] = 1

    def __init__(self, options: TaxonomyOptions) -> None:
        self.options = options

    @property
    def sampling(self) -> Sampling:
        """Greedy."""
        return Sampling(max_tokens=self.options.max_tokens, temperature=0.0, seed=self.options.seed)

    @property
    def constraint(self) -> Constraint:
        """Ten lines of codes."""
        dewey = r"(-1|[0-9]{1,3}(\.[0-9]{1,6})?)"
        lines = [f"{dewey},({dewey}|skip)"]
        for field in FIELDS:
            codes = "|".join(str(code) for code in (-1, *range(field.low, field.high + 1)))
            lines.append(f"({codes}),({codes}|skip)")
        return regex("\n".join(lines))

    def prepare(self, text: str, document: str) -> Prepared:
        """Of over 30,000 characters the first and last 10,000, and 10,000 between them at a place that the id draws."""
        clean, _ = strip_control_tokens(text)
        if len(clean) <= 3 * _THIRD:
            return Prepared(clean)
        room = len(clean) - 3 * _THIRD + 1
        draw = xxhash.xxh64_intdigest(document.encode("utf-8", "surrogatepass"), _MIDDLE_SEED)
        at = _THIRD + (draw * room >> 64)
        middle = clean[at : at + _THIRD]
        whole = f"[beginning]\n{clean[:_THIRD]}\n[middle]\n{middle}\n[end]\n{clean[-_THIRD:]}"
        return Prepared(whole, truncated=True)

    def messages(self, text: str, document: str) -> tuple[Message, ...]:
        return (Message("system", self.options.system), Message("user", text))

    def parse(self, answer: Answer) -> Mapping[str, Any] | None:
        return parse_codes(answer.text)


def parse_codes(text: str) -> dict[str, int | str | None] | None:
    """Values by label, ``<field>`` and ``<field>_second``; null unless the answer is ten lines of valid codes."""
    lines = text.strip().split("\n")
    if len(lines) != len(FIELDS) + 1:
        return None
    values: dict[str, int | str | None] = {}
    for number, line in enumerate(lines):
        first, comma, second = line.partition(",")
        if not comma:
            return None
        name = FIELDS[number - 1].name if number else "fdc"
        for label, code in ((name, first.strip()), (f"{name}_second", second.strip())):
            if code == "skip" and label.endswith("_second"):
                values[label] = None
                continue
            found = _dewey(code) if not number else _code(FIELDS[number - 1], code)
            if found is _INVALID:
                return None
            values[label] = found  # type: ignore[assignment]
    return values


_INVALID = object()


def _dewey(code: str) -> object:
    """The three digits before the point; fewer digits name a wider class, which begins with zeros as in libraries."""
    if code == "-1":
        return None
    match = _DEWEY.fullmatch(code)
    return int(match.group(1).ljust(3, "0")) if match and code.isascii() else _INVALID


def _code(field: CodeField, code: str) -> object:
    if re.fullmatch(r"-1|\d{1,2}", code, re.ASCII) is None:
        return _INVALID
    number = int(code)
    return field.value(number) if number == -1 or field.low <= number <= field.high else _INVALID
