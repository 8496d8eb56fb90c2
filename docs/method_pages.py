"""One page a method: idea, formula, definition, what was measured, what came next. From the definitions and results."""

from __future__ import annotations

import ast
import inspect
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from method_ideas import IDEAS, SOURCES

from rung.methods import METHODS, Method
from rung.methods.data import slots
from rung.methods.explain import difference

ROOT = Path(__file__).parent.parent
SOURCE = ROOT / "src" / "rung"
PAGES = Path("docs/methods")
UP = "../../"
"""From a page to the repository's root."""


def method_pages() -> dict[str, str]:
    """Path from the root and text of every page and of their index. A preset stands on its parent's page."""
    pages = {str(PAGES / file_name(name)): _page(method) for name, method in _paged().items()}
    return {str(PAGES / "README.md"): _index(), **pages}


def file_name(method: str) -> str:
    """`reinforce_plus_plus.md` for `reinforce++`: names that need no quoting in a link."""
    return f"{method.replace('++', '_plus_plus')}.md"


def _paged() -> dict[str, Method]:
    return {name: method for name, method in METHODS.items() if "@" not in name}


def _index() -> str:
    lines = [
        "# The methods, a page each",
        "",
        "Written by `python docs/generate.py`. The ladder in one picture: [methods.md](../methods.md).",
        "",
        "| method | idea | from |",
        "| --- | --- | --- |",
    ]
    for name, method in _paged().items():
        lines.append(f"| {_link(name)} | {method.summary} | {_link(method.parent) if method.parent else ''} |")
    return "\n".join([*lines, ""])


def _link(name: str) -> str:
    return f"[`{name}`]({file_name(name)})" if name in _paged() else f"`{name}`"


def _page(method: Method) -> str:
    parts: list[str] = [f"# `{method.name}`", "", f"*{method.summary}* ({method.paper})", ""]
    if method.name in IDEAS:
        parts += [IDEAS[method.name], ""]
    parts += ["## The formula", "", "```", method.formula(), "```", ""]
    parts += [*_beyond(method), *_code(method), *_measured(method), *_next(method)]
    return "\n".join(parts).rstrip() + "\n\n[All methods](README.md)\n"


def _beyond(method: Method) -> Iterator[str]:
    if method.deviations:
        yield from ("Beyond the paper:", "", *(f"- {deviation}" for deviation in method.deviations), "")


def _code(method: Method) -> Iterator[str]:
    path, quoted = _definition(method.name)
    yield from ("## The code that is the formula", "", f"The whole definition, in {_file(path)}:", "")
    yield from ("```python", quoted, "```", "")
    files: dict[str, list[str]] = {}
    for slot in slots(method):
        part = getattr(method, slot)
        if is_dataclass(part):
            files.setdefault(str(Path(inspect.getfile(type(part))).relative_to(ROOT)), []).append(type(part).__name__)
    for file, names in files.items():
        equations = _equations(ROOT / file, names)
        behind = f", with the equations {', '.join(equations)}" if equations else ""
        yield f"- {', '.join(f'`{name}`' for name in dict.fromkeys(names))}: {_file(Path(file))}{behind}"
    for what, file in SOURCES.get(method.name, {}).items():
        yield f"- {what}: {_file(Path(file))}"
    yield ""


def _file(path: Path) -> str:
    return f"[{path.name}]({UP}{path})"


def _definition(name: str) -> tuple[Path, str]:
    """The file and the source of the assignment whose call says `name="..."`."""
    for path in sorted((SOURCE / "methods").glob("*.py")):
        text = path.read_text(encoding="utf-8")
        for node in ast.parse(text).body:
            if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.Call):
                named = [word.value for word in node.value.keywords if word.arg == "name"]
                if any(isinstance(value, ast.Constant) and value.value == name for value in named):
                    return path.relative_to(ROOT), ast.get_source_segment(text, node) or ""
    raise AssertionError(f"{name}: no definition with this name in src/rung/methods")


def _equations(path: Path, classes: list[str]) -> list[str]:
    """Links to the functions of `formulas` that these classes of a file call."""
    text = path.read_text(encoding="utf-8")
    found: dict[str, None] = {}
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef) and node.name in classes:
            for module, function in re.findall(r"\b(\w+)\.(\w+)\(", ast.get_source_segment(text, node) or ""):
                file = SOURCE / "formulas" / f"{module}.py"
                if file.is_file() and f"def {function}(" in file.read_text(encoding="utf-8"):
                    found[f"[`{function}`]({UP}{file.relative_to(ROOT)})"] = None
    return list(found)


def _measured(method: Method) -> Iterator[str]:
    """What the recorded experiments say of it: the picture, the numbers, and what did not go well."""
    for path in sorted((ROOT / "experiments" / "results").glob("*.json")):
        result = json.loads(path.read_text())
        if method.name not in (result.get("methods") or {}) or path.stem not in _SAID:
            continue
        picture = ROOT / "docs" / "pictures" / f"{path.stem}.png"
        good, bad = _SAID[path.stem](result, method.name)
        yield from ("## What was measured", "")
        if picture.is_file():
            yield from (f"![{path.stem}]({'../pictures/' + picture.name})", "")
        film = picture.with_suffix(".gif")
        if film.is_file() and result.get("filmed_method") == method.name:
            yield from (f"![the first 10 seconds of a balanced pole](../pictures/{film.name})", "")
        yield from (f"{good} ([the experiment](../experiments.md); {result['machine']}, commit {result['commit']})", "")
        if bad:
            yield from ("## What it is bad at", "", *(f"- {sentence}" for sentence in bad), "")


def _said_of_cartpole(result: Mapping[str, Any], name: str) -> tuple[str, list[str]]:
    found, seeds = result["methods"][name], len(result["seeds"])
    good = f"On CartPole-v1 {found['solved']} of {seeds} seeds reached a held-out mean of 475 within the budget."
    low = min(found["final"])
    bad = [] if found["passed"] else [f"It missed its line on CartPole-v1, {found['needed']} of {seeds} seeds."]
    if found["solved"] and low < 475:
        bad.append(f"A solved CartPole-v1 does not stay solved: the lowest last score of a seed is {low:.0f}.")
    return good, bad


def _said_of_1983(result: Mapping[str, Any], name: str) -> tuple[str, list[str]]:
    found = result["methods"][name]
    ten, every = found["first_ten"], found["all"]
    good = (
        f"Within 100 failures {ten['reached']} of the first {ten['runs']} seeds balanced the pole for the rest of "
        f"500,000 time steps, and {every['reached']} of {every['runs']} seeds in all."
    )
    interval = f"{100 * every['low']:.0f} to {100 * every['high']:.0f} %"
    share = 100 * every["reached"] / every["runs"]
    bad = [f"{100 - share:.0f} % of the seeds did not learn to balance within 100 failures ({interval} did)."]
    if not every["reached"]:
        bad = [f"No seed learnt to balance: the longest trial of all was {found['longest_of_all']:,} time steps."]
    return good, bad


_SAID = {"cartpole": _said_of_cartpole, "ase_ace": _said_of_1983}
"""What each experiment's result says of one method: a sentence, and the sentences on what went badly."""


def _next(method: Method) -> Iterator[str]:
    children = [child for child in METHODS.values() if child.parent == method.name]
    if not children:
        return
    yield from ("## What came next", "")
    for child in children:
        changed = dict.fromkeys(change.slot.split(".")[0] for change in difference(method, child))
        what = f" It changes {', '.join(changed)}." if changed else ""
        yield f"- {_link(child.name)}: {child.summary}{what}"
