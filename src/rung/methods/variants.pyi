"""The variants by their public names, with their types."""

from rung.methods.policy_gradient import PolicyGradient
from rung.methods.preference_learning import PreferenceLearning

APO_DOWN: PreferenceLearning
APO_ZERO: PreferenceLearning
CDPO: PreferenceLearning
CISPO: PolicyGradient
CLIP_COV: PolicyGradient
DISTILLATION: PolicyGradient
DR_GRPO: PolicyGradient
GRPO_ITERATIVE: PolicyGradient
GRPO_PROCESS: PolicyGradient
GSPO: PolicyGradient
IPO: PreferenceLearning
KL_COV: PolicyGradient
KTO: PreferenceLearning
LITE_PPO: PolicyGradient
LN_DPO: PreferenceLearning
MAXRL: PolicyGradient
ONLINE_RFT: PolicyGradient
ORPO: PreferenceLearning
RDPO: PreferenceLearning
REINFORCE_PLUS_PLUS: PolicyGradient
REINFORCE_PLUS_PLUS_BASELINE: PolicyGradient
REWARD_MODEL: PreferenceLearning
RFT: PolicyGradient
SIMPO: PreferenceLearning
UNLIKELIHOOD: PreferenceLearning
VAPO: PolicyGradient
