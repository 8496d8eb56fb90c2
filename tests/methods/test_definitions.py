"""The named methods against what their papers state. A change here is a change of what a name means."""

from __future__ import annotations

import pytest

from rung.errors import SettingsError
from rung.methods import METHODS, PolicyGradient, PreferenceLearning, ValueLearning, method_named
from rung.methods.data import slots
from rung.methods.grpo import GRPO
from rung.methods.parts.advantages import (
    GAE,
    EachNormalized,
    EpisodeReturn,
    GroupCentred,
    GroupCentredBatchScaled,
    GroupCentredOverMixed,
    GroupNormalized,
    GroupRelative,
    LengthAdaptiveGAE,
    LengthWeightedMean,
    NormalizedByOthers,
    NStep,
    OthersInBatch,
    OthersInGroup,
    PassAtK,
    ProcessNormalized,
    RewardToGo,
    RightAnswers,
    TeacherLogRatio,
)
from rung.methods.parts.aggregations import PerConstantLength, PerEpisode, PerSequence, PerToken, Whiten
from rung.methods.parts.chosen_tokens import ClipCov, HighEntropy, KLCov
from rung.methods.parts.corrections import StaleNegatives
from rung.methods.parts.critics import ValueFunction
from rung.methods.parts.distillation import GeneralisedJSD, NoAdvantage, ReverseKL, ToTeacher
from rung.methods.parts.elements import CriticElement, Lifetimes, SearchElement
from rung.methods.parts.entropy import EntropyTarget
from rung.methods.parts.filters import AccuraciesDiffer, FrozenStart, SoftOverlong
from rung.methods.parts.imitation import RightAnswersToo
from rung.methods.parts.learned_reward import ByDisagreement, SegmentPreferences
from rung.methods.parts.objectives import (
    ClippedSurrogate,
    ClippedWeight,
    GeometricMean,
    KLPenalty,
    ScoreFunction,
    SequenceClippedSurrogate,
    SoftGate,
    Surrogate,
    WithinKL,
    WithinProbability,
)
from rung.methods.parts.optimizers import AdamW, NaturalGradient, RMSprop
from rung.methods.parts.reference_kl import K1, K2, K3, KLInAdvantage, KLInLoss, KLInReward

ONE_UPDATE = {"num_epochs": 1, "num_minibatches": 1}
STEP = AdamW(
    learning_rate=1e-6, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.0, warmup_steps=0, max_grad_norm=1.0
)
PINNED = {
    "boxes": {"actor": Lifetimes(decay=0.99, weight=1.0, base=20.0, multiple=1.0), "critic": None},
    "ase": {"actor": SearchElement(step_size=1000.0, decay=0.9, noise=0.01), "critic": None},
    "ase_ace": {  # Barto, Sutton and Anderson 1983: α 1000, δ 0.9, σ 0.01; β 0.5, γ 0.95, λ 0.8
        "actor": SearchElement(step_size=1000.0, decay=0.9, noise=0.01),
        "critic": CriticElement(step_size=0.5, gamma=0.95, decay=0.8),
    },
    "reinforce": {  # Williams 1992, episodic REINFORCE, no baseline
        "samples_per_prompt": 1,
        "advantage": RewardToGo(discount=1.0, baseline=None),
        "objective": ScoreFunction(),
        "aggregation": PerEpisode(),
        "reference_kl": None,
        "optimizer": STEP,
        **ONE_UPDATE,
    },
    "reinforce_baseline": {
        "samples_per_prompt": 1,
        "advantage": RewardToGo(discount=1.0, baseline=OthersInBatch()),
        "objective": ScoreFunction(),
        "aggregation": PerEpisode(),
        "reference_kl": None,
        "optimizer": STEP,
        **ONE_UPDATE,
    },
    "rloo": {  # arXiv:2402.14740: k = 2 or 4, learning rate 1e-6, β 0.03 in the reward
        "samples_per_prompt": 4,
        "advantage": EpisodeReturn(baseline=OthersInGroup()),
        "objective": ScoreFunction(),
        "aggregation": PerEpisode(),
        "reference_kl": KLInReward(coefficient=0.03, estimator=K1()),
        "optimizer": STEP,
        **ONE_UPDATE,
    },
    "grpo": {  # arXiv:2402.03300: G 64, β 0.04 with k3 in the loss, 1/|o_i|, learning rate 1e-6, one update
        "samples_per_prompt": 64,
        "advantage": GroupNormalized(epsilon=1e-6, ddof=0),
        "objective": ClippedSurrogate(low=0.2, high=0.2),
        "aggregation": PerSequence(),
        "reference_kl": KLInLoss(coefficient=0.04, estimator=K3()),
        "optimizer": STEP,
        **ONE_UPDATE,
    },
}


