"""The settings themselves: defaults, types, ranges, frozen, written and read back."""

from __future__ import annotations

from pathlib import Path

import pytest

from rung.errors import SettingsError
from rung.methods import METHODS
from rung.methods.grpo import GRPO
from rung.settings import EvalSettings, Settings, SFTSettings, TaskSettings, read_settings, settings_from, to_yaml

MINIMAL = {"model": "tiny", "method": "grpo", "task": "arithmetic"}


def test_the_defaults_are_the_documented_ones():
    assert Settings(**MINIMAL).as_data() == {
        "model": "tiny",
        "method": {"name": "grpo"},
        "task": {"name": "arithmetic"},
        "teacher": None,
        "seed": 0,
        "steps": 100,
        "budget": {"tokens": None, "trained": None, "steps": None, "seconds": None, "flops": None},
        "prompts_per_step": 16,
        "num_environments": 8,
        "max_new_tokens": 128,
        "temperature": 1.0,
        "rewards": [],
        "lora": None,
        "learner": {
            "micro_batch_tokens": 1024,
            "checkpoint_activations": False,
            "compute": None,
            "device": None,
            "threads": None,
            "processes": 1,
            "deadline_s": 1800.0,
        },
        "network": {"hidden": [64, 64]},
        "tools": [],
        "turns": {"most": None, "deadline_s": 10.0},
        "sampler": {
            "engine": "in_process",
            "rows_at_once": None,
            "engines": 1,
            "ahead": 0,
            "python": None,
            "cache_gib": None,
            "start_s": 600.0,
            "request_s": 600.0,
            "delivery_s": 300.0,
        },
        "evaluation": {"every": 10, "num_items": 64, "num_samples": 1, "temperature": 0.0},
        "saving": {"every": 10, "keep": 2, "best": False},
        "rewarding": {"accuracy": None, "deadline_s": 10.0, "max_failed_share": 0.1},
        "preferences": {"labels": 700, "labeller": "oracle", "folder": None, "most_waiting": 20, "oracle_error": 0.0},
        "pairs": {"source": "file", "k": 4, "pairs_per_prompt": 1, "passes": 3, "seconds_share": 0.5},
        "reporting": {"kl_rows": 8, "samples_every": 10, "page": True, "tracker": None},
    }
    assert SFTSettings(model="tiny", task="arithmetic").as_data() == {
        "model": "tiny",
        "task": {"name": "arithmetic"},
        "seed": 0,
        "steps": 700,
        "examples_per_step": 32,
        "learning_rate": None,
        "weight_decay": 0.0,
        "warmup_steps": 20,
        "evaluation_items": 128,
        "max_new_tokens": 16,
        "learner": {
            name: value
            for name, value in Settings(**MINIMAL).learner.as_data().items()
            if name not in ("processes", "deadline_s")  # one process fine-tunes
        },
    }
    assert EvalSettings(task="arithmetic").k == 8


@pytest.mark.parametrize("name", METHODS)
def test_without_overrides_the_method_is_its_definition(name):
    assert Settings(**{**MINIMAL, "method": name}).resolved_method() == METHODS[name]


def test_overrides_change_the_method_and_nothing_else():
    method = {"name": "grpo", "samples_per_prompt": 8, "reference_kl": None, "optimizer": {"learning_rate": 1e-3}}
    settings = Settings(**{**MINIMAL, "method": method})
    expected = GRPO.changed(
        parent=GRPO.parent,
        samples_per_prompt=8,
        reference_kl=None,
        optimizer=type(GRPO.optimizer)(**{**vars(GRPO.optimizer), "learning_rate": 1e-3}),
    )
    assert settings.resolved_method() == expected


