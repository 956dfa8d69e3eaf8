"""A YAML 1.2 file as plain values, with the place of every key and value.

Built from the parser's events, so that size, depth, anchors, tags and duplicate keys are refused before anything is
expanded. Scalars follow the YAML 1.2 core schema as ruamel.yaml reads it (``no`` is a string, ``1e9`` a number,
``1_000`` an integer); dates stay strings. ``${NAME}`` stands for an environment variable, ``$${`` for a literal ``${``.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.config_errors import ConfigIssue, ConfigProblems, looks_secret

MAX_BYTES = 256 * 1024
MAX_DEPTH = 32

Path_ = tuple[str | int, ...]

_INT = re.compile(r"[-+]?[0-9][0-9_]*\Z")
_OCT = re.compile(r"0o[0-7]+\Z")
_HEX = re.compile(r"0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9][0-9_]*(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_INF = re.compile(r"[-+]?\.(?:inf|Inf|INF)\Z")
_NAN = re.compile(r"\.(?:nan|NaN|NAN)\Z")
_NULL = frozenset(("", "~", "null", "Null", "NULL"))
_BOOL = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_VARIABLE = re.compile(r"\$\$\{|\$\{([^}]*)\}?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x84\x86-\x9f\ufffe\uffff]")


_SOFT = frozenset(("secret", "variable", "unset_variable", "not_finite", "duplicate_key"))


@dataclass(frozen=True)
class Mark:
    """Where a key or value stands: 1-based line and column, and its width in characters."""

    line: int
    column: int
    width: int = 1


@dataclass
class Document:
    """Plain values and where they came from.

    Attributes:
        file: name used in messages.
        data: the top-level map.
        lines: source lines.
        values: path → place of the value.
        keys: path → place of the key.
        references: path → text as written, for values that hold ``${NAME}``.
        issues: mistakes that leave the rest readable, so that they are told together with what the models find.
    """

    file: str
    data: dict[str, Any] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)
    values: dict[Path_, Mark] = field(default_factory=dict)
    keys: dict[Path_, Mark] = field(default_factory=dict)
    references: dict[Path_, str] = field(default_factory=dict)
    issues: list[ConfigIssue] = field(default_factory=list)

    def issue(
        self, code: str, message: str, mark: Mark | None = None, *, path: Path_ = (), hint: str = ""
    ) -> ConfigIssue:
        """An issue at ``mark`` of this file."""
        mark = mark or Mark(0, 0)
        inside = 0 < mark.line <= len(self.lines)
        source = self.lines[mark.line - 1] if inside else ""
        return ConfigIssue(
            self.file, mark.line, mark.column, dotted(path), code, message, hint, source, mark.width
        )  # fmt: skip


def dotted(path: Path_) -> str:
    """``("stages", 0, "language", "keep", 1)`` as ``stages.language.keep[1]``; named items lose their index."""
    out = ""
    for at, part in enumerate(path):
        if isinstance(part, int):
            named = at + 1 < len(path) and isinstance(path[at + 1], str) and path[0] in ("stages", "dedup") and at == 1
            out += "" if named else f"[{part}]"
        else:
            out += f".{part}" if out else part
    return out


def plain_scalar(text: str) -> Any:
    """The value of an unquoted scalar by the YAML 1.2 core schema."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if _INT.match(text):
        return int(text.replace("_", ""))
    if _OCT.match(text):
        return int(text[2:], 8)
    if _HEX.match(text):
        return int(text[2:], 16)
    if _FLOAT.match(text):
        return float(text.replace("_", ""))
    if _INF.match(text):
        return -math.inf if text.startswith("-") else math.inf
    return math.nan if _NAN.match(text) else text


def read_yaml(path: Path, *, environment: Mapping[str, str] = os.environ, max_bytes: int = MAX_BYTES) -> Document:
    """The config file at ``path``; ConfigProblems with every mistake of form if there is one."""
    document = Document(file=str(path))
    text = _decode(_read(path, document, max_bytes), document)
    return parse_yaml(text, document, environment)


def parse_yaml(text: str, document: Document, environment: Mapping[str, str] = os.environ) -> Document:
    """``document`` filled from ``text``; raises where nothing sensible can be read, else ``document.issues``."""
    document.lines = text.splitlines()
    builder = _Builder(document, environment)
    root = builder.build(text)
    fatal = [issue for issue in builder.issues if issue.code not in _SOFT]
    if not fatal and not isinstance(root, dict):
        empty = root is None
        message = "the file is empty" if empty else f"the top level must be a map of sections, not a {_kind(root)}"
        hint = "`curate init` writes a config to start from"
        fatal.append(document.issue("empty" if empty else "not_a_map", message, Mark(1, 1), hint=hint))
    if fatal:
        raise ConfigProblems([*fatal, *(issue for issue in builder.issues if issue.code in _SOFT)])
    document.issues = builder.issues
    document.data = root
    return document


