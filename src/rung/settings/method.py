"""A method in settings: its name and what differs from the definition of that name, or all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, PrivateAttr

from rung.errors import SettingsError
from rung.settings.objects import is_method, method_text
from rung.settings.section import Data, Section

if TYPE_CHECKING:
    from rung.methods import Method


class MethodSettings(Section):
    """A method's name and the slots that differ from its definition, or a whole definition, which names its `kind`."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Data]
    name: str
    _parts: tuple[type[Any], ...] = PrivateAttr(())

    @property
    def parts(self) -> tuple[type[Any], ...]:
        """The classes of the user's own parts. They are handed in as objects and are never written."""
        return self._parts

    def with_parts(self, parts: Sequence[type[Any]]) -> MethodSettings:
        """The same settings, whose slots may also be filled by these classes."""
        copy = self.model_copy()
        copy._parts = tuple(dict.fromkeys(parts))
        return copy

    def overrides(self) -> dict[str, Any]:
        """The slots alone, nested like `rung.methods.data.as_data`."""
        return dict(self.model_extra or {})

    def definition(self) -> Method:
        """The method that is named, without the slots set here; one that rung does not know is all of it."""
        from rung.methods import method_named
        from rung.methods.data import from_data

        return from_data(self.as_data(), self._parts) if "kind" in self.overrides() else method_named(self.name)

    def resolved(self) -> Method:
        """The method itself. SettingsError with every problem in its slots."""
        from rung.methods.data import with_settings

        method = self.definition()
        return method if "kind" in self.overrides() else with_settings(method, self.overrides(), self._parts)


def method_of(value: Any) -> Any:
    """A name alone stands for the method of that name; a method object for its name and what differs, or all of it."""
    if isinstance(value, str | Mapping | MethodSettings) or not is_method(value):
        return {"name": value} if isinstance(value, str) else value
    from rung.methods.data import own_classes

    return MethodSettings.model_validate(method_text(value)).with_parts(own_classes(value))


def sound(method: MethodSettings) -> MethodSettings:
    """The same, whose slots make a method that can run."""
    problems = method.resolved().problems()
    if problems:
        raise SettingsError(problems)
    return method
