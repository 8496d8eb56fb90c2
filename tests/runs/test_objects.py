"""Objects from Python: trained, asked for on resume, evaluated and compared; names and objects are the same run."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar

import gymnasium
import numpy as np
import pytest
import torch

import rung
from rung import DAPO, GRPO, SettingsError, parts
from rung.models.language.tiny import tiny_model
from rung.rewards.reward import WeightedReward
from rung.rewards.rules import NumberEquals
from rung.tasks.task import Item, TextTask

SMALL: dict[str, Any] = {
    "prompts_per_step": 2,
    "max_new_tokens": 4,
    "evaluation": {"num_items": 2, "num_samples": 1, "every": 1},
    "learner": {"threads": 1},
    "reporting": {"page": False},
    "saving": {"every": 1},
    "quiet": True,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model") / "tiny"
    tiny_model(0).save(folder)
    return str(folder)


def rows(run: rung.SavedRun) -> list[dict[str, Any]]:
    return [dict(row) for row in run.metrics()]


@dataclasses.dataclass(frozen=True)
class Centred:
    """Returns less the batch's mean, shrunk."""

    share: Annotated[float, parts.SHARE] = 0.5
    needs_group: ClassVar[bool] = True

    def __call__(self, batch: rung.Batch) -> torch.Tensor:
        returns_B = batch.returns_B()
        return self.share * (returns_B - returns_B.mean())[:, None] * batch.action_mask_BT


MINE = GRPO.changed(name="mine", summary="Centred.", advantage=Centred(), samples_per_prompt=2)


def short(prompts: Sequence[str], completions: Sequence[str], **columns: Any) -> list[float]:
    return [float(len(text)) for text in completions]


def test_a_method_object_is_the_run_of_its_settings(model: str, tmp_path: Path) -> None:
    method = DAPO.changed(samples_per_prompt=2, num_minibatches=1)
    one = rung.train(model=model, method=method, task="arithmetic", steps=2, out=tmp_path / "object", **SMALL)
    named = {"name": "dapo", "samples_per_prompt": 2, "num_minibatches": 1}
    two = rung.train(model=model, method=named, task="arithmetic", steps=2, out=tmp_path / "name", **SMALL)
    assert (
        rows(one) == rows(two)
        and (tmp_path / "object/settings.yaml").read_text() == (tmp_path / "name/settings.yaml").read_text()
    )


def test_own_parts_and_rewards_are_asked_for_and_then_go_on_the_same(model: str, tmp_path: Path) -> None:
    asked = {"model": model, "method": MINE, "task": "arithmetic", "rewards": [short], **SMALL}
    whole = rung.train(steps=3, out=tmp_path / "whole", **asked)
    cut = rung.train(steps=2, out=tmp_path / "cut", **asked)
    with pytest.raises(SettingsError, match=r"resume\(folder, parts=\[Centred\]\)"):
        rung.resume(cut.folder, {"steps": 3})
    with pytest.raises(SettingsError, match=r"given:short.*resume\(folder, rewards=\[short\]\)"):
        rung.resume(cut.folder, {"steps": 3}, parts=[Centred])
    again = rung.resume(cut.folder, {"steps": 3}, parts=[Centred], rewards=[short], quiet=True)
    assert rows(again) == rows(whole)
    assert rung.open(cut.folder, parts=[Centred]).settings.resolved_method() == MINE
    assert "share" in rung.explain(MINE) and [one.slot for one in rung.difference(GRPO, MINE)][:1] == [
        "samples_per_prompt"
    ]


def test_a_models_weights_in_memory_are_trained_and_asked_for(model: str, tmp_path: Path) -> None:
    policy = rung.load_policy(model)
    start = {name: value.clone() for name, value in policy.model.state_dict().items()}
    pair = (policy.model, policy.tokenizer)
    run = rung.train(
        model=pair, method=MINE, task="arithmetic", rewards=[short], steps=1, out=tmp_path / "run", **SMALL
    )
    named = rung.train(
        model=model, method=MINE, task="arithmetic", rewards=[short], steps=1, out=tmp_path / "named", **SMALL
    )
    assert rows(run) == rows(named)
    assert any(not torch.equal(value, start[name]) for name, value in policy.model.state_dict().items())
    with pytest.raises(SettingsError, match=r"model: got 'given:.*hand it in again"):
        rung.resume(run.folder, {"steps": 2}, parts=[Centred], rewards=[short])


def task_of(name: str = "doubling") -> TextTask:
    items = tuple(Item(id=f"d{n}", prompt=f"{n}+{n}=", columns={"answer": 2 * n}) for n in range(1, 9))
    return TextTask(name=name, train=items[:6], held_out=items[6:], rewards=(WeightedReward(reward=NumberEquals()),))


def test_a_task_object_is_trained_and_evaluated(model: str, tmp_path: Path) -> None:
    run = rung.train(
        model=model, method="grpo", task=task_of(), samples_per_prompt=2, steps=1, out=tmp_path / "r", **SMALL
    )
    assert "given:doubling" in (run.folder / "settings.yaml").read_text()
    found = rung.evaluate(run, task_of(), k=2, items=2)
    assert found.items == 2 and found.k == 2
    assert rung.evaluate(run.policy(), task_of(), k=2, items=2, max_new_tokens=4, temperature=0.0).items == 2
    with pytest.raises(SettingsError, match=r"task: got 'given:doubling'"):
        rung.resume(run.folder, {"steps": 2})


