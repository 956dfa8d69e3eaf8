"""What two texts differ in, word by word, at a bounded cost: for people who judge whether a removal was right.

Equal beginnings and ends are set aside first; between them, words that occur once in both texts and stand in the same
order are the anchors (patience diff, Bram Cohen), and what is left between two anchors is compared by
``difflib`` where it is short. What is not compared is counted and said, never passed over.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import SequenceMatcher
from typing import Literal

Sign = Literal["=", "-", "+", "…"]

#: words between the equal beginning and the equal end that are compared, per text
MOST_WORDS = 20_000
#: characters of a text that are looked at
MOST_CHARS = 2_000_000
#: a gap between two anchors with more pairs of words than this is taken as wholly replaced
MOST_CELLS = 40_000
#: words of context on each side of a change; and words shown in all, after which the rest is counted
CONTEXT, MOST_SHOWN = 8, 240

#: characters of the equal beginning and end that stay beside the differences, more than their context needs
_MARGIN = 400
_THE_SAME = " the same"
#: words per anchor: first one, then runs
_WIDTHS = (1, 4, 12, 40)

#: a word, or one sign of a script that is written without spaces, or a mark; and the space after it
_TOKEN = re.compile(r"([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\U00020000-\U0003ffff]"
                    r"|[^\W\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff]+|\S)(\s*)")  # fmt: skip


@dataclass(frozen=True)
class WordDiff:
    """A diff in reading order.

    Attributes:
        parts: sign and text: ``=`` in both, ``-`` only in the first, ``+`` only in the second, ``…`` left out (then
            the text says what: ``12 same``, ``3 more``).
        same, only_first, only_second: words.
        uncompared: words beyond the caps, in both texts together; they are in none of the three counts.
    """

    parts: tuple[tuple[Sign, str], ...] = field(default=())
    same: int = 0
    only_first: int = 0
    only_second: int = 0
    uncompared: int = 0


_COUNTED = re.compile(_TOKEN.pattern.replace("(", "(?:", 1).replace(r"(\s*)", ""))


def word_diff(first: str, second: str, *, most_shown: int = MOST_SHOWN) -> WordDiff:
    """The diff that turns ``first`` into ``second``."""
    cut = max(0, len(first) - MOST_CHARS) + max(0, len(second) - MOST_CHARS)
    first, second = first[:MOST_CHARS], second[:MOST_CHARS]
    head = _equal_head(first, second) if first != second else 0
    tail = _equal_tail(first[head:], second[head:]) if first != second else 0
    found = _middle(first[head : len(first) - tail], second[head : len(second) - tail], most_shown)
    ahead, after = _count(first[:head]), _count(first[len(first) - tail :])
    beyond = found.uncompared + (cut and max(1, cut // 6))  # about as many words, for texts of megabytes
    if found.uncompared:  # the equal end is no longer next to what was compared
        beyond, after = beyond + 2 * after, 0
    return WordDiff(
        _with_ends(found.parts, ahead, after), found.same + ahead + after, found.only_first, found.only_second, beyond
    )


def _equal_head(a: str, b: str) -> int:
    """Characters of the equal beginning that need no comparing: up to a space well before the first difference."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        half = (low + high + 1) // 2
        low, high = (half, high) if a[low:half] == b[low:half] else (low, half - 1)
    if low <= _MARGIN:
        return 0
    return max(0, *(a.rfind(space, 0, low - _MARGIN) + 1 for space in " \n"))


def _equal_tail(a: str, b: str) -> int:
    """Likewise for the end."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        half = (low + high + 1) // 2
        same = a[len(a) - half : len(a) - low] == b[len(b) - half : len(b) - low]
        low, high = (half, high) if same else (low, half - 1)
    found = [at for space in " \n" if (at := a.find(space, len(a) - low + _MARGIN)) >= 0] if low > _MARGIN else []
    return len(a) - min(found) if found else 0


def _count(text: str) -> int:
    return len(_COUNTED.findall(text))


def _with_ends(parts: tuple[tuple[Sign, str], ...], ahead: int, after: int) -> tuple[tuple[Sign, str], ...]:
    """The parts, with the words that were set aside added to what is left out at both ends."""
    shown = list(parts)
    for words, at in ((ahead, 0), (after, len(shown) - 1)):
        if not words or not shown:
            continue
        sign, text = shown[at]
        if sign == "…" and text.endswith(_THE_SAME):
            shown[at] = ("…", f"{int(text.removesuffix(_THE_SAME).replace(',', '')) + words:,}{_THE_SAME}")
        elif not (at and sign == "…"):
            shown.insert(at if at == 0 else len(shown), ("…", f"{words:,}{_THE_SAME}"))
    return tuple(shown)


def _middle(first: str, second: str, most_shown: int) -> WordDiff:
    """The diff of what lies between the equal ends that were set aside."""
    one, two = _tokens(first), _tokens(second)
    a, b = [w for w, _ in one], [w for w, _ in two]
    start = _common(a, b)
    end = _common(a[start:][::-1], b[start:][::-1])
    middle_a, middle_b = a[start : len(a) - end], b[start : len(b) - end]
    beyond = max(0, len(middle_a) - MOST_WORDS) + max(0, len(middle_b) - MOST_WORDS)
    blocks = [(0, 0, start), *_matches(middle_a[:MOST_WORDS], middle_b[:MOST_WORDS], start, start)]
    if beyond:  # the equal end is no longer next to what was compared
        one, two = one[: start + MOST_WORDS], two[: start + MOST_WORDS]
        beyond += 2 * end
    else:
        blocks.append((len(a) - end, len(b) - end, end))
    same = sum(n for _, _, n in blocks)
    runs = list(_runs(one, two, blocks))
    return WordDiff(tuple(_shown(runs, most_shown)), same, len(one) - same, len(two) - same, beyond)


def _tokens(text: str) -> list[tuple[str, bool]]:
    """Words and marks, and whether a space follows."""
    return [(word, space != "") for word, space in _TOKEN.findall(text)]


def _common(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the common beginning."""
    for i, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return i
    return min(len(a), len(b))


