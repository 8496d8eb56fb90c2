"""The ladder's kin: one or two slots away from a rung."""

from __future__ import annotations

from rung.methods.dapo import DAPO
from rung.methods.grpo import GRPO
from rung.methods.parts.advantages import GroupCentredBatchScaled, GroupRelative, LengthAdaptiveGAE, RewardToGo
from rung.methods.parts.aggregations import PerEpisode, PerToken
from rung.methods.parts.critics import ValueFunction
from rung.methods.parts.objectives import ClippedSurrogate, ClippedWeight, SequenceClippedSurrogate
from rung.methods.parts.reference_kl import K1, KLInReward
from rung.methods.parts.steps import AdamW
from rung.methods.parts.whitening import Whiten
from rung.methods.reinforce import REINFORCE_BASELINE

REINFORCE_PLUS_PLUS = REINFORCE_BASELINE.changed(
    name="reinforce++",
    paper="arXiv:2501.03262",
    summary="REINFORCE with PPO's clip, a KL taken off each token's reward, and advantages whitened over the batch.",
    reference_kl=KLInReward(coefficient=0.01, estimator=K1()),
    advantage=RewardToGo(),
    whiten=Whiten(),
    objective=ClippedSurrogate(low=0.2, high=0.2),
    aggregation=PerEpisode(),
    step=AdamW(learning_rate=5e-7),
    deviations=("The KL's coefficient and the learning rate are ours; the paper varies them by experiment.",),
)

GSPO = GRPO.changed(
    name="gspo",
    paper="arXiv:2507.18071",
    summary="GRPO whose ratio and clip are of the whole sequence, as its reward is.",
    reference_kl=None,
    objective=SequenceClippedSurrogate(low=3e-4, high=4e-4),
    minibatches=4,
    deviations=("Samples a prompt and learning rate are GRPO's; the paper does not state them.",),
)

CISPO = GRPO.changed(
    name="cispo",
    paper="arXiv:2506.13585",
    summary="The importance weight is clipped and no token is: rare, decisive tokens keep their gradient.",
    reference_kl=None,
    objective=ClippedWeight(high=5.0),
    aggregation=PerToken(),
    minibatches=16,
    deviations=(
        "The paper tunes the upper bound without stating it; 5 is TRL's. Learning rate and samples are GRPO's.",
    ),
)

LITE_PPO = GRPO.changed(
    name="lite_ppo",
    paper="arXiv:2508.08221",
    summary="Two tricks suffice: the deviation is the batch's, and tokens count alike.",
    reference_kl=None,
    advantage=GroupCentredBatchScaled(),
    aggregation=PerToken(),
    deviations=("Samples a prompt and learning rate are GRPO's.",),
)

MAXRL = GRPO.changed(
    name="maxrl",
    paper="arXiv:2602.02710",
    summary="Advantages divided by the success rate: on average the gradient of the log-likelihood of being right.",
    reference_kl=None,
    advantage=GroupRelative(),
    deviations=("Samples a prompt, clip and learning rate are GRPO's.",),
)

VAPO = DAPO.changed(
    name="vapo",
    paper="arXiv:2504.05118",
    summary="DAPO's loss with a critic again, whose λ grows with the answer's length.",
    samples_per_prompt=16,
    keep_group=None,
    shape_reward=None,
    critic=ValueFunction(separate=True, coefficient=0.5),
    advantage=LengthAdaptiveGAE(alpha=0.05),
    deviations=(
        "The critic is not trained beforehand and has no learning rate of its own; the paper pre-trains it.",
        "The paper's likelihood loss on right answers is left out.",
    ),
)
