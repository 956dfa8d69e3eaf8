"""What every skin needs: the page, the words around it, and its parts as HTML."""

from __future__ import annotations

import html
from dataclasses import dataclass

from data_samples.builder.pages import Block, Page, block_html, blocks
from data_samples.builder.words import WORDS, Words

LICENCES = {
    "CC-BY-4.0": "https://creativecommons.org/licenses/by/4.0/",
    "CC-BY-SA-4.0": "https://creativecommons.org/licenses/by-sa/4.0/",
    "CC-BY-NC-4.0": "https://creativecommons.org/licenses/by-nc/4.0/",
    "CC0-1.0": "https://creativecommons.org/publicdomain/zero/1.0/",
}


@dataclass(frozen=True)
class Site:
    """What a skin needs beside the page: escaped title, name of the site, words, menu, links to other pages."""

    page: Page
    title: str
    name: str
    words: Words
    sections: list[str]
    related: list[str]
    meta: str
    licence: str
    date: str

    @property
    def lang(self) -> str:
        return self.page.get("lang")

    def body(self) -> str:
        """The blocks of the body one after another; posts as sections."""
        return "\n".join(_post(b) if b.kind == "post" else block_html(b) for b in blocks(self.page.body))

    def menu(self, tag: str = "li") -> str:
        """Links to the sections of the site."""
        names = [self.words.home, self.words.news, *self.sections, self.words.about, self.words.contact]
        return "\n".join(f'<{tag}><a href="/{i}/">{name}</a></{tag}>' for i, name in enumerate(names))

    def others(self) -> str:
        """Links to related pages, as list items."""
        return "\n".join(f'<li><a href="/r/{i}.html">{name}</a></li>' for i, name in enumerate(self.related))


def _post(block: Block) -> str:
    inner = "\n".join(map(block_html, block.inner))
    return f'<section class="comment"><h4>{html.escape(block.author)}</h4>\n{inner}</section>'


def site_of(page: Page, related: list[str], date: str) -> Site:
    """What a skin needs for a page."""
    words = WORDS[page.get("lang")]
    return Site(
        page=page,
        title=html.escape(page.get("title")),
        name=html.escape(page.get("site") or page.host.removeprefix("www.").split(".")[0].replace("-", " ").title()),
        words=words,
        sections=page.many("sections"),
        related=[html.escape(r) for r in (page.many("related") or related)],
        meta=_meta(page),
        licence=_licence(page),
        date=date,
    )


def _meta(page: Page) -> str:
    declared = page.get("meta", page.get("charset", "utf-8"))
    charset = "" if declared == "none" else f'<meta charset="{declared}">\n'
    return (
        f'{charset}<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<link rel="canonical" href="{html.escape(page.get("canonical") or page.url)}">'
    )


def _licence(page: Page) -> str:
    name = page.get("licence")
    if not name:
        return ""
    return f'<p class="licence">Licence: <a rel="license" href="{LICENCES[name]}">{name}</a></p>'
