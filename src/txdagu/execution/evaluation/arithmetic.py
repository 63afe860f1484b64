"""Whole-number arithmetic as in the shell's ``$((…))``."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable

_BINARY: dict[type[ast.operator], Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[int, int], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_UNARY: dict[type[ast.unaryop], Callable[[int], int]] = {
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
    ast.Invert: operator.invert,
}
_WORD_OPERATORS = ((re.compile(r"&&"), " and "), (re.compile(r"\|\|"), " or "), (re.compile(r"!(?!=)"), " not "))
_MAX_BITS = 64


class ArithmeticTextError(ValueError):
    """The text is no arithmetic expression that we know."""


def calculate(text: str, lookup: Callable[[str], str | None]) -> int:
    """The value; names stand for the numbers that `lookup` gives, 0 where it gives none. `ArithmeticTextError` for bad texts."""
    for pattern, word in _WORD_OPERATORS:
        text = pattern.sub(word, text)
    try:
        return _value(ast.parse(text.strip() or "0", mode="eval").body, lookup)
    except (SyntaxError, ZeroDivisionError, RecursionError, ValueError, KeyError, MemoryError) as error:
        raise ArithmeticTextError(str(error)) from error


def _value(node: ast.expr, lookup: Callable[[str], str | None]) -> int:
    match node:
        case ast.Constant(value=int() as number):
            result = int(number)
        case ast.Name(id=name):
            result = _number(lookup(name))
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            result = int(not _value(operand, lookup))
        case ast.UnaryOp(op=unary, operand=operand):
            result = _UNARY[type(unary)](_value(operand, lookup))
        case ast.BinOp(left=left, op=binary, right=right):
            result = _binary(binary, _value(left, lookup), _value(right, lookup))
        case ast.Compare(left=left, ops=[comparison], comparators=[right]) if type(comparison) in _COMPARISONS:
            result = int(_COMPARISONS[type(comparison)](_value(left, lookup), _value(right, lookup)))
        case ast.BoolOp(op=word, values=values):
            every = isinstance(word, ast.And)
            result = int((all if every else any)(_value(value, lookup) for value in values))
        case _:
            raise ArithmeticTextError(ast.unparse(node))
    return result


def _number(text: str | None) -> int:
    """What a variable counts: 0 where it is no number."""
    try:
        return int(text or "0")
    except ValueError:
        return 0


def _binary(kind: ast.operator, left: int, right: int) -> int:
    if isinstance(kind, ast.Div | ast.FloorDiv):  # rounds towards zero, as C does
        quotient = abs(left) // abs(right)
        return quotient if (left < 0) == (right < 0) else -quotient
    if isinstance(kind, ast.Mod):
        return left - right * _binary(ast.Div(), left, right)
    if isinstance(kind, ast.Pow | ast.LShift | ast.RShift) and not 0 <= right <= _MAX_BITS:
        raise ArithmeticTextError("the exponent or shift is out of range")
    if isinstance(kind, ast.Pow):
        if abs(left).bit_length() * right > _MAX_BITS * _MAX_BITS:
            raise ArithmeticTextError("the result is too large")
        return int(left**right)
    if type(kind) not in _BINARY:
        raise ArithmeticTextError(type(kind).__name__)
    return _BINARY[type(kind)](left, right)
