"""One page a method: idea, formula, definition, what was measured, what came next. From the definitions and results."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path

from method_ideas import IDEAS, SOURCES
from method_results import measured

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
    parts += [*_beyond(method), *_code(method), *measured(method.name), *_next(method)]
    return "\n".join(parts).rstrip() + "\n\n[All methods](README.md)\n"


def _beyond(method: Method) -> Iterator[str]:
    if method.deviations:
        yield from ("Beyond the paper:", "", *(f"- {deviation}" for deviation in method.deviations), "")


def _code(method: Method) -> Iterator[str]:
    path, quoted = _definition(method.name)
    yield from ("## The code that is the formula", "", f"The whole definition, in {_file(path)}:", "")
    yield from (f"```{'python' if path.suffix == '.py' else 'yaml'}", quoted, "```", "")
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
    """The file and the source of the assignment whose call says `name="..."`, or the row of that name."""
    rows = SOURCE / "methods" / "variants.yaml"
    found = re.search(rf"^{re.escape(name)}:\n(?:^(?:  .*)?\n)*", rows.read_text(encoding="utf-8"), re.MULTILINE)
    if found:
        return rows.relative_to(ROOT), found[0].rstrip()
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


def _next(method: Method) -> Iterator[str]:
    children = [child for child in METHODS.values() if child.parent == method.name]
    if not children:
        return
    yield from ("## What came next", "")
    for child in children:
        changed = dict.fromkeys(change.slot.split(".")[0] for change in difference(method, child))
        what = f" It changes {', '.join(changed)}." if changed else ""
        yield f"- {_link(child.name)}: {child.summary}{what}"
