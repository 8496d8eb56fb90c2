"""The examples in the docstrings of formulas and methods are true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import rung.formulas
import rung.methods


def modules_with_examples() -> list[str]:
    names = [package.__name__ for package in (rung.formulas, rung.methods)]
    for package in (rung.formulas, rung.methods):
        names += [module.name for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    finder = doctest.DocTestFinder()
    return [name for name in names if any(t.examples for t in finder.find(importlib.import_module(name)))]


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_are_true(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_there_are_examples() -> None:
    tried = [doctest.testmod(importlib.import_module(name)).attempted for name in modules_with_examples()]
    assert sum(tried) >= 20
