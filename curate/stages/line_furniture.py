"""Lines of a page that belong to the site and not to the text: comment forms, share buttons, ways back to the top."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

#: whole lines, in lower case; seen at the ends of pages that extraction and quality rules had let through
_SAYINGS = (
    r"(?:leave|post|add|write) a (?:reply|comment|response)", r"leave comment", r"post comment", r"submit comment",
    r"cancel reply", r"comments are closed", r"no comments yet", r"be the first to comment",
    r"your e-?mail address will not be published", r"required fields are marked", r"html code is not allowed",
    r"you may use these html tags and attributes:?.{0,400}", r"this site uses akismet to reduce spam",
    r"learn how your comment data is processed",
    r"you (?:must|need to) (?:be logged in|log in|login|sign in|register)(?: or register)?"
    r" (?:to|in order to) (?:leave a comment|post a comment|comment|reply|reply here|post|answer this question)",
    r"(?:log in|login|sign in) (?:or (?:register|sign up) )?to (?:leave a comment|post a comment|comment|reply)",
    r"(?:skip|jump) to (?:main |primary )?(?:content|navigation)", r"(?:back|scroll|return) to (?:the )?top",
    r"share this(?: post| article| page| story| entry)?", r"click to (?:share|email|print)\b.{0,60}",
    r"share on (?:facebook|twitter|x|linkedin|pinterest|reddit|whatsapp|telegram|email)",
    r"(?:email|print) this(?: page| article)?", r"(?:sign up for|subscribe to) our newsletter",
    r"proudly powered by wordpress", r"powered by (?:wordpress|blogger|disqus|discourse)",
)  # fmt: skip
_BETWEEN = r"[ \t.!*:,|•·»«…→↑()\[\]]"
_LINE = rf"(?im)^{_BETWEEN}*(?:(?:{'|'.join(_SAYINGS)}){_BETWEEN}*)+\r?$"


def without_furniture(texts: pa.Array) -> tuple[pa.Array, pa.Array]:
    """The texts without such lines, and how many of them each had (int32); a text of nothing else becomes empty."""
    counts = pc.count_substring_regex(texts, _LINE)
    if not pc.any(pc.greater(counts, 0)).as_py():
        return texts, counts
    # the line goes with the break before it, or, at the beginning, with the one behind it
    inner = pc.replace_substring_regex(texts, _LINE.replace("(?im)^", r"(?im)\n"), "")
    first = _LINE.replace("(?im)^", r"(?i)\A").removesuffix("$")
    return pc.replace_substring_regex(inner, rf"(?:{first})(?:\n|\z)", ""), counts
