"""Writes the generated parts of README.md and benchmarks/README.md: from the methods' definitions and recorded results.

    python docs/generate.py           writes them
    python docs/generate.py --check   exits 1 when a file is not what this would write

A generated part stands between `<!-- generated: NAME -->` and `<!-- end -->`. Nothing between is written by hand.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rung.methods import METHODS
from rung.methods.explain import describe, difference

ROOT = Path(__file__).parent.parent
FILES = ("README.md", "benchmarks/README.md")
_PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def methods() -> str:
    """The ladder: each method, its idea, and what it changes from the one below."""
    lines = ["| method | idea | what it changes from its parent |", "| --- | --- | --- |"]
    for method in METHODS.values():
        changes = "the bottom rung"
        if method.parent is not None:
            found = difference(METHODS[method.parent], method)
            changes = f"from `{method.parent}`: " + "; ".join(
                f"{change.slot} → {describe(change.after)}" for change in found if change.slot != "samples_per_prompt"
            )
        lines.append(f"| `{method.name}` | {method.summary} ({method.paper}) | {changes} |")
    return "\n".join(lines)


def recorded(name: str) -> dict[str, Any] | None:
    """A recorded result, `experiments/results/NAME.json` or `benchmarks/results/NAME.json`; None: not recorded."""
    for folder in ("experiments", "benchmarks"):
        path = ROOT / folder / "results" / f"{name}.json"
        if path.is_file():
            return json.loads(path.read_text())
    return None


def demo() -> str:
    """What the recorded `make demo` gave."""
    run = recorded("demo")
    if run is None:
        return "No run is recorded yet: `make demo`, then `python experiments/record_demo.py runs/demo-1`."
    gain = run["gain"]
    return (
        f"Recorded run ({run['machine']}; {run['minutes']:.1f} minutes, seed {run['seed']}, commit {run['commit']}): "
        f"{run['model']} goes from **{_share(run['before'])}** to **{_share(run['after'])}** right on "
        f"{run['before']['items']} held-out sums; paired difference {100 * gain['value']:+.1f} points "
        f"({100 * gain['low']:+.1f} to {100 * gain['high']:+.1f}), {gain['in_standard_errors']:.1f} standard errors. "
        f"There is no warm-up before it: all of the gain is RL's."
    )


def bench() -> str:
    """The recorded side-by-side with the peers."""
    run = recorded("grpo_step")
    return "No run is recorded yet: `make bench`." if run is None else run["markdown"]


def _share(score: dict[str, float]) -> str:
    return f"{100 * score['value']:.1f} % ({100 * score['low']:.1f} to {100 * score['high']:.1f})"


PARTS: dict[str, Callable[[], str]] = {"methods": methods, "demo": demo, "bench": bench}


def generated(text: str) -> str:
    """The text with its generated parts made anew."""
    return _PART.sub(lambda found: f"{found[1]}{PARTS[found[2]]()}\n{found[3]}", text)


def main(check: bool) -> int:
    stale = 0
    for name in FILES:
        path = ROOT / name
        text = path.read_text()
        made = generated(text)
        if made == text:
            continue
        stale += 1
        if check:
            print(f"{name}: its generated parts are not what docs/generate.py writes; run: python docs/generate.py")
        else:
            path.write_text(made)
            print(f"{name}: written")
    return int(check and stale > 0)


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv))
