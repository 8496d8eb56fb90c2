"""Layers: what wins, what short keys mean, what recipes bring, and where each value is from."""

from __future__ import annotations

import dataclasses

import pytest

from rung.errors import SettingsError
from rung.methods import METHODS, PolicyGradient
from rung.settings import read_eval, read_sft, settings_from
from rung.settings.given import leaves
from rung.settings.layers import recipe_names
from rung.trainers.reading import read_changes, read_run

FLAGS = {"model": "gpt2", "method": "grpo", "task": "arithmetic"}


def places(reading):
    return {key: value.origin.place for key, value in leaves(reading.tree)}


@pytest.fixture
def config(tmp_path):
    def write(text, name="run.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_a_methods_paper_is_its_own_name_wherever_it_is_written(config):
    flag = read_run(flags={**FLAGS, "method": "grpo@paper"})
    assert flag.required() == read_run(flags=FLAGS).required()
    file = config("method: {name: ppo@paper, minibatches: 4}\n")
    assert read_run(config=file, flags={"model": "gpt2", "task": "arithmetic"}).required().method.name == "ppo"
    assert read_run(flags=FLAGS, sets=["method.name=rloo@paper"]).required().method.name == "rloo"
    assert "got 'ppo@sb3@paper'" in read_run(flags={**FLAGS, "method": "ppo@sb3@paper"}).problems[0]


def test_later_layers_win(config):
    file = config(
        "steps: 2\nseed: 2\nprompts_per_step: 2\ntemperature: 0.2\nmethod: {optimizer: {learning_rate: 2e-5}}\n"
    )
    reading = read_run(
        recipe="tiny",
        config=file,
        flags={**FLAGS, "seed": "3"},
        sets=["temperature=0.4", "seed=4", "learning_rate=4e-4"],
    )
    settings = reading.required()
    assert settings.max_new_tokens == 16  # the recipe's
    assert settings.steps == 2  # the file's
    assert settings.prompts_per_step == 2  # the file's, over the recipe's
    assert settings.seed == 4  # --set, over flag and file
    assert settings.temperature == 0.4
    assert settings.resolved_method().optimizer.learning_rate == 4e-4  # --set, over file and recipe
    assert places(reading) == {
        "prompts_per_step": f"{file}:3",
        "max_new_tokens": "recipe tiny:4",
        "evaluation.num_items": "recipe tiny:6",
        "evaluation.num_samples": "recipe tiny:7",
        "evaluation.temperature": "recipe tiny:8",
        "steps": f"{file}:1",
        "seed": "--set seed",
        "temperature": "--set temperature",
        "model": "--model",
        "task.name": "--task",
        "method.name": "METHOD",
        "method.samples_per_prompt": "recipe tiny:10",
        "method.optimizer.warmup_steps": "recipe tiny:13",
        "method.optimizer.learning_rate": "--set learning_rate",
    }


def test_a_toml_file_is_refused_in_words(config):
    file = config("steps = 7\n", "run.toml")
    (problem,) = read_run(config=file, flags=FLAGS).problems
    assert problem == f"{file}: got a TOML file, expected YAML: write `key = value` as `key: value`, tables indented"


def test_an_empty_file_and_a_byte_order_mark_are_fine(config):
    assert read_run(config=config("# nothing\n"), flags=FLAGS).required().steps == 100
    assert read_run(config=config("\ufeffsteps: 3\n"), flags=FLAGS).required().steps == 3


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        ("steps=50", "steps", 50),
        ("learning_rate=1e-4", "method.optimizer.learning_rate", 1e-4),
        ("optimizer.learning_rate=1e-4", "method.optimizer.learning_rate", 1e-4),
        ("objective.high=0.28", "method.objective.high", 0.28),
        ("samples_per_prompt=4", "method.samples_per_prompt", 4),
        ("reference_kl=null", "method.reference_kl", None),
        ("items=5", "evaluation.num_items", 5),
        ("rows_at_once=5", "sampler.rows_at_once", 5),
        ("checkpoint_activations=true", "learner.checkpoint_activations", True),
        ("compute=float32", "learner.compute", "float32"),
        ("rank=4", "lora.rank", 4),
        ("targets=[q_proj, v_proj]", "lora.targets", ["q_proj", "v_proj"]),
        ("lora={rank: 4}", "lora.rank", 4),
        ("temperature=0.5", "temperature", 0.5),
        ("task.levels=[1, 2]", "task.levels", [1, 2]),
        ("task.split=train", "task.split", "train"),
        ("model=1e5", "model", None),
    ],
)
def test_set_has_types_and_short_keys(text, key, value):
    reading = read_run(flags=FLAGS, sets=[text])
    if value is None and key == "model":
        assert reading.problems == ("--set model: got 100000.0, expected text",)
        return
    data = reading.required().as_data()
    for name in key.split("."):
        data = data[name]
    assert data == value and type(data) is type(value)
    short = text.partition("=")[0]
    expected = () if key.startswith(short) else (f"--set {short} means {key}",)
    assert reading.notes == expected


