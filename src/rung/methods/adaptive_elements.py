"""The first actors and critics, of 1968 and 1983: they learn within a trial, with a table of boxes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rung.methods.kind import Method
from rung.methods.parts.elements import CriticElement
from rung.methods.parts.protocols import Actor, fact, formula_of


@dataclass(frozen=True, kw_only=True)
class AdaptiveElements(Method):
    """A table of boxes with an actor in each, and a critic or none. Its trials are the task's; r is -1 at a failure.

    Example: `ASE_ACE.changed(critic=None)` is the search element alone.
    """

    actor: Actor
    critic: CriticElement | None = None

    def contradictions(self) -> Iterator[str]:
        if self.critic is not None and not fact(self.actor, "reads_critic", True):
            yield (
                f"method.critic: got CriticElement, but {type(self.actor).__name__} learns from whole lifetimes and "
                "reads no r̂; set it to null, or the actor to SearchElement"
            )

    def formula(self) -> str:
        """The actor's rule and the critic's; without a critic r̂ is the reward itself."""
        lines = [formula_of(self.actor)]
        if self.critic is not None:
            lines.append(self.critic.formula)
        elif fact(self.actor, "reads_critic", True):
            lines.append("r̂ = r, -1 at a failure and 0 before")
        return "\n".join(lines)

    def tables(self) -> tuple[str, ...]:
        """The names of the numbers kept for each box; `push` decides the action."""
        return ("push", *self.actor.tables)