GRPO_LIKE = PINNED["grpo"] | {"reference_kl": None}
PINNED |= {
    "actor_critic": {  # arXiv:1602.01783: t_max 5, γ 0.99, entropy 0.01, rate falls to 0; the rest is Baselines' A2C
        "samples_per_prompt": 1,
        "horizon": 5,
        "critic": ValueFunction(separate=True, coefficient=1.0, clip=None),
        "advantage": NStep(discount=0.99, steps=5),
        "objective": ScoreFunction(),
        "entropy_bonus": 0.01,
        "aggregation": PerToken(),
        "optimizer": RMSprop(
            learning_rate=7e-4, alpha=0.99, epsilon=1e-5, tensorflow=True, anneal=True, max_grad_norm=0.5
        ),
        **ONE_UPDATE,
    },
    # arXiv:1502.05477: δ 0.01, k 10; damping, λ 0.98, 1024 steps and ten lengths are trpo_mpi's, Baselines at ea25b9e
    "trpo": {
        "samples_per_prompt": 1,
        "horizon": 1024,
        "critic": ValueFunction(),
        "advantage": GAE(discount=0.99, lam=0.98),
        "whiten": Whiten(per_minibatch=False),
        "objective": Surrogate(),
        "aggregation": PerToken(),
        "optimizer": NaturalGradient(
            iterations=10, damping=0.1, backtracks=9, num_critic_epochs=5, num_critic_minibatches=16
        ),
        **ONE_UPDATE,
    },
    "ppo": {  # arXiv:1707.06347, table 3: T 2048, Adam 3e-4, 10 epochs, minibatches of 64, γ 0.99, λ 0.95, clip 0.2
        "samples_per_prompt": 1,
        "horizon": 2048,
        "critic": ValueFunction(),
        "advantage": GAE(discount=0.99, lam=0.95),
        "whiten": Whiten(per_minibatch=True),
        "objective": ClippedSurrogate(low=0.2, high=0.2),
        "aggregation": PerToken(),
        "optimizer": AdamW(learning_rate=3e-4, epsilon=1e-5, max_grad_norm=0.5),
        "num_epochs": 10,
        "num_minibatches": 32,
    },
    "dr_grpo": GRPO_LIKE | {"advantage": GroupCentred(), "aggregation": PerConstantLength(1024)},
    "dapo": GRPO_LIKE  # arXiv:2503.14476: 0.2/0.28, 16 samples, 16 updates, 20480 and 4096 tokens, 20 rollouts warm-up
    | {
        "samples_per_prompt": 16,
        "keep_group": AccuraciesDiffer(refill=True, most_batches=10),
        "shape_reward": SoftOverlong(limit=20480, cache=4096),
        "objective": ClippedSurrogate(low=0.2, high=0.28),
        "aggregation": PerToken(),
        "optimizer": AdamW(learning_rate=1e-6, warmup_steps=320),
        "num_minibatches": 16,
    },
    "reinforce++": PINNED["reinforce"]
    | {
        "reference_kl": KLInReward(coefficient=0.01, estimator=K1()),
        "whiten": Whiten(),
        "objective": ClippedSurrogate(low=0.2, high=0.2),
        "optimizer": AdamW(learning_rate=5e-7),
    },
    "reinforce++_baseline": PINNED["reinforce"]  # arXiv:2501.03262; openrlhf 0.11.2 and its hybrid_engine script
    | {
        "samples_per_prompt": 8,
        "reference_kl": KLInLoss(coefficient=1e-5, estimator=K2()),
        "advantage": GroupCentred(),
        "whiten": Whiten(),
        "objective": ClippedSurrogate(low=0.2, high=0.2),
        "aggregation": PerToken(),
        "optimizer": AdamW(learning_rate=5e-7, beta2=0.95),
    },
    "gspo": GRPO_LIKE | {"objective": SequenceClippedSurrogate(low=3e-4, high=4e-4), "num_minibatches": 4},
    "cispo": GRPO_LIKE | {"objective": ClippedWeight(high=5.0), "aggregation": PerToken(), "num_minibatches": 16},
    "lite_ppo": GRPO_LIKE | {"advantage": GroupCentredBatchScaled(), "aggregation": PerToken()},
    "maxrl": GRPO_LIKE | {"advantage": GroupRelative()},
}
PINNED["ppo_kl"] = PINNED["ppo"] | {"objective": KLPenalty(coefficient=1.0, target=0.01)}
PINNED["vapo"] = PINNED["dapo"] | {
    "keep_group": None,
    "shape_reward": None,
    "critic": ValueFunction(separate=True, coefficient=0.5, warmup_steps=50),
    "advantage": LengthAdaptiveGAE(alpha=0.05),
    "imitation": RightAnswersToo(weight=0.1),
}
PINNED["ppo@lm-human-preferences"] = PINNED["ppo"] | {  # its code: launch.py and train_policy.py
    "reference_kl": KLInReward(coefficient=0.15, estimator=K1(), target=6.0, adapt_over=10_000),
    "critic": ValueFunction(separate=False, coefficient=0.1, clip=0.2),
    "advantage": GAE(discount=1.0, lam=0.95),
    "whiten": Whiten(per_minibatch=False),
    "optimizer": AdamW(learning_rate=1e-5, epsilon=1e-5, anneal=True, max_grad_norm=1e6),
    "num_epochs": 4,
    "num_minibatches": 1,
}
PINNED["grpo@trl"] = GRPO_LIKE | {  # trl 1.16.0, GRPOConfig
    "samples_per_prompt": 8,
    "advantage": GroupNormalized(epsilon=1e-4, ddof=1),
    "aggregation": PerToken(),
    "optimizer": AdamW(learning_rate=1e-6, anneal=True),
}
PINNED["rlhf@2017"] = PINNED["trpo"] | {  # arXiv:1706.03741, 2.2 and appendix A.1
    "learned_reward": SegmentPreferences(
        members=3,
        queries=ByDisagreement(candidates=10),
        first_share=0.25,
        rate_halves_at=2_000_000,
        coin_share=0.1,
        reward_std=1.0,
        l2_low=1.1,
        l2_high=1.5,
    ),
    "advantage": GAE(discount=0.995, lam=0.97),
    "entropy_bonus": 0.01,
    "optimizer": NaturalGradient(max_kl=0.01, iterations=10, damping=0.1, backtracks=9, num_critic_epochs=20),
}
COV_SCRIPT = {
    "samples_per_prompt": 8,
    "keep_group": AccuraciesDiffer(refill=True, most_batches=10),
    "aggregation": PerToken(),
    "optimizer": AdamW(learning_rate=5e-7),
    "num_minibatches": 8,
}
BASELINES_VALUE = ValueFunction(separate=True, coefficient=0.5, clip=0.2)
SB3_VALUE = ValueFunction(separate=True, coefficient=1.0, clip=None)
PINNED |= {
    "ppo@trl-2025": PINNED["ppo@lm-human-preferences"]  # trl 0.25.1, PPOConfig and OnPolicyConfig
    | {
        "reference_kl": KLInReward(coefficient=0.05, estimator=K1()),
        "critic": ValueFunction(separate=True, coefficient=0.1, clip=0.2),
        "whiten": Whiten(per_minibatch=False, ddof=1),
        "optimizer": AdamW(learning_rate=5e-5, anneal=True, max_grad_norm=1e6),
    },
    "ppo@baselines": PINNED["ppo"]  # openai/baselines, ppo2/defaults.py, mujoco
    | {
        "critic": BASELINES_VALUE,
        "optimizer": AdamW(learning_rate=3e-4, epsilon=1e-5, anneal=True, max_grad_norm=0.5),
    },
    "ppo@sb3": PINNED["ppo"] | {"critic": SB3_VALUE, "whiten": Whiten(per_minibatch=True, ddof=1)},  # 2.9.2
    "ppo@cleanrl": PINNED["ppo"]  # cleanrl 1.2.0, ppo.py
    | {
        "horizon": 128,
        "critic": BASELINES_VALUE,
        "whiten": Whiten(per_minibatch=True, ddof=1),
        "entropy_bonus": 0.01,
        "optimizer": AdamW(learning_rate=2.5e-4, epsilon=1e-5, anneal=True, max_grad_norm=0.5),
        "num_epochs": 4,
        "num_minibatches": 4,
    },
    "a2c@sb3": PINNED["actor_critic"]  # stable-baselines3 2.9.2
    | {
        "critic": SB3_VALUE,
        "advantage": GAE(discount=0.99, lam=1.0),
        "entropy_bonus": 0.0,
        "optimizer": RMSprop(learning_rate=7e-4, alpha=0.99, epsilon=1e-5, max_grad_norm=0.5),
    },
    "trpo@sb3-contrib": PINNED["trpo"]  # sb3-contrib 2.9.2
    | {
        "horizon": 2048,
        "critic": SB3_VALUE,
        "advantage": GAE(discount=0.99, lam=0.95),
        "whiten": Whiten(ddof=1),
        "optimizer": NaturalGradient(
            iterations=15,
            fisher_share=1.0,
            backtracks=9,
            shrink=0.8,
            accept=1.0,
            num_critic_epochs=10,
            num_critic_minibatches=16,
        ),
    },
    "grpo@verl": GRPO_LIKE  # verl 0.9.1, actor.yaml
    | {
        "advantage": GroupNormalized(epsilon=1e-6, ddof=1),
        "objective": ClippedSurrogate(low=0.2, high=0.2, dual=3.0),
        "aggregation": PerToken(),
        "optimizer": AdamW(learning_rate=1e-6, weight_decay=0.01),
        "num_minibatches": 4,
    },
    "grpo@openrlhf": GRPO_LIKE  # openrlhf 0.11.2, train_ppo_ray.py
    | {
        "samples_per_prompt": 8,
        "reference_kl": KLInAdvantage(coefficient=0.01, estimator=K1()),
        "advantage": GroupNormalized(epsilon=1e-9, ddof=1),
        "aggregation": PerToken(),
        "optimizer": AdamW(learning_rate=1e-6, beta2=0.95),
        "num_minibatches": 64,
    },
    "grpo@nemo-rl": GRPO_LIKE  # NeMo RL v0.6.0, grpo_math_1B.yaml
    | {
        "samples_per_prompt": 16,
        "reference_kl": KLInLoss(coefficient=0.01, estimator=K3()),
        "advantage": NormalizedByOthers(epsilon=1e-6),
        "aggregation": PerToken(),
        "optimizer": AdamW(learning_rate=5e-6, weight_decay=0.01, warmup_steps=50),
    },
    "grpo@prime-rl": GRPO_LIKE  # prime-rl v0.6.0, DefaultLossConfig
    | {
        "advantage": GroupCentred(),
        "objective": WithinProbability(low=0.2, high=0.2, pull=1e-3),
        "aggregation": PerToken(),
        "optimizer": AdamW(learning_rate=1e-6, weight_decay=0.01),
    },
    # arXiv:2505.22617: 2e-4 of the tokens, covariance from 1 to 5; the rest is the authors' 7b_clip_cov.sh
    "clip_cov": GRPO_LIKE | COV_SCRIPT | {"objective": ClipCov(low=1.0, high=1.0, share=2e-4, above=1.0, below=5.0)},
    # the same: 2e-3 of the tokens (7B), coefficient 1; 7b_kl_cov.sh
    "kl_cov": GRPO_LIKE | COV_SCRIPT | {"objective": KLCov(share=2e-3, coefficient=1.0)},
    "grpo_process": PINNED["grpo"] | {"advantage": ProcessNormalized(epsilon=1e-6, ddof=0)},
    "grpo_iterative": PINNED["grpo"] | {"reference_kl": KLInLoss(coefficient=0.04, estimator=K3(), refresh_every=100)},
    "online_rft": PINNED[
        "reinforce"
    ]  # arXiv:2402.03300, section 5.2: I(o) log π, 1/|o|, own answers; the rest is GRPO's
    | {"samples_per_prompt": 64, "advantage": RightAnswers(), "aggregation": PerSequence()},
    "distillation": PINNED["reinforce"]
    | {
        "samples_per_prompt": 4,
        "advantage": TeacherLogRatio(),
        "aggregation": PerToken(),
        "optimizer": AdamW(learning_rate=1e-5),
    },
}
PINNED |= {
    # arXiv:2511.20347, section 5.1: τ 1 and 1.05, four updates
    "sapo": GRPO_LIKE | {"objective": SoftGate(positive=1.0, negative=1.05), "num_minibatches": 4},
    # arXiv:2602.04879; verl, run_qwen30b_dppo.sh: 0.15, 16 samples, 256 prompts in batches of 32, 8192 tokens
    "dppo": PINNED["dr_grpo"]
    | {
        "samples_per_prompt": 16,
        "objective": WithinProbability(low=0.15, high=0.15, pull=0.0),
        "aggregation": PerConstantLength(8192),
        "num_minibatches": 8,
    },
    "high_entropy": PINNED["dapo"]  # arXiv:2506.01939, section 5.2: DAPO at 0.2 of the tokens
    | {"objective": HighEntropy(low=0.2, high=0.28, share=0.2)},
    "gmpo": GRPO_LIKE | {"objective": GeometricMean(low=0.4, high=0.4), "num_minibatches": 8},  # arXiv:2507.20673
    "grpo@deepseek-v3.2": PINNED["grpo"]  # arXiv:2512.02556, section 3.1
    | {
        "reference_kl": KLInLoss(coefficient=0.04, estimator=K3(), times_ratio=True),
        "correction": StaleNegatives(above=0.5),
        "num_minibatches": 4,
    },
}
PINNED["distillation_whole"] = PINNED["distillation"] | {
    "advantage": NoAdvantage(),
    "objective": ToTeacher(ReverseKL()),
}
PINNED["distillation_top_k"] = PINNED["distillation_whole"] | {"objective": ToTeacher(ReverseKL(), top_k=64)}
PINNED["gkd"] = PINNED["distillation_whole"] | {
    "objective": ToTeacher(GeneralisedJSD(teacher_share=0.5))
}  # arXiv:2306.13649
PINNED |= {
    "gdpo": GRPO_LIKE  # arXiv:2601.05242, with verl's deviation
    | {"advantage": EachNormalized(epsilon=1e-6, ddof=1), "whiten": Whiten(ddof=1), "aggregation": PerToken()},
    "opo": PINNED["rloo"]  # arXiv:2505.23585
    | {"samples_per_prompt": 8, "advantage": EpisodeReturn(baseline=LengthWeightedMean()), "reference_kl": None},
    "gpg": PINNED["rloo"]  # arXiv:2504.02546
    | {
        "samples_per_prompt": 8,
        "advantage": GroupCentredOverMixed(),
        "reference_kl": None,
        "aggregation": PerToken(),
    },
    "pass_at_k": GRPO_LIKE  # arXiv:2508.10751
    | {"samples_per_prompt": 16, "advantage": PassAtK(k=4), "aggregation": PerToken()},
}
PINNED["adaptive_entropy"] = GRPO_LIKE | {  # arXiv:2505.22312
    "samples_per_prompt": 16,
    "aggregation": PerToken(),
    "entropy_target": EntropyTarget(target=0.2, weight=0.0, step=0.005),
}
PINNED["dppo_kl"] = PINNED["dppo"] | {"objective": WithinKL(low=0.05, high=0.05, pull=0.0)}
PINNED["rft"] = PINNED["online_rft"] | {"behaviour": FrozenStart()}
UNUSED = dict.fromkeys(
    (
        *("behaviour", "horizon", "learned_reward", "keep_group", "shape_reward", "reference_kl", "critic", "whiten"),
        *("correction", "drop_rows", "imitation", "entropy_target"),
    )
) | {"entropy_bonus": 0.0}


