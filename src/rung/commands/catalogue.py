"""What rung offers: `rung methods`, `explain` and `diff`, `rung tasks`, `rung settings`, `rung explain-metric`; and
`rung from-trl`, what TRL has in terms of that."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from rung.commands.shared import AsJson, argument, columns, option, show
from rung.runs.record.visible import visible


def methods(as_json: AsJson = False) -> None:
    """All methods, from the bottom of the ladder up."""
    from rung.methods import METHODS

    keys = ("name", "paper", "summary", "parent")
    data = {"methods": [{key: getattr(method, key) for key in keys} for method in METHODS.values()]}
    show(data, lambda: columns({name: method.summary for name, method in METHODS.items()}), as_json)


def explain(method: Annotated[str, argument("explain.method")], as_json: AsJson = False) -> None:
    """A method in words and formulas.

    Its idea, formula, slots, paper, and where we go beyond the paper.
    """
    from rung.methods import method_named
    from rung.methods.explain import card
    from rung.methods.explain import explain as in_words

    found = method_named(method)
    show(card(found), lambda: [in_words(found)], as_json)


def diff(
    before: Annotated[str, argument("diff.before")],
    after: Annotated[str, argument("diff.after")],
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
    listed = [{"slot": c.slot, "before": as_data(c.before), "after": as_data(c.after)} for c in changes]
    data = {"before": before, "after": after, "changes": listed}
    show(data, lambda: [change.words() for change in changes], as_json)


def tasks(as_json: AsJson = False) -> None:
    """The tasks that have a name."""
    from rung.tasks.load import available_tasks

    found = available_tasks()
    more = (
        "FILE.jsonl or FILE.parquet: rows with `prompt` and `answer`, or with any columns that your reward reads",
        "CartPole-v1 and any other Gymnasium environment whose observations are numbers: no model is needed",
    )
    data = {"tasks": [{"name": name, "about": about} for name, about in found]}
    show(data, lambda: [*columns(dict(found)), *more], as_json)


def explain_metric(name: Annotated[str, argument("explain_metric.name")], as_json: AsJson = False) -> None:
    """What a metric means.

    Also its healthy range, and what to do outside it.
    """
    from rung.runs.metrics import explain_metric as explained

    metric = explained(name)
    show(vars(metric), lambda: [metric.text()], as_json)


def settings(key: Annotated[str | None, argument("settings.key")] = None, as_json: AsJson = False) -> None:
    """What can be set.

    Each setting's type, range, default and meaning; the method's slots and the numbers of its parts included.
    """
    from rung.settings.listing import found, listed

    wanted = listed() if key is None else found(key, listed())
    data = {"settings": [asdict(one) for one in wanted]}
    show(data, lambda: [line for one in wanted for line in one.lines()], as_json)


def from_trl(
    config: Annotated[Path, argument("from_trl.config")],
    method: Annotated[str | None, option("from_trl.method")] = None,
    processes: Annotated[int, option("from_trl.processes")] = 1,
    rows: Annotated[int | None, option("from_trl.rows")] = None,
    as_json: AsJson = False,
) -> None:
    """Turn a configuration of TRL's GRPO, RLOO or DPO into settings of ours.

    What is printed is a settings file: rung from-trl grpo.yaml > run.yaml; rung train --config run.yaml. Its comments
    say how TRL's batch is counted, what means something else here, and what has no counterpart.
    """
    from rung.settings.from_trl import from_trl as translated
    from rung.settings.given import write_yaml

    found = translated(config, method, processes=processes, rows=rows)
    comments = [f"# {one}".rstrip() for one in (f"From {config}, of TRL's {found.trainer.upper()}.", *found.notes())]
    show(asdict(found), lambda: [*map(visible, comments), write_yaml(found.settings).rstrip()], as_json)
