"""An entropy bonus that steers to a target."""

from __future__ import annotations

import torch
from method_batches import entropy_like, log_probs_of, mixed_batch, one

from rung.methods import METHODS, PolicyGradient
from rung.methods.parts.entropy import EntropyTarget

METHOD = METHODS["adaptive_entropy"]
assert isinstance(METHOD, PolicyGradient)


def after(entropies: list[float], start: EntropyTarget) -> list[tuple[bool, float]]:
    method, found = METHOD.changed(entropy_target=start), []
    for entropy in entropies:
        method = method.adapted({"entropy": entropy, "episodes": 4})
        assert method.entropy_target is not None
        found.append((method.entropy_target.on, round(method.entropy_weight, 6)))
    return found


def test_the_weight_grows_at_or_below_the_target_and_shrinks_above() -> None:
    start = EntropyTarget(target=0.5, step=0.1, most=0.25)
    assert after([0.6, 0.5, 0.4, 0.1, 0.7, 0.2], start) == [
        (False, 0.0),
        (True, 0.1),
        (True, 0.2),
        (True, 0.25),
        (False, 0.0),  # off at once; its weight is kept, a step lower
        (True, 0.25),
    ]
    assert METHOD.adapted({"episodes": 0}) is METHOD, "nothing was measured"


def test_off_it_is_the_method_without_it_and_on_it_is_a_fixed_bonus() -> None:
    batch = METHOD.with_advantages(mixed_batch())
    log_probs_BT = log_probs_of(batch)
    entropy_BT = entropy_like(batch, log_probs_BT)
    on, off = EntropyTarget(weight=0.3, on=True), EntropyTarget(weight=0.3)
    without = METHOD.changed(entropy_target=None)
    for held, same in ((off, without), (on, without.changed(entropy_bonus=0.3))):
        method = METHOD.changed(entropy_target=held)
        found_BT = method.losses(batch, log_probs_BT, entropy_BT)
        torch.testing.assert_close(found_BT, same.losses(batch, log_probs_BT, entropy_BT))
        assert torch.equal(method.learns_from(batch), same.learns_from(batch))
    assert float(one(METHOD.weights(batch, one).sum())) > 0