def _matches(
    a: list[str], b: list[str], at_a: int, at_b: int, widths: tuple[int, ...] = _WIDTHS
) -> Iterator[tuple[int, int, int]]:
    """Equal runs in order, as (place in the first, place in the second, length); places are shifted by ``at``.

    Where single words occur too often to be anchors, as in texts that repeat themselves, runs of words are tried.
    """
    last_a = last_b = 0
    for x, y in [*_anchors(_joined(a, widths[0]), _joined(b, widths[0])), (len(a), len(b))]:
        if x < last_a or y < last_b:
            continue  # already part of the run that the anchor before it grew to
        yield from _gap(a[last_a:x], b[last_b:y], at_a + last_a, at_b + last_b, widths[1:])
        n = _common(a[x:], b[y:])
        if n:
            yield at_a + x, at_b + y, n
        last_a, last_b = x + n, y + n


def _joined(words: list[str], width: int) -> list[str]:
    """Every run of ``width`` words as one."""
    return words if width == 1 else [" ".join(words[i : i + width]) for i in range(len(words) - width + 1)]


def _gap(a: list[str], b: list[str], at_a: int, at_b: int, widths: tuple[int, ...]) -> Iterator[tuple[int, int, int]]:
    if len(a) * len(b) > MOST_CELLS:
        if widths:
            yield from _matches(a, b, at_a, at_b, widths)
    elif a and b:
        for block in SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks():
            if block.size:
                yield at_a + block.a, at_b + block.b, block.size


def _anchors(a: list[str], b: list[str]) -> list[tuple[int, int]]:
    """Places of words that occur once in both, those that ascend in both texts, as many as there are."""
    once = {w for w, n in Counter(a).items() if n == 1} & {w for w, n in Counter(b).items() if n == 1}
    place = {w: i for i, w in enumerate(b) if w in once}
    pairs = [(i, place[w]) for i, w in enumerate(a) if w in once]
    ends: list[int] = []
    at: list[int] = []
    before: list[int] = []
    for i, (_, y) in enumerate(pairs):  # longest ascending subsequence by patience sorting
        pile = bisect_left(ends, y)
        before.append(at[pile - 1] if pile else -1)
        if pile == len(ends):
            ends.append(y)
            at.append(i)
        else:
            ends[pile], at[pile] = y, i
    found: list[tuple[int, int]] = []
    i = at[-1] if at else -1
    while i >= 0:
        found.append(pairs[i])
        i = before[i]
    return found[::-1]


def _runs(
    one: list[tuple[str, bool]], two: list[tuple[str, bool]], blocks: list[tuple[int, int, int]]
) -> Iterator[tuple[Sign, list[tuple[str, bool]]]]:
    """Runs of one sign; equal runs that touch are one."""
    i = j = 0
    same: list[tuple[str, bool]] = []
    for x, y, n in [*blocks, (len(one), len(two), 0)]:
        if (x > i or y > j) and same:
            yield "=", same
            same = []
        if x > i:
            yield "-", one[i:x]
        if y > j:
            yield "+", two[j:y]
        same += two[y : y + n]
        i, j = x + n, y + n
    if same:
        yield "=", same


def _shown(runs: list[tuple[Sign, list[tuple[str, bool]]]], most: int) -> Iterator[tuple[Sign, str]]:
    """Runs as text: of equal runs only what stands near a change, and no more than ``most`` words in all."""
    left = most
    for number, (sign, words) in enumerate(runs):
        if left <= 0:
            rest = sum(len(w) for s, w in runs[number:] if s != "=")
            if rest:
                yield "…", f"{rest:,} more that differ"
            return
        pieces = list(_near_changes(words, number > 0, number < len(runs) - 1)) if sign == "=" else [(sign, words)]
        for kind, piece in pieces:
            if kind == "…":
                yield "…", f"{len(piece):,}{_THE_SAME}"
                continue
            yield kind, _text(piece[:left])
            if len(piece) > left:
                yield "…", f"{len(piece) - left:,} more"
            left -= len(piece)


def _near_changes(
    words: list[tuple[str, bool]], after: bool, before: bool
) -> Iterator[tuple[Sign, list[tuple[str, bool]]]]:
    head = CONTEXT if after else 0
    tail = CONTEXT if before else 0
    if not after and not before:  # nothing differs: the beginning says which text it is
        head = 3 * CONTEXT
    if len(words) <= head + tail + 3:
        yield "=", words
        return
    if head:
        yield "=", words[:head]
    yield "…", words[head : len(words) - tail]
    if tail:
        yield "=", words[len(words) - tail :]


def _text(words: list[tuple[str, bool]]) -> str:
    return "".join(word + (" " if space else "") for word, space in words).strip()
