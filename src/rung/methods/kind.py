"""What every kind of method has in common: a frozen dataclass that says who it is; its other fields are slots."""

from __future__ import annotations

from dataclasses import Field
from typing import Any, ClassVar, Protocol, Self

from rung.methods.adaptive_elements import AdaptiveElements
from rung.methods.policy_gradient import PolicyGradient
from rung.methods.preference_learning import PreferenceLearning
from rung.methods.value_learning import ValueLearning


class Method(Protocol):
    """A method of any kind, as the command line, the settings and the docs see it.

    Example: `METHODS["grpo"]` is a `PolicyGradient`; its `formula()` begins with "J = E[ ".
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def name(self) -> str: ...
    @property
    def paper(self) -> str: ...
    @property
    def summary(self) -> str: ...
    @property
    def parent(self) -> str | None: ...
    @property
    def deviations(self) -> tuple[str, ...]: ...

    def changed(self, **slots: Any) -> Self:
        """A copy with other slots; its parent is this method unless another is named."""
        ...

    def problems(self) -> list[str]:
        """What makes this combination of slots impossible, as sentences; empty when it can run."""
        ...

    def formula(self) -> str:
        """What is climbed or lowered, and what stands inside it, from the parts; one line each."""
        ...

    def needs_start(self) -> bool:
        """Whether the method compares the policy with what it was at the start of the run."""
        ...


KINDS: tuple[type[Any], ...] = (PolicyGradient, AdaptiveElements, ValueLearning, PreferenceLearning)
"""Every kind of method there is; a method's data names its kind."""
