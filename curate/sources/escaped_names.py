"""Names of files as they can stand in a table: valid UTF-8 on one line."""

from __future__ import annotations

import os


def escaped(name: str) -> str:
    """``name`` if it is valid UTF-8 without control characters; else with those bytes, and ``%``, as ``%XX``."""
    raw = os.fsencode(name)
    try:
        raw.decode("utf-8")
        bad = any(b < 32 or b == 127 for b in raw)
    except UnicodeDecodeError:
        bad = True
    if not bad:
        return name
    out = []
    for char in name:
        code = ord(char)
        plain = code >= 32 and code != 127 and char != "%" and not 0xD800 <= code <= 0xDFFF
        out.append(char if plain else "".join(f"%{b:02X}" for b in os.fsencode(char)))
    return "".join(out)
