"""Site skins: what real pages put around their text, each in its own markup."""

from __future__ import annotations

import html
import json
from collections.abc import Callable
from dataclasses import dataclass

from data_samples.builder.pages import Block, Page, block_html, blocks
from data_samples.builder.words import WORDS, Words

_TRACKER = (
    "<script>window.dataLayer=window.dataLayer||[];function gtag(){dataLayer.push(arguments)}"
    "gtag('js',new Date());</script>"
)
_STYLE = (
    "<style>body{font:16px/1.5 Georgia,serif;margin:0}nav ul{list-style:none;display:flex}.off{display:none}</style>"
)
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


def render(page: Page, related: list[str], date: str) -> str:
    """The page as HTML in its skin."""
    words = WORDS[page.get("lang")]
    if page.get("skin") == "raw":
        return page.body
    site = Site(
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
    return SKINS[page.get("skin", "magazine")](site)


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


def _magazine(s: Site) -> str:
    data = json.dumps({"@context": "https://schema.org", "@type": "Article", "headline": s.page.get("title"),
                       "datePublished": s.date[:10]}, ensure_ascii=False)  # fmt: skip
    rtl = ' dir="rtl"' if s.lang == "ar" else ""
    return f"""<!DOCTYPE html>
<html lang="{s.lang}"{rtl}>
<head>
{s.meta}
<title>{s.title} | {s.name}</title>
<meta property="og:title" content="{s.title}">
<link rel="stylesheet" href="/css/site.css">
{_STYLE}
{_TRACKER}
<script type="application/ld+json">{data}</script>
</head>
<body class="article">
<div id="cookie-banner" class="cookie-consent" role="dialog">{s.words.cookies}</div>
<header class="site-header"><a class="logo" href="/">{s.name}</a>
<nav class="main-nav"><ul>
{s.menu()}
</ul></nav>
<form action="/search"><input type="search" name="q" placeholder="{s.words.search}"></form></header>
<main id="content">
<article>
<h1>{s.title}</h1>
<div class="meta share-buttons"><time datetime="{s.date}">{s.date[:10]}</time></div>
<div class="entry-content">
{s.body()}
</div>
</article>
</main>
<aside class="sidebar"><h3>{s.words.related}</h3><ul>
{s.others()}
</ul><div class="newsletter">{s.words.newsletter}</div></aside>
<footer class="site-footer"><ul><li><a href="/privacy">{s.words.privacy}</a></li>
<li><a href="/terms">{s.words.terms}</a></li></ul>
<p>© 2026 {s.name}. {s.words.rights}.</p>{s.licence}</footer>
<script src="/js/app.min.js" defer></script>
</body>
</html>
"""


def _blog(s: Site) -> str:
    return f"""<!DOCTYPE html>
<html lang="{s.lang}">
<head>
{s.meta}
<meta name="generator" content="Pressroll 6.4">
<title>{s.title} – {s.name}</title>
<link rel="alternate" type="application/rss+xml" href="/feed/">
<script>document.documentElement.className="js";</script>
</head>
<body class="single single-post">
<div id="page" class="hfeed">
<div id="masthead" class="site-header"><p class="site-title"><a href="/">{s.name}</a></p>
<div id="site-navigation" class="main-navigation"><ul class="menu">
{s.menu()}
</ul></div></div>
<div id="content" class="site-content"><div id="primary" class="content-area">
<div id="post-{len(s.title) * 37}" class="post hentry">
<h1 class="entry-title">{s.title}</h1>
<div class="entry-meta">{s.date[:10]}</div>
<div class="entry-content">
{s.body()}
</div>
<div class="post-tags share"><a href="/share">Share</a> <a href="/print">Print</a></div>
</div></div>
<div id="secondary" class="widget-area sidebar"><div class="widget"><h2 class="widget-title">{s.words.popular}</h2><ul>
{s.others()}
</ul></div><div class="widget widget_search"><form><input type="text" value="">
<input type="submit" value="{s.words.search}"></form></div></div>
</div>
<div id="colophon" class="site-footer"><a href="/privacy">{s.words.privacy}</a> · {s.words.rights} {s.licence}</div>
</div>
<!-- 41 queries in 0.213 seconds -->
</body>
</html>
"""


def _docs(s: Site) -> str:
    return f"""<!DOCTYPE html>
<html lang="{s.lang}">
<head>
{s.meta}
<title>{s.title} — {s.name}</title>
<link rel="stylesheet" href="/_static/theme.css">
<script src="/_static/doctools.js"></script>
</head>
<body>
<div class="wy-grid">
<nav class="wy-nav-side" aria-label="Contents"><div class="toctree"><ul>
{s.menu()}
{s.others()}
</ul></div></nav>
<section class="wy-nav-content-wrap">
<div role="navigation" class="breadcrumbs"><a href="/">{s.words.home}</a> » {s.title}</div>
<div role="main" class="document" itemscope itemtype="https://schema.org/Article">
<h1>{s.title}</h1>
{s.body()}
</div>
<footer><div class="rst-footer-buttons"><a href="prev.html">←</a> <a href="next.html">→</a></div>
<p>{s.words.rights}.</p>{s.licence}</footer>
</section></div>
</body>
</html>
"""


def _thread(s: Site, kind: str) -> str:
    posts = []
    for i, block in enumerate(blocks(s.page.body)):
        if block.kind != "post":
            posts.append(block_html(block))
            continue
        inner = "\n".join(map(block_html, block.inner))
        posts.append(
            f'<div class="{kind}" id="p{1041 + 7 * i}"><div class="author">'
            f'<a href="/u/{i}">{html.escape(block.author)}</a></div>\n'
            f'<div class="postbody"><div class="content">{inner}</div></div>\n'
            f'<div class="post-controls"><a href="#reply">{s.words.reply}</a></div></div>'
        )
    listing = "\n".join(posts)
    return f"""<!DOCTYPE html>
<html lang="{s.lang}">
<head>
{s.meta}
<title>{s.title} - {s.name}</title>
{_TRACKER}
</head>
<body>
<div id="wrap">
<div id="page-header" class="headerbar"><a href="/">{s.name}</a><ul class="linklist navbar">
{s.menu()}
<li><a href="/login">{s.words.login}</a></li></ul></div>
<div id="page-body" class="topic">
<h1 class="topic-title">{s.title}</h1>
{listing}
</div>
<div id="page-footer" class="footer"><h3>{s.words.related}</h3><ul>
{s.others()}
</ul><div class="copyright">{s.words.rights} {s.licence}</div></div>
</div>
</body>
</html>
"""


def _forum(s: Site) -> str:
    return _thread(s, "post bg1")


def _qa(s: Site) -> str:
    return _thread(s, "answer")


def _shop(s: Site) -> str:
    price = f'<div class="price">{s.page.get("price")}</div>' if s.page.get("price") else ""
    return f"""<!doctype html>
<html lang="{s.lang}">
<head>
{s.meta}
<title>{s.title} | {s.name}</title>
<meta property="og:type" content="product">
<script>var shop={{"currency":"EUR","cart":0}};</script>
</head>
<body class="product-page">
<div class="topbar">{s.words.cookies}</div>
<header><div class="logo"><a href="/">{s.name}</a></div><div class="account"><a href="/login">{s.words.login}</a></div>
<nav><ul class="categories">
{s.menu()}
</ul></nav></header>
<div class="breadcrumb"><a href="/">{s.words.home}</a> / {s.title}</div>
<div class="container"><div class="row"><div class="gallery"><img src="/img/1.jpg" alt="{s.title}"></div>
<div class="product-main"><h1>{s.title}</h1>{price}
<button class="btn buy" type="button">{s.words.cart}</button>
<div class="description">
{s.body()}
</div></div></div>
<div class="related-products"><h3>{s.words.related}</h3><ul>
{s.others()}
</ul></div></div>
<footer><ul><li>{s.words.privacy}</li><li>{s.words.terms}</li></ul>{s.licence}</footer>
</body>
</html>
"""


def _corporate(s: Site) -> str:
    return f"""<!DOCTYPE html>
<html lang="{s.lang}"><head>
{s.meta}
<title>{s.name}: {s.title}</title>
<link rel="stylesheet" href="/dist/main.8f3a.css"></head>
<body><div id="app"><div class="nav-wrapper"><div class="nav-inner"><a href="/">{s.name}</a>
{s.menu("span")}
</div></div>
<div class="hero"><div class="hero-inner"><h1>{s.title}</h1></div></div>
<div class="section"><div class="grid"><div class="col-8"><div class="rich-text">
{s.body()}
</div></div></div></div>
<div class="cta-strip"><a class="button" href="/contact">{s.words.contact}</a></div>
<div class="footer-wrapper"><div class="footer-links">{s.words.privacy} | {s.words.terms}</div>
<div class="small">{s.words.rights}</div>{s.licence}</div>
</div><script src="/dist/runtime.js"></script></body></html>
"""


def _old(s: Site) -> str:
    """A page of the nineties: capitals, table layout, font tags, nothing closed that need not be."""
    declared = s.page.get("meta", s.page.get("charset", "utf-8"))
    meta = "" if declared == "none" else f'<META HTTP-EQUIV="Content-Type" CONTENT="text/html; charset={declared}">\n'
    body = s.body().replace("<p>", "<P>").replace("</p>", "").replace("</li>", "").replace("<li>", "<LI>")
    return f"""<HTML>
<HEAD>
{meta}<TITLE>{s.title}</TITLE>
</HEAD>
<BODY BGCOLOR="#FFFFEE" TEXT="#000000">
<TABLE WIDTH=760 BORDER=0><TR><TD VALIGN=TOP WIDTH=140 BGCOLOR=#CCCC99><FONT SIZE=2>
<A HREF="/">{s.words.home}</A><BR><A HREF="/news.htm">{s.words.news}</A><BR><A HREF="/about.htm">{s.words.about}</A><BR>
</FONT></TD><TD VALIGN=TOP>
<H1><FONT COLOR=#660000>{s.title}</FONT></H1>
{body}
<HR>
<CENTER><FONT SIZE=1>{s.name} - {s.words.contact}</FONT></CENTER>
</TD></TR></TABLE>
</BODY>
</HTML>
"""


def _xhtml(s: Site) -> str:
    charset = s.page.get("charset", "utf-8")
    return f"""<?xml version="1.0" encoding="{charset}"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd">
<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="{s.lang}" lang="{s.lang}">
<head><title>{s.title} - {s.name}</title>
<link rel="stylesheet" type="text/css" href="/style.css" /></head>
<body>
<div id="navigation"><ul>
{s.menu()}
</ul></div>
<div id="main">
<h1>{s.title}</h1>
{s.body().replace("<br>", "<br />")}
</div>
<div id="footer"><p>{s.words.rights}</p>{s.licence}</div>
</body>
</html>
"""


def _broken(s: Site) -> str:
    """Tags that overlap, are not closed, or are closed twice; an attribute without its end quote."""
    body = s.body().replace("</p>", "", 2).replace("<strong>", "<b><i>").replace("</strong>", "</b></i>")
    page = _magazine(s).replace(s.body(), body + "</div></div></span>")
    page = page.replace('<div class="entry-content">', '<div class="entry-content"><p class=lead align="left>', 1)
    return page.replace('align="left>', "align=left><font color=>", 1).replace("</aside>", "", 1).replace("</html>", "")


def _noscript(s: Site) -> str:
    """An application shell: the text is there for crawlers only, inside noscript."""
    return f"""<!DOCTYPE html>
<html lang="{s.lang}"><head>
{s.meta}
<title>{s.title} - {s.name}</title>
<script src="/assets/vendor.js" defer></script></head>
<body class="crawler-shell">
<noscript data-path="/t/1"><header><a href="/">{s.name}</a></header>
<div id="main-outlet" class="wrap" role="main"><h1>{s.title}</h1>
{s.body()}
</div><footer class="noscript-footer-nav">{s.words.terms}</footer></noscript>
<div id="app-root"></div><script>App.start();</script>
</body></html>
"""


def _nested(s: Site) -> str:
    """The text below 2,000 elements, each inside the one before."""
    depth = 2000
    page = _magazine(s).replace("<article>", "<div>" * depth + "<article>")
    return page.replace("</article>", "</article>" + "</div>" * depth)


def _shell(s: Site) -> str:
    """An application that has no text before its scripts have run."""
    return f"""<!DOCTYPE html>
<html lang="{s.lang}"><head>
{s.meta}
<title>{s.title}</title></head>
<body><div id="root"></div><script>window.__STATE__={{"route":"/","user":null,"flags":["a","b"]}};</script>
<script src="/static/js/main.4c1d.js"></script></body></html>
"""


SKINS: dict[str, Callable[[Site], str]] = {
    "magazine": _magazine,
    "blog": _blog,
    "docs": _docs,
    "forum": _forum,
    "qa": _qa,
    "shop": _shop,
    "corporate": _corporate,
    "old": _old,
    "xhtml": _xhtml,
    "broken": _broken,
    "noscript": _noscript,
    "nested": _nested,
    "shell": _shell,
}
