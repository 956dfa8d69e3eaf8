"""Which licence a URL or a phrase names: name (SPDX where there is one), version, tier. Parsed, not searched for."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

#: From least to most restrictive; of licences that disagree the last one counts.
TIERS = ("permissive", "attribution", "share-alike", "non-commercial", "no-derivatives", "unknown")


class Licence(NamedTuple):
    """A licence; ``version`` is None where none was named."""

    name: str
    version: str | None
    tier: str


_VERSION = re.compile(r"\d{1,2}(?:\.\d{1,2})?\Z")
_CC_PARTS = ("by", "nc", "nd", "sa")
_CC_PATH = {"by", "by-sa", "by-nc", "by-nd", "by-nc-sa", "by-nc-nd", "by-nd-nc", "sa", "nc", "nd", "nc-sa", "nd-nc"}
#: host → ((prefix of the path as a pattern, name, group of the version or a fixed version, tier), …)
_SITES: dict[str, tuple[tuple[str, str, str], ...]] = {
    "gnu.org": (
        (r"/(?:licenses|copyleft)/(?:old-licenses/)?fdl(?:-(\d\.\d))?(?:\.|$|/)", "GFDL", "share-alike"),
        (r"/(?:licenses|copyleft)/(?:old-licenses/)?agpl(?:-(\d\.\d))?(?:\.|$|/)", "AGPL", "share-alike"),
        (r"/(?:licenses|copyleft)/(?:old-licenses/)?lgpl(?:-(\d\.\d))?(?:\.|$|/)", "LGPL", "share-alike"),
        (r"/(?:licenses|copyleft)/(?:old-licenses/)?gpl(?:-(\d\.\d))?(?:\.|$|/)", "GPL", "share-alike"),
    ),
    "apache.org": ((r"/licenses/license-(\d\.\d)", "Apache", "permissive"),),
    "mozilla.org": ((r"/(?:[a-z-]{2,6}/)?mpl/(\d\.\d)", "MPL", "share-alike"),),
    "unlicense.org": ((r"/?$", "Unlicense", "permissive"),),
    "opendatacommons.org": (
        (r"/licenses/odbl(?:/(\d)[-.]0)?", "ODbL", "share-alike"),
        (r"/licenses/by(?:/(\d)[-.]0)?", "ODC-By", "attribution"),
        (r"/licenses/pddl(?:/(\d)[-.]0)?", "PDDL", "permissive"),
    ),
    "nationalarchives.gov.uk": (
        (r"/doc/open-government-licence/version/(\d)", "OGL-UK", "attribution"),
        (r"/doc/open-government-licence", "OGL-UK", "attribution"),
        (r"/doc/non-commercial-government-licence", "NCGL-UK", "non-commercial"),
    ),
    "govdata.de": (
        (r"/dl-de/by-(\d)-0", "DL-DE-BY", "attribution"),
        (r"/dl-de/zero-(\d)-0", "DL-DE-ZERO", "permissive"),
    ),
    "opensource.org": (
        (r"/licenses?/mit\b", "MIT", "permissive"),
        (r"/licenses?/isc\b", "ISC", "permissive"),
        (r"/licenses?/bsd-[23]-clause\b", "BSD", "permissive"),
        (r"/licenses?/apache-(\d\.\d)", "Apache", "permissive"),
        (r"/licenses?/mpl-(\d\.\d)", "MPL", "share-alike"),
        (r"/licenses?/agpl-(\d\.\d)", "AGPL", "share-alike"),
        (r"/licenses?/lgpl-(\d\.\d)", "LGPL", "share-alike"),
        (r"/licenses?/gpl-(\d\.\d)", "GPL", "share-alike"),
    ),
}  # fmt: skip
_PATTERNS = {host: [(re.compile(p), n, t) for p, n, t in rows] for host, rows in _SITES.items()}


def creative_commons(parts: set[str], version: str | None) -> Licence:
    """The Creative Commons licence of the given elements (by, nc, nd, sa)."""
    name = "-".join(["CC", *(p.upper() for p in _CC_PARTS if p in parts)])
    tier = "attribution"
    for part, its in (("sa", "share-alike"), ("nc", "non-commercial"), ("nd", "no-derivatives")):
        if part in parts:
            tier = its
    return Licence(f"{name}-{version}" if version else name, version, tier)


def from_url(url: str) -> Licence | None:
    """The licence whose text is at ``url``; None if it is not the address of a known licence."""
    url = url.strip()[:500]
    if url.startswith("//"):
        url = "https:" + url
    elif "://" not in url:
        url = "https://" + url
    try:
        split = urlsplit(url)
        host = (split.hostname or "").lower().rstrip(".")
    except ValueError:
        return None
    if split.scheme.lower() not in ("http", "https"):
        return None
    host = host.removeprefix("www.")
    path = split.path.lower()
    if host in ("creativecommons.org", "i.creativecommons.org", "licensebuttons.net", "de.creativecommons.org"):
        return _creative_commons_url([part for part in path.split("/") if part])
    if host == "spdx.org" and (m := re.match(r"/licenses/([a-z0-9.+-]{2,40}?)(?:\.html|\.json)?$", path)):
        return from_identifier(m[1])
    for pattern, name, tier in _PATTERNS.get(host, ()):
        if m := pattern.match(path):
            version = m[1] if pattern.groups and m[1] else None
            if version and "." not in version and name not in ("DL-DE-BY", "DL-DE-ZERO"):
                version += ".0"
            return Licence(f"{name}-{version}" if version else name, version, tier)
    return None


def _creative_commons_url(path: list[str]) -> Licence | None:
    """``licenses/by-sa/4.0/deed.de`` or ``publicdomain/zero/1.0`` or the badges ``l/by/3.0/88x31.png``."""
    if len(path) < 2:
        return None
    version = path[2] if len(path) > 2 and _VERSION.match(path[2]) else None
    if path[0] in ("licenses", "l") and path[1] in _CC_PATH:
        return creative_commons(set(path[1].split("-")), version)
    if path[0] in ("publicdomain", "p", "licenses") and path[1] in ("zero", "mark", "publicdomain"):
        name = "CC0" if path[1] == "zero" else "PDM" if path[1] == "mark" else "public-domain"
        return Licence(f"{name}-{version}" if version else name, version, "permissive")
    return None


_IDENTIFIERS = (
    (r"cc0(?:-(\d\.\d))?", "CC0", "permissive"), (r"(?:l?a?gpl)", "", ""),
    (r"gfdl(?:-(\d\.\d))?.*", "GFDL", "share-alike"), (r"agpl(?:-(\d\.\d))?.*", "AGPL", "share-alike"),
    (r"lgpl(?:-(\d\.\d))?.*", "LGPL", "share-alike"), (r"gpl(?:-(\d\.\d))?.*", "GPL", "share-alike"),
    (r"apache-(\d\.\d)", "Apache", "permissive"), (r"mpl-(\d\.\d).*", "MPL", "share-alike"),
    (r"odbl-(\d\.\d)", "ODbL", "share-alike"), (r"odc-by-(\d\.\d)", "ODC-By", "attribution"),
    (r"mit", "MIT", "permissive"), (r"isc", "ISC", "permissive"), (r"bsd-\d-clause.*", "BSD", "permissive"),
    (r"unlicense", "Unlicense", "permissive"),
)  # fmt: skip


def from_identifier(text: str) -> Licence | None:
    """The licence of an identifier as SPDX writes it, e.g. ``CC-BY-SA-4.0``."""
    text = text.strip().lower()[:60]
    if m := re.fullmatch(r"cc[- ]((?:by|nc|nd|sa)(?:-(?:by|nc|nd|sa)){0,3})(?:[- ]v?(\d\.\d))?(?:-[a-z]{2,4})?", text):
        return creative_commons(set(m[1].split("-")), m[2])
    for pattern, name, tier in _IDENTIFIERS:
        if name and (m := re.fullmatch(pattern, text)):
            version = m[1] if m.re.groups else None
            return Licence(f"{name}-{version}" if version else name, version, tier)
    return None


# Words for the four elements in the languages of the licences' own translations.
_ATTRIBUTION = (
    r"attribution|namensnennung|paternité|reconocimiento|atribución|attribuzione|atribuição|naamsvermelding|"
    r"uznanie autorstwa|erkännande|kreditering|navngivelse|nimeä|uveďte (?:původ|autora)|表示|署名|저작자표시"
)
_ELEMENTS = (
    ("nc", r"non[- ]?commercial|nicht[- ]?kommerziell|keine kommerzielle|pas d.utilisation commerciale|no ?comercial|"
           r"não ?comercial|non commerciale|niet[- ]?commercieel|użycie niekomercyjne|非営利|非商业|非商業|비영리"),
    ("nd", r"no[- ]?deriv(?:ative)?s?|keine bearbeitung|pas de modification|sin ?(?:obra)?derivadas?|sem ?derivações|"
           r"non opere derivate|geen ?afgeleide|bez utworów zależnych|改変禁止|禁止演绎|변경금지"),
    ("sa", r"share[- ]?alike|weitergabe unter gleichen|partage (?:dans les mêmes|à l.identique)|compartir ?igual|"
           r"compartilha ?igual|condividi allo stesso|gelijk ?delen|na tych samych warunkach|継承|相同方式共享|"
           r"동일조건변경허락"),
)  # fmt: skip
_CC_SHORT = re.compile(
    r"\bcc[- ]?(by(?:[- ](?:nc|nd|sa)){0,2})\b(?:[- ,]{0,2}(?:v(?:ersion)? ?)?(\d\.\d))?", re.IGNORECASE
)
_CC_LONG = re.compile(
    rf"\b(?:creative commons|cc)\b[^.\n]{{0,40}}?(?:{_ATTRIBUTION})"
    rf"(?:(?!\b(?:mit|or|and|und|et|by)\b)(?:[^.;\n<]|\.(?=\d))){{0,120}}",
    re.IGNORECASE,
)
_NUMBER = re.compile(r"(\d\.\d)\b")
_PHRASES: tuple[tuple[re.Pattern[str], str, str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), name, tier)
    for pattern, name, tier in (
        (r"\bcc[- ]?0\b(?:[ -](\d\.\d))?|creative commons zero", "CC0", "permissive"),
        (r"gnu free documentation licen[sc]e(?:,? (?:version|v\.?) ?(\d\.\d))?", "GFDL", "share-alike"),
        (r"gnu affero general public licen[sc]e(?:,? (?:version|v\.?) ?(\d(?:\.\d)?))?", "AGPL", "share-alike"),
        (
            r"gnu (?:lesser|library) general public licen[sc]e(?:,? (?:version|v\.?) ?(\d(?:\.\d)?))?",
            "LGPL",
            "share-alike",
        ),
        (r"gnu general public licen[sc]e(?:[^.\n]{0,60}?version (\d(?:\.\d)?))?", "GPL", "share-alike"),
        (r"\bgnu gpl(?:,? ?(?:version |v\.? ?)?(\d(?:\.\d)?))?(?![\w.]*\w)|\bgplv(\d)", "GPL", "share-alike"),
        (
            r"apache (?:software )?licen[sc]e,? ?(?:(?:version|v\.?) ?)?(\d\.\d)?"
            r"|\bapache[- ](\d\.\d) (?:software )?licen[sc]e",
            "Apache",
            "permissive",
        ),
        (r"mozilla public licen[sc]e,? ?(?:(?:version|v\.?) ?)?(\d\.\d)?", "MPL", "share-alike"),
        (r"open government licen[sc]e,? ?(?:(?:version|v\.?) ?)?(\d(?:\.\d)?)?", "OGL-UK", "attribution"),
        (r"\b(?:mit|expat) licen[sc]e\b", "MIT", "permissive"),
        (r"python software foundation licen[sc]e(?: version (\d(?:\.\d)?))?", "PSF", "permissive"),
        (r"\b(?:zero[- ]clause bsd|bsd zero[- ]clause|0bsd)\b", "0BSD", "permissive"),
        (
            r"(?<!zero.clause )\b(?:[23]-clause |simplified |new |modified )?bsd licen[sc]e\b",
            "BSD",
            "permissive",
        ),
        (r"\bpostgresql licen[sc]e\b", "PostgreSQL", "permissive"),
        (r"\bin the public domain\b", "public-domain", "permissive"),
    )
)


def from_text(text: str) -> list[Licence]:
    """Licences that a piece of prose (bounded by the caller) names, in order of the rules, without repetition."""
    found: list[Licence] = []
    for m in _CC_SHORT.finditer(text):
        found.append(creative_commons(set(re.split(r"[- ]", m[1].lower())), m[2]))
    for m in _CC_LONG.finditer(text):
        said = m[0].lower()
        elements = {"by"} | {part for part, words in _ELEMENTS if re.search(words, said)}
        version = _NUMBER.search(said)
        if not found:
            found.append(creative_commons(elements, version[1] if version else None))
    for pattern, name, tier in _PHRASES:
        if found_here := pattern.search(text):
            version_text = next((group for group in found_here.groups() if group), None)
            if version_text and "." not in version_text:
                version_text += ".0"
            found.append(Licence(f"{name}-{version_text}" if version_text else name, version_text, tier))
    return list(dict.fromkeys(found))
