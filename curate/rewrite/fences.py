"""A page's text inside a prompt is data: fenced by a delimiter it cannot know, without tokens that steer templates."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, field

#: Tokens by which chat templates tell who speaks and by which tokenizers begin and end. The first alternatives are
#: families: ``<|im_start|>``, ``<|eot_id|>`` …; DeepSeek's with full-width bars; T5's and Mistral's.
CONTROL_TOKENS = (
    r"<\|[^\s<>|]{1,40}\|>",
    r"<\uff5c[^\s<>\uff5c]{1,40}\uff5c>",
    r"\[/?(?:INST|SYSTEM_PROMPT|AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|TOOL_CONTENT|THINK|IMG)\]",
    r"\[(?:gMASK|sMASK|CLS|SEP|MASK)\]",
    r"<</?SYS>>",
    r"</?(?:s|bos|eos|pad|unk|mask|sop|eop|think|tool_call|tool_response|start_of_turn|end_of_turn|turn)>",
    r"<extra_id_\d{1,4}>",
    r"<(?:unused|reserved_special_token_)\d{1,4}>",
)
_CONTROL = re.compile("|".join(CONTROL_TOKENS))


@dataclass(frozen=True, slots=True)
class Fenced:
    """A text between two lines that stand nowhere in it.

    Attributes:
        text: delimiter line, the text without control tokens, delimiter line.
        delimiter: what to name in the instruction that follows the text.
        removed: control tokens that were taken out, by spelling.
    """

    text: str = field(repr=False)
    delimiter: str
    removed: Counter[str]


def strip_control_tokens(text: str) -> tuple[str, Counter[str]]:
    """``text`` with a blank for every control token, and what was taken out.

    The blank keeps the pieces around a token from forming another one. ``<s>`` of HTML is taken out too: for tokenizers
    it is the same.
    """
    removed: Counter[str] = Counter()

    def take(match: re.Match[str]) -> str:
        removed[match.group()] += 1
        return " "

    return _CONTROL.sub(take, text), removed


def fence(text: str, document: str, seed: int = 0) -> Fenced:
    """``text`` fenced by a delimiter drawn from seed, document id and text.

    A page cannot hold its own delimiter: it would have to contain a hash of itself. That it does not is checked too.
    """
    clean, removed = strip_control_tokens(text)
    turn = 0
    while True:
        material = f"{seed}:{turn}:{document}:".encode() + clean.encode("utf-8", "surrogatepass")
        delimiter = f"=====DOCUMENT-{hashlib.blake2b(material, digest_size=8).hexdigest()}====="
        if delimiter not in clean:
            return Fenced(f"{delimiter}\n{clean}\n{delimiter}", delimiter, removed)
        turn += 1
