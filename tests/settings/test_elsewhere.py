"""Names of other libraries: what is suggested exists for the method, and nothing else is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

import pytest

from rung import GRPO, Settings, SettingsError, parts
from rung.methods import METHODS
from rung.methods.data import as_data
from rung.settings.method_layers import keys_in
from rung.settings.names import ELSEWHERE
from rung.settings.section import keys_of
from rung.trainers.reading import read_run, settings_of

FLAGS = {"model": "tiny", "task": "arithmetic"}


@pytest.mark.parametrize("method", ["grpo", "ppo", "dapo", "trpo", "actor_critic", "dpo", "dqn", "reinforce"])
def test_what_is_suggested_for_a_method_is_a_key_that_it_has(method: str) -> None:
    own = {*keys_in(as_data(METHODS[method])), *keys_of(Settings)}
    for name in ELSEWHERE:
        problems = read_run(flags={**FLAGS, "method": method}, sets=[f"{name}=1"]).problems
        for key in re.findall(r"did you mean '([^']+)'", " ".join(problems)):
            assert key in own or key in ("method.objective", "method.network"), (name, key)


@pytest.mark.parametrize(
    ("typed", "method", "ours"),
    [
        ("lr", "grpo", "method.optimizer.learning_rate"),
        ("method.lr", "grpo", "method.optimizer.learning_rate"),
        ("method.optimizer.lr", "grpo", "method.optimizer.learning_rate"),
        ("actor.optim.lr", "grpo", "method.optimizer.learning_rate"),
        ("beta", "grpo", "method.reference_kl.coefficient"),
        ("method.beta", "grpo", "method.reference_kl.coefficient"),
        ("method.beta", "dpo", "method.loss.beta"),
        ("kl_coef", "grpo", "method.reference_kl.coefficient"),
        ("num_generations", "grpo", "method.samples_per_prompt"),
        ("actor_rollout_ref.rollout.n", "grpo", "method.samples_per_prompt"),
        ("max_completion_length", "grpo", "max_new_tokens"),
        ("data.train_batch_size", "grpo", "prompts_per_step"),
        ("per_device_train_batch_size", "grpo", "prompts_per_step"),
        ("n_steps", "ppo", "method.horizon"),
        ("n_envs", "ppo", "num_environments"),
        ("gamma", "ppo", "method.advantage.discount"),
        ("gamma", "dqn", "method.value_target.discount"),
        ("clip_range", "ppo", "method.objective.low"),
        ("method.clip_range", "ppo", "method.objective.low"),
        ("epsilon_high", "dapo", "method.objective.high"),
        ("ent_coef", "ppo", "method.entropy_bonus"),
        ("vf_coef", "ppo", "method.critic.coefficient"),
        ("gae_lambda", "ppo", "method.advantage.lam"),
        ("total_timesteps", "ppo", "budget.steps"),
    ],
)
def test_the_names_people_type_lead_to_ours(typed: str, method: str, ours: str) -> None:
    (problem,) = read_run(flags={**FLAGS, "method": method}, sets=[f"{typed}=1"]).problems
    assert f"did you mean '{ours}'" in problem
    nested = typed.removeprefix("method.")
    given = {"method": {"name": method, nested: 1}} if typed.startswith("method.") else {"method": method, typed: 1}
    if "." not in nested:
        (problem,) = settings_of({**FLAGS, **given}).problems
        assert f"did you mean '{ours}'" in problem, "from Python"


def test_a_name_that_the_method_has_nothing_for_says_so() -> None:
    (problem,) = read_run(flags={**FLAGS, "method": "grpo"}, sets=["gamma=1"]).problems
    assert "did you mean" not in problem and "it would be 'method.advantage.discount'" in problem
    (problem,) = read_run(flags={**FLAGS, "method": "grpo"}, sets=["top_p=1"]).problems
    assert "did you mean" not in problem and "only temperature" in problem
    with pytest.raises(SettingsError, match=r"lr: unknown key; did you mean 'method.optimizer.learning_rate'"):
        Settings(**FLAGS, method="grpo", lr=1e-5)  # type: ignore[call-arg]


@dataclass(frozen=True)
class Mine:
    """An advantage with a number of its own."""

    twist: Annotated[float, parts.SHARE] = 0.5

    def __call__(self, batch):
        return batch.rewards_BT


def test_numbers_of_own_parts_are_set_by_their_end() -> None:
    method = GRPO.changed(name="mine", advantage=Mine())
    flags = {**FLAGS, "method": "mine"}
    for typed in ("twist", "advantage.twist", "method.advantage.twist"):
        found = read_run(flags=flags, sets=[f"{typed}=0.25"], methods={"mine": method}).required()
        assert found.resolved_method().advantage == Mine(0.25)
        found = settings_of({**FLAGS, "method": method, "settings": {typed: 0.25}}).required()
        assert found.resolved_method().advantage == Mine(0.25)
    (problem,) = read_run(flags=flags, sets=["advantage.twst=0.25"], methods={"mine": method}).problems
    assert "method.advantage.twst: unknown key; did you mean" in problem


def test_home_is_understood_wherever_a_path_stands(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "run.yaml"
    file.write_text(
        "model: ~/m\nmethod: grpo\ntask:\n  name: ~/rows.jsonl\n  held_out_file: ~/h.jsonl\nrewards: ~/r.py:f\n"
    )
    settings = read_run(config=file).required()
    assert (settings.model, settings.task.name) == (f"{tmp_path}/m", f"{tmp_path}/rows.jsonl")
    assert settings.task.options() == {"held_out_file": f"{tmp_path}/h.jsonl"}
    assert settings.rewards[0].function == f"{tmp_path}/r.py:f"
    asked = read_run(flags={"model": "~/m", "method": "grpo", "task": "~/rows.jsonl"}).required()
    python = settings_of({"model": "~/m", "method": "grpo", "task": "~/rows.jsonl"}).required()
    assert asked == python and asked.task.name == f"{tmp_path}/rows.jsonl"
