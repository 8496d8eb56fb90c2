"""Writes the generated parts of README.md and of docs: from the methods' definitions and recorded results.

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

from ladder_picture import ladder_picture
from method_pages import method_pages

from rung.methods import METHODS, Method
from rung.methods.explain import Change, difference

ROOT = Path(__file__).parent.parent
LINE = (
    *("boxes", "ase", "ase_ace", "dqn", "reinforce", "reinforce_baseline", "rloo"),
    *("actor_critic", "trpo", "ppo", "ppo_kl", "grpo", "dr_grpo", "dapo", "reward_model", "dpo"),
)
"""What the README shows; docs/methods has every method."""
FILES = ("README.md", "benchmarks/README.md", "docs/methods.md", "docs/experiments.md")
LADDER = Path("docs/pictures/ladder.svg")
_PART = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def methods() -> str:
    """The line in a table: each method, its idea, and the slots that it changes from the one below."""
    lines = ["| method | idea | changes, from its parent |", "| --- | --- | --- |"]
    for method in (METHODS[name] for name in LINE):
        slots = ", ".join(dict.fromkeys(change.slot.split(".")[0] for change in changes_of(method)))
        changed = f"from `{method.parent}`: {slots}" if method.parent else "the bottom rung"
        lines.append(f"| `{method.name}` | {method.summary} ({method.paper}) | {changed} |")
    return "\n".join(lines)


def changes_of(method: Method) -> list[Change]:
    return [] if method.parent is None else difference(METHODS[method.parent], method)


def cards() -> str:
    """Every method: formula, what it changes, and where the definition goes beyond the paper."""
    parts: list[str] = []
    for method in METHODS.values():
        parts += [
            f"## `{method.name}`",
            "",
            f"{method.summary} ({method.paper})",
            "",
            "```",
            method.formula(),
            "```",
            "",
        ]
        if method.parent is not None:
            parts += [f"From `{method.parent}`:", ""]
            parts += [f"- {change.words()}" for change in changes_of(method)] + [""]
        parts += ["Beyond the paper:", "", *(f"- {deviation}" for deviation in method.deviations), ""]
    return "\n".join(parts).rstrip()


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


def cartpole() -> str:
    """Every method of the ladder on CartPole-v1."""
    run = recorded("cartpole")
    if run is None:
        return "Not recorded yet."
    beside = f" ({run['beside']})" if "beside" in run else ""
    lines = [
        "![Held-out return against environment steps, a panel a method](pictures/cartpole.png)",
        "",
        f"{run['machine']}; commit {run['commit']}, seeds {run['seeds']}, {run['hours']:.1f} hours of one core in all "
        f"{beside}. Command: `{run['command']}`. Reaching 475 counts at any evaluation; the last one stands beside it. "
        f"Pass line: {run['pass_line']}. Passed: {'yes' if run['passed'] else 'no'}.",
        "",
        "| method | seeds that reached 475 | steps until then, thousands | last score, IQM | interval | worst seed |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, found in run["methods"].items():
        first = sorted(steps for steps in found["first_at"].values() if steps is not None)
        median = f"{first[len(first) // 2] / 1000:.0f}" if first else "never"
        low, high = found["final_interval"]
        solved = f"{found['solved']} of {len(run['seeds'])} (line: {found['needed']})"
        last = f"{found['final_iqm']:.0f} | {low:.0f} to {high:.0f}"
        lines.append(f"| `{name}` | {solved} | {median} | {last} | {min(found['final']):.0f} |")
    return "\n".join(lines)


def ase_ace() -> str:
    """The cart-pole of 1983."""
    run = recorded("ase_ace")
    if run is None:
        return "Not recorded yet."
    lines = [
        "![Time steps until failure against the trial](pictures/ase_ace.png)",
        "",
        "![The first 10 seconds of a balanced pole](pictures/ase_ace.gif)",
        "",
        f"{run['machine']}; commit {run['commit']}, seeds 0 to {len(run['seeds']) - 1} of {run['many']}. "
        f"Pass line: {run['pass_line']}. Passed: {'yes' if run['passed'] else 'no'}.",
        "",
        "| method | first 10 seeds | first 30 | all seeds | interval of all | trials to get there, median |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for name, found in run["methods"].items():
        counts = [f"{found[key]['reached']} of {found[key]['runs']}" for key in ("first_ten", "first_thirty", "all")]
        interval = f"{100 * found['all']['low']:.0f} to {100 * found['all']['high']:.0f} %"
        median = found["median_trials_of_reached"]
        lines.append(
            f"| `{name}` | {' | '.join(counts)} | {interval} | {'never' if median is None else f'{median:g}'} |"
        )
    best = max(run["boxes_grid"], key=lambda row: row["mean_time_steps"])
    worst = min(row["mean_time_steps"] for row in run["boxes_grid"])
    lines += [
        "",
        f"BOXES has the best constants of a grid of {len(run['boxes_grid'])} (mean time steps of a run "
        f"{worst:,.0f} to {best['mean_time_steps']:,.0f}), on seeds {run['grid_seeds'][0]} to {run['grid_seeds'][1]}.",
    ]
    return "\n".join(lines)


def labelled_in_browser() -> str:
    """200 pairs through the page, a reward model, RL."""
    run = recorded("labelled_in_browser")
    if run is None:
        return "Not recorded yet."
    model, learned, score = run["reward_model"], run["learned_reward"], run["evaluation"]
    gain = score["paired"]
    return (
        f"{run['machine']}; commit {run['commit']}, seed {run['seed']}, {run['minutes_of_this_call']:.1f} minutes. "
        f"Command: `{run['command']}`. Passed: {'yes' if run['passed'] else 'no'}.\n\n"
        f"{run['pairs']} pairs had one vote each through the page; {run['labelled']} of them had a preferred answer, "
        f"the others a tie. The reward model puts the preferred answer first in {100 * model['after']:.0f} % of "
        f"held-out pairs (before: {100 * model['before']:.0f} %). PPO took the learned reward from "
        f"{learned['before']:.2f} to {learned['after']:.2f}; right answers on held-out sums changed by "
        f"{100 * gain['value']:+.1f} points ({100 * gain['low']:+.1f} to {100 * gain['high']:+.1f})."
    )


def bench() -> str:
    """The recorded side-by-side with the peers."""
    run = recorded("grpo_step")
    return "No run is recorded yet: `make bench`." if run is None else run["markdown"]


def _share(score: dict[str, float]) -> str:
    return f"{100 * score['value']:.1f} % ({100 * score['low']:.1f} to {100 * score['high']:.1f})"


PARTS: dict[str, Callable[[], str]] = {
    "methods": methods,
    "cards": cards,
    "demo": demo,
    "bench": bench,
    "cartpole": cartpole,
    "labelled_in_browser": labelled_in_browser,
    "ase_ace": ase_ace,
}


def generated(text: str) -> str:
    """The text with its generated parts made anew."""
    return _PART.sub(lambda found: f"{found[1]}{PARTS[found[2]]()}\n{found[3]}", text)


def main(check: bool) -> int:
    stale = 0
    whole = {str(LADDER): ladder_picture(METHODS), **method_pages()}
    for name in (*FILES, *whole):
        path = ROOT / name
        text = path.read_text() if path.exists() else ""
        made = whole[name] if name in whole else generated(text)
        if made == text:
            continue
        stale += 1
        if check:
            print(f"{name}: its generated parts are not what docs/generate.py writes; run: python docs/generate.py")
        else:
            path.parent.mkdir(exist_ok=True)
            path.write_text(made)
            print(f"{name}: written")
    return int(check and stale > 0)


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv))
