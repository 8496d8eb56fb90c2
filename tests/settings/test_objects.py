"""Objects handed in from Python: what settings say of them, and that the same comes back."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import pytest

from rung.errors import SettingsError
from rung.methods import METHODS, Method
from rung.methods.dapo import DAPO
from rung.methods.data import own_classes
from rung.methods.dpo import DPO
from rung.methods.grpo import GRPO
from rung.methods.parts.aggregations import PerToken
from rung.methods.parts.optimizers import AdamW
from rung.methods.ppo import PPO
from rung.methods.ranges import SHARE
from rung.settings import Settings, load, read_settings, settings_from, to_yaml
from rung.settings import with_whole_paths as whole_paths
from rung.settings.objects import GIVEN, Objects, method_text, taken_apart
from rung.trainers.reading import read_changes, read_run, settings_of

MINIMAL = {"model": "gpt2", "method": "grpo", "task": "arithmetic"}
MINE = GRPO.changed(name="mine", samples_per_prompt=4, aggregation=PerToken())


def short(prompts, completions, **columns):
    return [float(len(one) < 6) for one in completions]


@dataclass(frozen=True)
class Halved:
    """A part of one's own."""

    share: Annotated[float, SHARE] = 0.5
    needs_group: ClassVar[bool] = True

    def __call__(self, batch):
        return self.share * batch.rewards_BT


# Methods.


@pytest.mark.parametrize("name", METHODS)
def test_a_known_method_is_its_name(name):
    assert method_text(METHODS[name]) == {"name": name}
    assert Settings(**{**MINIMAL, "method": METHODS[name]}) == Settings(**{**MINIMAL, "method": name})


def test_what_differs_is_stored_and_nothing_else():
    method = DAPO.changed(samples_per_prompt=8, optimizer=AdamW(**{**vars(DAPO.optimizer), "learning_rate": 1e-4}))
    settings = Settings(**{**MINIMAL, "method": method})
    assert settings.as_data()["method"] == {
        "name": "dapo",
        "samples_per_prompt": 8,
        "optimizer": {"learning_rate": 1e-4},
    }
    resolved = settings.resolved_method()
    assert (resolved.samples_per_prompt, resolved.optimizer) == (8, method.optimizer)
    emptied = method_text(GRPO.changed(reference_kl=None, aggregation=PerToken()))
    assert emptied == {"name": "grpo", "reference_kl": None, "aggregation": {"part": "PerToken"}}


@pytest.mark.parametrize("method", [MINE, DPO.changed(name="grpo"), PPO.changed(name="own@here", num_minibatches=7)])
def test_a_method_that_rung_does_not_know_is_stored_whole(method, tmp_path):
    settings = Settings(**{**MINIMAL, "method": method})
    assert settings.method.name == method.name and settings.as_data()["method"]["kind"] == type(method).__name__
    assert settings.resolved_method() == method
    file = tmp_path / "settings.yaml"
    file.write_text(to_yaml(settings.changed({"steps": 3})))
    again = read_settings(file)
    assert again.resolved_method() == method and again.steps == 3
    assert to_yaml(again) == file.read_text()


def test_settings_and_changes_of_a_method_of_ones_own():
    settings = Settings(**{**MINIMAL, "method": MINE})
    changed = settings.changed({"method.optimizer.learning_rate": 1e-4, "method.num_epochs": 2})
    assert changed.resolved_method().optimizer.learning_rate == 1e-4
    assert changed.resolved_method().name == "mine" and changed.resolved_method().samples_per_prompt == 4
    assert read_changes(settings, ["learning_rate=1e-4"]) == {"method.optimizer.learning_rate": 1e-4}
    with pytest.raises(SettingsError, match=r"method\.num_epochs: got 0, expected"):
        settings.changed({"method.num_epochs": 0})
    with pytest.raises(SettingsError, match=r"method\.objective: got part 'No'"):
        settings.changed({"method.objective": "No"})
    assert settings.changed({"method": DAPO}).resolved_method() == DAPO


