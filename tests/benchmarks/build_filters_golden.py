"""Writes tests/curate/stages/golden/filters.json: our own texts with datatrove's values, verdicts and cleaned texts.

    CURATE_PEERS_PYTHON=… python tests/benchmarks/build_filters_golden.py

Every rule of every preset is crossed by at least one text, most of them by changing one thing in the same sound page.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
GOLDEN = HERE.parent / "curate" / "stages" / "golden" / "filters.json"

PARAGRAPHS = [
    "The old mill stood at the end of the lane, and the river turned its wheel from March to November.",
    "When the miller's daughter came home with two engineers, they said that a turbine would be cheaper to keep.",
    "Nobody in the village believed them; still, the council voted for it (nine to four) after a long evening.",
    "It's easy to laugh at such plans. But who'd have thought, in 1987, that the grid would one day need it?",
    "They bought a second-hand generator, paid $4,500 for it, and carried it up the hill in pieces.",
    "By spring the lights of the school ran on water, and what was left over was sold to the dairy.",
    'The teacher wrote a small book about the work, "Water and Light", with drawings by her pupils.',
    "Visitors still ask to see the wheel, which turns beside the turbine for no reason but beauty.",
]
PAGE = "\n".join(PARAGRAPHS)


#: Gopher's bounds on duplicated n-grams.
BOUNDS = {5: 0.15, 6: 0.14, 7: 0.13, 8: 0.12, 9: 0.11, 10: 0.10}


def made_up_words(n: int) -> list[str]:
    """Distinct words of two to four syllables, no punctuation."""
    syllables = [c + v for c in "bdfgklmprst" for v in "aeiou"]
    size = len(syllables)
    return [syllables[i % size] + syllables[i // size % size] + syllables[(7 * i + 3) % size] for i in range(n)]


def repeated_share(words: list[str], n: int) -> float:
    """Share of characters in n-grams that occurred before, after one of which the search goes on behind it."""
    seen, chars, i = set(), 0, 0
    while i + n <= len(words):
        gram = tuple(words[i : i + n])
        chars += sum(map(len, gram)) if gram in seen else 0
        i += n if gram in seen else 1
        seen.add(gram)
    return chars / len(" ".join(words))


def first_crossed(n: int) -> str:
    """A text that crosses the bound on duplicated n-grams, and of no fewer words."""
    for size in range(150, 500):
        for again in range(20, 90):
            words = made_up_words(size)
            words += words[:again]
            crossed = [k for k, bound in BOUNDS.items() if repeated_share(words, k) > bound]
            if crossed and crossed[0] == n:
                return " ".join(words)
    raise ValueError(f"no text found that crosses only the bound on {n}-grams")


def texts() -> dict[str, str]:
    """What the text shows → the text."""
    fours = " ".join(f"{word} over hills and dales" for word in made_up_words(30)) + " " + " ".join(made_up_words(380))
    shout = " ".join("so it goes and goes" for _ in range(30)) + "."
    return {
        "sound page": PAGE,
        "blank lines between paragraphs": "\n\n".join(PARAGRAPHS) + "\n",
        "carriage returns": "\r\n".join(PARAGRAPHS),
        "other line ends": "\u2028".join(PARAGRAPHS[:4]) + "\x85" + "\u2029".join(PARAGRAPHS[4:]) + "\x0c",
        "empty": "",
        "spaces only": "  \t ",
        "newlines only": "\n\n\n",
        "two words": "Hello there",
        "one line": " ".join(PARAGRAPHS),
        "short words": "a b c d e f g h i. " * 20,
        "long words": " ".join(f"internationalisation{i}ofadministration" for i in range(60)) + " the and of.",
        "hash signs": PAGE + "\n" + "# " * 40,
        "ellipses": PAGE + "\n" + "and then ... … " * 20,
        "bullets": "\n".join(f"- {p}" for p in PARAGRAPHS[:4]) + "\n" + "\n".join(f" • {p}" for p in PARAGRAPHS[4:]),
        "lines that trail off": "\n".join(p[:-1] + "..." for p in PARAGRAPHS),
        "numbers": PAGE[:300] + "\n" + " ".join(str(n * 37) for n in range(60)),
        "few stop words": "Cats chase mice through gardens where flowers grow near stone walls. " * 6,
        "repeated paragraphs": "\n\n".join([*PARAGRAPHS[:4], *PARAGRAPHS[:3]]),
        "a long paragraph repeated": "\n\n".join([PARAGRAPHS[1] * 3, *PARAGRAPHS, PARAGRAPHS[1] * 3]),
        "repeated short lines": PAGE + "\nRead more" * 12,
        "a long line repeated": PAGE + "\n" + "\n".join([" ".join(PARAGRAPHS[:3])] * 2),
        "a pair of words over and over": PAGE + " very much" * 40 + ".",
        "a refrain": PAGE + "\n" + shout,
        "a refrain of six words": PAGE + "\n" + "we sing about rivers every day. " * 9,
        "long repeats": PAGE + "\n" + " ".join(PARAGRAPHS[:2]) + " Indeed, " + " ".join(PARAGRAPHS[2:4]),
        "four words over and over": fours,
        **{f"repeats of {n} words": first_crossed(n) for n in range(6, 11)},
        "code": PAGE + "\nif (x) { return y; }",
        "code in a line about javascript": PAGE + "\nPlease enable JavaScript { now }.",
        "placeholder": PAGE + "\nLorem ipsum dolor sit amet, consectetur.",
        "placeholder before code": PAGE + "\nLOREM IPSUM dolor sit amet.\nThe set { a, b } is small.",
        "code before placeholder": PAGE + "\nThe set { a, b } is small.\nLorem ipsum dolor sit amet.",
        "code and placeholder in one line": PAGE + "\nThe set { a, b } is lorem ipsum.",
        "cookie notice": PAGE + "\nThis site uses cookies to count you.\nRead our Privacy Policy before you go.",
        "cookie notice with a kelvin sign": PAGE + "\nThis site has a coo\u212aie policy to read.",
        "code in a cookie notice": PAGE + "\nThis site uses cookies { all }.",
        "citations": PAGE.replace(".", ".[1]", 2).replace("water", "water[citation needed]") + "\nSo it was said [2].",
        "citations alone": "[1] [2] [3]\n" + PAGE + "\n[4] [5] [6]",
        "citations at the very end": "\n".join(PARAGRAPHS[:3]) + "\nIt was said so. [1] [2]",
        "digits of another script": PAGE + "\nIt was so in the beginning[٣٤].",
        "a very long word": PAGE + "\n" + "x" * 1001 + " is a word here.",
        "few sentences": "\n".join(PARAGRAPHS[:2]) + "\nHome\nAbout us\nContact",
        "no punctuation": "\n".join(p.rstrip(".?") for p in PARAGRAPHS),
        "short lines": PAGE + "\nYes, it is." * 1 + "".join(f"\nLine {n} is short." for n in range(24)),
        "a list": PAGE[:400] + "".join(f"\nitem number {n} of the long list." for n in range(20)) + "\n" * 120 + "End.",
        "sentences within lines": 'He said "Go!" and went. Did he? Yes... No?! (Maybe.) Fine :) e.g. this U.S. rule.\n'
        * 3,
        "emoticons across a space": "Canada): (512) is a number :( and so on ;) the end of that. " * 8,
        "full-width and other scripts": "これは文です。次の文です！\nФраза одна. Фраза две?\nनमस्ते। फिर मिलेंगे।\n" + PAGE,
        "signs without spaces": "a\u200bb\u00a0c\u3000d … «e» “f” —g— " * 20,
    }


def main() -> int:
    """Asks the peer and writes the file; 2 if the peers' interpreter is not named."""
    python = os.environ.get("CURATE_PEERS_PYTHON")
    if python is None:
        print("CURATE_PEERS_PYTHON is not set: name a Python that has datatrove 0.10.1 and spaCy", file=sys.stderr)
        return 2
    cases = texts()
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "texts.json"), Path(folder, "peer.jsonl")
        source.write_text(json.dumps(list(cases.values())), "utf-8")
        command = [python, str(HERE / "filters_parity.py"), "--peer", str(source), str(target), "1"]
        subprocess.run(command, check=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
        *rows, _ = (json.loads(line) for line in target.read_text("utf-8").splitlines())
    golden = [{"case": case, "text": text, **row} for (case, text), row in zip(cases.items(), rows, strict=True)]
    GOLDEN.parent.mkdir(exist_ok=True)
    GOLDEN.write_text("[\n" + ",\n".join(json.dumps(row) for row in golden) + "\n]\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
