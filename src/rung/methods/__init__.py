"""The methods, each a piece of data. `METHODS` is the ladder, bottom rung first."""

from __future__ import annotations

from rung.errors import SettingsError, did_you_mean
from rung.methods.actor_critic import ACTOR_CRITIC
from rung.methods.adaptive_elements import AdaptiveElements
from rung.methods.ase_ace import ASE, ASE_ACE, BOXES
from rung.methods.dapo import DAPO, VAPO
from rung.methods.dpo import CDPO, DPO, IPO, LN_DPO, RDPO
from rung.methods.dqn import DQN, VALUE_PRESETS
from rung.methods.grpo import DR_GRPO, GRPO
from rung.methods.grpo_family import CISPO, CLIP_COV, GRPO_ITERATIVE, GRPO_PROCESS, GSPO, KL_COV, LITE_PPO, MAXRL
from rung.methods.kind import Method
from rung.methods.policy_gradient import PolicyGradient
from rung.methods.ppo import PPO, PPO_KL
from rung.methods.preference_learning import PreferenceLearning
from rung.methods.preferences import APO_DOWN, APO_ZERO, KTO, ORPO, SIMPO, UNLIKELIHOOD
from rung.methods.presets import PRESETS
from rung.methods.reinforce import (
    DISTILLATION,
    REINFORCE,
    REINFORCE_BASELINE,
    REINFORCE_PLUS_PLUS,
    REINFORCE_PLUS_PLUS_BASELINE,
)
from rung.methods.reward_model import REWARD_MODEL
from rung.methods.rft import ONLINE_RFT, RFT
from rung.methods.rlhf_2017 import RLHF_2017
from rung.methods.rloo import RLOO
from rung.methods.trpo import TRPO
from rung.methods.value_learning import ValueLearning

BEGINNINGS = (BOXES, ASE, ASE_ACE)
LADDER = (REINFORCE, REINFORCE_BASELINE, RLOO, ACTOR_CRITIC, TRPO, PPO, PPO_KL, GRPO, DR_GRPO, DAPO)
LEARNED_REWARD = (RLHF_2017,)
VARIANTS = (
    REINFORCE_PLUS_PLUS,
    REINFORCE_PLUS_PLUS_BASELINE,
    GSPO,
    CISPO,
    LITE_PPO,
    MAXRL,
    VAPO,
    CLIP_COV,
    KL_COV,
    GRPO_PROCESS,
    GRPO_ITERATIVE,
    ONLINE_RFT,
    RFT,
    DISTILLATION,
)
PREFERENCES = (*(DPO, IPO, CDPO, RDPO, LN_DPO, KTO, SIMPO, ORPO, APO_ZERO, APO_DOWN, UNLIKELIHOOD), REWARD_MODEL)

_RUNGS = (*BEGINNINGS, DQN, *LADDER, *LEARNED_REWARD, *VARIANTS, *PREFERENCES, *PRESETS, *VALUE_PRESETS)
METHODS: dict[str, Method] = {method.name: method for method in _RUNGS}


def method_named(name: str) -> Method:
    """The method of that name; SettingsError names the nearest one.

    >>> method_named("grpo").paper
    'arXiv:2402.03300'
    """
    own = own_name(name)
    if own not in METHODS:
        raise SettingsError([f"method: {unknown(name)}"])
    return METHODS[own]


def own_name(name: str) -> str:
    """`grpo@paper` is `grpo`: a method's own name means its paper's setting. Other names stay as they are.

    >>> own_name("grpo@paper"), own_name("grpo@trl")
    ('grpo', 'grpo@trl')
    """
    method = name.removesuffix("@paper")
    return name if "@" in method else method


def unknown(name: str) -> str:
    """What to say of a name that no method has.

    >>> unknown("gropo")[:33]
    "got 'gropo'; did you mean 'grpo'?"
    """
    return f"got '{name}'{did_you_mean(name, METHODS)}; valid: {', '.join(METHODS)}"


__all__ = [
    "ACTOR_CRITIC",
    "APO_DOWN",
    "APO_ZERO",
    "ASE",
    "ASE_ACE",
    "BOXES",
    "CDPO",
    "CISPO",
    "CLIP_COV",
    "DAPO",
    "DISTILLATION",
    "DPO",
    "DQN",
    "DR_GRPO",
    "GRPO",
    "GRPO_ITERATIVE",
    "GRPO_PROCESS",
    "GSPO",
    "IPO",
    "KL_COV",
    "KTO",
    "LITE_PPO",
    "LN_DPO",
    "MAXRL",
    "METHODS",
    "ONLINE_RFT",
    "ORPO",
    "PPO",
    "PPO_KL",
    "RDPO",
    "REINFORCE",
    "REINFORCE_BASELINE",
    "REINFORCE_PLUS_PLUS",
    "REINFORCE_PLUS_PLUS_BASELINE",
    "REWARD_MODEL",
    "RFT",
    "RLHF_2017",
    "RLOO",
    "SIMPO",
    "TRPO",
    "UNLIKELIHOOD",
    "VAPO",
    "AdaptiveElements",
    "Method",
    "PolicyGradient",
    "PreferenceLearning",
    "ValueLearning",
    "method_named",
    "own_name",
]
