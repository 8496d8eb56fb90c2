"""Reward models as rewards: one in a folder, or several as an ensemble."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pairs import written_pairs

from rung.errors import SettingsError
from rung.models.language.reward_model import RewardModel
from rung.models.language.tiny import tiny_model
from rung.rewards.judge import Judge
from rung.runs.recipes.rlhf import RLHF, rlhf
from rung.settings.schema import RewardSettings
from rung.tasks.load import load_text_task
from rung.tasks.pairs import pair_task
from rung.trainers.build import rewards_of
from rung.trainers.preferences.reward_model import learned_rewards, reward_folders


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three reward models that differ in their heads: two in runs' folders, one as it is."""
    folder = tmp_path_factory.mktemp("several")
    for number, place in enumerate(("0/final", "2/final", "10")):
        RewardModel(tiny_model(0), seed=number).save(folder / place)
    (folder / "notes").mkdir()
    return folder


def test_an_ensembles_members_stand_in_the_order_of_their_numbers(ensemble: Path) -> None:
    assert reward_folders(str(ensemble)) == [ensemble / "0" / "final", ensemble / "2" / "final", ensemble / "10"]
    assert reward_folders(str(ensemble / "0")) == reward_folders(str(ensemble / "0" / "final"))
    assert reward_folders(str(ensemble / "notes")) == reward_folders(str(ensemble / "gone")) == []
    assert [one.name for one in learned_rewards(str(ensemble), "kind")] == ["kind.0", "kind.1", "kind.2"]
    assert [one.name for one in learned_rewards(str(ensemble / "10"), "kind")] == ["kind"]
    with pytest.raises(SettingsError, match="notes holds no reward model"):
        learned_rewards(str(ensemble / "notes"), "kind")


def test_its_reward_is_the_mean_of_its_members_scores(ensemble: Path) -> None:
    task = load_text_task("arithmetic")
    items, answers = task.train[:3], ["12\n", "7\n", "1\n"]

    def judged(folder: Path, weight: float) -> list[float]:
        rewards = rewards_of([RewardSettings(function=str(folder), weight=weight)], task)
        with Judge(rewards) as judge:
            found = judge(items, answers)
        assert all(judgement.total is not None for judgement in found)
        return [judgement.total or 0.0 for judgement in found]

    alone = [judged(folder, 1.0) for folder in reward_folders(str(ensemble))]
    assert len({tuple(scores) for scores in alone}) == 3, "the members differ"
    means = [2.0 * sum(scores) / 3 for scores in zip(*alone, strict=True)]
    assert judged(ensemble, 2.0) == pytest.approx(means, abs=1e-6)


def test_pairs_are_drawn_again_with_replacement(tmp_path: Path) -> None:
    file = written_pairs(tmp_path / "pairs.jsonl")
    whole, first, same, other = (pair_task(file, resample=seed) for seed in (None, 1, 1, 2))
    assert first == same != other and first.held_out == whole.held_out
    assert len(first.train) == len(whole.train) and set(first.train) < set(whole.train)


def test_rlhf_learns_several_and_goes_on_with_them(tmp_path: Path) -> None:
    tiny_model(0).save(tmp_path / "model")
    pairs = written_pairs(tmp_path / "pairs.jsonl")
    asked = RLHF(
        model=str(tmp_path / "model"),
        task="arithmetic",
        method="grpo",
        pairs=str(pairs),
        reward_models=2,
        sets=(
            *("sft.steps=1", "sft.evaluation_items=2", "sft.max_new_tokens=4", "reward_model.steps=1"),
            *("reward_model.method.pairs_per_step=4", "reward_model.reporting.page=false", "policy.steps=1"),
            *("policy.method.samples_per_prompt=2", "policy.prompts_per_step=2", "policy.max_new_tokens=4"),
            *("policy.evaluation.num_items=2", "policy.reporting.page=false"),
        ),
    )
    out, said = tmp_path / "out", list[str]()
    assert rlhf(asked, out, quiet=True, say=said.append) == 0
    assert [line for line in said if "reward_model" in line] == [
        *("stage 3, reward_model 0", "stage 3, reward_model 1")
    ]
    weights = [(out / "reward_model" / name / "final" / "model.safetensors").read_bytes() for name in ("0", "1")]
    assert weights[0] != weights[1]
    (row,) = [json.loads(line) for line in (out / "policy" / "metrics.jsonl").read_text().splitlines()][1:]
    members = [row[f"reward/reward_model.{number}"] for number in (0, 1)]
    assert row["reward/mean"] == pytest.approx(sum(members) / 2) and members[0] != members[1]
    with pytest.raises(SettingsError, match="reward_models was 2, is 3"):
        rlhf(RLHF(**{**vars(asked), "reward_models": 3}), out, quiet=True)
