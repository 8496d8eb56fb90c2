"""docs/faults.md: every row has a test that is there, or says that it is not covered."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
NODE = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def rows(text: str) -> dict[int, str]:
    """What shows it, by the row's number."""
    cells = (line.split("|") for line in text.splitlines() if line.startswith("| ") and line.count("|") == 5)
    return {int(row[1]): row[4].strip() for row in cells if row[1].strip().isdecimal()}


def missing(text: str) -> list[str]:
    """Tests that the page names and nobody wrote."""
    found: list[str] = []
    for file, name in NODE.findall(text):
        path = ROOT / file
        tree = ast.parse(path.read_text(encoding="utf-8")) if path.is_file() else ast.Module([], [])
        if name not in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}:
            found.append(f"{file}::{name}")
    return found


def test_every_row_of_the_fault_table_has_its_test_or_says_that_it_has_none() -> None:
    text = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    shown = rows(text)
    assert list(shown) == list(range(1, 69))
    assert [number for number, cell in shown.items() if not NODE.search(cell) and cell != "not covered"] == []
    assert missing(text) == []


def test_a_test_that_is_not_there_is_found() -> None:
    assert missing("`tests/test_faults.py::test_nothing` `tests/none.py::test_x` `tests/test_faults.py::missing`") == [
        "tests/test_faults.py::test_nothing",
        "tests/none.py::test_x",
    ]