def test_a_recipe_lies_over_what_a_method_has_from_its_parent_and_under_what_it_chose():
    grpo = settings_of({"model": "tiny", "method": "grpo", "task": "arithmetic"}).required().resolved_method()
    mine = settings_of({"model": "tiny", "method": MINE, "task": "arithmetic"}).required().resolved_method()
    assert grpo.optimizer.learning_rate != GRPO.optimizer.learning_rate
    assert mine.optimizer == grpo.optimizer
    assert (mine.samples_per_prompt, mine.aggregation) == (4, PerToken())


def test_the_command_line_speaks_of_handed_in_methods_by_name(tmp_path):
    methods = {"my.py:MINE": MINE, "my.py:DAPO_8": DAPO.changed(samples_per_prompt=8)}
    flags = {"model": "gpt2", "task": "arithmetic"}
    whole = read_run(flags={**flags, "method": "my.py:MINE"}, sets=["num_epochs=3"], methods=methods).required()
    assert whole.resolved_method() == MINE.changed(parent=MINE.parent, num_epochs=3)
    known = read_run(recipe="none", flags={**flags, "method": "my.py:DAPO_8"}, methods=methods).required()
    assert known.as_data()["method"] == {"name": "dapo", "samples_per_prompt": 8}
    (problem,) = read_run(flags={**flags, "method": "my.py:NO"}, methods=methods).problems
    assert problem.startswith("METHOD: got 'my.py:NO'")
    file = tmp_path / "run.yaml"
    file.write_text("method:\n  name: my.py:MINE\n  num_epochs: 0\n")
    (problem,) = read_run(config=file, flags=flags, methods=methods).problems
    assert problem.startswith(f"{file}:3: method.num_epochs: got 0, expected")


def test_a_part_of_ones_own_is_set_checked_written_and_read_back(tmp_path):
    assert own_classes(GRPO) == []
    settings = Settings(**{**MINIMAL, "method": GRPO.changed(advantage=Halved())})
    assert settings.method.parts == (Halved,)
    assert settings.as_data()["method"] == {"name": "grpo", "advantage": {"part": "Halved", "share": 0.5}}
    changed = settings.changed({"method.advantage.share": 0.25})
    assert changed.resolved_method().advantage == Halved(0.25)
    with pytest.raises(SettingsError, match=r"method\.advantage\.share: got 2, expected between 0 and 1"):
        settings.changed({"method.advantage.share": 2})
    file = tmp_path / "settings.yaml"
    file.write_text(to_yaml(changed))
    again = read_run(recipe="none", config=file, parts=[Halved]).required()
    assert again == changed and again.resolved_method() == changed.resolved_method()
    (problem,) = read_run(recipe="none", config=file).problems
    assert "method.advantage: got part 'Halved'" in problem and "parts=[Halved]" in problem
    named = settings_of({**MINIMAL, "settings": {"method.advantage": "Halved"}}, parts=[Halved]).required()
    assert named.resolved_method().advantage == Halved()


def test_classes_of_parts_are_kept_beside_the_text(tmp_path):
    kept = settings_from({**MINIMAL}, parts=[Halved])
    assert kept.method.parts == (Halved,)
    assert kept.changed({"steps": 3}).method.parts == (Halved,)
    assert kept.changed({"method": GRPO.changed(advantage=Halved(), num_epochs=2)}).method.parts == (Halved,)
    assert whole_paths(kept, tmp_path).method.parts == (Halved,)
    assert read_run(flags=MINIMAL, parts=[Halved]).required().method.parts == (Halved,)
    assert settings_of({"settings": kept, "steps": 4}).required().method.parts == (Halved,)
    methods = {"my.py:MINE": MINE.changed(name="mine", advantage=Halved(0.75))}
    read = read_run(flags={**MINIMAL, "method": "my.py:MINE"}, methods=methods).required()
    assert read.method.parts == (Halved,) and read.resolved_method().advantage == Halved(0.75)
    assert taken_apart({"method": methods["my.py:MINE"]})[1].parts == (Halved,)


# Rewards, tasks, models.


