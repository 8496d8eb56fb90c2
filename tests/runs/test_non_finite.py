"""Numbers that are not finite: an update that makes them ends the run in words, and none of them reaches the disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from pairs import written_pairs
from safetensors.torch import load_file

from rung.errors import NonFiniteError
from rung.models.language.load import load_policy
from rung.models.language.tiny import tiny_model
from rung.models.state import require_finite
from rung.runs import checkpoint
from rung.runs.recipes.sft import sft
from rung.runs.run import train
from rung.settings import SFTSettings, TaskSettings, settings_from
from rung.trainers.policy_gradient.learner import Learner

RATE = 1e39
"""Beyond float32; optimizers of torch raise, or write infinities."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    tiny_model(0, layers=1, width=16).save(folder)
    return folder


def settings(model: Path, task: dict[str, Any], method: dict[str, Any]) -> Any:
    text = {"prompts_per_step": 2, "max_new_tokens": 4} if "pairs_per_step" not in method else {}
    return settings_from(
        {
            "model": str(model),
            "task": task,
            "method": method,
            "steps": 4,
            **text,
            "evaluation": {"items": 2, "every": 0},
            "saving": {"every": 1},
            "learner": {"threads": 1},
            "reporting": {"page": False},
        }
    )


def grpo(model: Path, rate: float) -> Any:
    method = {"name": "grpo", "samples_per_prompt": 2, "optimizer": {"learning_rate": rate}}
    return settings(model, {"name": "arithmetic"}, method)


def tensors(folder: Path) -> dict[str, torch.Tensor]:
    return {f"{file}/{name}": t for file in folder.rglob("*.safetensors") for name, t in load_file(file).items()}


def poisoned_at(step: int, monkeypatch: pytest.MonkeyPatch, poison: Any) -> None:
    real = Learner.update

    def update(self: Learner, batch: Any, number: int, progress: float = 0.0) -> Any:
        done = real(self, batch, number, progress)
        if number == step:
            poison(self)
        return done

    monkeypatch.setattr(Learner, "update", update)


@torch.no_grad()
def _infinite_weight(learner: Learner) -> None:
    next(iter(learner.optimized.parameters)).view(-1)[3] = torch.inf


def _infinite_state(learner: Learner) -> None:
    assert learner.optimizer is not None
    next(iter(learner.optimizer.state.values()))["exp_avg_sq"].view(-1)[3] = torch.inf


@pytest.mark.parametrize(
    ("poison", "why"),
    [
        (
            _infinite_weight,
            r"step 3: after its update the weights hold NaN .*: 1 of .*learning_rate",
        ),
        (_infinite_state, r"step 3: the checkpoint's optimizer hold NaN or infinity: 1 of "),
    ],
)
def test_the_last_good_checkpoint_stays(
    poison: Any, why: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poisoned_at(3, monkeypatch, poison)
    with pytest.raises(NonFiniteError, match=why):
        train(grpo(model, 1e-3), tmp_path / "run", quiet=True)
    found, refused = checkpoint.newest(tmp_path / "run" / "checkpoints")
    assert found is not None and found.step == 2 and not refused
    held = tensors(tmp_path / "run")
    assert held and all(bool(t.isfinite().all()) for t in held.values() if t.is_floating_point())
    assert not (tmp_path / "run" / "final").exists()


@pytest.mark.parametrize("rate", [RATE, 3e38])
@pytest.mark.parametrize("method", ["grpo", "dpo", "reward_model"])
def test_an_enormous_rate_leaves_nothing_infinite(method: str, rate: float, model: Path, tmp_path: Path) -> None:
    asked = grpo(model, rate)
    if method != "grpo":
        optimizer = {"learning_rate": rate, "warmup_steps": 0}
        pairs = {"name": str(written_pairs(tmp_path / "pairs.jsonl")), "held_out": 0.2}
        asked = settings(model, pairs, {"name": method, "pairs_per_step": 4, "optimizer": optimizer})
    with pytest.raises(NonFiniteError):
        train(asked, tmp_path / "run", quiet=True)
    assert all(bool(t.isfinite().all()) for t in tensors(tmp_path / "run").values() if t.is_floating_point())
    assert not (tmp_path / "run" / "final").exists()


def test_sft_ends_too_and_leaves_no_model(model: Path, tmp_path: Path) -> None:
    asked = SFTSettings(
        model=str(model), task=TaskSettings(name="arithmetic"), steps=3, learning_rate=RATE, warmup_steps=0
    )
    with pytest.raises(NonFiniteError):
        sft(asked, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run" / "final").exists()


def test_a_sum_that_is_too_large_is_no_infinity(model: Path) -> None:
    require_finite("they", {"a": torch.full((9,), 3e38), "b": torch.arange(3), "c": torch.zeros(0)})
    weights = load_policy(str(model)).weights()
    require_finite("they", weights)
    for bad in (torch.nan, torch.inf, -torch.inf):
        changed = {**weights, "model.norm.weight": torch.tensor([1.0, bad])}
        with pytest.raises(NonFiniteError, match=r"they hold NaN .*: 1 of .* first in model\.norm\.weight"):
            require_finite("they", changed)
