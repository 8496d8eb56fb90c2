"""The named methods against what their papers state. A change here is a change of what a name means."""

from __future__ import annotations

import pytest

from rung.errors import SettingsError
from rung.methods import GRPO, METHODS, REINFORCE, REINFORCE_BASELINE, RLOO, method_named
from rung.methods.data import slots
from rung.methods.parts.advantages import EpisodeReturn, GroupNormalized, RewardToGo
from rung.methods.parts.aggregations import PerEpisode, PerSequence
from rung.methods.parts.baselines import OthersInBatch, OthersInGroup
from rung.methods.parts.objectives import ClippedSurrogate, ScoreFunction
from rung.methods.parts.reference_kl import K1, K3, KLInLoss, KLInReward
from rung.methods.parts.steps import AdamW

ONE_UPDATE = {"epochs": 1, "minibatches": 1}
STEP = AdamW(
    learning_rate=1e-6, beta1=0.9, beta2=0.999, epsilon=1e-8, weight_decay=0.0, warmup_steps=0, max_grad_norm=1.0
)
PINNED = {
    "reinforce": {  # Williams 1992, episodic REINFORCE, no baseline
        "samples_per_prompt": 1,
        "advantage": RewardToGo(discount=1.0, baseline=None),
        "objective": ScoreFunction(),
        "aggregation": PerEpisode(),
        "reference_kl": None,
        "step": STEP,
        **ONE_UPDATE,
    },
    "reinforce_baseline": {
        "samples_per_prompt": 1,
        "advantage": RewardToGo(discount=1.0, baseline=OthersInBatch()),
        "objective": ScoreFunction(),
        "aggregation": PerEpisode(),
        "reference_kl": None,
        "step": STEP,
        **ONE_UPDATE,
    },
    "rloo": {  # arXiv:2402.14740: k = 2 or 4, learning rate 1e-6, β 0.03 in the reward
        "samples_per_prompt": 4,
        "advantage": EpisodeReturn(baseline=OthersInGroup()),
        "objective": ScoreFunction(),
        "aggregation": PerEpisode(),
        "reference_kl": KLInReward(coefficient=0.03, estimator=K1()),
        "step": STEP,
        **ONE_UPDATE,
    },
    "grpo": {  # arXiv:2402.03300: G 64, β 0.04 with k3 in the loss, 1/|o_i|, learning rate 1e-6, one update
        "samples_per_prompt": 64,
        "advantage": GroupNormalized(epsilon=1e-6, ddof=0),
        "objective": ClippedSurrogate(low=0.2, high=0.2),
        "aggregation": PerSequence(),
        "reference_kl": KLInLoss(coefficient=0.04, estimator=K3()),
        "step": STEP,
        **ONE_UPDATE,
    },
}


@pytest.mark.parametrize("name", PINNED)
def test_a_name_means_what_its_paper_says(name: str) -> None:
    method = METHODS[name]
    assert {slot: getattr(method, slot) for slot in slots(method)} == PINNED[name]


def test_every_named_method_is_pinned_and_named_by_its_key() -> None:
    assert list(METHODS) == list(PINNED) == ["reinforce", "reinforce_baseline", "rloo", "grpo"]
    assert all(name == method.name for name, method in METHODS.items())


def test_parents_lead_down_the_ladder() -> None:
    parents = [method.parent for method in (REINFORCE, REINFORCE_BASELINE, RLOO, GRPO)]
    assert parents == [None, "reinforce", "reinforce_baseline", "rloo"]


def test_papers_and_deviations_are_stated() -> None:
    papers = {method.name: method.paper for method in METHODS.values()}
    assert papers["grpo"] == "arXiv:2402.03300" and papers["rloo"] == "arXiv:2402.14740"
    assert "Williams 1992" in papers["reinforce"]
    for method in METHODS.values():
        assert method.summary.endswith(".") and method.deviations
        assert all(deviation.endswith(".") for deviation in method.deviations)


def test_method_named_finds_or_names_the_nearest() -> None:
    assert method_named("grpo") is GRPO
    with pytest.raises(
        SettingsError, match="got 'gropo'; did you mean 'grpo'\\?; valid: reinforce, reinforce_baseline"
    ):
        method_named("gropo")
    with pytest.raises(SettingsError, match="valid: reinforce"):
        method_named("zzz")
