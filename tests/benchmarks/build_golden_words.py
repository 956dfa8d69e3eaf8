"""Writes tests/curate/kernels/golden_words.json: what datatrove 0.10.1 and spaCy 3.8 say about tricky chunks and texts.

    $CURATE_PEERS_PYTHON tests/benchmarks/build_golden_words.py

The texts are written for this purpose. Chunks are put together from the exceptions, affixes and odd characters, by a
fixed seed.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
OUTPUT = HERE.parent / "curate" / "kernels" / "golden_words.json"

TEXTS = [
    "",
    " \n\t ",
    "One",
    "Plain words without any marks at all",
    "The cat sat on the mat. The cat sat on the mat. The cat sat on the mat.",
    "Mr. and Mrs. Smith of St. Ives, Calif., met at 10 a.m. (or 10:30p.m.?) on Jan. 5th, 2020.",
    "I can't, won't and shouldn’t've done it; they’re sure we'd've known. Y'all ain't gonna like it, c'mon!",
    'He said: "It\'s over," she replied, ‘is it?’ — “Yes…” «Oui» „Ja“ 『はい』.',
    "Visit https://example.com/a-b/c?d=e#f, http://user:pw@host.org:8080/x or www.example.co.uk/path. Mail: a.b@c.de!",
    "IPs 8.8.8.8, 10.0.0.1:80 and 172.16.5.4/24 are not 1.2.3 nor version-2.0.1-rc.1.",
    "Canada): (512) and (see [1]): (a) x: (:y ;) ;( :-) :'( <3 </3 ಠ_ಠ (╯°□°）╯︵┻━┻ ><(((*>",
    "((: :)) :( :(( ):( ;(; ) : ( :) (: -_-) 8-) 8) =) =( o.O O_o 0.0 v.v xD",
    "It is 25°C. or 77°F. outside; -40°K.? °C. ° C. 30°c",
    "5km 10kg 3m² 7.5GB $5 US$10 C$7 A$3 €1,000.50 100% 5' 6\" 1/2 3x4 2+2=4 10-20 5^2 a*b 1e-9 +1 +a 12+",
    "well-known state-of-the-art A--B a---b x–y x—y—z a~b one/two either/or key:value a<b>c d=e snake_case camelCase",
    "U.S.A. U.K. Ph.D. e.g. i.e. etc. vs. No.5 a.b c.D E.f Hello.World end.Start wait...what ...and ..dots… ……",
    "for (int i = 0; i < n; ++i) { a[i] += b[i]->c; } // loop\nif x == y: return {'k': [1, 2]}\n#include <stdio.h>",
    "def f(self, *args, **kwargs) -> None:\n\treturn self.g(*args)\n\n\n    @property\n    def h(self): ...",
    "日本語のテキスト。中文，句子！한국어 문장? العربية، نص؟ עברית. हिन्दी वाक्य। ไทย",
    "naïve café Ångström résumé Straße Ελληνικά, Русский текст.Дальше тест",
    "Zero\u200bwidth a\u200db \ufeffBOM soft\u00adhyphen "
    "non\u00a0breaking thin\u2009space wide\u3000space line\u2028sep para\u2029sep",
    "Control \x00 chars \x07bell \x1besc \x1c\x1d\x1e\x1f sep \x85 nel \x7f del \ufffd replacement",
    "Emoji 😀😀 👍🏽ok 👨‍👩‍👧 flag🇩🇪! ❤️love ☃.snow ©2020 ™brand x®y №5 5€ €5 5£ ½ cup ²x",
    "- item one\n- item two\n* item three\n• item four\n1. first\n2) second\n(a) third\n[b] fourth\n",
    "#hashtag #1 @user @user_name re: RE: FWD: ***bold*** _it_ __init__ `code` ~~strike~~ | a | b |",
    "'tis 'twas 'em rock 'n' roll '90s the '80s' dogs' James's James’s 'S ’s 's",
    "aaa aaa aaa aaa aaa aaa aaa aaa aaa aaa aaa aaa aaa aaa aaa aaa aaa aaa aaa aaa aaa aaa",
    "ab c a bc ab c a bc ab c a bc ab c a bc x y z ab c a bc ab c a bc ab c a bc",
    "one two one two three three two one two one four one two five three three",
    ". . . , , , ! ! ! ? ? ? . . . , , , ! ! ! ? ? ? — — —",
    "to be or not to be that is the question to be or not to be that is the question with and of have",
    "x" * 3000 + " " + "=" * 500 + " " + "a-" * 300 + " " + "." * 700 + " " + "é" * 100 + "'" * 90,
]


def chunks(exceptions: list[str], n: int) -> list[str]:
    """Glued pieces of everything that the rules look at."""
    draw = random.Random(20260101)
    marks = [
        *list(".,:;!?()[]{}<>'\"’‘“”`-–—~…/\\=+*^%§#&_|@$£°·•©"),
        "...",
        "..",
        "--",
        "---",
        "'s",
        "’S",
        "US$",
        "://",
    ]
    words = [
        "Hello",
        "the",
        "I",
        "He",
        "can",
        "NASA",
        "U.S",
        "e.g",
        "x",
        "A",
        "km",
        "m²",
        "com",
        "2020",
        "1,000",
        "3.14",
    ]
    words += [
        "é",
        "É",
        "日本",
        "한",
        "Б",
        "ж",
        "ا",
        "😀",
        "\u0301",
        "\u200b",
        "http",
        "www.a",
        "a@b",
        "10.0.0.1",
        "°C.",
    ]
    found: dict[str, None] = dict.fromkeys(draw.sample(exceptions, 60))
    while len(found) < n:
        parts = [draw.choice(draw.choice((marks, marks, words, words, exceptions))) for _ in range(draw.randint(1, 6))]
        if not any(ch.isspace() for ch in "".join(parts)):
            found["".join(parts)] = None
    return list(found)


def main() -> None:
    """Asks the peers and writes the file."""
    sys.path.insert(0, str(HERE))
    from datatrove.utils.word_tokenizers import load_word_tokenizer
    from words_and_ngrams import peer_values

    tokenizer = load_word_tokenizer("en")
    exceptions = list(tokenizer.tokenizer.tokenizer.rules)
    texts = []
    for text in TEXTS:
        words, values = peer_values(text, tokenizer.word_tokenize)
        texts.append({"text": text, "words": words, "values": values})
    split = {chunk: tokenizer.word_tokenize(chunk) for chunk in chunks([e for e in exceptions if e.strip()], 500)}
    OUTPUT.write_text(json.dumps({"texts": texts, "chunks": split}, indent=0, ensure_ascii=True) + "\n", "utf-8")


if __name__ == "__main__":
    main()
