"""Methods that learn within a trial, box by box: where the line of actor and critic begins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

from rung.methods.parts.elements import CriticElement
from rung.methods.parts.protocols import Actor, fact, formula_of
from rung.methods.ranges import out_of_range
from rung.methods.slots import check_slots


@dataclass(frozen=True, kw_only=True)
class AdaptiveElements:
    """A table of boxes with an actor in each, and a critic or none. Its trials are the task's; r is -1 at a failure.

    Example: `ASE_ACE.changed(critic=None)` is the search element alone.
    """

    name: str
    paper: str
    summary: str
    """One sentence: the idea."""
    parent: str | None = None
    """The method below on the ladder, which `rung diff` compares with."""
    deviations: tuple[str, ...] = ()
    """Where the definition goes beyond, or away from, what the paper states."""

    actor: Actor
    critic: CriticElement | None = None

    def __post_init__(self) -> None:
        check_slots(self)

    def changed(self, **slots: Any) -> Self:
        """A copy with other slots; its parent is this method unless another is named."""
        return replace(self, **{"parent": self.name, **slots})

    def problems(self) -> list[str]:
        """What makes this combination of slots impossible, as sentences; empty when it can run."""
        found = list(out_of_range(self))
        if self.critic is not None and not fact(self.actor, "reads_critic", True):
            found.append(
                f"method.critic: got CriticElement, but {type(self.actor).__name__} learns from whole lifetimes and "
                "reads no r̂; set it to null, or the actor to SearchElement"
            )
        return found

    def formula(self) -> str:
        """The actor's rule and the critic's; without a critic r̂ is the reward itself."""
        lines = [formula_of(self.actor)]
        if self.critic is not None:
            lines.append(self.critic.formula)
        elif fact(self.actor, "reads_critic", True):
            lines.append("r̂ = r, -1 at a failure and 0 before")
        return "\n".join(lines)

    def tables(self) -> tuple[str, ...]:
        """What is kept of each box, a number each; `push` is what acts."""
        return ("push", *self.actor.tables)

    def needs_start(self) -> bool:
        """Nothing is compared with the boxes as they were at the start."""
        return False
