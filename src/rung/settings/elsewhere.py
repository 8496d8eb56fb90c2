"""Names that other libraries give to our settings: whoever types one is told ours, and what differs in meaning."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from rung.errors import did_you_mean

_STEP = "different prompts a step, each with method.samples_per_prompt samples"
_AT_ONCE = "tokens that go through the model at once; it changes no result"
_ROWS: tuple[tuple[str, str, str], ...] = (
    ("method.samples_per_prompt", "num_generations n_samples_per_prompt rollout.n group_size num_return_sequences", ""),
    ("prompts_per_step", "batch_size train_batch_size rollout_batch_size per_device_train_batch_size", _STEP),
    ("learner.micro_batch_tokens", "gradient_accumulation_steps micro_train_batch_size", _AT_ONCE),
    ("learner.micro_batch_tokens", "ppo_micro_batch_size ppo_micro_batch_size_per_gpu", _AT_ONCE),
    (
        "method.num_minibatches",
        "mini_batch_size ppo_mini_batch_size minibatch_size",
        "how many, not how large",
    ),
    ("method.num_minibatches", "num_mini_batches n_minibatch steps_per_generation", "updates a pass"),
    ("method.num_epochs", "num_iterations ppo_epochs n_epochs update_epochs num_ppo_epochs", "passes over a rollout"),
    ("max_new_tokens", "max_completion_length max_response_length response_length generate_max_len max_tokens", ""),
    ("method.optimizer.learning_rate learning_rate", "lr actor_learning_rate policy_lr", ""),
    ("method.optimizer.critic_learning_rate", "critic_lr vf_lr", "of TRPO; else the critic has the policy's"),
    ("method.reference_kl.coefficient method.loss.beta", "beta", "the KL's weight; DPO's own beta is method.loss.beta"),
    ("method.reference_kl.coefficient", "kl kl_coef init_kl_coef kl_coeff kl_loss_coef kl_ctl.kl_coef", ""),
    ("method.reference_kl.refresh_every", "ref_model_sync_steps", "steps, and the whole model is taken"),
    ("method.optimizer.max_kl", "target_kl", "TRPO's bound; PPO's clip needs none"),
    (
        "method.objective.low",
        "clip_range cliprange clip_coef clip_ratio clip_ratio_low eps_clip epsilon",
        "high beside it",
    ),
    ("method.objective.high", "epsilon_high clip_ratio_high eps_clip_high", ""),
    ("method.critic.clip", "clip_range_vf cliprange_value value_clip", ""),
    ("method.critic.coefficient", "vf_coef value_loss_coef", "of half the square"),
    ("method.entropy_bonus", "ent_coef entropy_coef entropy_coeff", ""),
    ("method.advantage.discount method.value_target.discount", "gamma discount_factor", ""),
    ("method.advantage.lam", "gae_lambda lambd lmbda", ""),
    ("method.aggregation", "loss_type loss_agg_mode", "a part such as PerToken; dapo and dr_grpo are methods"),
    ("method.optimizer.max_grad_norm", "clip_grad grad_clip max_norm", ""),
    ("method.optimizer.warmup_steps", "warmup_ratio lr_warmup_steps lr_warmup_steps_ratio", "updates, not a share"),
    ("method.optimizer.anneal", "lr_scheduler_type lr_scheduler anneal_lr", "true: the rate falls to 0 in a line"),
    ("method.optimizer.beta1", "adam_beta1", ""),
    ("method.optimizer.beta2", "adam_beta2", ""),
    ("method.optimizer.epsilon", "adam_epsilon", ""),
    ("method.horizon", "n_steps num_steps nsteps", "steps of each environment in a rollout"),
    ("num_environments", "n_envs num_envs", ""),
    ("budget.steps", "total_timesteps num_timesteps", "environment steps"),
    ("steps", "max_steps total_training_steps", ""),
    ("steps", "num_train_epochs total_epochs num_episodes total_episodes", "steps, not passes over the data"),
    ("network.hidden method.network", "net_arch policy_kwargs", ""),
    ("method.replay.capacity", "buffer_size replay_size", ""),
    ("method.replay.starts", "learning_starts", ""),
    ("method.steps_between_updates", "train_freq train_frequency", ""),
    (
        "method.target_network.updates",
        "target_update_interval target_network_frequency",
        "in updates, not steps",
    ),
    ("method.exploration.over", "exploration_fraction", "steps, not a share"),
    ("method.exploration.end", "exploration_final_eps end_e", ""),
    ("evaluation.every", "eval_steps eval_freq test_freq", ""),
    ("saving.every", "save_steps save_freq save_interval", ""),
    ("saving.keep", "save_total_limit", ""),
    ("reporting.tracker", "report_to track use_wandb logger", ""),
    ("lora.rank", "lora_r lora_rank", ""),
    ("lora.alpha", "lora_alpha", ""),
    ("lora.targets", "target_modules lora_target_modules", ""),
    ("learner.checkpoint_activations", "gradient_checkpointing enable_gradient_checkpointing", ""),
    ("learner.compute", "bf16 fp16 dtype torch_dtype", "bfloat16 or float32"),
    ("rewards", "reward_funcs reward_fn reward_function custom_reward_function.path", ""),
    ("model", "model_name_or_path pretrain model_path model.path", ""),
    ("task", "dataset dataset_name prompt_data train_files env_id env", ""),
    ("", "top_p top_k min_p", "samples are of the whole distribution, which only temperature changes"),
    ("", "max_prompt_length max_prompt_len", "prompts are never cut; leave long rows out of the data"),
)
"""Our keys, of which the first that there is counts; the names in TRL, Stable-Baselines3, CleanRL, verl and OpenRLHF;
what is to be known where the meaning differs."""
ELSEWHERE: Mapping[str, tuple[tuple[str, ...], str]] = {
    name: (tuple(ours.split()), words) for ours, names, words in _ROWS for name in names.split()
}


def suggestion(typed: str, keys: Iterable[str], own: Sequence[str] = ()) -> str:
    """`"; did you mean 'x'?"` of these keys, what another library calls `typed` first; empty when nothing is close.

    `own`: the keys that the run's method has as it is; none: the method is not known.

    >>> suggestion("lr", ["lora", "method.optimizer.learning_rate"])
    "; did you mean 'method.optimizer.learning_rate'?"
    >>> suggestion("actor.rollout.n", ["method", "method.samples_per_prompt"])
    "; did you mean 'method.samples_per_prompt'?"
    """
    keys, parts = list(keys), typed.split(".")
    named = next((name for at in range(len(parts)) if (name := ".".join(parts[at:])) in ELSEWHERE), None)
    if named is None:
        return did_you_mean(typed, keys)
    ours, words = ELSEWHERE[named]
    without_slots = "method" in keys and "method.optimizer" not in keys
    there = [key for key in ours if key in keys or (without_slots and key.startswith("method."))]
    if not there:
        return f"; {words}" if words and not ours else ""
    meant = next((key for key in there if key in own), there[0])
    said = f" ({words})" if words else ""
    if own and meant.startswith("method.") and meant not in own:
        return f"; it would be '{meant}'{said}, but the method's part there has no such number"
    return f"; did you mean '{meant}'{said}?"
