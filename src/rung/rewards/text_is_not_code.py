"""The rule that text of a completion never becomes code, kept by an audit hook of CPython.

Scorers that we did not write call `eval` and sympy's `parse_expr` on answers. CPython tells an audit hook of every
source that it compiles, `eval("...")` included, before anything runs. While a `Guard` runs a scorer, the hook reads
that source and refuses it unless it is plain data (`not_plain`). A hook cannot be taken out again; without a
guard at work it does nothing.

Two kinds of guard:

- closed, for scorers that need only the answer: no text at all becomes code, and no program is started, no socket
  opened, no file written or moved.
- open, for a user's own function, which may do all that: a source may not run when code in it stands in a completion.
  To compile it, in order to see whether it is Python, is fine.

What modules do while they are imported is let pass, and so is `ast.parse` (and `ast.literal_eval`): a tree runs
nothing, and is read when it is compiled.
"""

from __future__ import annotations

import ast
import functools
import os
import re
import sys
import threading
from collections.abc import Callable, Collection, Sequence
from types import FrameType
from typing import Any, NoReturn, TypeVar

Returned = TypeVar("Returned")

_WORDS = (
    "subprocess socket shutil ctypes tempfile urllib http ftplib smtplib poplib imaplib telnetlib nntplib webbrowser"
    " pty sqlite3 mmap marshal pickle code function gc signal resource syslog cpython fcntl winreg"
)
_FAMILIES = frozenset(_WORDS.split())
"""Audit events by their first word; a scorer needs none of them."""
_HARMLESS_OF_OS = frozenset({"os.listdir", "os.scandir", "os.walk", "os.fwalk", "os.getxattr", "os.listxattr"})
_MORE = frozenset({"compile", "exec", "open", "import", "sys._getframe", "sys.settrace", "sys.setprofile"})
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_LIBRARIES = tuple(
    os.path.join(*parts)  # noqa: PTH118  ends of file names
    for parts in (("collections", "__init__.py"), ("", "dataclasses.py"), ("sympy", "polys", "monomials.py"))
)
"""Files that write code out of names and numbers of their own."""
_SYMPY_PARSER = os.path.join("sympy", "parsing", "sympy_parser.py")  # noqa: PTH118
_SYMPY_NAMES = b"from sympy import *"
_COOKIE = re.compile(rb"\A(?:[^\n]*\n)?[ \t\f]*#[^\n]*coding[=:][ \t]*(?!utf-?8\b)", re.IGNORECASE)
"""A first or second line that makes other characters of the source's bytes."""
_FEWEST = 3
"""Characters that text of a completion must have to be found again in a source."""


class CodeRefused(Exception):
    """Text was about to become code, or a scorer was about to do what no scorer needs."""


