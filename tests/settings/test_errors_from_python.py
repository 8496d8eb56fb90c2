"""Sections made in Python: whatever is wrong with them is rung's SettingsError, in the command line's words."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

import rung.settings as public
from rung.errors import SettingsError
from rung.settings import EvaluationSettings, LoraSettings, Section, Settings, SFTSettings
from rung.trainers.reading import read_run

MINIMAL = {"model": "tiny", "method": "grpo", "task": "arithmetic"}


def subclasses(cls):
    return [one for direct in cls.__subclasses__() for one in (direct, *subclasses(direct))]


SECTIONS = subclasses(Section)
WRONG = [None, True, -1, 0, 1.5, float("nan"), float("inf"), "", "no", b"x", [], [3], {}, {"a": 1}, {3: 1}]
WRONG += [object(), len, int, 2**80, (), ("a",), {"name": 3}, [{"function": 3}], [object()], 1j, lambda: None]


def test_every_section_is_looked_at():
    assert {getattr(public, name) for name in vars(public) if name.endswith("Settings")} <= set(SECTIONS)
    assert len(SECTIONS) >= 18


def makers(section):
    return (
        lambda data: section(**data),
        section.model_validate,
        lambda data: section.model_validate({**data}, strict=True),
    )


def refused(make, data):
    """The problems, or None where the data was fine; any other error fails the test."""
    try:
        make(data)
    except SettingsError as error:
        assert not isinstance(error, ValidationError)
        return error.problems
    return None


@pytest.mark.parametrize("section", SECTIONS)
def test_no_error_of_pydantics_escapes(section):
    base = {"name": "a", "function": "task", **MINIMAL}
    base = {key: value for key, value in base.items() if key in section.model_fields}
    refusals = 0
    for key in section.model_fields:
        for wrong in WRONG:
            for make in makers(section):
                problems = refused(make, {**base, key: wrong})
                if problems is not None:
                    refusals += 1
                    assert problems and all(one.startswith(key) for one in problems), (key, wrong, problems)
                    text = " ".join(problems)
                    assert "pydantic" not in text and "Input should" not in text and "Value error" not in text, text
    assert refusals > 0


@pytest.mark.parametrize("section", SECTIONS)
def test_an_unknown_name_is_told_with_the_nearest(section):
    base = {"name": "a", "function": "task", **MINIMAL}
    base = {key: value for key, value in base.items() if key in section.model_fields}
    name = list(section.model_fields)[-1]
    if section.model_config.get("extra") == "allow":
        return
    with pytest.raises(SettingsError) as error:
        section(**base, **{name + "z": 1})
    assert error.value.problems[0].startswith(f"{name}z: unknown key; did you mean '{name}'?; valid here: ")


def test_what_is_no_mapping_is_refused_too():
    for section in SECTIONS:
        for wrong in (3, None, [], "x", object()):
            with pytest.raises(SettingsError):
                section.model_validate(wrong)
    with pytest.raises(SettingsError, match="steps: got 'a', expected a whole number"):
        Settings.model_validate_json('{"model": "tiny", "method": "grpo", "task": "arithmetic", "steps": "a"}')
    with pytest.raises(SettingsError):
        Settings.model_validate_json("{")


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (
            lambda: Settings(**MINIMAL, stepz=5),
            "stepz: unknown key; did you mean 'steps'?; valid here: model, method, ",
        ),
        (lambda: Settings(**{**MINIMAL, "model": 3}), "model: got 3, expected text"),
        (lambda: EvaluationSettings(evry=1), "evry: unknown key; did you mean 'every'?; valid here: every, num_items"),
        (lambda: LoraSettings(rank=0), "rank: got 0, expected 1 or more"),
        (lambda: SFTSettings(model="tiny", task="a", steps=-1), "steps: got -1, expected 0 or more"),
        (
            lambda: Settings(**MINIMAL, evaluation={"evry": 1}),
            "evaluation.evry: unknown key; did you mean 'evaluation.every'?; valid here: every, num_items",
        ),
        (lambda: Settings(**MINIMAL, temperature=float("nan")), "temperature: got nan, expected a finite number"),
        (lambda: Settings(**MINIMAL, pairs={"seconds_share": 1}), "pairs.seconds_share: got 1, expected less than 1"),
    ],
)
def test_the_words_are_the_command_lines(make, problem):
    with pytest.raises(SettingsError) as error:
        make()
    (told,) = error.value.problems
    assert told.startswith(problem)


@pytest.mark.parametrize(("key", "value"), [("steps", "a"), ("lora", 3), ("evaluation", {"evry": 1}), ("seed", -1)])
def test_the_same_sentence_from_python_and_from_a_set(key, value, tmp_path):
    with pytest.raises(SettingsError) as error:
        Settings(**MINIMAL, **{key: value})
    (told,) = error.value.problems
    (read,) = read_run(flags={**MINIMAL, key: value}, recipe="none").problems
    assert read.endswith(told.partition(": got")[2] if ": got" in told else told)


@pytest.mark.parametrize(
    ("method", "problem"),
    [
        ("grpp", "method: got 'grpp'; did you mean 'grpo'?"),
        ({"name": "grpo", "num_epochz": 2}, "method.num_epochz: unknown key; did you mean 'num_epochs'?"),
        ({"name": "grpo", "optimizer": {"learning_rate": 0}}, "method.optimizer.learning_rate: got 0, expected more"),
        (
            {"name": "reinforce", "advantage": "GroupNormalized"},
            "method.samples_per_prompt: got 1, but GroupNormalized",
        ),
        ({"name": "grpo", "objective": "Clipped"}, "method.objective: got part 'Clipped'"),
    ],
)
def test_a_wrong_method_is_told_at_once(method, problem):
    with pytest.raises(SettingsError) as error:
        Settings(**{**MINIMAL, "method": method})
    assert error.value.problems[0].startswith(problem)


def test_a_section_cannot_be_altered():
    settings = Settings(**MINIMAL)
    with pytest.raises(SettingsError, match=r"steps: settings never change; make a copy: settings\.changed"):
        settings.steps = 3
    with pytest.raises(SettingsError, match="steps: settings never change"):
        del settings.steps
    with pytest.raises(SettingsError, match="every: settings never change"):
        settings.evaluation.every = 3


@pytest.mark.parametrize("wrong", [object(), len, float("nan"), {3: 1}, [object()], b"x"])
def test_options_are_what_a_file_can_hold(wrong):
    with pytest.raises(SettingsError, match=r"task\.levels: got .*, expected text, finite numbers, true or false"):
        Settings(**{**MINIMAL, "task": {"name": "arithmetic", "levels": wrong}})
    with pytest.raises(SettingsError, match=r"method\.num_epochs: got .*, expected text, finite numbers"):
        Settings(**{**MINIMAL, "method": {"name": "grpo", "num_epochs": wrong}})
    kept = Settings(**{**MINIMAL, "task": {"name": "arithmetic", "levels": (1, 2)}})
    assert kept.task.options() == {"levels": [1, 2]}
