"""The sentence that says what is kept: a small, safe expression over columns.

    lite_overall_score >= 3 and dedup_is_survivor
    language_code in ["en", "de"] and not (text_stats_n_words < 50 or is_null(url))

Grammar: ``and or not``, comparisons (chains too), ``in`` / ``not in`` with a list, ``+ - * / %``, parentheses, numbers,
strings, ``true false null``, column names, and the functions of ``FUNCTIONS``. A comparison with a missing value is
not true, so such a document is not kept; ask ``is_null(x)`` to keep it. Nothing else is accepted: no attributes, no
calls of other functions, no code.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from curate.errors import ConfigError

if TYPE_CHECKING:
    import polars as pl

MAX_LENGTH = 10_000
MAX_DEPTH = 50

_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: lambda a, b: a < b,
    ast.LtE: lambda a, b: a <= b,
    ast.Gt: lambda a, b: a > b,
    ast.GtE: lambda a, b: a >= b,
    ast.Eq: lambda a, b: a == b,
    ast.NotEq: lambda a, b: a != b,
}
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: lambda a, b: a + b,
    ast.Sub: lambda a, b: a - b,
    ast.Mult: lambda a, b: a * b,
    ast.Div: lambda a, b: a / b,
    ast.Mod: lambda a, b: a % b,
}
#: function name → (number of arguments, meaning)
FUNCTIONS = {
    "is_null": (1, "the value is missing"),
    "abs": (1, "absolute value"),
    "length": (1, "characters of a string"),
    "lower": (1, "lower-case string"),
    "contains": (2, "the string holds the second, literally"),
    "starts_with": (2, "the string starts with the second"),
    "ends_with": (2, "the string ends with the second"),
}
_CONSTANTS = {"true": True, "false": False, "null": None}


@dataclass(frozen=True)
class Conjunct:
    """One condition of the sentence; documents that fail it are dropped with its text as reason.

    Attributes:
        text: as written, spaces normalised.
        column: the column compared, if the condition is one comparison of a column with a number; else None.
        threshold: that number.
    """

    text: str
    column: str | None
    threshold: float | None
    _node: ast.expr

    def expression(self) -> pl.Expr:
        """True, false or null per row."""
        return _expression(self._node)


@dataclass(frozen=True)
class Selection:
    """A parsed sentence: documents are kept where all conjuncts are true."""

    text: str
    conjuncts: tuple[Conjunct, ...]
    columns: frozenset[str]

    def check(self, available: Iterable[str]) -> None:
        """ConfigError that names the first unknown column and its nearest known name."""
        known = sorted(available)
        for name in sorted(self.columns - set(known)):
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]!r}?" if near else "`curate schema CONFIG` lists the columns"
            raise ConfigError(f"keep: no column {name!r}; {hint}")


def parse_selection(text: str) -> Selection:
    """Parse the sentence; ConfigError with the place and what is allowed there."""
    if len(text) > MAX_LENGTH:
        raise ConfigError(f"keep: {len(text)} characters; at most {MAX_LENGTH}")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        place = f" at character {error.offset}" if isinstance(error, SyntaxError) and error.offset else ""
        raise ConfigError(f"keep: cannot be read{place}: {text.strip()!r}") from None
    columns: set[str] = set()
    _check(tree, columns, 0)
    parts = tree.values if isinstance(tree, ast.BoolOp) and isinstance(tree.op, ast.And) else [tree]
    return Selection(text.strip(), tuple(_conjunct(p) for p in parts), frozenset(columns))


def _conjunct(node: ast.expr) -> Conjunct:
    column, threshold = None, None
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        sides = (node.left, node.comparators[0])
        names = [s.id for s in sides if isinstance(s, ast.Name)]
        numbers = [s.value for s in sides if isinstance(s, ast.Constant) and isinstance(s.value, (int, float))]
        if len(names) == 1 and len(numbers) == 1:
            column, threshold = names[0], float(numbers[0])
    return Conjunct(ast.unparse(node), column, threshold, node)


def _check(node: ast.AST, columns: set[str], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise ConfigError(f"keep: nested deeper than {MAX_DEPTH}")
    match node:
        case ast.BoolOp(values=values):
            inner: list[ast.AST] = list(values)
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            inner = [operand]
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            inner = [left, *comparators]
            for op, right in zip(ops, comparators, strict=True):
                if isinstance(op, (ast.In, ast.NotIn)):
                    if not isinstance(right, (ast.List, ast.Tuple)):
                        raise ConfigError('keep: `in` needs a list, e.g. language_code in ["en", "de"]')
                elif type(op) not in _COMPARE:
                    raise ConfigError(f"keep: `{ast.unparse(node)}` uses an operator that is not allowed")
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            inner = [left, right]
        case ast.List(elts=elements) | ast.Tuple(elts=elements):
            inner = list(elements)
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in FUNCTIONS:
            if len(arguments) != FUNCTIONS[name][0]:
                raise ConfigError(f"keep: {name}() takes {FUNCTIONS[name][0]} argument(s), not {len(arguments)}")
            inner = list(arguments)
        case ast.Name(id=name):
            if name not in _CONSTANTS:
                columns.add(name)
            inner = []
        case ast.Constant(value=value) if value is None or isinstance(value, (bool, int, float, str)):
            inner = []
        case ast.Call(func=ast.Name(id=name)):
            near = difflib.get_close_matches(name, FUNCTIONS, 1)
            raise ConfigError(
                f"keep: no function {name!r}" + (f"; did you mean {near[0]!r}?" if near else f"; {sorted(FUNCTIONS)}")
            )
        case _:
            raise ConfigError(f"keep: `{ast.unparse(node)[:80]}` is not allowed in a selection")
    for child in inner:
        _check(child, columns, depth + 1)


def _expression(node: ast.expr) -> pl.Expr:
    import polars as pl

    match node:
        case ast.BoolOp(op=op, values=values):
            parts = [_expression(v) for v in values]
            return pl.all_horizontal(parts) if isinstance(op, ast.And) else pl.any_horizontal(parts)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return ~_expression(operand)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_expression(operand)
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            sides = [left, *comparators]
            pairs = [_compare(a, op, b) for a, op, b in zip(sides, ops, comparators, strict=False)]
            return pairs[0] if len(pairs) == 1 else pl.all_horizontal(pairs)
        case ast.BinOp(left=left, op=op, right=right):
            result: pl.Expr = _ARITHMETIC[type(op)](_expression(left), _expression(right))
            return result
        case ast.Call(func=ast.Name(id=name), args=arguments):
            return _call(name, arguments)
        case ast.Name(id=name):
            return pl.lit(_CONSTANTS[name]) if name in _CONSTANTS else pl.col(name)
        case ast.Constant(value=value):
            return pl.lit(value)
    raise AssertionError(ast.dump(node))  # _check lets nothing else through


def _compare(left: ast.expr, op: ast.cmpop, right: ast.expr) -> pl.Expr:
    if isinstance(op, (ast.In, ast.NotIn)):
        assert isinstance(right, (ast.List, ast.Tuple))
        values = [e.value for e in right.elts if isinstance(e, ast.Constant)]
        found = _expression(left).is_in(values)
        return ~found if isinstance(op, ast.NotIn) else found
    result: pl.Expr = _COMPARE[type(op)](_expression(left), _expression(right))
    return result


def _call(name: str, arguments: list[ast.expr]) -> pl.Expr:
    first = _expression(arguments[0])
    second = _expression(arguments[1]) if len(arguments) > 1 else None
    calls: dict[str, Callable[[], pl.Expr]] = {
        "is_null": first.is_null,
        "abs": first.abs,
        "length": first.str.len_chars,
        "lower": first.str.to_lowercase,
        "contains": lambda: first.str.contains(second, literal=True),  # type: ignore[arg-type]
        "starts_with": lambda: first.str.starts_with(second),  # type: ignore[arg-type]
        "ends_with": lambda: first.str.ends_with(second),  # type: ignore[arg-type]
    }
    return calls[name]()
