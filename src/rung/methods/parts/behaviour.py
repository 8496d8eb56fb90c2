"""Who gives the answers that are learnt from, where it is not the policy itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class FrozenStart:
    """The model as the run found it answers throughout, and never changes: offline learning, drawn as it is needed."""

    formula: ClassVar[str] = "o_i ~ π_start, the model as the run found it"


Behaviour = FrozenStart
