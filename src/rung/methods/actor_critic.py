"""Methods with a critic: A2C (Mnih et al. 2016, A3C without its asynchrony), TRPO (Schulman et al. 2015), which bounds
the KL divergence of a step, PPO (Schulman et al. 2017), which makes a clip of the bound, and RLHF (Christiano et al.
2017), which learns the reward itself from comparisons of segments."""

from __future__ import annotations

from rung.methods.parts.advantages import GAE, NStep
from rung.methods.parts.aggregations import PerToken, Whiten
from rung.methods.parts.critics import ValueFunction
from rung.methods.parts.learned_reward import SegmentPreferences
from rung.methods.parts.objectives import ClippedSurrogate, KLPenalty, Surrogate
from rung.methods.parts.optimizers import AdamW, NaturalGradient, RMSprop
from rung.methods.reinforce import REINFORCE_BASELINE

ACTOR_CRITIC = REINFORCE_BASELINE.changed(
    name="actor_critic",
    paper="arXiv:1602.01783",
    summary="A critic predicts the return, so an action is judged after a few steps and need not wait for the end.",
    horizon=5,
    critic=ValueFunction(separate=True, coefficient=1.0),
    advantage=NStep(discount=0.99, steps=5),
    aggregation=PerToken(),
    entropy_bonus=0.01,
    optimizer=RMSprop(learning_rate=7e-4, alpha=0.99, epsilon=1e-5, tensorflow=True, anneal=True, max_grad_norm=0.5),
    deviations=(
        "One process steps all environments together and makes one update (A2C); the paper's workers run apart.",
        "The learning rate 7e-4, RMSprop's 0.99 and 1e-5, the value coefficient (0.5 of the whole square: 1 of its "
        "half) and the norm bound 0.5 are those of OpenAI Baselines' A2C; the paper draws its rates.",
        "RMSprop is TensorFlow's, as in Baselines: ε under the root, as in the paper too, and an average from 1.",
        "The critic is a network of its own; the paper's shares its layers with the policy.",
    ),
)


TRPO = ACTOR_CRITIC.changed(
    name="trpo",
    paper="arXiv:1502.05477",
    summary="The longest step that keeps the policy within a KL bound of the old one, so no step can ruin it.",
    horizon=1024,
    critic=ValueFunction(separate=True, coefficient=0.5),
    advantage=GAE(discount=0.99, lam=0.98),
    whiten=Whiten(),
    objective=Surrogate(),
    entropy_bonus=0.0,
    optimizer=NaturalGradient(max_kl=0.01, iterations=10, damping=0.1, num_critic_epochs=5, num_critic_minibatches=16),
    deviations=(
        "The paper estimates returns by single paths or vines; GAE with λ 0.98 and a critic are OpenAI Baselines'.",
        "Damping 0.1, ten lengths tried (9 halvings), KL accepted up to 1.5 times the bound and F at every fifth step "
        "are Baselines' too; the paper takes F on a tenth. Of text F is at every fifth row.",
        "Advantages are whitened over the batch; the paper does not say so.",
        "The critic's 5 passes of 16 minibatches, 64 steps each of 1024, are Baselines'; the paper does not say. Its "
        "gradient is kept to a norm of 1, which Baselines does not do.",
    ),
)


PPO = TRPO.changed(
    name="ppo",
    paper="arXiv:1707.06347",
    summary="Many small gradient steps on one rollout, and no gain from moving an action's probability past a clip.",
    horizon=2048,
    advantage=GAE(discount=0.99, lam=0.95),
    whiten=Whiten(per_minibatch=True),
    objective=ClippedSurrogate(low=0.2, high=0.2),
    optimizer=AdamW(learning_rate=3e-4, epsilon=1e-5, max_grad_norm=0.5),
    num_epochs=10,
    num_minibatches=32,
    deviations=(
        "Whitening by minibatch, Adam's epsilon 1e-5 and the gradient norm bound 0.5 are of the released code (OpenAI "
        "Baselines); the paper does not state them.",
        "The value loss has the coefficient 0.5; with a critic of its own it only scales against the norm bound.",
        "The learning rate stays; method.optimizer.anneal=true lets it fall.",
    ),
)

PPO_KL = PPO.changed(
    name="ppo_kl",
    summary="PPO with a penalty in place of the clip: β KL(π_old ‖ π), β doubled or halved to keep to a target.",
    objective=KLPenalty(coefficient=1.0, target=0.01),
    deviations=(
        *PPO.deviations,
        "The KL is estimated by ρ - 1 - log ρ on the rollout's own actions, which is unbiased in value and gradient.",
    ),
)


RLHF_2017 = TRPO.changed(
    name="rlhf@2017",
    paper="arXiv:1706.03741",
    summary="The reward is not written but learnt, from answers to `which of these two clips is better?`.",
    learned_reward=SegmentPreferences(),
    advantage=GAE(discount=0.995, lam=0.97),
    entropy_bonus=0.01,
    optimizer=NaturalGradient(max_kl=0.01, iterations=10, damping=0.1, num_critic_epochs=20),
    deviations=(
        "Draws with replacement are Poisson(1) counts of each label and predictor, so 1/e is held out exactly in "
        "expectation, and a held-out label stays one as labels come in; the paper draws |D| anew.",
        "The L2 coefficient is doubled or halved after each fit; the paper says only what it is to reach.",
        "Episodes have a fixed length: what would end one sets the environment back to a start state instead, with no "
        "penalty, and nothing that learns sees it; the paper's environments are changed to go on and pay a penalty.",
        "Torque penalties stay in the true reward that scores a run; the paper takes them out of its tasks.",
        "A segment has 25 steps, as in the paper's Atari games; in MuJoCo it has 1.5 seconds, 15 to 60 steps by the "
        "task (method.learned_reward.segment).",
        "The critic makes 20 updates a rollout, each on all of it; the paper does not say.",
        "1024 steps a rollout, and 300 first and 30 later updates of the predictors; the paper does not say.",
    ),
)