def test_set_twice_is_noted_and_the_last_one_counts():
    reading = read_run(flags=FLAGS, sets=["steps=5", "steps=6"])
    assert reading.required().steps == 6
    assert reading.notes == ("--set steps is given more than once; the last one counts",)


def test_a_part_that_changes_its_kind_keeps_nothing_of_the_old_one(config):
    file = config("method: {reference_kl: {coefficient: 0.5}}\n")
    kept = read_run(config=file, flags=FLAGS, sets=["method.reference_kl.estimator=K1"]).required()
    assert kept.resolved_method().reference_kl.coefficient == 0.5
    changed = read_run(config=file, flags=FLAGS, sets=["reference_kl=KLInReward"]).required()
    assert changed.method.overrides() == {"reference_kl": {"part": "KLInReward"}}
    assert changed.resolved_method().reference_kl.coefficient == 0.05


def test_a_part_can_be_named_and_then_set():
    sets = ["advantage=RewardToGo", "discount=0.9", "baseline=OthersInGroup"]
    method = read_run(flags=FLAGS, sets=sets).required().resolved_method()
    assert (method.advantage.discount, type(method.advantage.baseline).__name__) == (0.9, "OthersInGroup")


def test_another_task_keeps_none_of_the_old_ones_options(config):
    file = config("task: {name: reasoning_gym/chain_sum, min_terms: 2}\n")
    reading = read_run(config=file, flags=FLAGS, sets=["task.levels=[1]"])
    assert reading.required().task.options() == {"levels": [1]}
    assert reading.notes == ("task: min_terms of 'reasoning_gym/chain_sum' left out, because the task is 'arithmetic'",)
    same = read_run(config=file, flags={**FLAGS, "task": "reasoning_gym/chain_sum"})
    assert same.required().task.options() == {"min_terms": 2}


def test_another_method_name_alone_replaces_and_is_noted(config):
    reading = read_run(config=config("method: rloo\n"), flags=FLAGS)
    assert reading.required().method.name == "grpo"
    assert len(reading.notes) == 1 and reading.notes[0].startswith("method: grpo replaces rloo (")


def test_a_files_slots_for_another_method_are_a_contradiction(config):
    file = config("method:\n  name: rloo\n  samples_per_prompt: 2\n")
    reading = read_run(config=file, flags=FLAGS)
    assert reading.problems == (
        f"METHOD: got 'grpo', but {file}:2 sets slots of 'rloo'; leave one of the two names out",
    )


def test_rewards_from_flags_replace_the_files(config):
    file = config("rewards:\n  - function: task\n")

    def parts(**more):
        rewards = read_run(config=file, flags=FLAGS, sets=["steps=3"], **more).required().rewards
        return [(part.function, part.weight, part.part) for part in rewards]

    assert parts() == [("task", 1.0, "task")]
    assert parts(rewards=["a.py:f=0.5", "task=2", "d.py:h"]) == [
        ("a.py:f", 0.5, "f"),
        ("task", 2.0, "task"),
        ("d.py:h", 1.0, "h"),
    ]


def test_a_rewards_weight_is_a_number():
    (problem,) = read_run(flags=FLAGS, rewards=["task", "a.py:f=heavy"]).problems
    assert problem == "--reward a.py:f=heavy: rewards.1.weight: got 'heavy', expected a number"


