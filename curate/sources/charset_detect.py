"""A guess at the charset of a page that is not UTF-8 and says nothing credible.

Each charset is paired with the languages written in it. A pair's score is the log-likelihood of the page's non-ASCII
bytes under a simple model: letters of the language by their rank in running text, capitals rarer, punctuation shared
by all, anything else next to impossible. East Asian charsets are scored per character: kana, Hangul, ideographs of
the first plane of each standard. The tables are short lists of letters in order of frequency, written down here from
general knowledge of the languages; no corpus is behind them.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

from curate.sources.charset_labels import codec_of

#: bytes of a page that are looked at
LOOK = 1 << 16
#: log-likelihood per character below which no guess is better than the fallback
WORST = -7.5
#: how much better per byte another charset must be before a Latin-1 label is set aside, and from how many bytes on
OVERRULE = 1.0
OVERRULE_FROM = 6

#: charsets of one script that pages name for each other, and how much better per byte another one must be. On 500
#: pages in each: a right label was never worse than its best rival by more than .35, .0, .0 and .0; a wrong one was
#: worse by at least 1.15, .23, 1.6 and 1.7 (KOI8-R and KOI8-U apart, which differ in eight letters).
_FAMILIES = (
    (frozenset({"windows-1251", "koi8-r", "koi8-u", "iso-8859-5", "ibm866"}), 0.75),
    (frozenset({"windows-1250", "iso-8859-2"}), 0.2),
    (frozenset({"windows-1256", "iso-8859-6"}), 0.75),
    (frozenset({"gb18030", "big5", "shift_jis", "euc-jp"}), 1.0),
)
#: bytes from which a label is set aside within its family
_FAMILY_FROM = 20

_PUNCTUATION = "\u00a0’“”–«»…©°„—§·•®‘€²³µ×£™±½›‹´†¼¾¡¿ªº¶‚‰"
_PUNCTUATION_MASS = 0.08
_CAPITALS_MASS = 0.06
_IMPOSSIBLE = -13.0
_UNLIKELY = -9.0

#: language → letters beyond ASCII, most frequent first
_LETTERS = {
    "en": "éïèöçñü",
    "de": "üäößéÜÖÄ",
    "fr": "éèàêçùâîôûëïœü",
    "es": "óíáéñúü¿¡",
    "pt": "ãçáéíóêõâàúôü",
    "it": "èàòùìéÈ",
    "nl": "ëéïöüèó",
    "sv": "äöåéü",
    "da": "åøæéö",
    "is": "íáðéóöþúýæ",
    "ca": "àéíóèçòïúü·",
    "eu": "ñç",
    "et": "äõüöšž",
    "sq": "ëç",
    "pl": "łąężóśćńź",
    "cs": "íáéěčžýřšůúňťďó",
    "sk": "áíéčžýšúľťóôňäďŕĺ",
    "hu": "áéöóőüíúű",
    "ro": "ăîâşţéșț",
    "hr": "čšžćđ",
    "tr": "ıüşğöçİŞâîû",
    "lt": "ėšžųįąčūę",
    "lv": "āīēšūļņžķģč",
    "ru": "оеаинтсрвлкмдпуяыьгзбчйхжшюцщэфъё",
    "uk": "оаниітвресклудмпязьбгйчхжєюїцшщфґ",
    "bg": "аиоентрвсдлкпмзгбъучщяюжхйцшфь",
    "el": "αοιετνσηρπκμλυςίόδθγχωάφέήβώύξζψϊΐϋ",
    "he": "יוהלאתרבמשנדעקחפםטןגסץצזךכף",
    "ar": "اليمنرتوبهعدسفةكقحجشطصأخذضئىغثإظءؤآ،؟",
    "th": "านรอกเงมยลวดทตสะปบคหข่้ิีัแ็ูุไใจพชโึถผธฟซญศณษ์ำ",
}
#: charset → languages written in it; earlier ones win ties
_SINGLE_BYTE = {
    "windows-1252": "en de fr es pt it nl sv da is ca eu et sq",
    "iso-8859-15": "fr et",
    "windows-1250": "pl cs sk hu ro hr",
    "iso-8859-2": "pl cs sk hu ro hr",
    "windows-1251": "ru uk bg",
    "koi8-r": "ru bg",
    "koi8-u": "uk",
    "iso-8859-5": "ru uk bg",
    "ibm866": "ru uk bg",
    "windows-1253": "el",
    "iso-8859-7": "el",
    "windows-1254": "tr",
    "windows-1257": "lt lv et",
    "iso-8859-4": "lt lv",
    "windows-1255": "he",
    "iso-8859-8": "he",
    "windows-1256": "ar",
    "iso-8859-6": "ar",
    "windows-874": "th",
}
#: added to the score of charsets that the web hardly uses
_RARE = {"ibm866": -4.0, "iso-8859-4": -2.0}
_MULTI_BYTE = ("euc-jp", "shift_jis", "euc-kr", "gb18030", "big5")

#: Latin letters with marks stand beside ASCII letters; letters of other scripts do not. Cost of each that does.
_BESIDE_ASCII = 3.0
_LATIN = frozenset(name for name in _LETTERS if name not in ("ru", "uk", "bg", "el", "he", "ar", "th"))

_Scores = npt.NDArray[np.float64]


def detect(body: bytes) -> str | None:
    """WHATWG name of the likeliest encoding of ``body``; None if nothing is likely.

    ``body`` must hold non-ASCII bytes; only the first 64 KiB are looked at.
    """
    counts = _high_bytes(body)
    total = counts.sum()
    if not total:
        return None
    names, scores = _scores(body, counts)
    best = int(np.argmax(scores))
    found, score = names[best], float(scores[best])
    for encoding in _MULTI_BYTE:
        wide = _wide_score(body[:LOOK], encoding)
        if wide is not None and wide > score:
            found, score = encoding, wide
    return found if score / total > WORST else None


def overrules(body: bytes, label: str) -> str | None:
    """The encoding of a page that is plainly in another one than ``label`` says; None if the label may be right.

    Latin-1 gives way to anything; other labels to charsets of the same script, in which the same bytes are other
    letters: Russian in KOI8-R, served as windows-1251, is a heap of rare capitals.
    """
    if label == "windows-1252":
        return overrules_latin(body)
    family, margin = next(((f, m) for f, m in _FAMILIES if label in f), (frozenset(), 0.0))
    counts = _high_bytes(body)
    total = counts.sum()
    if not family or total < _FAMILY_FROM:
        return None
    scores = _family_scores(body, counts, family)
    if label not in scores:
        return None
    best = max(scores, key=lambda name: (scores[name], name))
    return best if (scores[best] - scores[label]) / total > margin else None


def _family_scores(body: bytes, counts: _Scores, family: frozenset[str]) -> dict[str, float]:
    """Log-likelihood of the non-ASCII bytes under each charset in which they are valid, by its best language."""
    if family.isdisjoint(_MULTI_BYTE):
        names, scores = _scores(body, counts)
        found: dict[str, float] = {}
        for name, score in zip(names, scores.tolist(), strict=True):
            if name in family:
                found[name] = max(score, found.get(name, score))
        return found
    wide = {name: _wide_score(body[:LOOK], name) for name in family}
    return {name: score for name, score in wide.items() if score is not None}


def overrules_latin(body: bytes) -> str | None:
    """The encoding of a page labelled Latin-1 that is plainly something else; None if the label may be right.

    Latin-1 is what servers say by default, and every sequence of bytes is valid in it.
    """
    counts = _high_bytes(body)
    total = counts.sum()
    if total < OVERRULE_FROM:
        return None
    names, scores = _scores(body, counts)
    latin = max(float(s) for s, name in zip(scores, names, strict=True) if name in ("windows-1252", "iso-8859-15"))
    found = detect(body)
    if found is None or found in ("windows-1252", "iso-8859-15"):
        return None
    if found in _MULTI_BYTE:
        score = _wide_score(body[:LOOK], found) or _IMPOSSIBLE * total
    else:
        score = max(float(s) for s, name in zip(scores, names, strict=True) if name == found)
    return found if (score - latin) / total > OVERRULE else None


def _high_bytes(body: bytes) -> _Scores:
    counts = np.bincount(np.frombuffer(body[:LOOK], np.uint8), minlength=256)[128:]
    return counts.astype(np.float64)


def _scores(body: bytes, counts: _Scores) -> tuple[list[str], _Scores]:
    """Charset and log-likelihood of each pair."""
    names, matrix, foreign = _models()
    data = np.frombuffer(body[:LOOK], np.uint8)
    high = data >= 0x80
    letter = ((data | 0x20) >= 0x61) & ((data | 0x20) <= 0x7A)
    beside = np.zeros(len(data), np.bool_)
    beside[1:] |= letter[:-1]
    beside[:-1] |= letter[1:]
    rare = np.array([_RARE.get(name, 0.0) for name in names])
    return names, rare + matrix @ counts - foreign * (_BESIDE_ASCII * float(np.count_nonzero(high & beside)))


@cache
def _models() -> tuple[list[str], _Scores, _Scores]:
    """Per pair: charset, log-probabilities of the bytes 0x80–0xFF (one row each), and 1 if the script is not Latin."""
    names, rows, foreign = [], [], []
    for charset, languages in _SINGLE_BYTE.items():
        text = [bytes([b]).decode(codec_of(charset), "replace") for b in range(0x80, 0x100)]
        for language in languages.split():
            table = _language(language)
            rows.append([table.get(c, _floor(c)) for c in text])
            names.append(charset)
            foreign.append(float(language not in _LATIN))
    return names, np.array(rows), np.array(foreign)


def _floor(char: str) -> float:
    if char == "\ufffd" or ord(char) < 0xA0:
        return _IMPOSSIBLE
    return _UNLIKELY if char.isalpha() else _UNLIKELY - 1.0


@cache
def _language(language: str) -> dict[str, float]:
    """Log-probability of each character that the language's text is likely to hold."""
    table: dict[str, float] = {}
    for rank, char in enumerate(_PUNCTUATION):
        table[char] = _PUNCTUATION_MASS / (rank + 1) / 4.2
    letters = _LETTERS[language]
    weights = [1.0 / (rank + 3) for rank in range(len(letters))]
    scale = (1 - _PUNCTUATION_MASS - _CAPITALS_MASS) / sum(weights)
    for char, weight in zip(letters, weights, strict=True):
        table[char] = max(table.get(char, 0.0), weight * scale)
        upper = char.upper()
        if upper != char and len(upper) == 1 and upper not in letters:
            table[upper] = max(table.get(upper, 0.0), weight * _CAPITALS_MASS / sum(weights))
    return {char: float(np.log(p)) for char, p in table.items()}


