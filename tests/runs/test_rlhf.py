"""RLHF's stages: each in its own folder, none done twice, one that was stopped goes on to the same end."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from pairs import written_pairs

from rung.errors import DataError, SettingsError
from rung.models.language.folder import is_reward_model
from rung.models.language.tiny import tiny_model
from rung.runs.recipes.rlhf import RLHF, rlhf

SETS = (
    *("sft.steps=2", "sft.evaluation_items=2", "sft.max_new_tokens=4"),
    *("reward_model.steps=2", "reward_model.method.pairs_per_step=4", "reward_model.reporting.page=false"),
    *("policy.steps=2", "policy.method.samples_per_prompt=2", "policy.prompts_per_step=2", "policy.max_new_tokens=4"),
    *("policy.evaluation.num_items=2", "policy.reporting.page=false", "policy.saving.every=1"),
)


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> RLHF:
    folder = tmp_path_factory.mktemp("asked")
    tiny_model(0).save(folder / "model")
    pairs = written_pairs(folder / "pairs.jsonl")
    return RLHF(model=str(folder / "model"), task="arithmetic", method="grpo", pairs=str(pairs), sets=SETS)


@pytest.fixture(scope="module")
def whole(asked: RLHF, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder, said = tmp_path_factory.mktemp("whole") / "out", []
    assert rlhf(asked, folder, quiet=True, say=said.append) == 0
    return folder, said


def test_every_stage_leaves_its_folder(asked: RLHF, whole: tuple[Path, list[str]]) -> None:
    folder, said = whole
    assert [line.partition(":")[0] for line in said if line.startswith("stage")] == [
        *("stage 1, sft", "stage 2, pairs", "stage 3, reward_model", "stage 4, policy")
    ]
    assert is_reward_model(folder / "reward_model" / "final") and (folder / "policy" / "final").is_dir()
    rows = [json.loads(line) for line in (folder / "policy" / "metrics.jsonl").read_text().splitlines()]
    assert rows[1]["reward/mean"] == rows[1]["reward/reward_model"] and "reward/correct" in rows[1]
    settings = (folder / "policy" / "settings.yaml").read_text()
    assert str(folder / "sft" / "final") in settings


def test_what_is_done_is_not_done_again(asked: RLHF, whole: tuple[Path, list[str]]) -> None:
    folder, _ = whole
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    said: list[str] = []
    assert rlhf(asked, folder, quiet=True, say=said.append) == 0
    assert sum("done before" in line for line in said) == 3
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_stage_that_was_stopped_goes_on_to_the_same_end(asked: RLHF, whole: tuple[Path, list[str]]) -> None:
    folder, _ = whole
    final = folder / "policy" / "final" / "model.safetensors"
    before = final.read_bytes()
    shutil.rmtree(folder / "policy" / "final")
    shutil.rmtree(folder / "policy" / "checkpoints" / "step_000002")
    said: list[str] = []
    assert rlhf(asked, folder, quiet=True, say=said.append) == 0
    assert said[-1] == "stage 4, policy: goes on" and final.read_bytes() == before


def test_another_request_or_a_wrong_one_is_refused(asked: RLHF, whole: tuple[Path, list[str]], tmp_path: Path) -> None:
    folder, _ = whole
    with pytest.raises(SettingsError, match="another request: method was 'grpo', is 'rloo'"):
        rlhf(RLHF(**{**vars(asked), "method": "rloo"}), folder, quiet=True)
    wrong = RLHF(**{**vars(asked), "method": "grop", "sets": ("polciy.steps=1", "pairs.k=1", "policy.steps=-1")})
    with pytest.raises(SettingsError) as caught:
        rlhf(wrong, tmp_path / "new", quiet=True)
    problems = "\n".join(caught.value.problems)
    assert "did you mean 'policy'" in problems and "did you mean 'grpo'" in problems
    assert "pairs: --set k: got 1" in problems and "policy: --set steps: got -1" in problems
    assert not (tmp_path / "new").exists()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(SettingsError, match=r"is not empty and holds no rlhf\.json"):
        rlhf(asked, tmp_path / "full", quiet=True)
    (tmp_path / "full" / "rlhf.json").write_text('{"model": "m"}')
    with pytest.raises(SettingsError, match=r"its rlhf\.json is not what rung rlhf writes"):
        rlhf(asked, tmp_path / "full", quiet=True)


def test_what_a_later_stage_would_refuse_is_found_before_the_first(asked: RLHF, tmp_path: Path) -> None:
    wrong = RLHF(**{**vars(asked), "method": "dpo", "task": "CartPole-v1", "pairs": str(tmp_path / "gone.jsonl")})
    with pytest.raises(SettingsError) as caught:
        rlhf(wrong, tmp_path / "new", quiet=True)
    problems = "\n".join(caught.value.problems)
    assert "--method: got 'dpo', which learns from pairs" in problems and "rung train dpo --task" in problems
    assert "'CartPole-v1' is an environment, expected a text task" in problems
    assert "--pairs: there is no file" in problems
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"prompt": "1+1=", "chosen": "2"}\n')
    with pytest.raises(DataError, match=r"bad\.jsonl:1: has no column 'rejected'"):
        rlhf(RLHF(**{**vars(asked), "pairs": str(bad)}), tmp_path / "new", quiet=True)
    assert not (tmp_path / "new").exists()


def test_what_no_stage_has_used_yet_may_be_asked_for_otherwise(
    asked: RLHF, whole: tuple[Path, list[str]], tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    shutil.copytree(whole[0], folder)
    shutil.rmtree(folder / "policy")
    other = RLHF(**{**vars(asked), "method": "rloo", "sets": (*SETS, "policy.seed=3")})
    assert rlhf(other, folder, quiet=True, say=lambda line: None) == 0
    assert "name: rloo" in (folder / "policy" / "settings.yaml").read_text()
    with pytest.raises(SettingsError, match=r"another request: --set policy\.seed=3 is missing$"):
        rlhf(RLHF(**{**vars(other), "sets": SETS}), folder, quiet=True)
    with pytest.raises(SettingsError, match=r"--set reward_model\.seed=1 is new$"):
        rlhf(RLHF(**{**vars(other), "sets": (*other.sets, "reward_model.seed=1")}), folder, quiet=True)
    with pytest.raises(SettingsError, match="seed was 0, is 1"):
        rlhf(RLHF(**{**vars(other), "seed": 1}), folder, quiet=True)