def test_settings_are_frozen():
    settings = Settings(**MINIMAL)
    with pytest.raises(SettingsError):
        settings.steps = 3
    with pytest.raises(SettingsError):
        settings.learner.threads = 3


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("steps", -1, "expected 0 or more"),
        ("steps", True, "expected a whole number"),
        ("steps", 1.0, "expected a whole number"),
        ("steps", "10", "expected a whole number"),
        ("seed", -1, "expected 0 or more"),
        ("seed", 2**63, "or less"),
        ("prompts_per_step", 0, "expected 1 or more"),
        ("max_new_tokens", 0, "expected 1 or more"),
        ("temperature", 0, "expected more than 0"),
        ("temperature", "hot", "expected a number"),
        ("temperature", True, "expected a number"),
        ("temperature", float("nan"), "expected a finite number"),
        ("temperature", float("inf"), "expected a finite number"),
        ("model", "", "expected text that is not empty"),
        ("model", 3, "expected text"),
        ("lora", 3, "expected keys with values: rank, alpha, targets, or null"),
        ("lora.rank", 0, "expected 1 or more"),
        ("lora.alpha", 0, "expected more than 0"),
        ("lora.targets", "q_proj", "expected a list, or null"),
        ("learner.micro_batch_tokens", 0, "expected 1 or more"),
        ("learner.checkpoint_activations", 1, "expected true or false"),
        ("learner.compute", "float16", "expected 'float32' or 'bfloat16', or null"),
        ("learner.threads", 0, "expected 1 or more, or null"),
        ("sampler.rows_at_once", 0, "expected 1 or more, or null"),
        ("evaluation.every", -1, "expected 0 or more"),
        ("evaluation.num_items", 0, "expected 1 or more"),
        ("evaluation.num_samples", 0, "expected 1 or more"),
        ("evaluation.temperature", -0.1, "expected 0 or more"),
        ("saving.every", -1, "expected 0 or more"),
        ("saving.keep", 0, "expected 1 or more"),
        ("rewarding.deadline_s", 0, "expected more than 0"),
        ("rewarding.max_failed_share", 1.5, "expected 1 or less"),
        ("reporting.kl_rows", -1, "expected 0 or more"),
        ("reporting.samples_every", -1, "expected 0 or more"),
        ("task", 3, "expected a name, or keys with values: name"),
        ("evaluation", [], "expected keys with values: every, num_items, num_samples, temperature"),
    ],
)
def test_a_wrong_value_says_what_was_got_and_what_was_expected(key, value, expected):
    with pytest.raises(SettingsError) as error:
        Settings(**MINIMAL).changed({key: value})
    (problem,) = error.value.problems
    assert problem.startswith(f"{key}: got {value!r}, ") and expected in problem


def test_at_their_limits_values_are_taken():
    limits = {"steps": 0, "seed": 2**63 - 1, "evaluation.every": 0, "evaluation.temperature": 0, "saving.every": 0}
    changed = Settings(**MINIMAL).changed({**limits, "rewarding.max_failed_share": 1, "lora": {"targets": ["q_proj"]}})
    assert changed.seed == 2**63 - 1 and changed.lora.targets == ("q_proj",)


def test_changed_keeps_the_rest():
    settings = Settings(**{**MINIMAL, "method": {"name": "grpo", "num_epochs": 2}})
    assert (
        settings.changed({"steps": 7, "evaluation": {"every": 3}}).changed({"steps": 100, "evaluation.every": 10})
        == settings
    )


def test_settings_from_data_reports_every_problem():
    with pytest.raises(SettingsError) as error:
        settings_from({"model": "tiny", "method": "grp", "task": "x", "stepz": 1, "seed": "a"})
    assert error.value.problems == [
        "seed: got 'a', expected a whole number",
        "stepz: unknown key; did you mean 'steps'?; valid here: model, method, task, teacher, seed, steps, "
        "budget, prompts_per_step, num_environments, max_new_tokens, temperature, rewards, tools, turns, lora, "
        "network, learner, sampler, evaluation, saving, rewarding, preferences, pairs, reporting",
        "method.name: got 'grp'; did you mean 'grpo'?; valid: " + ", ".join(METHODS),
    ]


ROUND_TRIPS = [
    MINIMAL,
    {**MINIMAL, "method": {"name": "rloo", "reference_kl": None, "optimizer": {"learning_rate": 1e-5, "beta2": 0.95}}},
    {**MINIMAL, "method": {"name": "reinforce", "reference_kl": "KLInLoss"}, "temperature": 0.7, "seed": 2**63 - 1},
    {**MINIMAL, "task": {"name": "1e-5", "levels": [1, 2], "note": "no", "x": {"y": None}}, "model": "a: b #c\x1b"},
    {**MINIMAL, "rewards": [{"function": "a.py:f", "weight": 0.1, "name": "é"}, {"function": "task"}]},
    {**MINIMAL, "lora": {"rank": 8, "targets": ["q_proj"]}, "learner": {"compute": "bfloat16", "device": "cuda:1"}},
]


@pytest.mark.parametrize("data", ROUND_TRIPS)
def test_settings_are_written_and_read_back_equal(data, tmp_path):
    settings = Settings.model_validate(data)
    path = Path(tmp_path) / "settings.yaml"
    path.write_text(to_yaml(settings))
    again = read_settings(path)
    assert again == settings
    assert to_yaml(again) == to_yaml(settings)
    assert again.resolved_method() == settings.resolved_method()


def test_every_key_stands_in_the_written_file():
    text = to_yaml(Settings(**MINIMAL))
    assert text.startswith(
        "model: tiny\nmethod:\n  name: grpo\ntask:\n  name: arithmetic\nteacher: null\nseed: 0\nsteps: 100\n"
    )
    assert "  deadline_s: 10.0\n" in text


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("arithmetic", "arithmetic"),
        ("reasoning_gym/chain_sum", "chain_sum"),
        ("data/my rows.jsonl", "my-rows"),
        ("/a/b.parquet", "b"),
        ("..", "--"),
        ("\x1b[31m", "--31m"),
    ],
)
def test_a_tasks_slug_is_safe_in_a_path(name, slug):
    assert TaskSettings(name=name).slug() == slug
