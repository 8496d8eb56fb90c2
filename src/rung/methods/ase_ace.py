"""BOXES (Michie and Chambers 1968), and the actor and critic that outdid it (Barto, Sutton and Anderson 1983)."""

from __future__ import annotations

from rung.methods.adaptive_elements import AdaptiveElements
from rung.methods.parts.elements import CriticElement, Lifetimes, SearchElement

BOXES = AdaptiveElements(
    name="boxes",
    paper="Michie and Chambers 1968, Machine Intelligence 2:137-152",
    summary="Each box of the state space remembers how long the pole stayed up after left and after right.",
    actor=Lifetimes(),
    deviations=(
        "The text of 1968 was not at hand: the rule follows later descriptions by Sammut as far as they reach; how a "
        "box's value is made of target, lives and usages, which decay by 0.99, is our reading.",
        "C0, C1 and K are ours: the best of the grid in experiments/ase_ace.py, on other seeds than it reports.",
        "Every box begins with left or right at random, keyed by the seed; of two equal values the box keeps its own.",
        "Only boxes that the trial entered decay and decide anew; an entry is a step into a box from another one.",
        "A trial starts at the centre, as for the adaptive elements.",
    ),
)

ASE = BOXES.changed(
    name="ase",
    paper="Barto, Sutton and Anderson 1983, IEEE Trans. SMC 13:834-846",
    summary="One weight per box, moved away from the actions taken shortly before a failure.",
    actor=SearchElement(),
    deviations=(
        "Friction is off, as in the authors' program pole.c; the task's options turn it on.",
        "The noise's σ is 0.01; the constants are those of pole.c.",
    ),
)

ASE_ACE = ASE.changed(
    name="ase_ace",
    summary="A critic learns to predict failure, so the actor gets feedback at every step and not only at the end.",
    critic=CriticElement(),
    deviations=(
        *ASE.deviations,
        "p(t-1) is read from v after the last update, as pole.c does; it could be the number of a step before.",
    ),
)
