"""The map of the methods, and what the demo says to try next."""

from __future__ import annotations

import importlib
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rung.cli import app
from rung.methods import METHODS

ROOT = Path(__file__).parents[1]


def module(folder: str, name: str, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / folder))
    sys.modules.pop(name, None)
    return importlib.import_module(name)


def test_every_card_is_a_method_and_its_line_is_its_descent(monkeypatch) -> None:
    made = module("docs", "methods_map", monkeypatch)
    tree = ET.fromstring(made.methods_map(METHODS))
    shown = {one.text for one in tree.iter() if one.text}
    assert set(made.CARDS) <= METHODS.keys() & shown
    assert {"ase", "reinforce", "trpo", "ppo", "grpo", "dapo"} <= set(made.CARDS)
    rows = {name: card[0] for name, card in made.CARDS.items()}
    for name, card in made.CARDS.items():
        assert all(len(words) <= 25 for words in card[3:]), f"{name}: wider than its card"
        parent = METHODS[name].parent
        assert parent not in rows or rows[parent] < rows[name], f"{name} stands above what it comes from"
        between = [other for other, there in made.CARDS.items() if there[1] == made.CARDS.get(parent, (0, -1))[1]]
        assert not [other for other in between if rows[parent] < rows[other] < rows[name]], (
            f"{name}: a line over a card"
        )
    assert len({card[:2] for card in made.CARDS.values()}) == len(made.CARDS), "two cards in one place"
    assert made.year(METHODS["reinforce"]) == "1992" and made.year(METHODS["dapo"]) == "2025"


@pytest.mark.parametrize("number", range(3))
def test_what_the_demo_says_to_try_next_are_commands(number: int, monkeypatch) -> None:
    command, *options = list(module("examples", "demo", monkeypatch).NEXT)[number].split()
    told = CliRunner().invoke(app, [command, "--help"])
    assert told.exit_code == 0
    assert all(option in told.stdout for option in options if option.startswith("--"))
