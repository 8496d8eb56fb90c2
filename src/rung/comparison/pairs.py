"""Methods that learn from stored pairs, beside methods that draw their own samples.

To compare them at an equal budget a run of such a method has three parts, all of them paid from its purse:

1. the pairs: answers of the same model to the same train prompts, told apart by the same checker (`rung pairs` makes
   them); the generated tokens count on `tokens` and `flops`, the seconds on `seconds`;
2. the training on that file, until what is left of the budget is spent;
3. the evaluation of the result on the task's own held-out items, where a run on pairs evaluates held-out pairs.

The second exists. The first and the third are missing, so a comparison refuses such methods, in words.
"""

from __future__ import annotations

from rung.methods import Method


def learns_from_pairs(method: Method) -> bool:
    """Whether the method takes pairs a step where others draw samples."""
    return hasattr(method, "pairs_per_step")


def refusal(method: Method) -> str:
    """The sentence for one that does."""
    return (
        f"METHOD: '{method.name}' learns from stored pairs, which a comparison cannot draw and pay for yet; leave it "
        "out, or make the pairs and train it by hand: rung pairs, rung train, rung eval"
    )
