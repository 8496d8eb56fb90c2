"""Plain data as a syntax tree: numbers, strings, lists, arithmetic, and mathematics as sympy's parser writes it.

`not_plain` finds what is more than that. What it lets pass can be evaluated: it reads no attribute, calls nothing but
functions of mathematics, and makes no code.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection

_STRUCTURE = (
    *(ast.Module, ast.Expression, ast.Interactive, ast.Expr, ast.Constant, ast.List, ast.Tuple, ast.Set, ast.Dict),
    *(ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.Load),
)
_NAMED = frozenset({"Symbol", "Function", "Integer", "Float", "Rational"})
"""Makers that take a text; it must be a name or a number."""
_NAME_OR_NUMBER = re.compile(r"[^\W_]\w*|[0-9.]+(?:[eE][+-]?[0-9]+)?|[0-9]+/[0-9]+")
_WORDS = (
    "Add Mul Pow Abs Max Min Mod Eq Ne Lt Le Gt Ge And Or Not Xor Piecewise Interval FiniteSet Union Tuple Matrix"
    " sin cos tan cot sec csc asin acos atan acot asec acsc atan2 sinh cosh tanh coth sech csch asinh acosh atanh"
    " acoth asech acsch exp log ln sqrt cbrt root abs sign floor ceiling factorial factorial2 binomial gamma beta"
    " erf erfc erfi Si Ci Ei li re im conjugate arg max min gcd lcm"
)
_FUNCTIONS = _NAMED | frozenset(_WORDS.split())
_CONSTANTS = frozenset({"pi", "E", "I", "oo", "zoo", "nan", "true", "false"})


def not_plain(tree: ast.AST, *, mathematics: bool, symbols: Collection[str] = ()) -> list[ast.AST]:
    """The parts of a tree that are no plain data, the outermost first; names that mean nothing count too.

    >>> [type(node).__name__ for node in not_plain(ast.parse("[1, 'a', 2**3, open('x')]"), mathematics=True)]
    ['Call', 'Name', 'Constant']

    Args:
        tree: what `ast.parse` gives.
        mathematics: whether functions and constants of mathematics are plain too.
        symbols: further names that are plain.
    """
    found: list[ast.AST] = []
    todo: list[tuple[ast.AST, bool]] = [(tree, False)]  # a list, no recursion: a hostile tree is deep
    while todo:
        node, in_call = todo.pop()
        if isinstance(node, ast.Call) and mathematics and _is_function(node):
            # its own name is known; a text among its arguments may be read as code by the function
            todo += [(part, True) for part in (*node.args, *node.keywords) if not _is_named(node, part)]
            continue
        if isinstance(node, ast.Name):
            plain = mathematics and (node.id in _CONSTANTS or node.id in symbols)
        elif isinstance(node, ast.keyword):
            plain = node.arg == "evaluate" and isinstance(node.value, ast.Constant)
        elif isinstance(node, ast.Constant):
            plain = not (in_call and isinstance(node.value, (str, bytes)))
        else:
            plain = isinstance(node, _STRUCTURE)
        if not plain:
            found.append(node)
        if isinstance(node, (ast.Constant, ast.Load)):
            continue
        todo += [(part, in_call or isinstance(node, ast.Call)) for part in ast.iter_child_nodes(node)]
    return found


def _is_function(node: ast.Call) -> bool:
    """Whether it calls a known function, or `Function('f')`."""
    maker = node.func
    if isinstance(maker, ast.Call):
        return (
            isinstance(maker.func, ast.Name)
            and maker.func.id == "Function"
            and len(maker.args) == 1
            and not maker.keywords
            and _is_named(maker, maker.args[0])
        )
    return isinstance(maker, ast.Name) and maker.id in _FUNCTIONS


def _is_named(call: ast.Call, part: ast.AST) -> bool:
    """Whether this argument is a text, a name or a number, for a maker that takes one."""
    return (
        isinstance(call.func, ast.Name)
        and call.func.id in _NAMED
        and isinstance(part, ast.Constant)
        and isinstance(part.value, str)
        and _NAME_OR_NUMBER.fullmatch(part.value) is not None
    )
