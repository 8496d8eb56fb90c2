"""Every setting with its type, range, default and a sentence, as docs/generate.py wrote it to listed.json.

`rung settings` reads that list: it must not wait for torch. docs/settings_list.py makes it of the schema and of the
methods' slots.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from rung.errors import SettingsError
from rung.settings.names import suggestion, todays


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting."""

    key: str
    """Dotted, as `--set` takes it."""
    type: str
    range: str = ""
    """Empty where every value of the type is taken."""
    default: str = ""
    """Empty for what only holds others."""
    about: str
    command: str = "train"
    part: str = ""
    """The method's part that has this number, where the slot can be filled by several."""

    def lines(self) -> list[str]:
        """The setting in words."""
        range_ = f", {self.range}" if self.range else ""
        of = f" of {self.part}" if self.part else ""
        command = "" if self.command == "train" else f" (rung {self.command})"
        default = f"; default: {self.default}" if self.default else ""
        return [f"{self.key}{of}{command}: {self.type}{range_}{default}", f"  {self.about}"]


def listed() -> list[Setting]:
    """The list as it was written down."""
    text = files("rung.settings").joinpath("listed.json").read_text(encoding="utf-8")
    return [Setting(**one) for one in json.loads(text)]


def found(key: str, settings: Sequence[Setting]) -> list[Setting]:
    """The settings of this key, and what a section or a slot of this key holds; the unique end of a key will do.

    SettingsError with the nearest name where there is none. A former name finds today's.
    """
    key = todays(key)
    exact = [one for one in settings if one.key == key or one.key.startswith((f"{key}.", f"{key}[]."))]
    if exact:
        return exact
    ends = [one for one in settings if one.key.endswith(f".{key}")]
    if ends:
        return ends
    keys = dict.fromkeys(one.key for one in settings)
    raise SettingsError([f"KEY: got '{key}', which is no setting{suggestion(key, keys)}; `rung settings` lists all"])
