"""The settings of who draws: the learner's own process, or an engine."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from rung.settings.objects import GIVEN
from rung.settings.section import Section

IN_PROCESS, VLLM = "in_process", "vllm"
"""As `sampler.engine`."""


def _engine(name: str) -> str:
    if name not in (IN_PROCESS, VLLM) and not name.startswith(GIVEN):
        raise PydanticCustomError("engine", "in_process, vllm, or from Python what makes a sampler of a policy")
    return name


class SamplerSettings(Section):
    """How completions are drawn."""

    engine: Annotated[str, AfterValidator(_engine)] = "in_process"
    """Who draws: `in_process` is the learner's own process, `vllm` an engine in a process and an interpreter of its
    own. From Python: what makes a sampler of a policy."""
    rows_at_once: int | None = Field(None, ge=1)
    """Completions drawn at once, at most; None: as many as fit in memory. It never changes what is drawn."""
    engines: int = Field(1, ge=1)
    """Engines that draw, each a share of the completions. It never changes what is drawn. One GPU each."""
    ahead: int = Field(0, ge=0)
    """Steps whose completions are begun before their turn. With 1 the next step's are drawn while this one is learnt
    from, all by the policy one step before. From 2 on weights change while completions are drawn, so that a long one
    holds nobody up; no token is older than so many steps."""
    python: str | None = None
    """The interpreter that has the engine; None: the one that `make engine` sets up."""
    cache_gib: int | None = Field(None, ge=1)
    """Memory of an engine on a CPU for keys and values, in GiB; None: an eighth of the machine's."""
    start_s: float = Field(600.0, gt=0)
    """Seconds until an engine must be ready."""
    request_s: float = Field(600.0, gt=0)
    """Seconds in which an engine must have drawn something."""
    delivery_s: float = Field(300.0, gt=0)
    """Seconds in which an engine must have taken a part of the weights."""
