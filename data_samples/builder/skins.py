"""Site skins: what real pages put around their text, each in its own markup."""

from __future__ import annotations

import html
import json
from collections.abc import Callable

from data_samples.builder.pages import block_html, blocks
from data_samples.builder.site import Site

_TRACKER = (
    "<script>window.dataLayer=window.dataLayer||[];function gtag(){dataLayer.push(arguments)}"
    "gtag('js',new Date());</script>"
)
_STYLE = (
    "<style>body{font:16px/1.5 Georgia,serif;margin:0}nav ul{list-style:none;display:flex}.off{display:none}</style>"
)


def magazine(s: Site) -> str:
    """An article with menu, cookie banner, side bar and footer."""
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


def _press(s: Site) -> str:
    """A newspaper: advertisements and links to other articles between the paragraphs, comments below."""
    parts = s.body().split("</p>\n", 2)
    links = s.others().replace("<li>", '<div class="teaser">').replace("</li>", "</div>")
    box = f'<div class="inline-related"><span>{s.words.related}</span>{links}</div>\n'
    body = "</p>\n".join(parts[:-1]) + "</p>\n" + box + parts[-1] if len(parts) > 1 else parts[0]
    return f"""<!DOCTYPE html>
<html lang="{s.lang}" prefix="og: https://ogp.me/ns#">
<head>
{s.meta}
<title>{s.title} | {s.name}</title>
<meta property="og:type" content="article"><meta property="article:published_time" content="{s.date}">
{_TRACKER}
</head>
<body>
<a class="skip-link" href="#story">↓</a>
<header role="banner"><div class="masthead"><a href="/">{s.name}</a></div>
<nav aria-label="Sections"><ul class="nav-list">
{s.menu()}
</ul></nav></header>
<div class="ad-slot ad-top" data-slot="top"></div>
<div class="layout"><main id="story"><article class="story">
<header class="story-head"><h1 class="headline">{s.title}</h1><p class="byline"><time>{s.date[:10]}</time></p></header>
<div class="story-body">
{body}
</div>
<div class="share-bar"><a href="#">Mail</a> <a href="#">Link</a></div>
</article>
<section class="comments" id="comments"><p class="login-hint">{s.words.login}</p></section></main>
<aside class="rail"><h2>{s.words.popular}</h2><ol>
{s.others()}
</ol><div class="ad-slot"></div></aside></div>
<footer role="contentinfo"><p>{s.words.newsletter}</p><a href="/privacy">{s.words.privacy}</a>
<a href="/terms">{s.words.terms}</a>{s.licence}</footer>
<script src="/js/bundle.js" async></script>
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


SKINS: dict[str, Callable[[Site], str]] = {
    "magazine": magazine,
    "press": _press,
    "blog": _blog,
    "docs": _docs,
    "forum": _forum,
    "qa": _qa,
    "shop": _shop,
    "corporate": _corporate,
}
