"""Floating-point operations of a run, estimated from counts of tokens and of weights: each kind of method's terms.

N weights that a token goes through cost 2N operations forward (Kaplan et al. 2020, arXiv:2001.08361), 2N more for the
gradient of its inputs and 2 for each weight that is trained. Left out everywhere: prompts, attention over the context,
evaluations, what is only measured (kl/start, held-out max Q), optimisers' steps, a teacher, the predictors of a
learned reward, and the environment. Rows that cannot teach are counted as if they got their backward pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch

from rung.methods import AdaptiveElements, Method, PolicyGradient, PreferenceLearning, ValueLearning
from rung.methods.parts.elements import Lifetimes
from rung.methods.parts.objectives import KLPenalty
from rung.methods.parts.optimizers import NaturalGradient
from rung.models.small.q_network import QNetwork
from rung.trainers.boxes_1983.policy import BoxPolicy
from rung.trainers.policy_gradient.natural_step import is_critics

FISHER = 12.0
"""Operations a token and weight of a Fisher-vector product: it differentiates twice, as much as two gradients."""
SEARCHING, FORETELLING = 8.0, 7.0
"""Operations a box and time step of the two elements of 1983: y·x, the trace (4) and the weight (3); without y·x."""
FORETOLD = 3.0
"""Of r̂ = r + γ p(t) − p(t − 1)."""
COUNTING = 2.0
"""Of BOXES, which while the pole stands only notes how often, and when, a box was entered."""


@dataclass(frozen=True, kw_only=True)
class Work:
    """Operations a token, by what is done with it.

    Example: `Work(generated=78_336.0, trained=235_008.0)` for 39,168 weights and one update a rollout.
    """

    generated: float
    """`tokens/generated`; in an environment, actions."""
    trained: float
    """`tokens/trained`, each time it is counted there."""
    reference: float = 0.0
    """`tokens/reference`: answers of stored pairs, whose reference is asked once and then kept."""


def work(method: PolicyGradient, *, policy: int, critic: int, trained: int) -> Work:
    """A policy gradient. A generated token: one forward pass of the policy. A trained token, counted once a rollout:
    for each epoch forward and backward of policy and critic, and a forward pass more where the objective picks its
    tokens among all of an update's; once more forward for the log-probs and values before the first update, for the
    reference, and for a KL penalty that adapts; for a natural gradient also the Fisher-vector products on their share
    of the rows, the line search's first try (the new loss and KL) and the critic's own epochs. Steps in which the
    critic learns alone count like the others.

    Args:
        policy, critic: weights that a token goes through.
        trained: of both together, those that get a gradient (fewer than all with LoRA).

    >>> from rung.methods import METHODS
    >>> work(METHODS["reinforce"], policy=100, critic=0, trained=100)
    Work(generated=200.0, trained=600.0, reference=0.0)
    """
    both = policy + critic
    learning = 4.0 * both + 2.0 * trained + (2.0 * policy if method.chooses_tokens else 0.0)
    before = 2.0 * both if method.needs_old_log_probs() or critic else 0.0
    reference = 2.0 * policy if method.reference_kl is not None else 0.0
    adapting = isinstance(method.objective, KLPenalty) and method.objective.target is not None
    once = before + reference + (2.0 * policy if adapting else 0.0)
    if isinstance(method.optimizer, NaturalGradient):
        products = method.optimizer.iterations + 1  # the last one measures the step's length
        fisher = products * method.optimizer.fisher_share * FISHER * policy
        search = 2 * 2.0 * policy
        critics = method.optimizer.num_critic_epochs * 6.0 * critic
        return Work(generated=2.0 * policy, trained=once + 6.0 * policy + fisher + search + critics)
    return Work(generated=2.0 * policy, trained=once + method.num_epochs * learning)


def preference_work(method: PreferenceLearning, *, model: int, trained: int) -> Work:
    """Learning from pairs. Tokens of both answers of a pair are trained tokens, at each step that takes the pair: one
    forward and backward pass; for a loss without pairs also one forward pass of the policy and one of the reference on
    answers put after other prompts, for its anchor. The reference's log-probs of an answer are asked once and kept.
    A generated token, where the run draws its pairs: one forward pass.

    >>> from rung.methods import METHODS
    >>> preference_work(METHODS["dpo"], model=100, trained=100)
    Work(generated=200.0, trained=600.0, reference=200.0)
    """
    anchor = 0.0 if method.loss.paired else 2 * 2.0 * model
    return Work(
        generated=2.0 * model,
        trained=4.0 * model + 2.0 * trained + anchor,
        reference=2.0 * model if method.loss.has_reference else 0.0,
    )


def value_work(method: ValueLearning, *, asked: int) -> Work:
    """Learning values. A step of the environment: Q is asked once, to act. A step drawn from the replay, each time it
    is drawn: Q forward and backward, and Q of the state that followed, by the network that makes targets and, where
    one network chooses and another judges, by both. Copying weights to a target network is left out.

    Args:
        asked: weights used when Q is asked for one observation, each as often as it is used.

    >>> from rung.methods import METHODS
    >>> value_work(METHODS["dqn"], asked=100)
    Work(generated=200.0, trained=800.0, reference=0.0)
    """
    after = 2 if method.value_target.asks_twice else 1
    return Work(generated=2.0 * asked, trained=(6.0 + 2.0 * after) * asked)


def token_value_work(method: ValueLearning, *, model: int, trained: int) -> Work:
    """Learning the values of tokens. A generated token: one forward pass. A token drawn from the replay, each time it
    is drawn: Q forward and backward, which over a completion gives the values of the states that follow too; and a
    forward pass of the target network where there is one.

    >>> from rung.methods import METHODS
    >>> token_value_work(METHODS["dqn@2015"], model=100, trained=100)
    Work(generated=200.0, trained=800.0, reference=0.0)
    """
    target = 0.0 if method.target_network is None else 2.0 * model
    return Work(generated=2.0 * model, trained=4.0 * model + 2.0 * trained + target)


def element_work(method: AdaptiveElements, *, boxes: int) -> Work:
    """Learning within a trial: every time step, every box's trace and weight, as the equations of 1983 have them (our
    loop leaves out boxes whose trace is 0, so this is an upper bound). For BOXES what it does at a failure is left out.

    >>> from rung.methods import METHODS
    >>> element_work(METHODS["ase"], boxes=162).generated
    1297.0
    """
    if isinstance(method.actor, Lifetimes):
        return Work(generated=COUNTING, trained=0.0)
    acting = 1.0 + SEARCHING * boxes  # the noise is added to the weight of the box
    foretelling = 0.0 if method.critic is None else FORETOLD + FORETELLING * boxes
    return Work(generated=acting + foretelling, trained=0.0)


class Weights(Protocol):
    """A policy, as far as its weights can be counted."""

    def trainable(self) -> dict[str, torch.nn.Parameter]: ...


def work_of(method: Method, policy: Weights) -> Work:
    """The operations of a method of any kind, for a policy as it is: all weights of its model, and of its critic."""
    if isinstance(method, ValueLearning) and isinstance(policy, QNetwork):
        return value_work(method, asked=policy.shape.uses())
    if isinstance(method, AdaptiveElements):
        assert isinstance(policy, BoxPolicy), type(policy)
        return element_work(method, boxes=policy.boxes)
    sizes = {name: parameter.numel() for name, parameter in policy.trainable().items()}
    critic = sum(size for name, size in sizes.items() if is_critics(name))
    trained = sum(sizes.values())
    reader = getattr(policy, "network", policy)  # a reward model reads with a language model
    model = getattr(reader, "model", None)  # a language model; with LoRA most of it is frozen
    whole = sum(p.numel() for p in model.parameters()) if isinstance(model, torch.nn.Module) else trained - critic
    if isinstance(method, ValueLearning):
        return token_value_work(method, model=whole, trained=trained)
    if isinstance(method, PreferenceLearning):
        return preference_work(method, model=whole, trained=trained)
    assert isinstance(method, PolicyGradient), type(method)
    return work(method, policy=whole, critic=critic, trained=trained)
