"""Redaction of personal identifiers in text: what looks like one and passes its check becomes a fixed token.

==================  ====================  ============================================================================
label               token                 what counts
==================  ====================  ============================================================================
pii_emails          ``<EMAIL>``           local part of 1–64 bytes, domain of valid labels that ends in a real top-level
                                          domain; not handles (@user@host), not git@host:path, not //user@host/
pii_ip_addresses    ``<IP_ADDRESS>``      IPv4 and IPv6 that are globally reachable; not private, local or documentation
                                          ranges, not numbers of versions and sections: four numbers
                                          below 40 only after a word such as *host*, or with a port
pii_phone_numbers   ``<PHONE_NUMBER>``    international numbers, national shapes, numbers that a word announces
                                          (``curate.kernels.pii_phones`` lists them)
pii_card_numbers    ``<CARD_NUMBER>``     issuer's prefix, its number of digits (13–19), printed layout, Luhn
pii_ibans           ``<IBAN>``            country, its length, remainder modulo 97
pii_us_ssns         ``<US_SSN>``          3-2-4 digits by the numbering rules; off unless a token is set
==================  ====================  ============================================================================

Choices: addresses at example.com are redacted like others, since nothing is lost by it; one random string of 13 to 19
digits in ten passes Luhn, therefore an issuer's prefix must fit as well, and digits in a URL or after ``#`` are left
alone. Names and postal addresses need a model and are not touched. Matched strings go nowhere but out of the text.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import pyarrow as pa
from pydantic import Field

from curate.documents import Batch, column
from curate.kernels.strings import string_array, string_buffers
from curate.stages.base import Context, Stage, StageConfig

_TOP_LEVEL_DOMAINS = Path(__file__).parent / "assets" / "top_level_domains.txt"
_KINDS = ("emails", "ip_addresses", "phone_numbers", "card_numbers", "ibans", "us_ssns")
_WHAT = {
    "emails": "addresses of mail",
    "ip_addresses": "public IP addresses",
    "phone_numbers": "phone numbers",
    "card_numbers": "payment card numbers",
    "ibans": "IBANs",
    "us_ssns": "US social security numbers",
}
_SPAN = pa.struct([pa.field("start", pa.int32()), pa.field("end", pa.int32()), pa.field("kind", pa.string())])
#: Words before four small numbers with dots that say: a version or a section, not an address.
_VERSION_WORDS = [
    "version", "versions", "ver", "v", "vers", "release", "releases", "rel", "build", "builds", "rev", "revision", "r",
    "section", "sections", "sec", "chapter", "chap", "ch", "firmware", "fw", "driver", "drivers", "patch", "update",
    "upgrade", "oid", "figure", "fig", "table", "appendix", "clause", "article", "paragraph", "para", "kernel", "sdk",
    "api", "kapitel", "abschnitt", "versión", "versão", "versione", "wersja", "версия", "версии", "§", "§§", "rule",
    "item", "step", "exercise", "theorem", "lemma", "equation", "eq", "software", "app", "plugin", "package", "level",
]  # fmt: skip

#: Words before four small numbers with dots that say: an address.
_ADDRESS_WORDS = [
    "ip", "ips", "ipv4", "address", "addresses", "addr", "adresse", "adressen", "adresses", "dirección", "indirizzo",
    "endereço", "adres", "адрес", "адреса", "host", "hosts", "server", "servers", "serveur", "servidor", "nameserver",
    "resolver", "dns", "ping", "inet", "gateway", "from", "via", "src", "dst", "client", "peer", "remote", "listen",
    "bind", "connect", "deny", "allow",
]  # fmt: skip

Token = Annotated[str, Field(min_length=1, max_length=64)]


class PiiConfig(StageConfig):
    """Token per kind; null turns the kind off. ``spans`` records where in the original text each match stood."""

    emails: Token | None = "<EMAIL>"
    ip_addresses: Token | None = "<IP_ADDRESS>"
    phone_numbers: Token | None = "<PHONE_NUMBER>"
    card_numbers: Token | None = "<CARD_NUMBER>"
    ibans: Token | None = "<IBAN>"
    us_ssns: Token | None = None
    spans: bool = False


@cache
def _tables() -> tuple[Any, Any, Any, Any]:
    """Hash tables of top-level domains, and of words before versions, addresses, and phone numbers."""
    from curate.kernels.pii_phones import ENDINGS, WORDS
    from curate.kernels.pii_scan import hash_table

    lines = _TOP_LEVEL_DOMAINS.read_text("ascii").splitlines()
    domains = [line for line in lines if line and not line.startswith("#")]
    return hash_table(domains), hash_table(_VERSION_WORDS), hash_table(_ADDRESS_WORDS), hash_table(WORDS + ENDINGS)


class Pii(Stage):
    """Text with personal identifiers replaced, and how many of each kind there were.

    Linear time: at most some hundred bytes are looked at around each ``@`` and each run of digits. The output of one
    document does not depend on its neighbours.
    """

    name = "pii"
    follows = "kinds of Dolma (arXiv 2402.00159) and datatrove's PIIFormatter, with checks and fixed tokens"
    changes_text = True
    Config = PiiConfig
    config: PiiConfig
    kinds: ClassVar[tuple[str, ...]] = _KINDS

    def adds(self) -> pa.Schema:
        """One count per kind that is on (int32, per document), and ``pii_spans`` if asked for."""
        fields = [
            column(f"pii_{kind}", pa.int32(), f"{_WHAT[kind]} replaced in the text", unit="count", nullable=False)
            for kind in self._on()
        ]
        if self.config.spans:
            doc = "where matches stood in the text before redaction; empty if there were none"
            fields.append(column("pii_spans", pa.list_(_SPAN), doc, unit="code points", nullable=False))
        return pa.schema(fields)

    def assets(self, base: Path) -> Mapping[str, Path]:
        """The list of top-level domains."""
        return {"top_level_domains": _TOP_LEVEL_DOMAINS}

    def open(self, context: Context) -> None:
        """Load the word lists."""
        _tables()

    def process(self, batch: Batch) -> Batch:
        """The batch with redacted text and counts."""
        data, offsets = string_buffers(batch.column("text"))
        found = self._scan(data, offsets)
        columns: dict[pa.Field | str, pa.Array] = {}
        if len(found):
            columns[batch.schema.field("text")] = self._redacted(data, offsets, found, batch.schema.field("text").type)
        for field in self.adds():
            if field.name != "pii_spans":
                code = _KINDS.index(field.name.removeprefix("pii_"))
                counts = np.bincount(found[found[:, 3] == code, 0], minlength=len(batch)).astype(np.int32)
                columns[field] = pa.array(counts)
            else:
                columns[field] = self._spans(data, offsets, found)
        return batch.with_columns(columns)

    def _on(self) -> list[str]:
        return [kind for kind in _KINDS if getattr(self.config, kind) is not None]

    def _scan(self, data: Any, offsets: Any) -> Any:
        """Spans of all identifiers: document, first byte, byte after the last, kind."""
        from curate.kernels.pii_scan import CLASSES, scan

        on = np.array([getattr(self.config, kind) is not None for kind in _KINDS], np.uint8)
        capacity = max(1024, len(offsets) * 4)
        while True:
            found = np.empty((capacity, 4), np.int64)
            count = scan(data, offsets, on, CLASSES, *_tables(), found)
            if count <= capacity:
                return found[:count]
            capacity = count

    def _redacted(self, data: Any, offsets: Any, found: Any, type_: pa.DataType) -> pa.Array:
        from curate.kernels.pii_scan import replace

        tokens = [(getattr(self.config, kind) or "").encode() for kind in _KINDS]
        lengths = np.array([len(token) for token in tokens], np.int64)
        token_offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        removed = int((found[:, 2] - found[:, 1]).sum())
        size = int(offsets[-1] - offsets[0]) - removed + int(lengths[found[:, 3]].sum())
        out, out_offsets = np.empty(size, np.uint8), np.empty(len(offsets), np.int64)
        replace(data, offsets, found, np.frombuffer(b"".join(tokens), np.uint8), token_offsets, out, out_offsets)
        return string_array(out, out_offsets).cast(type_)

    def _spans(self, data: Any, offsets: Any, found: Any) -> pa.Array:
        from curate.kernels.pii_scan import code_points

        points = np.empty((len(found), 2), np.int32)
        code_points(data, offsets, found, points)
        names = pa.array(_KINDS).take(pa.array(found[:, 3]))
        values = pa.StructArray.from_arrays([pa.array(points[:, 0]), pa.array(points[:, 1]), names], fields=list(_SPAN))
        ends = np.searchsorted(found[:, 0], np.arange(len(offsets)), side="left").astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(ends), values)
