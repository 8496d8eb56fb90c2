"""Rows are written whole or not at all, and read again as they were."""

from __future__ import annotations

import doctest
from pathlib import Path
from typing import Any

import pytest

from rung.errors import SettingsError
from rung.tasks import pairs, prompts, rows
from rung.tasks.pairs import Pair, pair_row, written_pair
from rung.tasks.rows import prompt_row, read_rows, require_new_file, write_rows

MESSAGES = ({"role": "user", "content": "hé\u2028?"},)


@pytest.mark.parametrize("ending", [".jsonl", ".parquet"])
def test_what_is_written_is_read_again(tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"out{ending}"
    write_rows([prompt_row("a", MESSAGES, level=3), prompt_row("b", MESSAGES, level=4, more="é")], out, "--out")
    first, second = read_rows(out)
    assert (first.id, first.prompt, second.prompt) == ("a", MESSAGES, MESSAGES)
    assert (first.columns["level"], first.columns.get("more"), second.columns["more"]) == (3, None, "é")
    assert list(tmp_path.iterdir()) == [out]


def test_a_written_pair_is_the_pair(tmp_path: Path) -> None:
    pair = Pair(number=1, id="a", prompt=MESSAGES, chosen="x", rejected="y")
    write_rows([pair_row(pair, chosen_reward=1.0)], tmp_path / "pairs.jsonl", "--out")
    assert pairs.pair_task(tmp_path / "pairs.jsonl", held_out=0).train == (pair,)
    assert written_pair(1, pair_row(pair, chosen_reward=1.0)) == pair
    with pytest.raises(KeyError):
        written_pair(1, {"prompt": "x"})


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    broken: list[dict[str, Any]] = [prompt_row("a", "x"), {"no JSON": object()}]
    for ending in (".jsonl", ".parquet"):
        with pytest.raises((TypeError, SettingsError)):
            write_rows(broken, tmp_path / f"half{ending}", "--out")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    there = tmp_path / "there.jsonl"
    there.write_text("")
    require_new_file(tmp_path / "new.parquet", "--samples")
    with pytest.raises(SettingsError, match=r"--samples: .*there.jsonl is there already; choose another name"):
        require_new_file(there, "--samples")
    for check in (require_new_file, lambda out, option: write_rows([], out, option)):
        with pytest.raises(SettingsError, match=r"--out: got .*out.csv, expected a name that ends in .jsonl"):
            check(tmp_path / "out.csv", "--out")
    with pytest.raises(SettingsError, match=r"--out: .*there is no folder .*no"):
        write_rows([], tmp_path / "no" / "out.jsonl", "--out")


@pytest.mark.parametrize("module", [pairs, prompts, rows])
def test_examples_are_true(module: Any) -> None:
    result = doctest.testmod(module)
    assert result.failed == 0 and result.attempted > 0
