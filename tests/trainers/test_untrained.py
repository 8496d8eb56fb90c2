"""Whether a model is untrained, and the warning where values are to be read from one that has."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from rung.cli import app
from rung.models.language.tiny import tiny_model
from rung.tasks.load import load_text_task
from rung.trainers.q_learning.untrained import is_fresh

TASK = ("--task", "copying", "--set", "task.symbols=8")


def check(model: Path | str, method: str = "dqn") -> str:
    """What `rung check` says of a run that begins with this model, in one line."""
    answer = CliRunner().invoke(app, ["check", method, "--model", str(model), "--recipe", "none", *TASK])
    assert answer.exit_code == 0, answer.output
    return " ".join(answer.stdout.split())


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fresh")
    characters = load_text_task("copying", symbols=8).characters
    assert characters is not None
    tiny_model(3, characters=characters, layers=1, width=16).save(folder)
    return folder


@pytest.fixture
def trained(fresh: Path, tmp_path: Path) -> Path:
    """The fresh model after one step of AdamW, as `final` of a folder."""
    from rung.models.language.load import load_policy

    policy = load_policy(str(fresh), device="cpu")
    optimizer = torch.optim.AdamW(policy.trainable().values(), lr=1e-6)
    policy.model(torch.tensor([[5, 6, 7]])).logits.square().mean().backward()
    optimizer.step()
    policy.save(tmp_path / "final")
    return tmp_path / "final"


def test_one_step_of_training_shows_in_the_norms(fresh: Path, trained: Path, tmp_path: Path) -> None:
    assert is_fresh(fresh) and not is_fresh(trained)
    assert not is_fresh(tmp_path / "nothing here")
    (tmp_path / "model.safetensors").write_bytes(b"not weights")
    assert not is_fresh(tmp_path)


def test_dqn_on_text_warns_of_outputs_that_are_logits(fresh: Path, trained: Path) -> None:
    words = "outputs are logits, and read as values of tokens they mean nothing"
    assert f"warning model: '{trained}' has been trained, as far as its files tell: its {words}" in check(trained)
    tiny = check("tiny")
    assert f"warning model: 'tiny' was trained on worked examples: its {words}" in tiny
    assert "`rung sft --model tiny --task copying --set task.symbols=8 --set steps=0 --out fresh`" in tiny
    assert "warning" not in check(fresh)
    assert words not in check(trained, "reinforce"), "a policy gradient begins with what the model can do"


def test_a_model_that_learnt_values_goes_on_with_them(fresh: Path, trained: Path) -> None:
    settings = trained.parent / "settings.yaml"
    settings.write_text(f"model: {fresh}\nmethod: dqn\ntask: copying\n")
    assert "warning" not in check(trained)
    for text in (f"model: {fresh}\nmethod: reinforce\ntask: copying\n", "what: [is this\n"):
        settings.write_text(text)
        assert "its outputs are logits" in check(trained)


def test_the_command_it_names_makes_such_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    few = ("--set", "evaluation_items=1", "--set", "max_new_tokens=1")
    answer = CliRunner().invoke(app, ["sft", "--model", "tiny", *TASK, "--set", "steps=0", "--out", "fresh", *few])
    assert answer.exit_code == 0 and "nan" not in answer.stdout, answer.output
    assert "warning" not in check("fresh/final")
    shutil.rmtree("fresh")
