"""Numbers of a definition that cannot work at a run's sizes: what takes their place, what stays, what is said."""

from __future__ import annotations

from typing import Any

import pytest

import rung
from rung.methods.data import as_data
from rung.trainers.reading import read_run, settings_of

TINY = {"model": "tiny", "task": "arithmetic"}
LARGE = {"model": "some/model", "task": "arithmetic"}


def read(method: str, *sets: str, flags: dict[str, str] = TINY, recipe: str | None = None) -> tuple[Any, list[str]]:
    """The method as data, and what was said of adapting it."""
    reading = read_run(flags={**flags, "method": method}, sets=sets, recipe=recipe)
    said = [note for note in reading.notes if note.startswith("adapted: ")]
    return as_data(reading.required().resolved_method()), said


@pytest.mark.parametrize("method", ["ppo", "ppo_kl", "ppo@sb3", "ppo@cleanrl", "ppo@baselines"])
def test_ppo_on_text_makes_as_many_updates_as_the_preset_for_text(method: str) -> None:
    found, said = read(method)
    assert (found["num_epochs"], found["num_minibatches"]) == (4, 1)
    assert "ppo@lm-human-preferences is the preset for text" in said[0]
    assert found["optimizer"]["learning_rate"] == 2e-4, "the recipe's"


@pytest.mark.parametrize(("method", "rate"), [("ppo", "learning_rate"), ("actor_critic", "learning_rate")])
def test_a_large_model_gets_no_rate_of_a_small_network(method: str, rate: str) -> None:
    found, said = read(method, flags=LARGE)
    assert found["optimizer"][rate] == 1e-5 and found["advantage"]["discount"] == 1.0
    assert any("for small networks" in one for one in said) and any("leaves 28%" in one for one in said)
    found, _ = read(method, "method.optimizer.learning_rate=5e-4", "discount=0.9", flags=LARGE)
    assert found["optimizer"][rate] == 5e-4 and found["advantage"]["discount"] == 0.9, "what is written stays"


def test_trpos_critic_is_not_trained_as_a_small_network() -> None:
    found, _ = read("trpo", flags=LARGE)
    assert found["optimizer"]["critic_learning_rate"] == 1e-5 and found["optimizer"]["num_critic_minibatches"] == 1


def test_limits_of_length_are_the_runs() -> None:
    found, said = read("dapo", "max_new_tokens=40")
    assert (found["shape_reward"]["limit"], found["shape_reward"]["cache"]) == (40, 8)
    assert said[0].endswith("because an answer has at most 40 tokens")
    assert read("dapo", "shape_reward.limit=100")[0]["shape_reward"]["limit"] == 100
    assert read("dapo", "shape_reward=null")[0]["shape_reward"] is None
    assert read("dr_grpo", "max_new_tokens=40")[0]["aggregation"]["length"] == 40


def test_a_warm_up_that_outlasts_the_run_is_shortened() -> None:
    assert read("dapo", flags=LARGE)[0]["optimizer"]["warmup_steps"] == 320, "of 1,600 updates"
    assert read("dapo", "steps=10", flags=LARGE)[0]["optimizer"]["warmup_steps"] == 16, "of 160"
    assert read("dapo", "steps=10", "budget.tokens=1M", flags=LARGE)[0]["optimizer"]["warmup_steps"] == 320
    assert read("vapo", "steps=50")[0]["critic"]["warmup_steps"] == 10
    assert read("vapo", "steps=100")[0]["critic"]["warmup_steps"] == 50


def test_no_step_is_cut_into_more_pieces_than_it_has_episodes() -> None:
    small = ("prompts_per_step=2", "samples_per_prompt=4")
    assert read("dapo", *small)[0]["num_minibatches"] == 8
    assert read("grpo@openrlhf", *small)[0]["num_minibatches"] == 8


def test_what_fits_is_left_alone() -> None:
    for method in ("grpo", "reinforce", "rloo", "ppo@lm-human-preferences", "actor_critic"):
        assert read(method)[1] == [], method
    assert read("ppo", "prompts_per_step=64", recipe="none")[0]["num_minibatches"] == 32, "the definition as it is"
    on_cartpole, said = read("ppo", flags={"task": "CartPole-v1"})
    assert on_cartpole["num_minibatches"] == 32 and said == []
    whole = rung.Settings(**TINY, method="ppo", prompts_per_step=64)
    again = settings_of({"settings": whole, "steps": 3}).required()
    assert again.resolved_method().num_minibatches == 32, "a whole Settings is what it says"


def test_the_console_is_told_from_python_too(tmp_path: Any, capsys: pytest.CaptureFixture[str]) -> None:
    few: dict[str, Any] = {"prompts_per_step": 2, "max_new_tokens": 4, "evaluation": {"num_items": 2, "num_samples": 1}}
    method = rung.DAPO.changed(samples_per_prompt=2, keep_group=None)
    run = rung.train(**TINY, method=method, steps=1, out=tmp_path / "run", reporting={"page": False}, **few)
    assert "adapted: method.num_minibatches = 4, because a step has 4 episodes" in capsys.readouterr().out
    assert run.policy().generate("2+3=", max_new_tokens=4) == run.policy().generate("2+3=", "1+1=", max_new_tokens=4)[0]
