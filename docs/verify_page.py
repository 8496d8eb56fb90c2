"""docs/verify.md and its picture, from the recorded `rung verify --all --json` (experiments/results/verify.json)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path
from typing import Any

RECORD = Path(__file__).parent.parent / "experiments" / "results" / "verify.json"
PICTURE = "docs/pictures/verify.svg"
HEAD = ("cell", "ratio, G = 2", "ratio, G = 4", "direction error, 2", "direction error, 4", "short / long", "equals")
INTRODUCTION = """\
# What other libraries' losses climb

`rung verify` calls a loss's own code on every batch that a policy small enough to enumerate can draw, weighted by the
batch's probability, and compares the sum with the true gradient of the expected return. Nothing is sampled. Your own
loss or advantage function is measured in the same way: `rung verify my_loss.py:loss`.

```
rung verify trl grpo --python ENVIRONMENT/bin/python
rung verify --all --python ENVIRONMENT/bin/python --json > experiments/results/verify.json
```

An adapter (`src/rung/lab/referee/adapters`) runs in the library's own interpreter and talks JSON over a pipe. Packages
that the called functions never use (engines, kernels, servers) are mocks where they are not installed; the record names
them, with the version and the SHA-256 of each file that was called.

- **ratio**: the length of the expected gradient along the true one, with 2 and with 4 samples of a prompt. The median
  of three worlds.
- **direction error**: what is left beside that direction, over the true gradient's length. No step size repairs it.
- **short / long**: how many times as much a token of a right answer of 1 token weighs as one of 3 tokens.
- **equals**: the filling of rung's slots that gives the same gradients, token by token, on batches of older samples;
  found by search. A number before it is a constant factor. `≈` is the nearest filling, where none is equal, with its
  distance.

A cell is one way to call a function. A trainer may call it otherwise: with a whole step's count of tokens, or with
other settings. So a cell is a statement about the call that the record describes, not about every run of the library.
Where a step is cut into parts, each part is given as if it were all: a deviation over the batch is then the part's.

AReaL, ART, TorchRL and Liger Kernel are given rung's leave-one-out advantages, which have no bias; the others take the
rewards. prime-rl and open-instruct are on no registry under their names, and nemo-rl's package there is empty, so they
are not here. The Tinker cookbook's losses run on a server; its advantages are here.
"""


def verify_pages() -> dict[str, str]:
    """The page and its picture by path."""
    libraries = json.loads(RECORD.read_text(encoding="utf-8"))["libraries"]
    return {"docs/verify.md": "\n".join(_page(libraries)) + "\n", PICTURE: _picture(libraries)}


def _measured(libraries: list[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for one in libraries:
        for name, cell in one.get("cells", {}).items():
            if "failed" not in cell:
                yield f"{one['library']} {name}", cell


def _page(libraries: list[Mapping[str, Any]]) -> Iterator[str]:
    yield INTRODUCTION
    count = len(list(_measured(libraries)))
    yield "![The direction error of each cell](pictures/verify.svg)\n"
    yield f"## {count} cells of {len(libraries)} libraries\n"
    yield f"| {' | '.join(HEAD)} |\n| {' | '.join('---' for _ in HEAD)} |"
    for name, cell in _measured(libraries):
        two, four, length = cell["samples_2"], cell["samples_4"], cell["length"]
        numbers = (two["ratio"], four["ratio"], two["off_direction"], four["off_direction"])
        weighs = "" if length is None else f"{length:.3g}"
        yield f"| {name} | {' | '.join(f'{n:.3f}' for n in numbers)} | {weighs} | {_equals(cell)} |"
    yield "\n## Faults\n"
    for file in sorted((RECORD.parents[2] / "docs" / "findings").glob("*.md")):
        title = file.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")
        yield f"- [{title}](findings/{file.name})"
    yield "\n## Versions\n"
    for one in libraries:
        said = one.get("failed") or one["version"]
        missing = [f"`{name}`: {cell['failed']}" for name, cell in one.get("cells", {}).items() if "failed" in cell]
        yield f"- {one['library']} {said}" + ("; not measured: " + "; ".join(missing) if missing else "")
    yield "\n## In words\n"
    for name, cell in _measured(libraries):
        yield f"- **{name}** ({cell['calls'].rstrip('.')}). {' '.join(cell['sentences'][:-1])}"


def _equals(cell: Mapping[str, Any]) -> str:
    fit = cell["fit"]
    parts = ", ".join(text.split(": ", 1)[1] for text in fit["in_words"])
    if not fit["equal"]:
        return f"≈ {parts} ({max(fit['distance'], fit['kl_distance']):.2g})"
    return parts if abs(fit["scale"] - 1) < 1e-4 else f"{fit['scale']:.4g} x {parts}"


def _picture(libraries: list[Mapping[str, Any]]) -> str:
    """A bar a cell: its direction error with 2 samples of a prompt; beside it, a dot for 4."""
    cells = list(_measured(libraries))
    height, left, wide = 18 * len(cells) + 50, 300, 560
    most = max(max(cell[key]["off_direction"] for key in ("samples_2", "samples_4")) for _, cell in cells) or 1.0
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {left + wide + 80} {height}" font-family="sans-serif" '
        'font-size="12">',
        f'<rect width="{left + wide + 80}" height="{height}" fill="white"/>',
        f'<text x="{left}" y="18">direction error: bar, 2 samples of a prompt; dot, 4 samples</text>',
    ]
    for row, (name, cell) in enumerate(cells):
        y = 30 + 18 * row
        two, four = (wide * cell[key]["off_direction"] / most for key in ("samples_2", "samples_4"))
        lines += [
            f'<text x="{left - 8}" y="{y + 12}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{left}" y="{y + 2}" width="{two:.1f}" height="12" fill="#7b9acb"/>',
            f'<circle cx="{left + four:.1f}" cy="{y + 8}" r="4" fill="#33507a"/>',
        ]
    return "\n".join([*lines, "</svg>", ""])
