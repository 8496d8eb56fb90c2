"""Imports go one way, light modules stay light, and no file or function holds two ideas. Read from the source."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "rung"
FILES = sorted(SOURCE.rglob("*.py"))
LONGEST_FILE, LONGEST_FUNCTION = 400, 60

SHARED = {
    "batch",
    "errors",
    "random",
    "whole_files",
    "waiting",
    "faults",
    "child",
    "compiled",
    "processes",
    "sandbox",
    "tool_calls",
}
"""The ground: one idea each, that every folder may stand on."""
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "batch": {"errors"},
    "random": set(),
    "whole_files": {"errors", "faults"},
    "waiting": set(),
    "faults": set(),
    "child": {"errors", "waiting"},
    "compiled": {"whole_files"},
    "processes": set(),
    "worker": {"errors", "child", "processes"},
    "sandbox": {"errors", "waiting"},
    "sandbox_harness": set(),
    "tool_calls": set(),
    "formulas": set(),
    "methods": {"formulas", *SHARED},
    "models": {"formulas", *SHARED},
    "rewards": SHARED,
    "tasks": {"rewards", "worker", *SHARED},  # a task names the rewards that judge it
    "rollouts": {"tasks", "models", "rewards", *SHARED},
    "recipes": set(),
    "settings": {"methods", "tasks", "rewards", "models", "recipes", *SHARED},
    "trainers": {"settings", "formulas", "methods", "tasks", "rewards", "models", "rollouts", *SHARED},
    "runs": {"trainers", "settings", "methods", "tasks", "rewards", "models", "rollouts", *SHARED},
    "parts": {"methods", *SHARED},
    "lab": {"runs", "trainers", "settings", "methods", "tasks", "rewards", "models", "rollouts", *SHARED},
}
"""What each folder of src/rung may import beside itself. A folder not listed here (the command line, the package
itself) may import any of these; nothing listed may import it. Nobody imports `cluster`."""
HEAVY = ("transformers", "ray", "vllm", "peft", "trl", "accelerate", "datasets", "matplotlib")
LIGHT = (
    "rung",
    "rung.methods",
    "rung.methods.explain",
    "rung.methods.data",
    "rung.batch",
    "rung.errors",
    "rung.formulas",
)


def area(path: Path) -> str:
    """`formulas` for formulas/returns.py, `batch` for batch.py; paths are relative to src/rung."""
    return path.parts[0].removesuffix(".py")


def imported(tree: ast.AST) -> list[tuple[int, str]]:
    """(line, module) of every import in a file, those inside functions too; relative ones raise."""
    found: list[tuple[int, str]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0 and node.module, f"line {node.lineno}: imports are absolute"
            from_package = node.module == "rung"
            found += [(node.lineno, f"rung.{alias.name}" if from_package else node.module) for alias in node.names]
    return found


def wrong_imports(here: str, tree: ast.AST) -> list[str]:
    """What a file of this area imports and may not."""
    wrong: list[str] = []
    for line, module in imported(tree):
        package, _, rest = module.partition(".")
        there = rest.partition(".")[0]
        if package == "rung" and here in MAY_IMPORT and there not in MAY_IMPORT[here] | {here, "__version__"}:
            wrong.append(f"line {line}: rung.{here} imports {module}")
        if package == "rung" and there == "cluster" and here != "cluster":
            wrong.append(f"line {line}: nobody imports rung.cluster")
        if package in ("experiments", "benchmarks", "examples", "tests"):
            wrong.append(f"line {line}: the library imports {package}")
        allowed = {"rung", "torch", "numpy", *sys.stdlib_module_names}
        if here == "formulas" and package not in allowed:
            wrong.append(f"line {line}: a formula imports {module}; formulas import torch and numpy alone")
    return wrong


def circles(trees: dict[str, ast.Module]) -> list[set[str]]:
    """Groups of modules that import each other by whatever way, by dotted names."""
    direct = {
        name: {f"{module}.{one}" if f"{module}.{one}" in trees else module for module, one in names_imported(tree)}
        for name, tree in trees.items()
    }
    reached: dict[str, set[str]] = {}
    for name in trees:
        found, ahead = set[str](), [name]
        while ahead:
            news = (direct[ahead.pop()] & trees.keys()) - found
            found |= news
            ahead += news
        reached[name] = found
    groups = [{there for there in reached[name] if name in reached[there]} for name in trees if name in reached[name]]
    return [group for index, group in enumerate(groups) if group not in groups[:index]]


def names_imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """(module, name) of every import, those inside functions and under TYPE_CHECKING too; no name: the module alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module or "", alias.name) for alias in node.names)


def long_functions(tree: ast.AST) -> list[str]:
    functions = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    lengths = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    return [f"{name}: {length} lines" for name, length in lengths.items() if length > LONGEST_FUNCTION]


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in FILES:
        yield path.relative_to(SOURCE), ast.parse(path.read_text(encoding="utf-8"))


