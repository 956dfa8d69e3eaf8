"""Writes tests/curate/dedup/datatrove_signatures.json; run once with the Python that has datatrove 0.10.1."""

from __future__ import annotations

import json
from pathlib import Path

from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
from datatrove.utils.text import simplify_text

TEXTS = [
    "The ferry leaves at 7.45 and again at 12,30; on Sundays there's only one, and it doesn't carry bicycles.",
    "Prices rose by 3.14159 % (from €1.299,00 to £1,339.90) between 2019 and 2021 -- don't ask me why!",
    "Über den Wolken, naïve café, Ångström; e\u0301te\u0301 and été should meet. ΟΔΥΣΣΕΥΣ sails home, İstanbul waits.",
    "The cannot-be-beaten U.S. team won't (can't?) lose e.g. in N.Y.C., Dr. Smith said @ 5p.m. :-) http://example.org/a_b",
    "words\twith\u00a0odd\u2003spaces\u3000and\u200bzero\u200bwidth\n\nnew lines\r\nand \x07 bells [1], {2}, <3>",
    "한국어 문장도 있고 日本語の文もある。العربية ١٢٣٫٤٥ हिन्दी में १२३ अंक हैं और बस",
    "It's the o'clock gonna cannot dont I'd've y'all're rock'n'roll 'twas the night ain't it",
    "four words are few",
    "exactly five words stand here",
    "",
    "... !!! --- ???",
    "repeat repeat repeat repeat repeat repeat repeat repeat",
    "a \u0308 lone mark \u0308 between spaces and a Greek question\u037e mark \u302e\u302f tone marks after all of it",
    "😀 emoji 👩‍👩‍👧 families and ½ ² № ligatures ﬁ ﬂ stay as they are ＡＢＣ １２３ full width",
]


def main() -> None:
    stage = MinhashDedupSignature(output_folder="/tmp/unused-signatures", config=MinhashConfig())
    rows = []
    for text in TEXTS:
        shingles = stage.get_shingles(text)
        bands = stage.get_signature(shingles) if shingles.size else []
        signature = [format(value, "x") for band in bands for value in band]
        rows.append({"text": text, "simplified": simplify_text(text), "signature": " ".join(signature)})
    target = Path(__file__).resolve().parents[1] / "curate" / "dedup" / "datatrove_signatures.json"
    target.write_text(json.dumps(rows, indent=1, ensure_ascii=True) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
