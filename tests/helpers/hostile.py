"""Answers that are programs. Each that ran would make the file `marker`, or read what the scorer knows."""

from __future__ import annotations

from pathlib import Path


def makers(marker: Path) -> list[str]:
    """Expressions that make the file when they are evaluated by Python."""
    make = f"open('{marker}','w').close()"
    return [
        f"__import__('os').system('touch {marker}')",
        f"__import__('pathlib').Path('{marker}').touch()",
        make,
        f"[[{make}]]",
        f"(lambda: {make})()",
        f"f\"{{open('{marker}','w')}}\"",
        f"[y := {make}]",
        f"[{make} for i in [1]]",
        f"list({make} for i in [1])",
        f'eval("{make}")',
        f'exec("{make}")',
        f"getattr(open('{marker}', 'w'), 'close')()",
        f"{{'a': {make}}}['a']",
        f"1 if {make} else 2",
        f"[].__class__.__base__.__subclasses__() and {make}",
    ]


def for_sympy(marker: Path) -> list[str]:
    """Expressions that make the file where sympy reads a text a second time, or by one of its own functions."""
    make = f"__import__('pathlib').Path('{marker}').touch()"
    return [
        f'S("{make}")',
        f'sqrt("{make}")',
        f'sympify("{make}")',
        f'x.subs(x, "{make}")',
        f'Function("f")(open("{marker}", "w"))',
        f'Matrix(1, 1, ["{make}"])',
        f'lambdify(x, "{make}")(1)',
        f"preview(x, viewer='file', filename='{marker}')",
        f'Integer(1).__class__("{make}")',
        f'Symbol("{make}")',
    ]


READERS = (
    "__import__('sys')._getframe(1).f_locals['entry']['answer']",
    "entry['answer']",
    "oracle_answer",
    "[oracle_answer]",
    "entry['metadata']['solution']",
    "self._data[0]",
    "globals()",
    "Integral(x, x)",
)
"""They look for the right answer in the scorer."""
DEEP = ("-" * 15_000 + "1", "(" * 3000 + "1" + ")" * 3000, "[" * 150 + "]" * 150)
OTHER_BYTES = "#coding:utf-7\n+AF8AXw-import+AF8AXw-('os')"
