"""The licence that a page states for itself, as opposed to licences that it mentions; labels only.

Run it before ``extract_html``: it reads ``html`` where there is one, else ``text``. Pages without the words *licence,
creative commons, rights, public domain* or *CC BY* cost one scan; on others only the tags and sentences around them
are looked at, each at most some thousand characters, so no document tree is built and time stays linear. Comments,
scripts and styles do not speak for the page.

========  ==========================================================  =====================================
evidence  what it is                                                  speaks for the page
========  ==========================================================  =====================================
rel       ``<a|link|area rel=license href=…>``                        always
jsonld    ``"license"`` of a JSON-LD object that is not an image,     always
          video, sound, data set or program
meta      ``<meta name="dc.rights" content=…>`` and its kind,         always
          ``itemprop=license``, ``property=cc:license``
phrase    a sentence that names a licence                             in head or footer, or if it says *this
                                                                      page, our content, Permission is
                                                                      granted …*
link      a link to a licence without ``rel``                         in head or footer
========  ==========================================================  =====================================

A clause about something else (*code samples are licensed under …*) does not speak for the text. What does not speak for
the page is counted in ``licence_mentions`` only. Where evidence that speaks for it names different licences,
``licence_disagreement`` is true and the most restrictive counts: permissive, attribution, share-alike, non-commercial,
no-derivatives, and ``unknown`` (a licence that this table does not know) above all.
"All rights reserved" is no licence: it gives the name ``all-rights-reserved`` and tier ``unknown`` if nothing else
speaks, and a disagreement if something does.
"""

from __future__ import annotations

import bisect
import html as html_entities
import re
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from curate.documents import Batch, column
from curate.errors import ConfigError
from curate.stages.base import Stage, StageConfig
from curate.stages.licence_names import TIERS, from_identifier, from_text, from_url
from curate.stages.licence_names import Licence as Named

_TRIGGER = (
    r"(?i)licen[cs]|lizenz|лиценз|creative ?commons|rights|public.domain|cc.by|cc0|gnu gpl|gplv"
    r"|vorbehalten|derechos|droits|diritti|direitos|права"
)
#: The same in lower-case bytes, read as Latin-1 (see ``_Page``).
_NEEDLES = [
    word.encode().decode("latin-1")
    for word in ("licen", "lizenz", "лиценз", "Лиценз", "commons", "rights",
                 "gnu gpl", "gplv", "public domain", "public-domain", "cc by", "cc-by", "cc0", "gnu.org/",
                 "vorbehalten", "droits ", "derechos ", "direitos ", "diritti ", "права")
]  # fmt: skip
_HIDDEN = re.compile(r"<(?:!--|(script|style|textarea|template|noscript)\b([^<>]{0,2000})>)")
_ATTRIBUTE = re.compile(
    r"([a-zA-Z][\w:.-]{0,40})\s{0,8}=\s{0,8}"
    r"(?:\"([^\"]{0,1000})\"|'([^']{0,1000})'|([^\s\"'<>`]{1,1000}))"
)
_TAG = re.compile(r"<[^<>]{0,2000}>")
_FOOTER_WORDS = ("footer", "contentinfo", "copyright", "colophon", "license", "licence", "legal")
#: An opening tag up to one of these words in the value of its id, class or role.
_FOOTER = re.compile(
    r"<(?:footer\b|[a-z]{1,10}\s[^<>]{0,300}?(?:id|class|role)\s{0,4}=\s{0,4}[\"']?[^\"'<>]{0,200}?(?:"
    + "|".join(_FOOTER_WORDS)
    + "))"
)
_URL = re.compile(r"https?://[^\s<>\"')\]]{4,300}", re.IGNORECASE)
_SELF = re.compile(
    r"\b(?:this|these|our) (?:\w+ ){0,2}(?:page|pages|site|website|web site|work|works|documents?|"
    r"documentation|manual|text|texts|content|contents|articles?|material|materials|wiki|book|guide|blog|posts?|tutorial|"
    r"translation|website's)\b|except where otherwise|unless otherwise|permission is granted|"
    r"content (?:is )?(?:available|licensed)|"
    r"\b(?:text|content)s? (?:is|are) (?:available|licensed)|diese[rsm]? (?:seite|text|werk|inhalt|dokument)|"
    r"inhalte? (?:ist|sind|steh)|"
    r"\bce(?:tte)? (?:œuvre|document|page|site|contenu|texte)|\best[ea] (?:obra|página|sitio|documento|texto)|"
    r"\bquest['oa] ?(?:opera|pagina|sito|documento|testo)|\bdit (?:werk|document)|"
    r"この(?:作品|文書|ページ)|данн\w+ (?:текст|документ|сайт)",
    re.IGNORECASE,
)  # fmt: skip
_RESERVED = re.compile(
    r"all rights reserved|alle rechte vorbehalten|tous droits réservés|todos los derechos reservados|"
    r"todos os direitos reservados|tutti i diritti riservati|все права защищены",
    re.IGNORECASE,
)
#: A clause about something else than the page's text: its samples of code.
_ABOUT_CODE = re.compile(
    r"\b(?:code samples?|sample code|source code|examples?,? (?:recipes,? )?and (?:other )?code|software)\b"
    r"[^.;]{0,60}?\b(?:licensed|released|available|distributed) under .{0,90}",
    re.IGNORECASE,
)
_INSTEAD = "instead of this licen"
_META = re.compile(
    r"(?:dc|dcterms|cc|schema|og|article)?[.:]?"
    r"(?:rights(?:\.licen[sc]e)?|licen[sc]e|copyright|rights-standard)\Z"
)
_REL = {"license", "licence", "dcterms.license", "dc.rights", "cc:license", "schema.license"}
_NOT_THE_PAGE = {"imageobject", "videoobject", "audioobject", "dataset", "softwareapplication", "softwaresourcecode",
                 "mediaobject", "photograph", "product", "datadownload"}  # fmt: skip