def test_the_tiny_model_brings_its_recipe(config):
    tiny = {**FLAGS, "model": "tiny"}
    assert read_run(flags=FLAGS).recipe is None
    reading = read_run(flags=tiny)
    assert reading.recipe == "tiny" and reading.required().resolved_method().samples_per_prompt == 8
    assert read_run(flags={"method": "grpo", "task": "arithmetic"}, config=config("model: tiny\n")).recipe == "tiny"
    assert read_run(flags=FLAGS, sets=["model=tiny"]).recipe == "tiny"
    none = read_run(flags=tiny, recipe="none")
    assert none.recipe is None and none.required().max_new_tokens == 128
    assert read_run(flags=tiny, recipe="demo").required().max_new_tokens == 6


@pytest.mark.parametrize("name", ["demo", "tiny"])
@pytest.mark.parametrize("method", ["reinforce", "reinforce_baseline", "rloo", "grpo"])
def test_every_recipe_goes_with_every_method(name, method):
    reading = read_run(recipe=name, flags={**FLAGS, "method": method})
    assert reading.problems == ()
    assert reading.required().resolved_method().samples_per_prompt == 8


def test_the_demo_recipe_is_the_trial_that_learned():
    reading = read_run(recipe="demo", flags={"model": "m", "method": "grpo"})
    settings, method = reading.required(), reading.required().resolved_method()
    assert (settings.task.name, settings.steps, settings.prompts_per_step) == ("addition-few-shot", 25, 16)
    assert (settings.max_new_tokens, settings.temperature, method.samples_per_prompt) == (6, 1.0, 8)
    assert (method.optimizer.learning_rate, method.optimizer.beta1, method.optimizer.beta2) == (1e-5, 0.9, 0.95)
    assert method.reference_kl is None


def test_an_unknown_recipe_names_the_nearest():
    problems = read_run(recipe="tinny", flags=FLAGS).problems
    assert problems == (f"--recipe: got 'tinny'; did you mean 'tiny'?; valid: {', '.join([*recipe_names(), 'none'])}",)


def test_changes_to_a_run_are_read_like_set():
    settings = settings_from({**FLAGS})
    assert read_changes(settings, ["steps=7", "num_items=3", "evaluation.every=2"]) == {
        "steps": 7,
        "evaluation.num_items": 3,
        "evaluation.every": 2,
    }
    with pytest.raises(SettingsError) as error:
        read_changes(settings, ["steps=x", "evry=3", "num_items=0"])
    assert error.value.problems == [
        "--set evry: unknown key; did you mean 'saving.every'?; valid: budget, evaluation, learner, "
        "lora, max_new_tokens, method, model, network, num_environments, pairs, preferences, prompts_per_step, "
        "reporting, rewarding, rewards, sampler, saving, seed, steps, task, teacher, temperature, tools, "
        "turns and what they hold (an option of the task is task.OPTION)",
        "--set steps: got 'x', expected a whole number",
        "--set num_items: evaluation.num_items: got 0, expected 1 or more",
    ]


def test_sft_settings_have_layers_too(config):
    file = config("learning_rate: 1e-4\nsteps: 5\nlearner: {threads: 1}\n")
    reading = read_sft(config=file, flags={"model": "tiny", "task": "arithmetic", "seed": "3"}, sets=["steps=6"])
    settings = reading.required()
    assert (settings.learning_rate, settings.steps, settings.seed, settings.learner.threads) == (1e-4, 6, 3, 1)
    bad = read_sft(config=file, flags={"model": "tiny"}, sets=["learning_rate=0", "prompts_per_step=3", "threads=0"])
    assert bad.problems == (
        "--set prompts_per_step: unknown key; did you mean 'examples_per_step'?; valid: evaluation_items, "
        "examples_per_step, learner, learning_rate, max_new_tokens, model, seed, steps, task, warmup_steps, "
        "weight_decay and what they hold (an option of the task is task.OPTION)",
        "task: missing; expected a task's name or a data file (--task)",
        "--set learning_rate: got 0, expected more than 0, or null",
        "--set threads: learner.threads: got 0, expected 1 or more, or null",
    )


