"""Skins of odd pages: markup of the nineties, broken or very deep trees, texts that only scripts or crawlers see."""

from __future__ import annotations

from collections.abc import Callable

from data_samples.builder.site import Site
from data_samples.builder.skins import magazine


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
    page = magazine(s).replace(s.body(), body + "</div></div></span>")
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
    page = magazine(s).replace("<article>", "<div>" * depth + "<article>")
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


ODD_SKINS: dict[str, Callable[[Site], str]] = {
    "old": _old,
    "xhtml": _xhtml,
    "broken": _broken,
    "noscript": _noscript,
    "nested": _nested,
    "shell": _shell,
}