def _wide_score(body: bytes, encoding: str) -> float | None:
    """Log-likelihood of the non-ASCII characters under an East Asian charset; None if the bytes are not valid in it."""
    try:
        text = body.decode(codec_of(encoding))
    except UnicodeDecodeError as error:
        # The look may end inside a character; anything earlier is a violation.
        if error.start < len(body) - 4 or len(body) < LOOK:
            return None
        text = body[: error.start].decode(codec_of(encoding))
    chars, counts = np.unique(np.array([ord(c) for c in text if c > "\x7f"], np.int64), return_counts=True)
    return float(sum(n * _wide_char(int(c), encoding) for c, n in zip(chars, counts, strict=True)))


def _wide_char(code: int, encoding: str) -> float:
    """Log-probability of one character in text of the charset's language."""
    japanese = encoding in ("euc-jp", "shift_jis")
    if 0x3041 <= code <= 0x30FE:
        return -4.4 if japanese else -11.0
    if 0xAC00 <= code <= 0xD7A3:
        return -6.4 if encoding == "euc-kr" and _first_plane(code, "euc-kr") else -11.0
    if 0x4E00 <= code <= 0x9FFF:
        if encoding == "euc-kr":
            return -11.0
        return (-8.0 if japanese else -6.9) if _first_plane(code, encoding) else -12.0
    if 0x3000 <= code <= 0x301F or 0xFF01 <= code <= 0xFF5E:
        return -5.0
    if chr(code) in _PUNCTUATION:
        return -7.0
    return _IMPOSSIBLE - 2.0


@cache
def _first_plane(code: int, encoding: str) -> bool:
    """True for characters that the standard puts among its common ones."""
    name = {"shift_jis": "euc_jp", "gb18030": "gb2312", "euc-kr": "euc_kr"}.get(encoding, codec_of(encoding))
    try:
        lead = chr(code).encode(name)[0]
    except UnicodeEncodeError:
        return False
    low, high = {"big5": (0xA4, 0xC6), "gb2312": (0xB0, 0xD7), "euc_kr": (0xB0, 0xC8)}.get(
        "big5" if encoding == "big5" else name, (0xB0, 0xCF)
    )
    return low <= lead <= high
