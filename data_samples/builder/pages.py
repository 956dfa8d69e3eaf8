"""The page sources: small Markdown-like files, parsed into blocks that render as HTML and as plain text.

A source file starts with defaults (``key: value`` lines), then one page after another. A page starts with ``@@ URL``,
has its own ``key: value`` lines, an empty line, and the body. README.md lists the keys.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

_INLINE = (
    (re.compile(r"\[([^\]]+)\]\(([^)]+)\)"), r'<a href="\2">\1</a>'),
    (re.compile(r"\*\*(.+?)\*\*"), r"<strong>\1</strong>"),
    (re.compile(r"(?<!\w)_(.+?)_(?!\w)"), r"<em>\1</em>"),
    (re.compile(r"`([^`]+)`"), r"<code>\1</code>"),
)


@dataclass(frozen=True)
class Block:
    """One piece of a body.

    Attributes:
        kind: heading, paragraph, list, numbers, code, table, quote or post.
        lines: its lines of text; cells of a table are separated by tabs.
        level: of a heading, 2 or 3.
        author: of a post.
        date: of a post, as printed.
        inner: blocks of a post.
    """

    kind: str
    lines: tuple[str, ...] = ()
    level: int = 2
    author: str = ""
    date: str = ""
    inner: tuple[Block, ...] = ()


@dataclass(frozen=True)
class Page:
    """One page of the samples: its address, keys and body."""

    url: str
    keys: dict[str, str] = field(default_factory=dict)
    swaps: tuple[tuple[str, str], ...] = ()
    body: str = ""

    def get(self, key: str, default: str = "") -> str:
        """The value of a key; ``default`` if the page does not have it."""
        return self.keys.get(key, default)

    def many(self, key: str) -> list[str]:
        """The values of a key that holds several, separated by semicolons."""
        return [part.strip() for part in self.get(key).split(";") if part.strip()]

    @property
    def host(self) -> str:
        return self.url.split("/")[2]


def read_pages(folder: Path) -> list[Page]:
    """All pages of a folder in the order of file names; copies have the body of their originals."""
    pages: dict[str, Page] = {}
    for path in sorted(folder.glob("*.md")):
        for page in parse(path.read_text("utf-8")):
            if page.url in pages:
                raise ValueError(f"{path.name}: {page.url} is there twice")
            pages[page.url] = _resolved(page, pages)
    return list(pages.values())


def parse(text: str) -> Iterator[Page]:
    """The pages of one source file; copies are not resolved."""
    head, *parts = re.split(r"^@@ ", text, flags=re.M)
    defaults, _ = _keys(head)
    for part in parts:
        url, _, rest = part.partition("\n")
        top, _, body = rest.partition("\n\n")
        keys, swaps = _keys(top)
        yield Page(url.strip(), defaults | keys, tuple(swaps), body.strip("\n"))


def _keys(text: str) -> tuple[dict[str, str], list[tuple[str, str]]]:
    keys: dict[str, str] = {}
    swaps = []
    for line in text.splitlines():
        name, separator, value = line.partition(":")
        if not separator:
            if line.strip():
                raise ValueError(f"not a key: {line!r}")
            continue
        if name == "swap":
            old, _, new = value.partition("=>")
            swaps.append((old.strip(), new.strip()))
        else:
            keys[name.strip()] = value.strip()
    return keys, swaps


def _resolved(page: Page, earlier: dict[str, Page]) -> Page:
    """The page itself, or the copy that it describes of an earlier one."""
    origin = earlier.get(page.get("copy_of"))
    if origin is None:
        if page.get("copy_of"):
            raise ValueError(f"{page.url}: no earlier page {page.get('copy_of')}")
        return page
    body, title = origin.body, origin.get("title")
    for old, new in page.swaps:
        if old not in body and old not in title:
            raise ValueError(f"{page.url}: {old!r} is not in {origin.url}")
        body, title = body.replace(old, new), title.replace(old, new)
    own = {key: value for key, value in page.keys.items() if key != "copy_of"}
    keys = {key: value for key, value in origin.keys.items() if key != "charset"} | {"title": title} | own
    return replace(page, keys=keys, body=body + ("\n\n" + page.body if page.body else ""))


# ---------------------------------------------------------------- body
def blocks(body: str) -> tuple[Block, ...]:
    """The blocks of a body; what follows a ``~ author | date`` line belongs to that post."""
    found: list[Block] = []
    parts = re.split(r"^~ (.+)$", body, flags=re.M)
    found += _plain_blocks(parts[0])
    for head, inner in zip(parts[1::2], parts[2::2], strict=True):
        author, _, date = head.partition("|")
        found.append(Block("post", author=author.strip(), date=date.strip(), inner=tuple(_plain_blocks(inner))))
    return tuple(found)


def _plain_blocks(text: str) -> Iterator[Block]:
    fenced = re.split(r"^```\n(.*?)^```$", text, flags=re.M | re.S)
    for i, part in enumerate(fenced):
        if i % 2:
            yield Block("code", tuple(part.rstrip("\n").split("\n")))
            continue
        for chunk in re.split(r"\n\s*\n", part):
            if chunk.strip():
                yield _block([line for line in chunk.split("\n") if line.strip()])


def _block(lines: list[str]) -> Block:
    first = lines[0]
    if first.startswith("#"):
        marks = len(first) - len(first.lstrip("#"))
        return Block("heading", (first.lstrip("# "),), level=max(2, marks))
    if all(line.startswith("- ") for line in lines):
        return Block("list", tuple(line[2:] for line in lines))
    if all(re.match(r"\d+\. ", line) for line in lines):
        return Block("numbers", tuple(line.partition(". ")[2] for line in lines))
    if first.startswith("|"):
        return Block("table", tuple("\t".join(c.strip() for c in line.strip("| ").split("|")) for line in lines))
    if first.startswith("> "):
        return Block("quote", tuple(line.removeprefix("> ") for line in lines))
    return Block("paragraph", (" ".join(line.strip() for line in lines),))


def inline_html(text: str) -> str:
    """Text with emphasis, code and links as HTML."""
    marked = html.escape(text, quote=False)
    for pattern, by in _INLINE:
        marked = pattern.sub(by, marked)
    return marked


def inline_text(text: str) -> str:
    """Text without the marks of emphasis, code and links."""
    text = re.sub(r"\[([^\]]+)\]\(([^)]+)\)", r"\1", text)
    text = re.sub(r"\*\*(.+?)\*\*", r"\1", text)
    text = re.sub(r"(?<!\w)_(.+?)_(?!\w)", r"\1", text)
    return re.sub(r"`([^`]+)`", r"\1", text)


def block_html(block: Block) -> str:
    """One block, not a post, as HTML."""
    lines = [inline_html(line) for line in block.lines]
    if block.kind == "heading":
        return f"<h{block.level}>{lines[0]}</h{block.level}>"
    if block.kind in ("list", "numbers"):
        tag = "ul" if block.kind == "list" else "ol"
        return f"<{tag}>" + "".join(f"<li>{line}</li>\n" for line in lines) + f"</{tag}>"
    if block.kind == "code":
        return "<pre><code>" + html.escape("\n".join(block.lines), quote=False) + "</code></pre>"
    if block.kind == "table":
        rows = ["".join(f"<td>{cell}</td>" for cell in line.split("\t")) for line in lines]
        rows[0] = rows[0].replace("td>", "th>")
        return "<table>" + "".join(f"<tr>{row}</tr>\n" for row in rows) + "</table>"
    if block.kind == "quote":
        return "<blockquote><p>" + "<br>\n".join(lines) + "</p></blockquote>"
    return f"<p>{lines[0]}</p>"


def block_text(block: Block) -> str:
    """One block as an ideal extraction gives it."""
    if block.kind == "post":
        return "\n\n".join([block.author, *map(block_text, block.inner)])
    if block.kind == "code":
        return "\n".join(block.lines)
    mark = {"list": "- "}.get(block.kind, "")
    lines = [mark + inline_text(line).replace("\t", " | ") for line in block.lines]
    if block.kind == "numbers":
        lines = [f"{i}. {line}" for i, line in enumerate(lines, 1)]
    return "\n".join(lines)


def main_text(page: Page) -> str:
    """What an ideal extraction gives: title, then body. Empty for pages whose text is all navigation."""
    if page.get("main") == "none":
        return ""
    return "\n\n".join([page.get("title"), *map(block_text, blocks(page.body))]).strip()