def test_imports_go_one_way() -> None:
    found = [f"{path}, {wrong}" for path, tree in trees() for wrong in wrong_imports(area(path), tree)]
    assert found == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    modules = {
        ".".join(("rung", *path.with_suffix("").parts)).removesuffix(".__init__"): tree for path, tree in trees()
    }
    assert circles(modules) == [], "move what they share below"


@pytest.mark.parametrize("late", ["def f():\n    {}", "if TYPE_CHECKING:\n    {}", "{}"])
def test_a_circle_is_seen(late: str) -> None:
    """Negative control: by way of a third module, of a package, inside a function and for types alone."""
    code = {
        "rung.a": "from rung.b import one",
        "rung.b": "import rung.c",
        "rung.c": late.format("from rung import a"),
        "rung": "",
        "rung.d": "from rung.a import x",
    }
    assert circles({name: ast.parse(text) for name, text in code.items()}) == [{"rung.a", "rung.b", "rung.c"}]
    code["rung.c"] = "from rung import d"
    assert circles({name: ast.parse(text) for name, text in code.items()}) == [{"rung.a", "rung.b", "rung.c", "rung.d"}]
    code["rung.c"] = "from rung import e"
    assert circles({name: ast.parse(text) for name, text in code.items()}) == []


def test_no_file_is_long() -> None:
    lengths = {path.relative_to(SOURCE): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    found = [f"{path}: {length} lines" for path, length in lengths.items() if length > LONGEST_FILE]
    assert found == [], "which two ideas share one room?"


def test_no_function_is_long() -> None:
    found = [f"{path}, {function}" for path, tree in trees() for function in long_functions(tree)]
    assert found == [], "which two ideas share one room?"


def test_annotations_are_not_evaluated() -> None:
    def says_so(tree: ast.Module) -> bool:
        return any(isinstance(node, ast.ImportFrom) and node.module == "__future__" for node in tree.body)

    def defines(tree: ast.Module) -> bool:
        return any(isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AnnAssign)) for node in tree.body)

    found = [str(path) for path, tree in trees() if defines(tree) and not says_so(tree)]
    assert found == [], "add: from __future__ import annotations"


def test_no_area_is_forgotten_and_the_rules_have_no_circle() -> None:
    areas = {area(path.relative_to(SOURCE)) for path in FILES}
    assert set(MAY_IMPORT) <= areas
    order: list[str] = []
    while len(order) < len(MAY_IMPORT):
        ready = [one for one, below in MAY_IMPORT.items() if one not in order and below <= set(order)]
        assert ready, f"a circle among {set(MAY_IMPORT) - set(order)}"
        order += ready


@pytest.mark.parametrize(
    ("here", "code", "words"),
    [
        ("formulas", "import gymnasium", "torch and numpy alone"),
        ("formulas", "from rung.batch import Batch", "rung.formulas imports rung.batch"),
        ("methods", "from rung.runs.loop import run", "rung.methods imports rung.runs.loop"),
        ("methods", "from rung import runs", "rung.methods imports rung.runs"),
        ("rollouts", "def f():\n    import rung.methods", "rung.rollouts imports rung.methods"),
        ("runs", "from rung.lab.diagnosis import diagnose", "rung.runs imports rung.lab"),
        ("runs", "import rung.cluster.ray", "nobody imports rung.cluster"),
        ("cli", "import rung.cluster", "nobody imports rung.cluster"),
        ("runs", "import benchmarks.step", "the library imports benchmarks"),
    ],
)
def test_a_wrong_import_is_seen(here: str, code: str, words: str) -> None:
    """Negative control."""
    wrong = wrong_imports(here, ast.parse(code))
    assert wrong and any(words in line for line in wrong)


def test_a_right_import_is_not_seen_and_a_long_function_is() -> None:
    code = "from rung.batch import Batch\nfrom rung.formulas import returns\nimport torch, json"
    assert wrong_imports("methods", ast.parse(code)) == []
    assert long_functions(ast.parse("def f():\n" + "    x = 1\n" * 60)) == ["f: 61 lines"]
    assert long_functions(ast.parse("def f():\n" + "    x = 1\n" * 59)) == []


def loaded_by(modules: Iterable[str], of: Iterable[str]) -> list[str]:
    """Which of these libraries a fresh interpreter has loaded after importing the modules."""
    code = f"import sys, {', '.join(modules)}; print(*[name for name in {tuple(of)!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout.split()


def test_light_modules_load_no_heavy_library() -> None:
    assert loaded_by(["rung"], ["torch", "numpy", *HEAVY]) == []
    assert loaded_by(LIGHT, HEAVY) == []
    assert loaded_by(["rung", "json"], ["json", "no_such"]) == ["json"]