def _read(path: Path, document: Document, max_bytes: int) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(max_bytes + 1)
    except OSError as error:
        hint = "`curate init` writes one" if isinstance(error, FileNotFoundError) else ""
        reason = (error.strerror or type(error).__name__).lower()
        raise ConfigProblems([document.issue("unreadable", f"cannot read the config: {reason}", hint=hint)]) from None
    if len(raw) > max_bytes:
        message = f"the config is larger than {max_bytes // 1024} kB"
        hint = "put long lists into files and name the files"
        raise ConfigProblems([document.issue("too_large", message, hint=hint)])
    return raw


def _decode(raw: bytes, document: Document) -> str:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        column = error.start - (raw.rfind(b"\n", 0, error.start) + 1) + 1
        message = f"byte 0x{raw[error.start]:02x} is not UTF-8"
        issue = document.issue("not_utf8", message, Mark(line, column), hint="save the file as UTF-8")
        raise ConfigProblems([issue]) from None
    found = _CONTROL.search(text)
    if found:
        line = text.count("\n", 0, found.start()) + 1
        column = found.start() - (text.rfind("\n", 0, found.start()) + 1) + 1
        message = f"control character U+{ord(found.group()):04X}"
        raise ConfigProblems([document.issue("control_character", message, Mark(line, column))])
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _kind(value: Any) -> str:
    if isinstance(value, list):
        return "list"
    return "map" if isinstance(value, dict) else "single value"


class _Stop(Exception):
    """Reading further would make no sense; the issue is recorded."""


@dataclass
class _Frame:
    """An open map or list."""

    value: dict[str, Any] | list[Any]
    path: Path_
    mark: Mark
    key: str | None = None
    skip: bool = False


