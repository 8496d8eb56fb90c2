"""Rejection-sampling fine-tuning: imitate the right answers, of the model as it started or of the model as it is."""

from __future__ import annotations

from rung.methods.parts.advantages import RightAnswers
from rung.methods.parts.aggregations import PerSequence
from rung.methods.parts.filters import FrozenStart
from rung.methods.reinforce import REINFORCE

ONLINE_RFT = REINFORCE.changed(
    name="online_rft",
    paper="arXiv:2402.03300",
    summary="Fine-tune on the current model's own right answers; the wrong ones are thrown away.",
    samples_per_prompt=64,
    advantage=RightAnswers(),
    aggregation=PerSequence(),
    deviations=(
        "Wrong answers count in the mean with weight 0, as in the paper's equation; a mean over the right ones alone "
        "would be the same direction and a longer step.",
        "Samples a prompt and learning rate are GRPO's; the paper states neither for it.",
        "AdamW's moments, weight decay 0 and gradient norm bound 1 are ours.",
    ),
)

RFT = ONLINE_RFT.changed(
    name="rft",
    paper="arXiv:2308.01825",
    summary="Fine-tune on right answers of the starting model; the trained model itself never answers.",
    behaviour=FrozenStart(),
    deviations=(
        "The start's answers are drawn while the run goes on, each learnt from once; the paper draws a data set first, "
        "and fine-tunes on it. Neither's answers depend on what has been learnt.",
        "Right answers that are alike are all kept; the paper keeps those with different reasoning.",
        "The objective is DeepSeekMath's (arXiv:2402.03300, section 5.2), with its mean over an answer's tokens.",
        *ONLINE_RFT.deviations,
    ),
)