class Guard:
    """Runs a scorer so that no text of a completion becomes code.

    >>> guard = Guard()
    >>> guard.run(["__import__('os').getcwd()"], lambda: eval("__import__('os').getcwd()"))  # raises CodeRefused

    `refused` lists what was refused in the last run, also where the scorer caught the exception.

    Args:
        closed: which kind; see above.
        own: texts that may become code although a completion says the same; those in the calling function always may.
    """

    def __init__(self, *, closed: bool = True, own: Collection[str] = ()) -> None:
        self.closed = closed
        self._own = {text.strip().encode("utf-8", "surrogatepass") for text in own}
        self.refused: list[str] = []
        self._texts: list[str] = []
        self._squeezed: list[bytes] = []
        self._parsed_theirs = False
        self._code: dict[str, str] = {}
        """Sources that may not run, by the file name that their code objects have."""
        self._words: dict[str, str] = {}

    def run(self, texts: Sequence[str], call: Callable[[], Returned]) -> Returned:
        """What `call` returns or raises, with this guard at work; `texts` are the completions or answers in it."""
        _install()
        self.refused, self._texts, self._parsed_theirs = [], list(texts), False
        self._code, self._words = {}, {}
        self._squeezed = [_squeezed(text.encode("utf-8", "surrogatepass")) for text in texts]
        armed = (threading.get_ident(), self)
        _guards.append(armed)
        try:
            return call()
        finally:
            _guards.remove(armed)

    def check(self, event: str, args: tuple[Any, ...], caller: FrameType | None) -> None:
        """Look at one audit event; raises to refuse it."""
        if event == "compile":
            if not _importing(caller):
                self._check_source(args[0], str(args[1]), caller)
        elif not self.closed:
            if event in ("exec", "function.__new__") and not _is_of_library(caller):
                self._check_code(args[0].co_filename)
        elif self._is_needless(event, args, caller) and not _importing(caller):
            self._refuse(f"{event} {', '.join(map(_shown, args))}".strip())

    def _is_needless(self, event: str, args: tuple[Any, ...], caller: FrameType | None) -> bool:
        if event == "open":
            return any(letter in (args[1] or "") for letter in "wax+") or bool((args[2] or 0) & _WRITES)
        if event == "import":
            module = str(args[0]).partition(".")[0]
            return module not in sys.modules and any(re.search(rf"\b{module}\b", text) for text in self._texts)
        if event == "sys._getframe":
            file = caller.f_code.co_filename if caller else ""
            return file.startswith("<") and not file.startswith("<frozen")
        return event != "exec"  # what is executed was compiled, and read then

    def _check_code(self, name: str) -> None:
        """Look at a code object, by its file name, before it runs."""
        if name in self._code:
            self._refuse(self._code[name])
        if name in self._words:
            raise NameError(f"name '{self._words[name]}' is not defined")

    def _check_source(self, source: Any, name: str, caller: FrameType | None) -> None:
        file = caller.f_code.co_filename if caller else ""
        in_sympy = file.endswith(_SYMPY_PARSER)
        if isinstance(source, ast.AST):
            if (self.closed or self._parsed_theirs) and _code_in(source, caller, mathematics=in_sympy):
                self._refuse("a syntax tree")
            return
        data = source.encode("utf-8", "surrogatepass") if isinstance(source, str) else bytes(source)
        only_parsed = caller is not None and caller.f_code is ast.parse.__code__
        if _is_of_library(caller) or (in_sympy and data == _SYMPY_NAMES) or (only_parsed and self.closed):
            return
        if _COOKIE.match(data):
            self._refuse(_shown(data))
        data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").lstrip(b" \t")
        try:
            tree = ast.parse(data.decode("utf-8"))  # raises what compiling it would raise
        except (MemoryError, RecursionError):
            self._refuse(f"text nested too deeply: {_shown(data)}")
        code = _code_in(tree, caller, mathematics=in_sympy or not self.closed)
        if not self.closed:
            code = self._theirs(data, code, in_sympy)
            self._parsed_theirs |= only_parsed and bool(code)
            self._words.pop(name, None)
        words_only = all(isinstance(node, ast.Name) for node in code)
        if not code or only_parsed or (not words_only and self._is_own(data, caller)):
            return
        # A word is no code, but it is none of the scorer's variables either.
        if words_only:
            self._words[name] = getattr(code[0], "id", "")
        else:
            self._code[name] = _shown(data)
        if self.closed:
            self._check_code(name)

    def _theirs(self, data: bytes, nodes: Sequence[ast.AST], in_sympy: bool) -> list[ast.AST]:
        """Those parts of a source that stand in one of the completions; a word alone, where all of it stands there."""
        starts: list[int] = [0]
        for line in data.split(b"\n"):
            starts.append(starts[-1] + len(line) + 1)

        def part(node: Any) -> bytes:
            first: int = node.lineno - 1
            last: int = node.end_lineno - 1
            return _squeezed(data[starts[first] + node.col_offset : starts[last] + node.end_col_offset])

        def stands(text: bytes) -> bool:
            return len(text) >= _FEWEST and any(text in completion for completion in self._squeezed)

        all_stands = stands(_squeezed(data))
        return [
            node
            for node in nodes
            if (all_stands if isinstance(node, ast.Name) else hasattr(node, "end_lineno") and stands(part(node)))
            # sympy's parser rewrites the arguments: there the function's name is enough
            or (in_sympy and isinstance(node, ast.Call) and stands(part(node.func) + b"("))
        ]

    def _is_own(self, data: bytes, caller: FrameType | None) -> bool:
        """Whether an open guard's source is a text of the user's own."""
        constants = caller.f_code.co_consts if caller and not self.closed else ()
        own = (text.strip().encode("utf-8", "surrogatepass") for text in constants if isinstance(text, str))
        return data.strip() in self._own or data.strip() in own

    def _refuse(self, what: str) -> NoReturn:
        self.refused.append(what)
        raise CodeRefused(what)


_guards: list[tuple[int, Guard]] = []
"""The guards at work with their threads, the innermost last. A thread that a scorer was left in keeps its own."""
_thread = threading.local()
"""Whether this thread's hook is `reading` a source right now: its own `ast.parse` is no event."""


