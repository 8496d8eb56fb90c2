"""A method of any kind: a frozen dataclass that says who it is, and whose other fields are its slots."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Self

from rung.methods.ranges import out_of_range
from rung.methods.slots import check_slots


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """A method, as the command line, the settings and the docs see it. Each kind of method is a subclass.

    Example: `METHODS["grpo"]` is a `PolicyGradient`; its `formula()` begins with "J = E[ ".
    """

    name: str
    paper: str
    summary: str
    """One sentence: the idea."""
    parent: str | None = None
    """The method below on the ladder, which `rung diff` compares with."""
    deviations: tuple[str, ...] = ()
    """Where the definition goes beyond, or away from, what the paper states."""

    def __post_init__(self) -> None:
        check_slots(self)

    def changed(self, **slots: Any) -> Self:
        """A copy with other slots; its parent is this method unless another is named."""
        return replace(self, **{"parent": self.name, **slots})

    def problems(self) -> list[str]:
        """Sentences that say why the method cannot run; empty when it can."""
        return [*out_of_range(self), *self.contradictions()]

    def contradictions(self) -> Iterable[str]:
        """Sentences for slots that cannot stand together."""
        return ()

    @abstractmethod
    def formula(self) -> str:
        """The objective or loss, and the formulas of the parts inside it; one line each."""

    def needs_start(self) -> bool:
        """Whether the method compares the policy with the starting model."""
        return False