def test_rewards_that_are_functions_are_stored_by_name():
    twice = [short, short, lambda prompts, completions, **columns: [], functools.partial(short), {"function": short}]
    data, objects = taken_apart({**MINIMAL, "rewards": [*twice, "task", "a.py:short_3", {"function": "b.py:f"}]})
    names = [one["function"] for one in data["rewards"]]
    assert names == [
        "given:short",
        "given:short_2",
        "given:reward",
        "given:partial",
        "given:short_4",
        "task",
        "a.py:short_3",
        "b.py:f",
    ]
    assert [GIVEN + name for name in objects.rewards] == names[:5]
    assert objects.rewards["short"] is short and objects.rewards["partial"] is twice[3]
    settings = Settings(**{**MINIMAL, "rewards": [*twice, "task"]})
    assert [one.part for one in settings.rewards[:2]] == ["short", "short_2"]
    assert Settings(**{**MINIMAL, "rewards": short}).rewards[0].function == "given:short"
    assert Settings(**{**MINIMAL, "rewards": [{"function": short, "weight": 0.5}]}).rewards[0].weight == 0.5


class MyEnv:
    def reset(self, *, seed=None, options=None): ...

    def step(self, action): ...


class MyTask:
    train: list
    held_out: list


def test_tasks_and_environments_are_stored_by_name():
    from rung.tasks.load import load_task

    arithmetic, made = load_task("arithmetic", seed=0), MyEnv()
    stored = {
        "given:arithmetic": (arithmetic, "task"),
        "given:MyTask": (MyTask, "task"),
        "given:MyEnv-v0": (made, "environment"),
    }
    for name, (value, kind) in stored.items():
        data, objects = taken_apart({"task": value})
        assert data["task"] == {"name": name} == Settings(**{**MINIMAL, "task": value}).as_data()["task"]
        assert getattr(objects, kind) is value
    for maker in (MyEnv, lambda: MyEnv):
        data, objects = taken_apart({"task": maker})
        assert objects.environment is maker and data["task"]["name"] in ("given:MyEnv-v0", "given:environment-v0")
    assert Settings(**{**MINIMAL, "task": MyEnv()}).task.slug() == "MyEnv-v0"
    data, objects = taken_apart({"task": {"name": made, "normalize_rewards": True}})
    assert data["task"] == {"name": "given:MyEnv-v0", "normalize_rewards": True} and objects.environment is made


def test_a_gymnasium_environment_is_named_after_what_its_wrappers_wrap():
    gymnasium = pytest.importorskip("gymnasium")
    assert taken_apart({"task": gymnasium.make("CartPole-v1")})[0]["task"] == {"name": "given:CartPoleEnv-v0"}


def test_an_environment_brings_its_recipe():
    reading = settings_of({"method": "ppo", "task": MyEnv})
    assert reading.recipe == read_run(flags={"method": "ppo", "task": "CartPole-v1"}).recipe == "environment"
    assert reading.required().model == "small"


class Model:
    def forward(self, ids): ...


def test_a_model_in_memory_is_stored_by_its_class():
    pair = (Model(), object())
    data, objects = taken_apart({"model": pair, "teacher": pair[0], "task": Path("rows.jsonl")})
    assert (data["model"], data["teacher"], data["task"]) == ("given:Model", "given:Model", {"name": "rows.jsonl"})
    assert objects.model is pair and objects.teacher is pair[0]
    assert Settings(**{**MINIMAL, "model": pair, "teacher": Path("a/b")}).teacher == "a/b"
    for wrong in (3, (), (1, 2), [pair], object()):
        with pytest.raises(SettingsError, match=r"model: got .*, expected text"):
            Settings(**{**MINIMAL, "model": wrong})


def test_text_alone_has_no_objects():
    data = {**MINIMAL, "rewards": [{"function": "task", "weight": 2.0}], "steps": 3}
    taken, objects = taken_apart(data)
    assert objects == Objects() and settings_of(taken).required() == settings_from(data)


# Keywords.