@pytest.mark.parametrize("name", PINNED)
def test_a_name_means_what_its_paper_says(name: str) -> None:
    method = METHODS[name]
    unused = UNUSED if isinstance(method, PolicyGradient) else {}
    assert {slot: getattr(method, slot) for slot in slots(method)} == {**unused, **PINNED[name]}


def test_every_named_method_is_pinned_and_named_by_its_key() -> None:
    elsewhere = {n for n, method in METHODS.items() if isinstance(method, ValueLearning | PreferenceLearning)}
    assert set(METHODS) - elsewhere == set(PINNED), "the others: test_value_learning.py, test_preference_learning.py"
    assert all(name == method.name for name, method in METHODS.items())


def test_parents_lead_down_the_ladder() -> None:
    def line(name: str) -> list[str]:
        parent = METHODS[name].parent
        return [name] if parent is None else [*line(parent), name]

    ladder = ["reinforce", "reinforce_baseline", "actor_critic", "trpo", "ppo", "grpo", "dapo"]
    assert line("dapo") == ladder
    assert line("ase_ace") == ["boxes", "ase", "ase_ace"]
    assert {line(name)[0] for name in METHODS} == {"boxes", "reinforce", "dqn", "dpo"}


def test_papers_and_deviations_are_stated() -> None:
    papers = {method.name: method.paper for method in METHODS.values()}
    assert papers["grpo"] == "arXiv:2402.03300" and papers["rloo"] == "arXiv:2402.14740"
    assert "Williams 1992" in papers["reinforce"]
    for method in METHODS.values():
        assert method.summary.endswith(".") and method.deviations
        assert all(deviation.endswith(".") for deviation in method.deviations)


def test_a_methods_paper_is_another_spelling_of_its_name() -> None:
    assert method_named("grpo@paper") is METHODS["grpo"]
    assert "grpo@paper" not in METHODS
    for wrong in ("gropo@paper", "grpo@trl@paper"):
        with pytest.raises(SettingsError, match=f"got '{wrong}'; did you mean"):
            method_named(wrong)


def test_every_preset_says_what_was_read() -> None:
    listed = [method for method in METHODS.values() if isinstance(method, PolicyGradient) and "@" in method.name]
    read = [method for method in listed if method.name not in EARLIER_PRESETS]
    assert len(read) == 11
    for method in read:
        assert method.deviations[0].startswith("Read in "), method.name


EARLIER_PRESETS = ("ppo@lm-human-preferences", "grpo@trl", "rlhf@2017")


def test_method_named_finds_or_names_the_nearest() -> None:
    assert method_named("grpo") is GRPO
    with pytest.raises(SettingsError, match="got 'gropo'; did you mean 'grpo'\\?; valid: boxes, ase"):
        method_named("gropo")
    with pytest.raises(SettingsError, match="valid: boxes, ase, ase_ace, dqn, reinforce"):
        method_named("zzz")
