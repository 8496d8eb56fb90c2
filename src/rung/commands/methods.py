"""`rung methods`, `rung explain`, `rung diff`: what the methods are, from their own definitions."""

from __future__ import annotations

from typing import Annotated

import typer

from rung.commands.options import AsJson
from rung.commands.output import columns, print_json, say

Name = Annotated[str, typer.Argument(metavar="METHOD", help="A method's name (rung methods).")]


def methods(as_json: AsJson = False) -> None:
    """All methods, from the bottom of the ladder up."""
    from rung.methods import METHODS

    if as_json:
        keys = ("name", "paper", "summary", "parent")
        print_json({"methods": [{key: getattr(method, key) for key in keys} for method in METHODS.values()]})
        return
    for line in columns({name: method.summary for name, method in METHODS.items()}):
        say(line)


def explain(method: Name, as_json: AsJson = False) -> None:
    """A method in words and formulas.

    Its idea, formula, slots, paper, and where we go beyond the paper.
    """
    from rung.methods import method_named
    from rung.methods.explain import card
    from rung.methods.explain import explain as in_words

    found = method_named(method)
    if as_json:
        print_json(card(found))
    else:
        say(in_words(found))


def diff(
    before: Annotated[str, typer.Argument(metavar="A", help="A method's name.")],
    after: Annotated[str, typer.Argument(metavar="B", help="The method to compare it with.")],
    as_json: AsJson = False,
) -> None:
    """What method B changes from method A.

    Exactly the slots that the two fill differently.
    """
    from rung.errors import SettingsError
    from rung.methods import Method, method_named
    from rung.methods.data import as_data
    from rung.methods.explain import difference

    problems: list[str] = []
    found: dict[str, Method] = {}
    for name in dict.fromkeys((before, after)):
        try:
            found[name] = method_named(name)
        except SettingsError as error:
            problems += error.problems
    if problems:
        raise SettingsError(problems)
    changes = difference(found[before], found[after])
    if as_json:
        listed = [{"slot": c.slot, "before": as_data(c.before), "after": as_data(c.after)} for c in changes]
        print_json({"before": before, "after": after, "changes": listed})
        return
    for change in changes:
        say(change.words())