class Corridor(gymnasium.Env[np.ndarray, int]):
    """Go right five times."""

    observation_space = gymnasium.spaces.Box(-1.0, 1.0, (1,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, length: int = 5) -> None:
        self.length, self.at = length, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.at = 0
        return self._seen(), {}

    def step(self, action: int) -> Any:
        self.at += 1 if action else -1
        over = abs(self.at) >= self.length
        return self._seen(), float(self.at >= self.length), over, False, {}

    def _seen(self) -> np.ndarray:
        return np.array([self.at / self.length], np.float32)


def test_the_tiny_model_is_not_made_for_a_task_object(tmp_path: Path) -> None:
    items = tuple(Item(id=str(n), prompt=f"{n}+{n}=", columns={}) for n in range(4))
    task = TextTask(name="doubling", train=items[:2], held_out=items[2:], rewards=())
    with pytest.raises(SettingsError, match=r"model: 'tiny'.*doubling is an object.*\(model, tokenizer\)"):
        rung.train(model="tiny", method="grpo", task=task, rewards=[short], steps=1, out=tmp_path / "a", **SMALL)


@pytest.mark.parametrize("task", [lambda: Corridor(4), Corridor, Corridor(4)], ids=["function", "class", "object"])
def test_an_environment_of_ones_own(task: Any, tmp_path: Path) -> None:
    asked = {
        "num_environments": 2,
        "horizon": 16,
        "num_minibatches": 2,
        "evaluation": {"num_items": 2, "every": 1},
        "quiet": True,
    }
    limited = {"name": task, "max_episode_steps": 50}
    run = rung.train(method="ppo", task=limited, steps=2, out=tmp_path / "run", **asked)
    again = rung.resume(run.folder, {"steps": 3}, task=task, quiet=True)
    whole = rung.train(method="ppo", task=limited, steps=3, out=tmp_path / "whole", **asked)
    assert rows(again) == rows(whole)


def test_compare_takes_methods(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = rung.compare(
        ["grpo", MINE],
        model=model,
        task="arithmetic",
        budget={"tokens": 40},
        seeds=2,
        out=tmp_path / "c",
        say=lambda line: None,
        **{key: value for key, value in SMALL.items() if key not in ("quiet", "reporting")},
    )
    assert [row["method"] for row in data["methods"]] == ["grpo", "mine"]
    assert all(not row["failed"] and len(row["seeds"]) == 2 for row in data["methods"])
    assert (tmp_path / "c" / "comparison.html").is_file()
    assert capsys.readouterr().out == "", "what the runs say goes into their logs"
    assert "held-out score" in next((tmp_path / "c" / "logs").iterdir()).read_text()


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ({"tokns": 3}, "budget.tokns: unknown key; did you mean 'tokens'"),
        ({"tokens": "many"}, "budget.tokens: got 'many', expected a whole number"),
        ("tokens=2M", "budget: got 'tokens=2M', expected one limit"),
        ({3: 4}, "budget"),
        ({}, "budget: got {}, expected one limit"),
        (None, "budget: got None, expected one limit"),
    ],
)
def test_a_wrong_budget_is_told_in_words(budget: Any, words: str) -> None:
    with pytest.raises(SettingsError) as told:
        rung.compare(["grpo"], model="tiny", task="arithmetic", budget=budget)
    assert str(told.value).startswith(words)


def test_what_is_wrong_is_said_with_the_nearest_name(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"stepz: unknown key; did you mean 'steps'"):
        rung.train(model="tiny", method="grpo", task="arithmetic", stepz=3, out=tmp_path / "x")
    with pytest.raises(SettingsError, match=r"expected rung\.Settings"):
        rung.train("tiny", "grpo")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="a resumed run keeps its settings"):
        rung.resume(tmp_path, steps=3)
    assert not (tmp_path / "x").exists()


def test_a_loop_of_ones_own_is_the_same_run(model: str, tmp_path: Path) -> None:
    asked = {"model": model, "method": MINE, "task": "arithmetic", "rewards": [short]}
    small = {key: value for key, value in SMALL.items() if key != "quiet"}
    run = rung.train(steps=2, out=tmp_path / "run", quiet=True, **asked, **small)
    trainer = rung.trainer(steps=2, **asked, **small)
    steps = [trainer.step() for _ in range(2)]
    assert [step.loss for step in steps] == [row["loss"] for row in rows(run)[1:]]
    assert trainer.evaluate().mean == run.score and steps[0].batch is not None
    trainer.save(tmp_path / "model")
    trainer.close()
    saved, ours = (rung.load_policy(str(folder)) for folder in (tmp_path / "run/final", tmp_path / "model"))
    assert all(
        torch.equal(one, two)
        for one, two in zip(saved.model.state_dict().values(), ours.model.state_dict().values(), strict=True)
    )


def test_a_folder_is_a_path_or_a_text(model: str, tmp_path: Path) -> None:
    """Whatever has a public name and takes a folder takes it as text too."""
    taken = [rung.trainer, rung.Trainer.save, rung.Trainer.film, rung.train, rung.resume, rung.open]
    few = {key: value for key, value in SMALL.items() if key != "quiet"}
    trainer = rung.trainer(model=model, method="grpo", task="arithmetic", folder=str(tmp_path / "run"), **few)
    trainer.save(str(tmp_path / "saved"))
    trainer.close()
    assert (tmp_path / "saved/config.json").is_file()
    small = rung.trainer(method="ppo", task="CartPole-v1", learner={"threads": 1})
    small.save(str(tmp_path / "small"))
    small.close()
    assert list((tmp_path / "small").glob("*.safetensors"))
    for one in taken:
        names = {name: str(at.annotation) for name, at in inspect.signature(one).parameters.items()}
        assert not {name for name, kind in names.items() if "Path" in kind and "str" not in kind}, one
