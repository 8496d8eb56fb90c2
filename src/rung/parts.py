"""Parts of methods: the protocols of the slots, every shipped part, and the ranges of their numbers.

A part of your own is a frozen dataclass that satisfies its slot's protocol. Complete:

    import dataclasses, typing
    from rung import GRPO, parts

    @dataclasses.dataclass(frozen=True)
    class ShrunkReturn:
        share: typing.Annotated[float, parts.SHARE] = 0.5

        def __call__(self, batch):
            return self.share * batch.returns_B()[:, None] * batch.action_mask_BT

    MINE = GRPO.changed(name="mine", advantage=ShrunkReturn(share=0.9))

`MINE` trains like any method; `explain` and `difference` show it; its number is set and checked like those of shipped
parts. It is saved as its name and numbers, and whoever resumes hands the class in: `resume(folder,
parts=[ShrunkReturn])`. What a part states beyond its protocol has a default: with `needs_group: ClassVar[bool] = True`
the method asks for two samples of a prompt. These facts stand with each protocol (rung/methods/parts/protocols.py).
"""

from __future__ import annotations

from rung.methods.parts.advantages import *
from rung.methods.parts.aggregations import *
from rung.methods.parts.chosen_tokens import *
from rung.methods.parts.corrections import *
from rung.methods.parts.critics import *
from rung.methods.parts.distillation import *
from rung.methods.parts.elements import *
from rung.methods.parts.entropy import *
from rung.methods.parts.filters import *
from rung.methods.parts.imitation import *
from rung.methods.parts.learned_reward import *
from rung.methods.parts.objectives import *
from rung.methods.parts.optimizers import *
from rung.methods.parts.preference_losses import *
from rung.methods.parts.protocols import *
from rung.methods.parts.q_learning import *
from rung.methods.parts.reference_kl import *
from rung.methods.parts.shipped import *
from rung.methods.parts.turn_advantages import *
from rung.methods.ranges import *

__all__ = sorted(  # noqa: PLE0605  # pyright: ignore[reportUnsupportedDunderAll]  not what the files import
    name
    for name, one in tuple(globals().items())
    if getattr(one, "__module__", "").startswith("rung.methods.") and not name.startswith("_")
)


def __dir__() -> list[str]:
    return __all__
