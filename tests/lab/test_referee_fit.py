"""`rung verify` finds which of rung's parts a loss is, and says what is wrong with it. Each fault is planted."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from rung.cli import app
from rung.errors import SettingsError
from rung.lab.referee.asking import ask
from rung.lab.referee.fitting import fit, gradients, without_rewards
from rung.lab.referee.measures import probes
from rung.lab.referee.verdict import nearest_preset, verify
from rung.methods import METHODS

REWARDS = ("log_probs", "rewards", "reference_log_probs")
OWN = """
import torch

def loss(log_probs, old_log_probs, reference_log_probs, advantages, mask):
    ratio = (log_probs - old_log_probs).exp()
    each = -torch.min(ratio * advantages, ratio.clamp(0.8, 1.2) * advantages)
    each = each + 0.04 * (log_probs - reference_log_probs)
    return torch.where(mask, each, 0.0).sum() / mask.sum()

def reads_padding(log_probs, advantages, mask):
    return -(advantages.sum(1) * log_probs.sum(1)).mean()

def hangs(log_probs):
    while True:
        pass

def dies(log_probs):
    import os
    os._exit(3)

def nothing(log_probs, advantages):
    return (advantages * log_probs).sum() * float("nan")
"""


@pytest.fixture
def own(tmp_path: Path) -> str:
    file = tmp_path / "my_loss.py"
    file.write_text(OWN)
    return str(file)


@pytest.mark.parametrize("name", ["grpo", *(pytest.param(name, marks=pytest.mark.slow) for name in ("gspo", "cispo"))])
def test_a_methods_own_gradients_are_fitted_by_its_own_slots(name: str) -> None:
    method, given = METHODS[name], probes()
    resting = [(without_rewards(batch), now) for batch, now in given]
    found = fit(gradients(method, given), gradients(method, resting), given, REWARDS)
    assert found.equal and found.scale == pytest.approx(1.0)
    for slot, part in found.slots.items():
        assert part == getattr(method, slot), slot
    assert found.kl == method.reference_kl
    assert nearest_preset(found, REWARDS)[1] == []


@pytest.mark.slow
def test_what_no_part_does_is_not_called_equal() -> None:
    given = probes()
    resting = [(without_rewards(batch), now) for batch, now in given]
    method = METHODS["grpo"]
    found, at_rest = gradients(method, given), gradients(method, resting)
    odd = found + 0.2 * found.roll(1)
    assert not fit(odd, at_rest, given, REWARDS).equal


def test_the_verdict_on_a_users_loss_in_sentences(own: str) -> None:
    found = CliRunner().invoke(app, ["verify", f"{own}:loss", "--json"])
    assert found.exit_code == 0, found.output
    cell = json.loads(found.stdout)["cells"]["loss"]
    assert cell["fit"]["equal"] and cell["fit"]["slots"]["aggregation"] == {"part": "PerToken"}
    assert cell["fit"]["reference_kl"]["coefficient"] == pytest.approx(0.04)
    said = " ".join(cell["sentences"])
    assert "No gradient through the KL" in said and "depends on the micro-batch" in said
    assert "Reads the padding" not in said and "order of" not in said


@pytest.mark.slow
def test_a_loss_that_reads_padding_is_told(own: str) -> None:
    found = verify("own", arguments=[own], cells=["reads_padding"])["cells"]["reads_padding"]
    assert found["depends"]["padding"] > 0.1 and "Reads the padding" in " ".join(found["sentences"])


BATCH = {"log_probs": torch.zeros(1, 1), "mask": torch.ones(1, 1, dtype=torch.bool)}


@pytest.mark.slow
def test_code_that_hangs_is_stopped(own: str) -> None:
    with pytest.raises(SettingsError, match="no answer within 8 s"):
        ask("own", [BATCH], arguments=[own], cells=["hangs"], deadline_s=8)


def test_code_that_dies_or_is_not_there_is_told(own: str) -> None:
    with pytest.raises(SettingsError, match="exit code 3"):
        ask("own", [BATCH], arguments=[own], cells=["dies"])
    with pytest.raises(SettingsError, match="cannot be started"):
        ask("own", [BATCH], python="/no/such/python", arguments=[own])


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["verify", "tlr"], "did you mean 'trl'"),
        (["verify"], "expected a library"),
        (["verify", "trl", "--python", "tlr=python"], "did you mean 'trl'"),
        (["verify", "none.py:loss"], "there is no file"),
    ],
)
def test_mistakes_on_the_command_line_are_told(arguments: list[str], says: str) -> None:
    found = CliRunner().invoke(app, arguments)
    assert found.exit_code == 2 and says in found.output


def test_an_adapter_imports_nothing_of_rungs() -> None:
    folder = Path(sys.modules["rung.lab.referee.asking"].__file__ or "").parent / "adapters"
    files = list(folder.glob("*.py"))
    assert len(files) > 10
    assert [file.name for file in files if "import rung" in file.read_text() or "from rung" in file.read_text()] == []
