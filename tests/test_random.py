"""Keyed randomness has one room, and numbers that are pinned: a run that is resumed years later must draw the same."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np

from rung.random import episode_seed, generator, keyed_hash, keyed_share, philox, raw_numbers

SOURCE = Path(__file__).parents[1] / "src" / "rung"
ELSEWHERE = {"Philox", "SeedSequence", "default_rng", "PCG64", "RandomState", "Random"}


def made_from(tree: ast.AST) -> set[str]:
    """The numpy and standard generators that a file makes."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {ast.unparse(call.func).rpartition(".")[2] for call in calls} & ELSEWHERE


def test_nobody_else_makes_a_generator() -> None:
    found = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if made_from(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found == {"random.py"}, "draw by rung.random"


def test_the_numbers_are_pinned() -> None:
    assert philox(1 | 2 << 64).random_raw(4).tolist() == np.random.Philox(key=[1, 2]).random_raw(4).tolist()
    assert raw_numbers("a", 1, n=2).tolist() == [932156015880983205, 1240278322827605714]
    assert generator((3, 4)).permutation(5).tolist() == [2, 1, 4, 0, 3]
    assert keyed_hash("a") == 169300584846706264562897615583685846030
    assert (keyed_share("a"), episode_seed(0, "train", 3, 7)) == (0.49752970269553143, 752813947)
