"""The public names: each is there, loads lazily, and has its types in the stub beside it."""

from __future__ import annotations

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import rung

ROOT = Path(__file__).parents[1]
DOWNSTREAM = Path(__file__).parent / "downstream"


def stubbed() -> dict[str, str]:
    """The stub's names, each with the module that it comes from."""
    tree = ast.parse((ROOT / "src" / "rung" / "__init__.pyi").read_text(encoding="utf-8"))
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name: str(node.module) for node in imports for alias in node.names}


def test_every_name_is_there_and_the_stub_says_where_it_comes_from() -> None:
    names = stubbed()
    assert sorted(names) == rung.__all__
    for name, module in names.items():
        found = getattr(rung, name)
        if name != "parts":
            assert getattr(sys.modules[module], name) is found, name


def test_what_people_reach_for_is_among_them() -> None:
    asked = "train resume evaluate compare open trainer Settings Trainer Step Kind parts PPO DAPO DPO TRPO DQN Batch "
    asked += "Episode SettingsError Observer Sampler TextTask"
    assert set(asked.split()) <= set(rung.__all__)
    assert not {"torch", "math", "Any", "advantages", "dataclass"} & set(dir(rung.parts))
    assert {"GAE", "SHARE", "Advantage"} <= set(rung.parts.__all__) == set(dir(rung.parts))
    assert {"Advantage", "Objective", "Aggregation", "Optimizer", "GroupFilter"} <= set(dir(rung.parts))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trane'"):
        _ = rung.trane


@pytest.mark.parametrize("wrong", [False, True], ids=["as it is", "with a mistake"])
def test_a_project_downstream_type_checks_strictly(tmp_path: Path, wrong: bool) -> None:
    shutil.copytree(DOWNSTREAM, tmp_path / "downstream")
    project = tmp_path / "downstream"
    if wrong:
        file = project / "own_part.py"
        file.write_text(file.read_text().replace("def score(prompts: Sequence[str]", "def score(prompts: int"))
        file.write_text(file.read_text() + "\nMISTAKEN: int = rung.train(model='tiny').score\n")
    (project / "pyrightconfig.json").write_text(
        f'{{"typeCheckingMode": "strict", "extraPaths": ["{ROOT / "src"}"], "pythonVersion": "3.11"}}'
    )
    command = [str(Path(sys.executable).with_name("pyright")), "--pythonpath", sys.executable, "-p", str(project)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert (done.returncode == 0) is not wrong, done.stdout[-3000:]