@functools.cache
def _install() -> None:
    sys.addaudithook(_hook)


def _hook(event: str, args: tuple[Any, ...]) -> None:
    if not _guards or getattr(_thread, "reading", False) or not _is_watched(event):
        return
    guard = _at_work()
    if guard is None:
        return
    _thread.reading = True
    try:
        guard.check(event, args, sys._getframe(1))  # pyright: ignore[reportPrivateUsage]
    finally:
        _thread.reading = False


def _at_work() -> Guard | None:
    """This thread's innermost guard; of a thread without one, which a scorer may have started, the last there is."""
    guards, here = tuple(_guards), threading.get_ident()
    own = [guard for thread, guard in guards if thread == here]
    return own[-1] if own else guards[-1][1] if guards else None


@functools.cache
def _is_watched(event: str) -> bool:
    first = event.partition(".")[0]
    return event in _MORE or first in _FAMILIES or (first == "os" and event not in _HARMLESS_OF_OS)


def _is_of_library(caller: FrameType | None) -> bool:
    return caller is not None and caller.f_code.co_filename.endswith(_LIBRARIES)


def _importing(frame: FrameType | None) -> bool:
    """Whether a module is being imported, by what the guard runs."""
    while frame is not None and frame.f_code is not Guard.run.__code__:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            return True
        frame = frame.f_back
    return False


def _code_in(tree: ast.AST, caller: FrameType | None, *, mathematics: bool) -> list[ast.AST]:
    """What is no plain data in a tree. For sympy's parser a letter is, and a name its caller gave a symbol for."""
    symbols: set[str] = set()
    if caller is not None and caller.f_code.co_filename.endswith(_SYMPY_PARSER):
        given: dict[str, object] = caller.f_locals.get("local_dict") or {}
        names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        symbols = {name for name in names if len(name) == 1 or type(given.get(name)).__name__ in ("Symbol", "Dummy")}
    return not_plain(tree, mathematics=mathematics, symbols=symbols)


def _squeezed(data: bytes) -> bytes:
    return b"".join(data.split())


def _shown(value: object) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    return ascii(text if len(text) <= 80 else f"{text[:80]}...")


_STRUCTURE = (
    *(ast.Module, ast.Expression, ast.Interactive, ast.Expr, ast.Constant, ast.List, ast.Tuple, ast.Set, ast.Dict),
    *(ast.BinOp, ast.UnaryOp, ast.BoolOp, ast.Compare, ast.operator, ast.unaryop, ast.boolop, ast.cmpop, ast.Load),
)
_NAMED = frozenset({"Symbol", "Function", "Integer", "Float", "Rational"})
"""Makers that take a text; it must be a name or a number."""
_NAME_OR_NUMBER = re.compile(r"[^\W_]\w*|[0-9.]+(?:[eE][+-]?[0-9]+)?|[0-9]+/[0-9]+")
_SYMPY = (
    "Add Mul Pow Abs Max Min Mod Eq Ne Lt Le Gt Ge And Or Not Xor Piecewise Interval FiniteSet Union Tuple Matrix"
    " sin cos tan cot sec csc asin acos atan acot asec acsc atan2 sinh cosh tanh coth sech csch asinh acosh atanh"
    " acoth asech acsch exp log ln sqrt cbrt root abs sign floor ceiling factorial factorial2 binomial gamma beta"
    " erf erfc erfi Si Ci Ei li re im conjugate arg max min gcd lcm"
)
_FUNCTIONS = _NAMED | frozenset(_SYMPY.split())
_CONSTANTS = frozenset({"pi", "E", "I", "oo", "zoo", "nan", "true", "false"})


def not_plain(tree: ast.AST, *, mathematics: bool, symbols: Collection[str] = ()) -> list[ast.AST]:
    """The parts of a tree that are no plain data, the outermost first; names that mean nothing count too. What has none
    can be evaluated: it reads no attribute, calls nothing but functions of mathematics, and makes no code.

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
    match node.func:
        case ast.Call(func=ast.Name(id="Function"), args=[part], keywords=[]):
            return _is_named(node.func, part)
        case ast.Name(id=name):
            return name in _FUNCTIONS
    return False


def _is_named(call: ast.Call, part: ast.AST) -> bool:
    """Whether this argument is a text, a name or a number, for a maker that takes one."""
    match call.func, part:
        case ast.Name(id=name), ast.Constant(value=str(text)):
            return name in _NAMED and _NAME_OR_NUMBER.fullmatch(text) is not None
    return False
