"""The list of all settings: complete, with every type, range, default and sentence, and found by what people type."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from settings_list import OF_COMMANDS, as_json, every_setting, field_docs

from rung.errors import SettingsError
from rung.methods import METHODS
from rung.methods.data import as_data
from rung.settings import EvalSettings, Settings
from rung.settings.given import given, leaves
from rung.settings.layers import run_keys
from rung.settings.listing import Setting, found, listed
from rung.settings.names import ELSEWHERE
from rung.settings.section import keys_of
from rung.trainers.reading import read_run, settings_of

SETTINGS = list(every_setting())
RUN = {one.key for one in SETTINGS if one.command == "train"}


def test_every_key_of_every_command_stands_in_it():
    for command, schema in OF_COMMANDS.items():
        assert set(keys_of(schema)) <= {one.key for one in SETTINGS if one.command == command}
    keys = {key for key in run_keys(Settings) if not key.endswith(".part")}
    assert keys <= RUN | {"method.name"}


@pytest.mark.parametrize("name", METHODS)
def test_every_number_of_every_method_stands_in_it(name):
    data = as_data(METHODS[name])
    identity = ("name", "paper", "summary", "parent", "deviations", "kind")
    paths = [path for path, _ in leaves(given(data, None)) if path.split(".")[0] not in identity]
    assert {f"method.{path}" for path in paths if not path.endswith("part")} <= RUN


def test_every_setting_has_a_type_and_a_sentence_and_stands_once():
    assert [one for one in SETTINGS if not one.type or len(one.about) < 5 or "\n" in one.about] == []
    assert len({(one.command, one.key, one.part, one.type, one.about) for one in SETTINGS}) == len(SETTINGS)
    for schema in {type(one) for one in (Settings.model_construct(), EvalSettings.model_construct())}:
        assert set(field_docs(schema)) == set(schema.model_fields)


@pytest.mark.parametrize(
    ("key", "part", "type_", "range_", "default"),
    [
        ("steps", "", "whole number", "0 or more", "100"),
        ("seed", "", "whole number", "0 or more, 2^63 - 1 or less", "0"),
        ("temperature", "", "number", "more than 0", "1"),
        ("model", "", "text", "not empty", "none: it must be given"),
        ("budget.tokens", "", "whole number or null", "1 or more", "null"),
        ("pairs.seconds_share", "", "number", "more than 0, less than 1", "0.5"),
        ("learner.compute", "", "float32 or bfloat16 or null", "", "null"),
        ("network.hidden", "", "list of whole numbers", "not empty, 1 or more, 8192 or less", "[64, 64]"),
        ("rewards[].weight", "", "number", "", "1"),
        ("lora", "", "keys with values or null", "", "null"),
        ("evaluation", "", "keys with values", "", ""),
        ("method.num_epochs", "", "whole number", "at least 1", "the method's"),
        ("method.objective.high", "ClippedSurrogate", "number", "at least 0", "0.2"),
        ("method.reference_kl.estimator", "KLInLoss", "K1 or K2 or K3", "", "K3"),
    ],
)
def test_what_is_said_of_some(key, part, type_, range_, default):
    one = next(one for one in SETTINGS if (one.key, one.part, one.command) == (key, part, "train"))
    assert (one.type, one.range, one.default) == (type_, range_, default)


def test_the_written_list_is_the_one_that_would_be_made_now():
    assert listed() == SETTINGS, "run: python docs/generate.py"
    assert len(as_json().splitlines()) == len(SETTINGS) + 2


def test_keys_are_found_as_people_type_them():
    def keys(typed):
        return list(dict.fromkeys(one.key for one in found(typed, SETTINGS)))

    assert keys("steps") == ["steps"]
    assert keys("every") == ["evaluation.every", "saving.every"]
    assert keys("saving") == ["saving", "saving.every", "saving.keep", "saving.best"]
    assert keys("rewards")[:2] == ["rewards", "rewards[].function"]
    assert keys("environments") == ["num_environments"], "a former name"
    assert keys("method.step.learning_rate") == ["method.optimizer.learning_rate"]
    assert {one.part for one in found("method.optimizer.learning_rate", SETTINGS)} >= {"AdamW", "RMSprop"}
    with pytest.raises(SettingsError, match=r"KEY: got 'stepz', which is no setting; did you mean 'steps'"):
        found("stepz", SETTINGS)
    with pytest.raises(SettingsError, match=r"got 'qqqqq', which is no setting; `rung settings` lists all"):
        found("qqqqq", SETTINGS)


def test_the_names_of_other_libraries_lead_to_ours():
    everywhere = RUN | {one.key for one in SETTINGS}
    targets = {key for ours, _ in ELSEWHERE.values() for key in ours}
    assert targets <= everywhere and not set(ELSEWHERE) & RUN
    for name, (ours, words) in ELSEWHERE.items():
        hint = f"did you mean '{ours[0]}'" if ours else words
        with pytest.raises(SettingsError, match=re.escape(f"got '{name}', which is no setting; {hint}")):
            found(name, [one for one in SETTINGS if not one.key.endswith(f".{name}")])
    flags = {"model": "tiny", "method": "grpo", "task": "arithmetic"}
    (problem,) = read_run(flags=flags, sets=["lr=1e-4"]).problems
    assert problem.startswith("--set lr: unknown key; did you mean 'method.optimizer.learning_rate'?")
    (problem,) = settings_of({**flags, "num_generations": 4}).problems
    assert problem.startswith("num_generations: unknown key; did you mean 'method.samples_per_prompt'?")


def test_a_setting_in_words():
    one = Setting(
        key="a.b", type="number", range="0 or more", default="1", about="What it is.", command="sft", part="P"
    )
    assert one.lines() == ["a.b of P (rung sft): number, 0 or more; default: 1", "  What it is."]


def test_the_command_waits_for_nothing_heavy():
    code = "import sys, rung.cli; from rung.settings.listing import found, listed; found('every', listed()); "
    code += "print([name for name in ('torch', 'transformers', 'numpy') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
