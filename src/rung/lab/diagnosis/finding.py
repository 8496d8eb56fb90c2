"""One thing that is wrong with a run, with its evidence and its remedy."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from rung.runs.record.visible import visible

Severity = Literal["serious", "doubtful", "note"]
"""`serious`: the run cannot be believed or cannot learn; `doubtful`: worth a look; `note`: good to know."""


@dataclass(frozen=True)
class Seen:
    """What a rule's function saw in a run; what is said of it stands in rules.yaml.

    Example: `Seen("71% of the completions in steps 21 to 40 were cut", words={"how_many": "most"})`.
    """

    evidence: str
    """Numbers and steps."""
    case: str = ""
    """Which of the rule's `cases` it is."""
    severity: Severity | None = None
    """Where it depends on the numbers."""
    subject: str = ""
    words: Mapping[str, object] = field(default_factory=dict[str, object])
    """What goes into the rule's sentences."""
    remedy: Mapping[str, Any] | None = None
    """The setting, its value and what it is now, in place of the rule's `set`."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What a rule found in a run.

    Example: `Finding(name="truncated", severity="serious", says="many completions are cut off before they end",
    evidence="71% ...", cause="...", change="...", setting="max_new_tokens", value=256, now=128)`.
    """

    name: str = ""
    """The rule's name."""
    subject: str = ""
    """The reward parts or metrics that it is about, where there are any."""
    severity: Severity
    says: str
    evidence: str
    cause: str
    change: str
    setting: str | None = None
    """The dotted key to change; None where no setting helps."""
    value: Any = None
    """What to try; None where only a person can choose it."""
    now: Any = None
    """What the setting is in this run."""

    def text(self) -> str:
        """One paragraph, as the console shows it."""
        return f"{self.says}: {self.evidence}. Likely cause: {self.cause}. {self.change}."

    def assignment(self) -> str:
        """`--set max_new_tokens=256 (now 128)`; the key alone where a person must choose; empty without a setting."""
        if self.setting is None:
            return ""
        now = "" if self.now is None else f" (now {_written(self.now)})"
        if self.value is None:
            return f"{self.setting}{now}"
        return f"--set {shlex.quote(f'{self.setting}={_written(self.value)}')}{now}"

    def lines(self) -> list[str]:
        """For people; foreign text (a reward's name, a status) is made visible."""
        entries = {
            "evidence": f"{self.evidence}.",
            "cause": f"{self.cause}.",
            "change": f"{self.change}.",
            "setting": self.assignment(),
        }
        says = f"{self.severity}: {self.name}: {self.says}"
        return [visible(says)] + [f"  {label:<9} {visible(text)}" for label, text in entries.items() if text]


def _written(value: Any) -> str:
    """As a settings file and `--set` read it."""
    return value if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else json.dumps(value)