def test_an_evaluation_takes_what_it_can_from_the_run():
    run = settings_from({**FLAGS, "task": {"name": "arithmetic", "levels": [1]}, "max_new_tokens": 9, "seed": 5})
    of_run = read_eval(run=run).required()
    assert (of_run.task.options(), of_run.max_new_tokens, of_run.seed, of_run.items) == ({"levels": [1]}, 9, 5, 64)
    flags = {"task": "arithmetic", "k": "2", "items": "3", "temperature": "0", "max_new_tokens": "4", "seed": "6"}
    asked = read_eval(run=run, flags=flags, sets=["task.held_out=7"]).required()
    assert (asked.k, asked.items, asked.temperature, asked.max_new_tokens, asked.seed) == (2, 3, 0, 4, 6)
    assert asked.task.options() == {"levels": [1], "held_out": 7}
    assert read_eval(run=run, flags={"task": "addition-few-shot"}).required().task.options() == {}
    judged = run.changed({"rewards": [{"function": "a.py:f"}]})
    assert [one.part for one in read_eval(run=judged).required().rewards] == ["f"]
    assert read_eval(run=judged, flags={"task": "addition-few-shot"}).required().rewards == ()
    own = read_eval(run=judged, rewards=["b.py:g", "task=0"]).required().rewards
    assert [(one.function, one.weight) for one in own] == [("b.py:g", 1.0), ("task", 0.0)]
    problems = read_eval(flags={"k": "0", "split": "test", "temperature": "-1"}).problems
    assert problems == (
        "task: missing; expected a task's name or a data file (--task)",
        "--k: got 0, expected 1 or more",
        "--temperature: got -1, expected 0 or more",
        "--split: got 'test', expected 'held_out' or 'train'",
    )


OF_TEXT_ALONE = (*("distillation", "distillation_whole", "distillation_top_k", "gkd", "grpo_process"),)


@pytest.mark.parametrize("method", OF_TEXT_ALONE)
def test_what_only_text_has_is_refused_for_an_environment(method):
    problems = read_run(
        flags={"method": method, "task": "CartPole-v1"}, sets=["teacher=x"] * METHODS[method].needs_teacher
    )
    assert any("small network" in problem for problem in problems.problems)


FOR_ENVIRONMENTS = [
    name
    for name, m in METHODS.items()
    if isinstance(m, PolicyGradient) and m.shape_reward is None and name not in OF_TEXT_ALONE
]


@pytest.mark.parametrize("method", FOR_ENVIRONMENTS)
def test_an_environment_brings_a_recipe_that_goes_with_the_method(method):
    reading = read_run(flags={"method": method, "task": "CartPole-v1"})
    settings = reading.required()
    assert (settings.model == "small" and settings.resolved_method().reference_kl is None) or METHODS[method].horizon
    whole = METHODS[method].horizon is None
    assert (settings.num_environments > 1) == (whole or METHODS[method].horizon < 64)


def test_a_preset_keeps_its_rate_in_an_environment():
    settings = {name: read_run(flags={"method": name, "task": "CartPole-v1"}) for name in ("actor_critic", "a2c@sb3")}
    assert settings["actor_critic"].recipe == "environment_workers"
    assert settings["a2c@sb3"].recipe == "environment_workers_as_published"
    assert settings["actor_critic"].required().resolved_method().optimizer.learning_rate == 4e-3
    assert settings["a2c@sb3"].required().resolved_method().optimizer == METHODS["a2c@sb3"].optimizer


def test_a_recipe_leaves_out_what_a_methods_step_does_not_have():
    natural = read_run(flags={"model": "tiny", "method": "trpo", "task": "arithmetic"})
    assert natural.required().resolved_method().optimizer == dataclasses.replace(
        METHODS["trpo"].optimizer, num_critic_minibatches=1
    )
    clipped = read_run(flags={"model": "tiny", "method": "ppo", "task": "arithmetic"})
    assert clipped.required().resolved_method().optimizer.learning_rate == 2e-4


def test_a_task_that_is_no_environment_brings_none():
    assert read_run(flags={"model": "tiny", "method": "ppo", "task": "arithmetic"}, recipe="none").recipe is None
    problems = read_run(flags={"method": "ppo", "task": "arithmetic"}).problems
    assert any(problem.startswith("model: missing") for problem in problems)
