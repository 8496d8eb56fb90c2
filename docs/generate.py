"""Writes the generated parts of README.md and of docs: from the methods' definitions and recorded results.

    python docs/generate.py           writes them
    python docs/generate.py --check   exits 1 when a file is not what this would write

A generated part stands between `<!-- generated: NAME -->` and `<!-- end -->`. Nothing between is written by hand.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from api_pages import api_page
from guide_tables import GUIDE_PARTS, GUIDES
from ladder_picture import ladder_picture
from method_pages import method_pages
from methods_map import methods_map
from settings_list import as_json
from settings_page import settings_page
from verify_page import verify_pages

from rung.methods import METHODS, Method
from rung.methods.explain import Change, difference

ROOT = Path(__file__).parent.parent
LINE = (
    *("boxes", "ase", "ase_ace", "dqn", "reinforce", "reinforce_baseline", "rloo"),
    *("actor_critic", "trpo", "ppo", "ppo_kl", "grpo", "dr_grpo", "dapo", "reward_model", "dpo"),
)
"""What the README shows; docs/methods has every method."""
FILES = (
    "README.md",
    "README.ja.md",
    "docs/compare.md",
    "benchmarks/README.md",
    "docs/methods.md",
    "docs/experiments.md",
    "docs/claims.md",
    *GUIDES,
)
LADDER = Path("docs/pictures/ladder.svg")
MAP = Path("docs/pictures/map.svg")
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


def experiment(name: str) -> ModuleType:
    """A file of experiments/ or experiments/claims/, which are no packages; its neighbours are found too."""
    for home in (str(ROOT / "experiments"), str(ROOT / "experiments" / "claims")):
        if home not in sys.path:
            sys.path.insert(0, home)
    return importlib.import_module(name)


def bench() -> str:
    """The recorded side-by-side with the peers."""
    return _benchmark("grpo_step", "make bench")


def bench_environments() -> str:
    """The recorded side-by-side in environments."""
    return _benchmark("environment_steps", "make bench-environments")


def bench_control() -> str:
    """CartPole beside the peers and a C program."""
    return _benchmark("control", "make bench-control")


def _benchmark(name: str, command: str) -> str:
    path = ROOT / "benchmarks" / "results" / f"{name}.json"
    return json.loads(path.read_text())["markdown"] if path.is_file() else f"No run is recorded yet: `{command}`."


def demo_ja() -> str:
    """The demo's recorded result in Japanese."""
    run = experiment("experiment").required("demo")

    def share(of: str) -> str:
        one = run[of]
        return f"{100 * one['value']:.1f} % （{100 * one['low']:.1f} ～ {100 * one['high']:.1f}）"

    gain, low, high = (100 * run["gain"][name] for name in ("value", "low", "high"))
    errors = run["gain"]["in_standard_errors"]
    return (
        f"記録された実行（{run['machine']}、{run['minutes']:.1f} 分、シード {run['seed']}、コミット {run['commit']}）: "
        f"4 ビットから復元した SmolLM2-135M の正答率が、検証用の足し算 {run['before']['items']} 問で "
        f"**{share('before')}** から **{share('after')}** に上がりました。"
        f"対応のある差は {gain:+.1f} ポイント（{low:+.1f} ～ {high:+.1f}）、標準誤差の {errors:.1f} 倍です。"
        "事前の教師あり学習はなく、伸びはすべて強化学習によるものです。"
    )


def first_lines_ja() -> str:
    """What the README's first lines reached, in Japanese."""
    run = experiment("experiment").required("first_lines")
    before, after = (
        "、".join(f"{one[name]['value']:.2f}" for one in run["runs"].values()) for name in ("before", "after")
    )
    seeds = "、".join(map(str, run["seeds"]))
    return (
        "その場で作られるごく小さなモデルに、短い答えほど高い報酬を与える例です。"
        f"10 ステップで検証スコアが {before} から {after} に上がります（シード {seeds}）。"
    )


PARTS: dict[str, Callable[[], str]] = {
    "methods": methods,
    "demo_ja": demo_ja,
    "first_lines_ja": first_lines_ja,
    "cards": cards,
    "bench": bench,
    "bench_environments": bench_environments,
    "bench_control": bench_control,
    **GUIDE_PARTS,
}


def part(name: str) -> str:
    """What stands in a generated part: one of PARTS, or what the experiment of that name says of its result."""
    if name in PARTS:
        return PARTS[name]()
    return experiment(name).words() if name == "every_claim" else experiment("experiment").load(name).words()


def generated(text: str) -> str:
    """The text with its generated parts made anew."""
    return _PART.sub(lambda found: f"{found[1]}{part(found[2])}\n{found[3]}", text)


def main(check: bool) -> int:
    stale = 0
    whole = {
        str(LADDER): ladder_picture(METHODS),
        str(MAP): methods_map(METHODS),
        **method_pages(),
        **verify_pages(),
        "docs/settings.md": settings_page(),
    }
    whole["docs/api.md"] = api_page()
    whole["src/rung/settings/listed.json"] = as_json()
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
