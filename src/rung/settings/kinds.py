"""What settings ask of the kinds of methods, which stand in rooms above: a recipe, and what cannot go together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from rung.methods import Method
    from rung.settings.schema import Settings


class Kinds(Protocol):
    """Knows every kind of method."""

    def recipe(self, method: Method | None, *, model: str | None, task: str | None, draws_pairs: bool) -> str | None:
        """The recipe that these names bring by themselves."""
        ...

    def problems(self, settings: Settings, method: Method | None) -> Iterator[str]:
        """Settings that are each valid and cannot go together; `method` None: it has problems of its own."""
        ...