class _Builder:
    """Values from parser events, without recursion."""

    def __init__(self, document: Document, environment: Mapping[str, str]) -> None:
        self.document = document
        self.environment = environment
        self.issues: list[ConfigIssue] = []
        self.frames: list[_Frame] = []
        self.root: Any = None
        self.documents = 0

    def build(self, text: str) -> Any:
        from ruamel.yaml.error import MarkedYAMLError, YAMLError

        try:
            for event in _events(text):
                self._take(event)
        except _Stop:
            pass
        except MarkedYAMLError as error:
            self._syntax(error)
        except YAMLError as error:
            self._add("syntax", f"not YAML: {type(error).__name__}", Mark(1, 1))
        except RecursionError:
            self._add("too_deep", f"nested deeper than {MAX_DEPTH} levels", Mark(1, 1))
        return self.root

    def _syntax(self, error: Any) -> None:
        mark = error.problem_mark or error.context_mark
        at = Mark(mark.line + 1, mark.column + 1) if mark is not None else Mark(1, 1)
        problem = " ".join((error.problem or "not YAML").split())
        line = self.document.lines[at.line - 1] if at.line <= len(self.document.lines) else ""
        hint = "indent with spaces, not tabs" if "\t" in line[: at.column] else ""
        hint = "inside { } and [ ], put ${NAME} in quotes" if "${" in line[: at.column + 1] else hint
        self._add("syntax", f"not YAML: {problem}", at, hint=hint)

    def _add(self, code: str, message: str, mark: Mark, *, path: Path_ = (), hint: str = "") -> None:
        self.issues.append(self.document.issue(code, message, mark, path=path, hint=hint))

    def _take(self, event: Any) -> None:
        name = type(event).__name__
        if name == "DocumentStartEvent":
            self._document_start(event)
        elif name in ("MappingStartEvent", "SequenceStartEvent"):
            self._check_properties(event)
            self._open({} if name == "MappingStartEvent" else [], _mark(event))
        elif name in ("MappingEndEvent", "SequenceEndEvent"):
            self._place(self.frames.pop())
        elif name == "ScalarEvent":
            self._check_properties(event)
            self._scalar(event)
        elif name == "AliasEvent":
            self._add("anchor", "aliases are not allowed", _mark(event), hint="write the value out")
            raise _Stop

    def _document_start(self, event: Any) -> None:
        self.documents += 1
        if self.documents > 1:
            self._add("two_documents", "a second YAML document begins here", _mark(event), hint="one config per file")
            raise _Stop
        if event.version is not None and tuple(event.version) != (1, 2):
            self._add("version", "configs are YAML 1.2", Mark(1, 1), hint="remove the %YAML line")

    def _check_properties(self, event: Any) -> None:
        if event.anchor is not None:
            self._add("anchor", "anchors are not allowed", _mark(event), hint="write the value out where it is used")
            raise _Stop
        if event.tag is not None and str(event.tag) not in ("!", "None"):
            self._add("tag", "tags (`!…`) are not allowed: a config holds values, no code", _mark(event))
            raise _Stop

    def _open(self, value: dict[str, Any] | list[Any], mark: Mark) -> None:
        if self.frames and isinstance(self.frames[-1].value, dict) and self.frames[-1].key is None:
            self._add("key", "a key must be a name, not a map or list", mark)
            raise _Stop
        if len(self.frames) >= MAX_DEPTH:
            self._add("too_deep", f"nested deeper than {MAX_DEPTH} levels", mark)
            raise _Stop
        self.frames.append(_Frame(value, self._path(), mark))

    def _path(self) -> Path_:
        """Path of the value that comes next."""
        if not self.frames:
            return ()
        frame = self.frames[-1]
        return (*frame.path, len(frame.value) if isinstance(frame.value, list) else (frame.key or ""))

    def _scalar(self, event: Any) -> None:
        mark = _mark(event)
        frame = self.frames[-1] if self.frames else None
        if frame is not None and isinstance(frame.value, dict) and frame.key is None:
            self._key(frame, event.value, mark)
            return
        path = self._path()
        plain = bool(event.implicit[0]) and event.style in (None, "")
        value = self._value(event.value, plain, path, mark)
        self._store(value, path, mark)

    def _key(self, frame: _Frame, key: str, mark: Mark) -> None:
        path = (*frame.path, key)
        frame.skip = key in frame.value
        if frame.skip:
            first = self.document.keys[path].line
            self._add("duplicate_key", f"key `{key}` stands here again", mark, path=path, hint=f"first in line {first}")
        elif key == "<<":
            self._add("anchor", "merge keys are not allowed", mark, hint="write the values out")
        else:
            self.document.keys[path] = mark
        frame.key = key

    def _value(self, text: str, plain: bool, path: Path_, mark: Mark) -> Any:
        key = next((part for part in reversed(path) if isinstance(part, str)), "")
        if "${" in text:
            self.document.references[path] = text
            text = self._expand(text, path, mark)
        elif looks_secret(key, text):
            hint = "put it into an environment variable and write ${NAME}"
            self._add("secret", "this looks like a secret; a config must not hold one", mark, path=path, hint=hint)
            return None
        value = plain_scalar(text) if plain else text
        if isinstance(value, float) and not math.isfinite(value):
            hint = "null switches a limit off"
            self._add("not_finite", f"`{text}` is not a number that can be compared", mark, path=path, hint=hint)
            return None
        # 1e9 is how people write a whole number of tokens
        return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**63 else value

    def _expand(self, text: str, path: Path_, mark: Mark) -> str:
        def replace(match: re.Match[str]) -> str:
            if match.group() == "$${":
                return "${"
            name = match.group(1)
            if not _NAME.match(name) or not match.group().endswith("}"):
                self._add("variable", "`${` must be followed by the name of a variable and `}`", mark, path=path)
                return ""
            found = self.environment.get(name)
            if found is None:
                hint = f"export {name}=… before the run"
                self._add("unset_variable", f"environment variable {name} is not set", mark, path=path, hint=hint)
                return ""
            return found

        return _VARIABLE.sub(replace, text)

    def _place(self, frame: _Frame) -> None:
        self._store(frame.value, frame.path, frame.mark)

    def _store(self, value: Any, path: Path_, mark: Mark) -> None:
        frame = self.frames[-1] if self.frames else None
        if frame is None:
            self.root = value
        elif isinstance(frame.value, list):
            frame.value.append(value)
        elif frame.key is not None:
            if not frame.skip:
                frame.value[frame.key] = value
            frame.key = None
        if frame is None or not frame.skip:
            self.document.values[path] = mark


def _mark(event: Any) -> Mark:
    start, end = event.start_mark, event.end_mark
    width = end.column - start.column if end is not None and end.line == start.line else 1
    return Mark(start.line + 1, start.column + 1, max(1, width))


def _events(text: str) -> Iterator[Any]:
    from ruamel.yaml import YAML

    yield from YAML(typ="safe", pure=True).parse(text)
