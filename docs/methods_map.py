"""The map of the methods as an SVG picture: the line from 1983 to DAPO at README width, light and dark.

A card a method: its year, its family's colour, and what changed. Years and descent are the definitions' own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from html import escape

from rung.methods import Method

FAMILIES = ("adaptive elements", "values of actions", "policy gradient", "groups, no critic", "preferences")
COLOURS = (("#8a5a00", "#e3b341"), ("#0a6e5c", "#3fcfb4"), ("#1f5fbf", "#79b8ff"), ("#a02c6d", "#f095c8"))
COLOURS = (*COLOURS, ("#5b3fb0", "#b9a3ff"))
"""Of each family, on white and on black."""
CARDS: Mapping[str, tuple[int, int, int, str, str]] = {
    "boxes": (0, 0, 0, "counts how long the pole", "stood after each choice"),
    "ase": (1, 0, 0, "a weight a box, moved", "when the pole falls"),
    "ase_ace": (2, 0, 0, "+ a critic: feedback at", "every step, not the end"),
    "dqn": (2, 1, 1, "Q by a network, from", "past steps at random"),
    "reinforce": (2, 3, 2, "any policy, by the return", "that followed the action"),
    "actor_critic": (3, 2, 2, "+ a critic: judged after", "a few steps"),
    "trpo": (4, 2, 2, "+ a bound on the KL", "of every step"),
    "ppo": (5, 2, 2, "a clip instead: many", "updates of one rollout"),
    "rlhf@2017": (5, 4, 4, "TRPO on a reward learnt", "from people's choices"),
    "rloo": (6, 3, 3, "the other samples of a", "prompt are the baseline"),
    "dpo": (6, 4, 4, "from the pairs directly:", "no reward model"),
    "grpo": (7, 3, 3, "PPO whose critic is the", "group of samples"),
    "kto": (7, 4, 4, "good or bad is enough,", "no pairs"),
    "cispo": (8, 0, 3, "clips the weight, never", "a token's gradient"),
    "gspo": (8, 1, 3, "one ratio, one clip", "an answer"),
    "dr_grpo": (8, 2, 3, "no division by deviation", "or by length"),
    "dapo": (8, 3, 3, "higher clip, groups that", "differ, equal tokens"),
}
"""By the method: row, column, family, and what changed in two lines."""
TITLE = "From one adaptive element in 1983 to DAPO"
WIDE, HIGH, ACROSS, DOWN, TOP = 158, 64, 170, 92, 70
WIDTH = ACROSS * 5 + 4


def methods_map(methods: Mapping[str, Method]) -> str:
    """An SVG text; equal definitions give equal bytes."""
    height = TOP + DOWN * (1 + max(card[0] for card in CARDS.values())) - 16
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" role="img">',
        f"<title>{TITLE}: what each method changed</title>",
        *_style(),
        f'<text class="ink" x="8" y="24" font-size="18" font-weight="bold">{TITLE}</text>',
        *_legend(),
        *(line for name in CARDS for line in _descent(methods, name)),
        *(line for name in CARDS for line in _card(methods, name)),
        "</svg>",
        "",
    ])  # fmt: skip


def year(method: Method) -> str:
    """The year of its paper.

    >>> from rung.methods import METHODS
    >>> year(METHODS["ase"]), year(METHODS["dapo"])
    ('1983', '2025')
    """
    arxiv = re.match(r"arXiv:(\d\d)\d\d\.", method.paper)
    found = re.search(r"\b(?:19|20)\d\d\b", method.paper)
    assert arxiv or found, method.paper
    return f"20{arxiv[1]}" if arxiv else found[0] if found else ""


def _style() -> Iterator[str]:
    light = "".join(f".f{n}{{stroke:{a}}} .t{n}{{fill:{a}}} " for n, (a, _) in enumerate(COLOURS))
    dark = "".join(f".f{n}{{stroke:{b}}} .t{n}{{fill:{b}}} " for n, (_, b) in enumerate(COLOURS))
    yield "<style>"
    yield ".card{stroke-width:1.8} .line{fill:none;stroke-width:1.6}"
    yield f".ink{{fill:#1f2328}} .card{{fill:#fff}} .line{{stroke:#8c959f}} {light}"
    yield "@media (prefers-color-scheme: dark) {"
    yield f".ink{{fill:#e6edf3}} .card{{fill:#161b22}} .line{{stroke:#7d8590}} {dark}}}"
    yield "</style>"


def _legend() -> Iterator[str]:
    x = 8
    for number, words in enumerate(FAMILIES):
        yield f'<rect class="card f{number}" x="{x}" y="38" width="14" height="14" rx="3"/>'
        yield f'<text class="ink" x="{x + 20}" y="50" font-size="13">{escape(words)}</text>'
        x += 44 + 7 * len(words)


def _place(name: str) -> tuple[int, int]:
    row, column, *_ = CARDS[name]
    return 4 + column * ACROSS, TOP + row * DOWN


def _descent(methods: Mapping[str, Method], name: str) -> Iterator[str]:
    """A line from the nearest ancestor that has a card."""
    parent = methods[name].parent
    while parent is not None and parent not in CARDS:
        parent = methods[parent].parent
    if parent is not None:
        (x0, y0), (x1, y1) = _place(parent), _place(name)
        middle = WIDE // 2
        yield f'<path class="line" d="M{x0 + middle} {y0 + HIGH} V{y1 - 14} H{x1 + middle} V{y1}"/>'


def _card(methods: Mapping[str, Method], name: str) -> Iterator[str]:
    (x, y), (_, _, family, *changed) = _place(name), CARDS[name]
    yield f'<rect class="card f{family}" x="{x}" y="{y}" width="{WIDE}" height="{HIGH}" rx="8"/>'
    yield f'<text class="t{family}" x="{x + 9}" y="{y + 20}" font-size="14" font-weight="bold">{escape(name)}</text>'
    when = year(methods[name])
    yield f'<text class="ink" x="{x + WIDE - 9}" y="{y + 20}" font-size="12" text-anchor="end">{when}</text>'
    for number, words in enumerate(changed):
        yield f'<text class="ink" x="{x + 9}" y="{y + 38 + 16 * number}" font-size="11.5">{escape(words)}</text>'
