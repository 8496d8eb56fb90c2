"""The page that states the biases says what the code says today."""

from __future__ import annotations

from pathlib import Path

from table import number, page, rows, spread

COMMITTED = Path(__file__).parents[2] / "docs" / "exactness.md"


def test_the_committed_page_is_what_the_script_prints() -> None:
    assert page() == COMMITTED.read_text(encoding="utf-8"), "run: python tests/exact/table.py > docs/exactness.md"


def test_a_number_is_whole_only_where_it_is_exact() -> None:
    assert number(1 + 1e-12) == "1" and number(-1e-17) == "0"
    assert number(1 + 1e-6) == "1.000" and number(0.12345) == "0.123"
    assert spread([0.5, 0.5, 0.5]) == "0.500" and spread([0.1, 0.3, 0.2]) == "0.200 (0.100 to 0.300)"


def test_rows_make_a_markdown_table() -> None:
    assert rows(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"
