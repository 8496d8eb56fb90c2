"""Names of other libraries: what is suggested exists for the method, and nothing else is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated

import pytest

from rung import GRPO, Settings, SettingsError, parts
from rung.methods import METHODS
from rung.methods.data import as_data
from rung.settings.layers import run_keys
from rung.settings.method_layers import keys_in
from rung.settings.names import ELSEWHERE, suggestion
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


LIBRARIES = {
    (
        "ppo",
        "Stable-Baselines3's PPO",
    ): """policy env learning_rate n_steps batch_size n_epochs gamma gae_lambda clip_range
        clip_range_vf normalize_advantage ent_coef vf_coef max_grad_norm use_sde sde_sample_freq rollout_buffer_class
        rollout_buffer_kwargs target_kl stats_window_size tensorboard_log policy_kwargs verbose seed device""",
    ("actor_critic", "Stable-Baselines3's A2C"): """policy env learning_rate n_steps gamma gae_lambda ent_coef vf_coef
        max_grad_norm rms_prop_eps use_rms_prop use_sde normalize_advantage tensorboard_log policy_kwargs""",
    ("dqn", "Stable-Baselines3's DQN"): """buffer_size learning_starts batch_size tau gamma train_freq gradient_steps
        replay_buffer_class replay_buffer_kwargs optimize_memory_usage n_steps target_update_interval
        exploration_fraction exploration_initial_eps exploration_final_eps max_grad_norm""",
    ("trpo", "sb3-contrib's TRPO"): """cg_max_steps cg_damping line_search_shrinking_factor line_search_max_iter
        n_critic_updates gae_lambda normalize_advantage target_kl sub_sampling_factor""",
    ("ppo", "CleanRL's PPO"): """exp_name seed torch_deterministic cuda track capture_video env_id total_timesteps
        learning_rate num_envs num_steps anneal_lr gamma gae_lambda num_minibatches update_epochs norm_adv clip_coef
        clip_vloss ent_coef vf_coef max_grad_norm target_kl""",
    ("dqn", "CleanRL's DQN"): """buffer_size tau target_network_frequency batch_size start_e end_e exploration_fraction
        learning_starts train_frequency""",
    ("grpo", "verl"): """actor_rollout_ref.actor.optim.lr actor_rollout_ref.actor.optim.lr_warmup_steps_ratio
        actor_rollout_ref.actor.optim.betas actor_rollout_ref.actor.optim.clip_grad actor_rollout_ref.actor.clip_ratio
        actor_rollout_ref.actor.optim.weight_decay actor_rollout_ref.actor.ppo_mini_batch_size
        actor_rollout_ref.actor.ppo_micro_batch_size_per_gpu actor_rollout_ref.actor.ppo_max_token_len_per_gpu
        actor_rollout_ref.actor.clip_ratio_low actor_rollout_ref.actor.clip_ratio_high
        actor_rollout_ref.actor.clip_ratio_c actor_rollout_ref.actor.loss_agg_mode actor_rollout_ref.actor.entropy_coeff
        actor_rollout_ref.actor.loss_scale_factor actor_rollout_ref.actor.use_kl_loss actor_rollout_ref.actor.ppo_epochs
        actor_rollout_ref.actor.kl_loss_coef actor_rollout_ref.actor.kl_loss_type actor_rollout_ref.actor.strategy
        actor_rollout_ref.actor.policy_loss.loss_mode actor_rollout_ref.actor.policy_loss.clip_cov_ratio
        actor_rollout_ref.actor.policy_loss.clip_cov_lb actor_rollout_ref.actor.policy_loss.ppo_kl_coef
        actor_rollout_ref.rollout.name actor_rollout_ref.rollout.temperature actor_rollout_ref.rollout.top_k
        actor_rollout_ref.rollout.n actor_rollout_ref.rollout.prompt_length actor_rollout_ref.rollout.response_length
        actor_rollout_ref.rollout.gpu_memory_utilization actor_rollout_ref.rollout.val_kwargs.temperature
        actor_rollout_ref.rollout.val_kwargs.n actor_rollout_ref.model.path actor_rollout_ref.model.lora_rank
        actor_rollout_ref.model.lora_alpha actor_rollout_ref.model.target_modules critic.optim.lr critic.cliprange_value
        data.train_files data.val_files data.train_batch_size data.max_prompt_length data.max_response_length
        data.truncation algorithm.gamma algorithm.lam algorithm.adv_estimator algorithm.norm_adv_by_std_in_grpo
        algorithm.use_kl_in_reward algorithm.kl_penalty algorithm.kl_ctrl.kl_coef algorithm.kl_ctrl.target_kl
        algorithm.kl_ctrl.horizon algorithm.filter_groups.enable algorithm.filter_groups.max_num_gen_batches
        algorithm.rollout_correction.rollout_is algorithm.rollout_correction.rollout_is_threshold trainer.total_epochs
        trainer.total_training_steps trainer.critic_warmup trainer.save_freq trainer.test_freq trainer.logger
        trainer.n_gpus_per_node trainer.nnodes trainer.val_before_train trainer.resume_mode trainer.experiment_name""",
    ("grpo", "OpenRLHF"): """actor.model_name_or_path actor.adam.lr critic.adam.lr actor.eps_clip actor.dual_clip
        actor.eps_clip_low_high actor.policy_loss_type critic.value_clip algo.advantage.estimator algo.advantage.gamma
        algo.advantage.lambd algo.kl.init_coef algo.kl.target algo.kl.horizon algo.kl.estimator algo.kl.use_loss
        rollout.batch_size rollout.n_samples_per_prompt rollout.temperature rollout.top_p rollout.micro_batch_size
        train.batch_size train.micro_batch_size train.max_epochs train.num_episodes train.seed data.prompt_dataset
        data.input_key data.label_key data.max_len data.max_samples eval.steps eval.dataset eval.temperature
        ckpt.save_steps ckpt.max_num ds.lora.rank ds.lora.alpha ds.lora.target_modules ds.lora.dropout
        ds.packing_samples ds.zero_stage reward.remote_url reward.clip_range actor.gradient_checkpointing_enable""",
}
"""By the method that is meant: what Stable-Baselines3 2.9, CleanRL, verl 0.9 and OpenRLHF 0.11 call what is set."""


@pytest.mark.parametrize(("method", "library"), LIBRARIES)
def test_every_name_of_another_library_leads_somewhere(method: str, library: str) -> None:
    keys = run_keys(Settings, method)
    for name in LIBRARIES[method, library].split():
        end = name.rpartition(".")[2]
        ours = any(key == end or key.endswith(f".{end}") for key in keys) or suggestion(name, keys)
        known = any(".".join(name.split(".")[at:]) in ELSEWHERE for at in range(name.count(".") + 1))
        assert known or ours, f"{library}: nothing is said of {name}"
    assert suggestion("actor.optim.lr", keys) != suggestion("critic.optim.lr", keys), "the critic's rate is its own"


def test_names_that_have_no_counterpart_say_why() -> None:
    for name, (ours, words) in ELSEWHERE.items():
        assert ours or words, name


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