#: Occurrences of the words looked at per page: as many from the front as from the back.
_HITS, _LD_BYTES, _AROUND = 100, 200_000, 300
_STRENGTH = {"rel": 0, "jsonld": 1, "meta": 2, "phrase": 3, "link": 4}


class LicenceConfig(StageConfig):
    """Which column is read: ``auto`` takes ``html`` where it is there, else ``text``."""

    column: Literal["auto", "html", "text"] = "auto"


class Evidence(NamedTuple):
    """One piece of evidence; ``licence`` is None for a statement whose licence is not known."""

    kind: str
    location: str
    own: bool
    licence: Named | None


class _Page:
    """A page with what is hidden and where head and footer are.

    ``text`` is the UTF-8 of the page read as Latin-1: one character per byte, so that lower-casing keeps positions and
    searching is fast; ``_decoded`` gives back what was written.
    """

    def __init__(self, text: str, is_html: bool) -> None:
        raw = text.encode("utf-8", "replace")
        self.text, self.low, self.is_html = raw.decode("latin-1"), raw.lower().decode("latin-1"), is_html
        self.hidden, self.json_ld = _hidden(self.low) if is_html else ([], [])
        ends = [at for mark in ("</head", "<body") if (at := self.low.find(mark, 0, 200_000)) >= 0] if is_html else []
        self.head = min(ends) if ends else 0
        self.footer = self._footer()

    def _footer(self) -> int:
        """Where the footer starts: at its mark in the last third, or the last twelfth of the page."""
        start = max(self.head, len(self.text) * 11 // 12)
        if self.is_html:
            tail = max(self.head, len(self.text) * 2 // 3, len(self.text) - 60_000)
            tags = {self._footer_tag(word, tail, start) for word in _FOOTER_WORDS}
            return min(start, *tags)
        return start

    def _footer_tag(self, word: str, tail: int, start: int) -> int:
        """Where the first tag opens after ``tail`` that has ``word`` in its name, id, class or role; else ``start``."""
        at = self.low.find(word, tail, start)
        while at >= 0:
            tag = self.low.rfind("<", max(tail, at - 520), at)
            if tag >= 0 and _FOOTER.match(self.low, tag, at + len(word)):
                return tag
            at = self.low.find(word, at + 1, start)
        return start

    def location(self, at: int) -> str:
        if at < self.head:
            return "head"
        return "footer" if at >= self.footer else "body"

    def is_hidden(self, at: int) -> bool:
        k = bisect.bisect_right(self.hidden, (at, len(self.text) + 1)) - 1
        return k >= 0 and at < self.hidden[k][1]


def _decoded(text: str) -> str:
    """The text that a slice of ``_Page.text`` stands for."""
    return text if text.isascii() else text.encode("latin-1").decode("utf-8", "replace")


def _hidden(low: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Spans that are not part of the visible page, and the spans of JSON-LD blocks; linear."""
    spans: list[tuple[int, int]] = []
    json_ld: list[tuple[int, int]] = []
    at = 0
    while (m := _HIDDEN.search(low, at)) and len(spans) < 5_000:
        close = "-->" if m[1] is None else f"</{m[1]}"
        end = low.find(close, m.end())
        end = len(low) if end < 0 else end
        if m[1] == "script" and "ld+json" in m[2]:
            json_ld.append((m.end(), end))
        if m[1] != "noscript":
            spans.append((m.start(), end))
            at = max(end, m.end())
        else:
            at = m.end()
    return spans, json_ld


def _attributes(tag: str) -> dict[str, str]:
    """Attributes of a tag, names in lower case; the first of equal names counts, as in browsers."""
    found: dict[str, str] = {}
    for m in _ATTRIBUTE.finditer(tag):
        value = next((g for g in (m[2], m[3], m[4]) if g is not None), "")
        found.setdefault(m[1].lower(), html_entities.unescape(value))
    return found


def _said(text: str) -> Named | None:
    """The licence that an attribute's value names, as a URL, an identifier, or in words."""
    for m in _URL.finditer(text):
        if found := from_url(m[0]):
            return found
    return from_url(text) or from_identifier(text) or next(iter(from_text(text[:500])), None)


def _from_tag(page: _Page, at: int, tag: str) -> Evidence | None:
    """What one tag says about the licence."""
    name = tag[1:12].lower()
    attributes = _attributes(_decoded(tag))
    location = page.location(at)
    href = next((attributes[k] for k in ("href", "content", "resource", "src") if attributes.get(k)), "")
    if _REL & set(attributes.get("rel", "").lower().split()) and "href" in attributes:
        return Evidence("rel", location, True, _said(href))
    marks = f"{attributes.get('itemprop', '')} {attributes.get('property', '')}".lower().split()
    if "license" in attributes.get("itemprop", "").lower().split() or "cc:license" in marks:
        return Evidence("meta", location, True, _said(href))
    if name.startswith("meta"):
        key = (attributes.get("name") or attributes.get("property") or "").lower()
        licence = _said(href)
        if _META.match(key) and (licence or key.endswith(("license", "licence"))):
            return Evidence("meta", location, True, licence)
        return None
    if name.startswith(("a ", "a\n", "a\t", "area", "link")) and (licence := from_url(href)):
        return Evidence("link", location, location != "body", licence)
    return None


def _json_ld(page: _Page) -> Iterator[Evidence]:
    """Licences in JSON-LD blocks; blocks over 200 kB or broken ones say nothing."""
    for start, end in page.json_ld[:50]:
        if end - start > _LD_BYTES or "icen" not in page.text[start:end]:
            continue
        try:
            value = orjson.loads(page.text[start:end].encode("latin-1"))
        except orjson.JSONDecodeError:
            continue
        for own, text in _licences_in(value):
            yield Evidence("jsonld", page.location(start), own, _said(text))


def _licences_in(value: Any) -> Iterator[tuple[bool, str]]:
    """Each ``license`` in a JSON value and whether its object stands for the page; no recursion, so no depth limit."""
    stack = [(value, True)]
    while stack:
        each, own = stack.pop()
        if isinstance(each, list):
            stack.extend((item, own) for item in each)
        elif isinstance(each, dict):
            kinds = each.get("@type")
            kinds = kinds if isinstance(kinds, list) else [kinds]
            own = own and not any(isinstance(k, str) and k.lower() in _NOT_THE_PAGE for k in kinds)
            for key, item in each.items():
                if key in ("license", "schema:license", "dct:license"):
                    for text in item if isinstance(item, list) else [item]:
                        text = text.get("@id") or text.get("url") if isinstance(text, dict) else text
                        if isinstance(text, str):
                            yield own, text
                elif isinstance(item, (list, dict)):
                    stack.append((item, own))


def _hits(low: str) -> list[int]:
    """Positions of the words, per word at most ``_HITS`` from each end."""
    found: set[int] = set()
    ascii_only = low.isascii()
    for needle in _NEEDLES:
        if ascii_only and not needle.isascii():
            continue
        at, n = low.find(needle), 0
        while at >= 0 and n < _HITS:
            found.add(at)
            at, n = low.find(needle, at + 1), n + 1
        at, n = (low.rfind(needle) if at >= 0 else -1), 0
        while at >= 0 and n < _HITS:
            found.add(at)
            at, n = low.rfind(needle, 0, at), n + 1
    return sorted(found)


def _evidence(page: _Page) -> Iterator[Evidence]:
    """All evidence of a page."""
    yield from _json_ld(page)
    seen = -1
    for at in _hits(page.low):
        if at < seen or page.is_hidden(at):
            continue
        if page.is_html:
            start = page.text.rfind("<", max(0, at - 2_000), at)
            if start >= 0 and page.text.rfind(">", start, at) < 0:
                end = page.text.find(">", at, at + 4_000)
                seen = end if end > 0 else at + 1
                if found := _from_tag(page, start, page.text[start : end + 1 if end > 0 else at + 200]):
                    yield found
                continue
        yield from _from_prose(page, at)
        seen = at + 40


def _from_prose(page: _Page, at: int) -> Iterator[Evidence]:
    """What the sentence around ``at`` says."""
    start = max(0, at - _AROUND)
    around = _decoded(page.text[start : at + _AROUND])
    if page.is_html:
        first = around.find(">") if "<" not in around[: around.find(">") + 1] else -1
        around = html_entities.unescape(_TAG.sub(" ", around[first + 1 :]))
    around = " ".join(around.split())
    location = page.location(at)
    own = location != "body" or bool(_SELF.search(around))
    said, aside = _set_aside(around)
    for m in _URL.finditer(said):
        if licence := from_url(m[0].rstrip(".,;")):
            yield Evidence("phrase" if own else "link", location, own, licence)
    for licence in from_text(said):
        yield Evidence("phrase", location, own, licence)
    for licence in from_text(aside):
        yield Evidence("aside", location, False, licence)
    if _RESERVED.search(around):
        yield Evidence("reserved", location, True, None)


def _set_aside(around: str) -> tuple[str, str]:
    """A piece of prose without its clauses about something else than the page's text, and these."""
    low = around.lower()
    aside = []
    if (at := low.find(_INSTEAD)) >= 0:
        start = max(around.rfind(". ", 0, at), around.rfind("; ", 0, at), at - 120, 0)
        aside.append(around[start:at])
        around = around[:start] + around[at:]
    if " under " in low and ("code" in low or "software" in low):
        aside += _ABOUT_CODE.findall(around)
        around = _ABOUT_CODE.sub(" ", around)
    return around, " ".join(aside)


class Result(NamedTuple):
    """The labels of one document."""

    name: str | None = None
    version: str | None = None
    tier: str = "unknown"
    evidence: str | None = None
    location: str | None = None
    disagreement: bool = False
    mentions: int = 0


def judge(found: list[Evidence]) -> Result:
    """One answer from all evidence."""
    reserved = [e for e in found if e.kind == "reserved"]
    own = sorted((e for e in found if e.own and e.kind != "reserved"), key=lambda e: _STRENGTH[e.kind])
    aside = {_family(e.licence) for e in found if e.kind == "aside"}
    if any(_family(e.licence) not in aside for e in own):
        own = [e for e in own if e.kind not in ("phrase", "link") or _family(e.licence) not in aside]
    mentions = len({e.licence for e in found if not e.own and e.licence})
    if any(e.licence for e in own if e.kind in ("rel", "jsonld", "meta")):
        # A page that marks its licence for machines is believed; prose about other works is then only a mention.
        own = [e for e in own if e.kind in ("rel", "jsonld", "meta")]
    if not own:
        if reserved:
            return Result("all-rights-reserved", None, "unknown", "phrase", reserved[0].location, False, mentions)
        return Result(mentions=mentions)
    licences: dict[str | None, Evidence] = {}
    for e in own:
        licences.setdefault(_family(e.licence), e)
    known = {k: e for k, e in licences.items() if e.licence}
    # the first of the most restrictive
    chosen = max(known.values() or licences.values(), key=lambda e: TIERS.index(e.licence.tier) if e.licence else 5)
    best = next(e for e in own if _family(e.licence) == _family(chosen.licence))
    # Of equal licences the one with a version says more.
    name = max((e.licence for e in own if e.licence and _family(e.licence) == _family(best.licence)),
               key=lambda x: x.version is not None, default=None)  # fmt: skip
    disagree = len(known) > 1 or bool(reserved)
    if name is None:
        return Result(None, None, "unknown", best.kind, best.location, disagree, mentions)
    return Result(name.name, name.version, name.tier, best.kind, best.location, disagree, mentions)


def _family(licence: Named | None) -> str | None:
    """The name without the version."""
    if licence is None:
        return None
    return licence.name.removesuffix(f"-{licence.version}") if licence.version else licence.name


def page_licence(text: str, *, is_html: bool) -> Result:
    """The licence labels of one page or text."""
    return judge(list(_evidence(_Page(text, is_html))))


class Licence(Stage):
    """Labels ``licence_*``."""

    name = "licence"
    follows = "evidence kinds as in Common Corpus and dolma's licence taggers; own rules for what speaks for the page"
    requires = ()
    Config = LicenceConfig
    config: LicenceConfig

    def adds(self) -> pa.Schema:
        """Name, version, tier, evidence, location, disagreement, mentions."""
        return pa.schema(
            [
                column("licence_name", pa.string(), "SPDX id, CC name, or all-rights-reserved; null: none known"),
                column("licence_version", pa.string(), "version of the licence; null if none was named"),
                column("licence_tier", pa.string(), "one of " + ", ".join(TIERS), nullable=False),
                column("licence_evidence", pa.string(), "rel, jsonld, meta, phrase or link; null: nothing speaks"),
                column("licence_location", pa.string(), "head, body or footer; null likewise"),
                column("licence_disagreement", pa.bool_(), "evidence names different licences", nullable=False),
                column("licence_mentions", pa.int32(), "licences mentioned that do not speak for the page",
                       unit="count", nullable=False),
            ]
        )  # fmt: skip

    def process(self, batch: Batch) -> Batch:
        """The batch with the labels."""
        name = self._column(batch)
        texts = batch.column(name)
        triggered = pc.fill_null(pc.match_substring_regex(texts, _TRIGGER), False).to_pylist()
        results = [
            page_licence(texts[i].as_py(), is_html=name == "html") if hit else Result()
            for i, hit in enumerate(triggered)
        ]
        columns: dict[pa.Field | str, pa.Array] = {}
        for k, field in enumerate(self.adds()):
            columns[field] = pa.array([result[k] for result in results], field.type)
        return batch.with_columns(columns)

    def _column(self, batch: Batch) -> str:
        wanted = ("html", "text") if self.config.column == "auto" else (self.config.column,)
        for name in wanted:
            if name in batch.schema.names:
                return name
        raise ConfigError(f"licence: no column {wanted[0]!r}; put the stage before extract_html, or set column: text")
