"""DataMan (Peng et al., arXiv 2502.19363): fourteen criteria from 1 to 5 and one of fifteen domains, in a short answer.

The names of the fields and their order, the frame of the question and the cutting of long texts are those with which
the published models were trained; another frame is another rater. The answer is read strictly: one letter and fourteen
digits on fifteen lines. A missing line would shift all later scores, so nothing is read from such an answer.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from classifiers.generative.expected import digit_values
from classifiers.generative.forms import Form, Prepared
from classifiers.generative.trimming import Trimmer
from curate.rewrite.constraints import Constraint, regex
from curate.rewrite.fences import strip_control_tokens
from curate.rewrite.requests import Answer, Message, Sampling

__all__ = ["CRITERIA", "DOMAINS", "DataMan", "DataManOptions", "parse_answer"]

CRITERIA = (
    "Accuracy", "Coherence", "Language Consistency", "Semantic Density", "Knowledge Novelty", "Topic Focus",
    "Creativity", "Professionalism", "Style Consistency", "Grammatical Diversity", "Structural Standardization",
    "Originality", "Sensitivity", "Overall Score",
)  # fmt: skip
#: letter → domain, in the models' order
DOMAINS = dict(
    zip(
        "ABCDEFGHIJKLMNO",
        (
            "Medicine", "Finance", "Law", "Education", "Technology", "Entertainment", "Mathematics", "Coding",
            "Government", "Culture", "Transportation", "Retail E-commerce", "Telecommunication", "Agriculture",
            "Other",
        ),
        strict=True,
    )
)  # fmt: skip
LABELS = tuple(name.lower().replace(" ", "_") for name in CRITERIA)

_ANSWER = r"[A-O](\n[1-5]){14}"
_WHOLE = re.compile(_ANSWER)
#: a quotation that begins with an omission, and pictures without a description
_OMISSION = re.compile(r"\A[\"\u201c\u201d](?:\u2026+|\.{3,})[\"\u201c\u201d]")
_PICTURE = re.compile(r"!\[\]\(/?[^)]+\)\n")
#: lines of a page that look like lines of the question; a mark before them keeps them part of the text
_FORM_LINE = re.compile(
    r"^(?=[ \t]*(?:\[\d{1,2}\][ \t]*(?:" + "|".join(re.escape(c) for c in CRITERIA) + r")[ \t]*:|Domain[ \t]*:))",
    re.IGNORECASE | re.MULTILINE,
)
_HALF = 10_000
_QUESTION_END = "\nDomain:_\n" + "\n".join(f"[{k}]{name}:_/5" for k, name in enumerate(CRITERIA, 1))


class DataManOptions(BaseModel):
    """What the card says.

    Attributes:
        system, instruction: the first turn, and the line before the text, as the model was trained.
        text_tokens: most tokens of a text; of a longer one half is taken from each end.
        disarm: mark lines of a page that look like lines of the question, so that a page cannot fill in its own form.
        logprobs: likeliest tokens to ask for beside each token; five digits are all that the constraint allows. 0: no
            expected values.
        max_tokens: 15 symbols and 14 line ends.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    system: str = "You are a helpful assistant."
    instruction: str = "Please score the text on fourteen evaluation criteria and specify its domain:"
    text_tokens: int = Field(1894, ge=2)
    disarm: bool = True
    logprobs: int = Field(5, ge=0, le=20)
    max_tokens: int = Field(29, ge=29)
    seed: int = 1024


class DataMan(Form):
    """The question of the published models, for theirs and for any other that can follow it."""

    version: ClassVar[int] = 1

    def __init__(self, options: DataManOptions, trimmer: Trimmer) -> None:
        self.options = options
        self._trimmer = trimmer

    @property
    def sampling(self) -> Sampling:
        """Greedy, as long as the answer can be."""
        o = self.options
        return Sampling(max_tokens=o.max_tokens, temperature=0.0, seed=o.seed, logprobs=o.logprobs or None)

    @property
    def constraint(self) -> Constraint:
        """A letter and fourteen digits on lines of their own."""
        return regex(_ANSWER)

    def prepare(self, text: str, document: str) -> Prepared:
        """Without what the authors delete and without control tokens; the two ends of a long text."""
        clean = _PICTURE.sub("", _OMISSION.sub("", text))
        clean, _ = strip_control_tokens(clean)
        parts = [clean] if len(clean) <= 2 * _HALF else [clean[:_HALF], clean[-_HALF:]]
        short, cut = self._trimmer.ends(parts, self.options.text_tokens)
        short = short.strip()
        if self.options.disarm:
            short = _FORM_LINE.sub("> ", short)
        return Prepared(short, cut or len(parts) > 1)

    def messages(self, text: str, document: str) -> tuple[Message, ...]:
        o = self.options
        return (Message("system", o.system), Message("user", f"{o.instruction}\nText: " + text + _QUESTION_END))

    def parse(self, answer: Answer) -> Mapping[str, Any] | None:
        scores = parse_answer(answer.text)
        if scores is None:
            return None
        values: dict[str, Any] = dict(scores)
        begin = len(answer.text) - len(answer.text.lstrip())
        places = [begin + 2 * k for k in range(1, len(LABELS) + 1)]
        finer = digit_values(answer.logprobs, answer.text[: places[-1] + 1], places, [(1, 5)] * len(LABELS))
        values.update({f"{label}_expected": value for label, value in zip(LABELS, finer, strict=True)})
        return values


def parse_answer(text: str) -> dict[str, int | str] | None:
    """Scores by label and the domain's name from an answer; null unless it is exactly fifteen right lines.

    White space around the whole answer does not count, any inside it does.
    """
    whole = text.strip()
    if _WHOLE.fullmatch(whole) is None:
        return None
    lines = whole.split("\n")
    return {"domain": DOMAINS[lines[0]], **{label: int(line) for label, line in zip(LABELS, lines[1:], strict=True)}}
