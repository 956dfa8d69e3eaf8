"""What runs in the guarded child for ``extract_html``: one page in; text, title and the engine used out."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from curate.guard import ItemError
from curate.stages.html_rescue import rescue, without_guards

#: resiliparse's settings that did best of those measured on seven page types (mean word F1 .741 at 3.8 ms per page)
_RESILIPARSE: dict[str, Any] = {
    "preserve_formatting": True,
    "list_bullets": True,
    "alt_texts": False,
    "links": False,
    "form_fields": False,
}
_MAX_TITLE = 1000


class HtmlWorker:
    """Extracts main text with one engine.

    Args:
        engine: ``resiliparse``, ``trafilatura``, or ``auto``: resiliparse, and trafilatura (if it is installed) where
            resiliparse keeps less than ``auto_share`` of the words of the page.
        noscript: resiliparse takes the content of ``noscript`` too.
        mode: trafilatura's ``default``, ``precision`` or ``recall``.
        comments: trafilatura keeps comment sections.
        text_bytes: longest text that a page may give.
    """

    schema = pa.schema([("text", pa.string()), ("title", pa.string()), ("engine", pa.string())])

    def __init__(
        self, engine: str, noscript: bool, auto_share: float, mode: str, comments: bool, text_bytes: int
    ) -> None:
        from resiliparse.extract.html2text import extract_plain_text
        from resiliparse.parse.html import HTMLTree

        self.engine = engine
        self.options: dict[str, Any] = {**_RESILIPARSE, "noscript": noscript}
        self.auto_share = auto_share
        self.text_bytes = text_bytes
        self._parse = HTMLTree.parse
        self._plain_text = extract_plain_text
        self._trafilatura = self._load_trafilatura(engine, mode, comments)

    def _load_trafilatura(self, engine: str, mode: str, comments: bool) -> Any:
        """A function from html to text or None; None where the engine does not need the library or, for ``auto``,
        where it is not installed."""
        if engine == "resiliparse":
            return None
        try:
            from trafilatura import extract
        except ImportError:
            if engine == "auto":
                return None
            raise
        # deduplicate=True keeps state across pages: a page's text would depend on what the process saw before
        flags = {"deduplicate": False, "include_comments": comments, "with_metadata": False}
        flags |= {"favor_precision": mode == "precision", "favor_recall": mode == "recall"}
        return lambda html: extract(html, **flags)

    def __call__(self, html: str) -> tuple[str, str | None, str]:
        """(text, title, engine) of one page; ItemError ``limit.document-bytes`` if the text is too long."""
        tree = self._parse(rescue(html) if self.engine != "trafilatura" else html)
        title = _clean(" ".join(without_guards(tree.title or "").split())[:_MAX_TITLE]) or None
        if self.engine == "trafilatura":
            text, engine = self._trafilatura(html) or "", "trafilatura"
        else:
            text, engine = without_guards(self._plain_text(tree, main_content=True, **self.options)), "resiliparse"
            if self._trafilatura is not None and self._is_thin(tree, text):
                text, engine = self._trafilatura(html) or text, "trafilatura"
        text = _clean(text)
        size = len(text) if text.isascii() else len(text.encode())
        if size > self.text_bytes:
            raise ItemError("limit.document-bytes", f"text of {size} bytes, at most {self.text_bytes}")
        return text, title, engine

    def _is_thin(self, tree: Any, text: str) -> bool:
        """True if the main text has less than the set share of the page's words."""
        every = self._plain_text(tree, main_content=False, **self.options)
        return len(text.split()) < self.auto_share * len(every.split())


def _clean(text: str) -> str:
    """The text with lone surrogates replaced, so that it is valid UTF-8."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text
