"""How gradients are computed: number format, memory, device, processes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from rung.settings.section import Section


class GradientSettings(Section):
    """How gradients are computed. Nothing here changes what is learned, except `compute` by its rounding."""

    micro_batch_tokens: int = Field(1024, ge=1)
    """Tokens that go through the model at once, at most (one episode always does); fewer need less memory. 1024 was
    fastest on two CPU cores; a GPU is used better with more."""
    checkpoint_activations: bool = False
    """Compute activations again in the backward pass instead of keeping them: less memory, about a third slower."""
    compute: Literal["float32", "bfloat16"] | None = None
    """Number format of the matrix products; None: bfloat16 where the machine is fast at it. Weights stay float32."""
    device: str | None = None
    """`cpu`, `cuda`, `cuda:1`; None: a GPU when there is one."""
    threads: int | None = Field(None, ge=1)
    """CPU threads; None: as many as torch chooses. Another number of threads rounds differently."""


class LearnerSettings(GradientSettings):
    """How gradients are computed, and by how many processes."""

    processes: int = Field(1, ge=1)
    """Processes of this machine that learn together; each holds a share of the weights (FSDP2). One per GPU."""
    deadline_s: float = Field(1800.0, gt=0)
    """Seconds that processes wait for each other at most; then the run ends and says which one was waited for."""