def test_keywords_are_the_command_line_in_python():
    line = read_run(
        flags={"model": "tiny", "method": "grpo", "task": "arithmetic", "seed": "3"},
        sets=["learning_rate=1e-4", "evaluation.every=5", "steps=7"],
    )
    python = settings_of(
        {
            "model": "tiny",
            "method": "grpo",
            "task": "arithmetic",
            "seed": 3,
            "learning_rate": 1e-4,
            "evaluation": {"every": 5},
            "settings": {"steps": 7},
        }
    )
    assert python.settings == line.settings is not None and python.recipe == line.recipe == "tiny"
    assert python.notes == ("learning_rate means method.optimizer.learning_rate",)
    assert [f"--set {note}" for note in python.notes] == list(line.notes)
    dotted = settings_of({**MINIMAL, "settings": {"evaluation.every": 5, "evaluation": {"num_items": 3}}}).required()
    assert (dotted.evaluation.every, dotted.evaluation.num_items) == (5, 3)
    both = settings_of({**MINIMAL, "evaluation": {"every": 5}, "settings": {"evaluation": {"num_items": 3}}}).required()
    assert both == dotted
    assert settings_of({**MINIMAL, "model": "tiny"}, "none").recipe is None


def test_keywords_over_whole_settings_take_no_recipe():
    settings = Settings(**{**MINIMAL, "model": "tiny", "steps": 9})
    reading = settings_of({"settings": settings, "seed": 4, "evaluation": {"every": 2}})
    assert reading.recipe is None
    assert reading.settings == settings.changed({"seed": 4, "evaluation.every": 2})


@pytest.mark.parametrize(
    ("keywords", "problems"),
    [
        ({"stepz": 5}, ["stepz: unknown key; did you mean 'steps'?; valid: budget, evaluation, "]),
        ({"every": 5}, ["every: could be any of evaluation.every, saving.every; write the whole key"]),
        ({"steps": "a", "seed": -1}, ["seed: got -1, expected 0 or more", "steps: got 'a', expected a whole number"]),
        ({"evaluation": {"evry": 1}}, ["evaluation.evry: unknown key; did you mean 'evaluation.every'?; valid here: "]),
        ({"settings": {"evaluation.evry": 1}}, ["evaluation.evry: unknown key; did you mean 'evaluation.every'?"]),
        ({"settings": 3}, ["settings: got 3, expected a Settings, or values by dotted keys"]),
        ({"method": "grpp"}, ["method.name: got 'grpp'; did you mean 'grpo'?"]),
        ({"learning_rate": 0}, ["method.optimizer.learning_rate: got 0, expected more than 0"]),
        ({"steps": object()}, ["steps: got a object, expected"]),
        ({"steps": float("nan")}, ["steps: got nan, expected a finite number"]),
    ],
)
def test_wrong_keywords_are_told_as_on_the_command_line(keywords, problems):
    reading = settings_of({**MINIMAL, **keywords})
    assert reading.settings is None and len(reading.problems) == len(problems), reading.problems
    assert all(one.startswith(begin) for one, begin in zip(reading.problems, problems, strict=True)), reading.problems


def test_former_names_are_read_in_keywords_too():
    assert (
        settings_of({**MINIMAL, "environments": 3, "settings": {"method.epochs": 2}}).required().num_environments == 3
    )


# Kinds.


@dataclass(frozen=True, kw_only=True)
class OwnKind(Method):
    """A kind of method of one's own."""

    rate: Annotated[float, SHARE] = 0.5

    def formula(self):
        return "nothing"


def test_a_kind_of_ones_own_is_stored_whole_and_read_back_with_its_class(tmp_path):
    method = OwnKind(name="odd", paper="none", summary="Does nothing.", rate=0.25)
    settings = Settings(**{**MINIMAL, "method": method})
    assert settings.method.parts == (OwnKind,) and settings.as_data()["method"]["kind"] == "OwnKind"
    file = tmp_path / "settings.yaml"
    file.write_text(to_yaml(settings))
    again = load.read_run(recipe="none", config=file, parts=[OwnKind]).required()
    assert again == settings and again.resolved_method() == method
    assert again.changed({"method.rate": 0.75}).resolved_method().rate == 0.75
    with pytest.raises(SettingsError, match=r"method\.rate: got 2, expected between 0 and 1"):
        again.changed({"method.rate": 2})
    (problem,) = load.read_run(recipe="none", config=file).problems
    assert "method.kind: got 'OwnKind'" in problem
