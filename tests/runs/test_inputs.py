"""A run goes on with what it began with, or says what is not as it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rung.errors import CheckpointError, RungError, SettingsError
from rung.library import resume, train
from rung.models.language.tiny import tiny_model
from rung.trainers import inputs

REWARD = "import beside\n\ndef score(completions):\n    return [beside.LONG * float(len(it)) for it in completions]\n"


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of one step, and all that it is made of."""
    root = tmp_path_factory.mktemp("begun")
    tiny_model(0).save(root / "model")
    (root / "reward.py").write_text(REWARD)
    (root / "beside.py").write_text("LONG = 1.0\n")
    rows = [json.dumps({"prompt": f"{n}+1=", "answer": str(n + 1)}) for n in range(12)]
    (root / "rows.jsonl").write_text("\n".join(rows) + "\n")
    begin(root)
    return root


def begin(root: Path, **more: Any) -> None:
    settings: dict[str, Any] = {
        "model": str(root / "model"),
        "method": "reinforce",
        "task": {"name": str(root / "rows.jsonl"), "held_out": 0.2},
        "rewards": [f"{root / 'reward.py'}:score"],
        "lora": {"rank": 2},
        "steps": 1,
        "prompts_per_step": 2,
        "max_new_tokens": 3,
        "evaluation": {"num_items": 1},
        "reporting": {"page": False},
    }
    train(out=root / "run", quiet=True, **{**settings, **more})


@pytest.fixture
def copy(begun: Path, tmp_path: Path) -> Path:
    """The same at another place, so that a test may change it; its checkpoint would be of the other, so it has none."""
    for file in shutil.copytree(begun, tmp_path / "copy").glob("run/*.*"):
        if file.suffix in (".json", ".yaml"):
            file.write_text(file.read_text().replace(str(begun), str(tmp_path / "copy")))
    shutil.rmtree(tmp_path / "copy" / "run" / "checkpoints")
    return tmp_path / "copy"


def weights(root: Path) -> None:
    tiny_model(1).save(root / "model")


def template(root: Path) -> None:
    (root / "model" / "chat_template.jinja").write_text("{{ messages[0]['content'] }}!")


def row(root: Path) -> None:
    file = root / "rows.jsonl"
    file.write_text(file.read_text().replace('"5"', '"6"'))


def reward(root: Path) -> None:
    (root / "reward.py").write_text(REWARD.replace("float(", "2 * float("))


def helper(root: Path) -> None:
    (root / "beside.py").write_text("LONG = 2.0\n")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (weights, r"the weights of the model .* changed since"),
        (template, r"the tokenizer of the model .*, or its chat template changed since"),
        (row, r"the rows of .*rows\.jsonl changed since"),
        (reward, r"the code in reward\.py changed since"),
        (helper, r"the code in reward\.py changed since"),
    ],
)
def test_what_decides_a_run_and_changed_is_refused_by_name(
    copy: Path, change: Callable[[Path], None], words: str
) -> None:
    change(copy)
    with pytest.raises(CheckpointError, match=f"this run cannot go on: {words}.* Put back what was there"):
        resume(copy / "run", {"steps": 2}, quiet=True)


def test_what_did_not_change_goes_on(copy: Path) -> None:
    assert resume(copy / "run", {"steps": 2}, quiet=True).step == 2


@pytest.mark.parametrize(
    "edit", [("seed: 0", "seed: 5"), ("max_new_tokens: 3", "max_new_tokens: 4"), ("rank: 2", "rank: 3")]
)
def test_settings_that_were_edited_by_hand_are_refused_by_name(copy: Path, edit: tuple[str, str]) -> None:
    file = copy / "run" / "settings.yaml"
    assert edit[0] in file.read_text()
    file.write_text(file.read_text().replace(*edit))
    with pytest.raises(SettingsError, match=rf"{edit[1].split(':')[0]}: settings\.yaml says {edit[1][-1]}.*began with"):
        resume(copy / "run", {"steps": 2}, quiet=True)


def test_settings_that_may_change_may_be_edited_by_hand(copy: Path) -> None:
    file = copy / "run" / "settings.yaml"
    file.write_text(file.read_text().replace("\nsteps: 1\n", "\nsteps: 2\n"))
    assert resume(copy / "run", quiet=True).step == 2


def test_a_checkpoint_of_another_run_is_refused(copy: Path, begun: Path) -> None:
    shutil.copytree(begun / "run" / "checkpoints", copy / "run" / "checkpoints")
    with pytest.raises(CheckpointError, match=r"step_000001: is a checkpoint of another run"):
        resume(copy / "run", {"steps": 2}, quiet=True)


@pytest.mark.parametrize("text", [None, "", "[]", '{"inputs": 3}', "\udcff"])
def test_a_record_that_is_gone_or_damaged_is_told(copy: Path, text: str | None) -> None:
    file = copy / "run" / "inputs.json"
    file.unlink() if text is None else file.write_text(text, errors="surrogateescape")
    with pytest.raises(CheckpointError, match=r"inputs\.json, which says what it began with, cannot be read"):
        resume(copy / "run", {"steps": 2}, quiet=True)


def test_another_version_of_the_environments_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(
        out=tmp_path / "run", quiet=True, method="reinforce", task="CartPole-v1", steps=1, evaluation={"num_items": 1}
    )
    monkeypatch.setattr(inputs, "_version", lambda package: "0.0.1")
    with pytest.raises(CheckpointError, match="the environments' packages changed since"):
        resume(tmp_path / "run", {"steps": 2}, quiet=True)


class Mine:
    """A task of one's own."""

    name, held_out, rewards, examples, stop, characters = "mine", (), (), (), (), None

    def __init__(self, *prompts: str) -> None:
        self.train = prompts


def test_a_task_from_python_is_known_by_its_rows_and_code_by_its_file(tmp_path: Path) -> None:
    one, same, other = (inputs.of_task("mine", Mine(*prompts)) for prompts in (("a", "b"), ("a", "b"), ("a", "c")))
    assert one == same != other
    assert inputs.of_object(Mine) == inputs.of_object(Mine("a")) and len(inputs.of_object(Mine)) == 1
    assert inputs.of_object(len) == inputs.of_object(json.dumps) == {}, "not the user's"


def test_large_weights_are_sampled_and_small_ones_seen_whole() -> None:
    from torch import nn

    from rung.models.language.load import fingerprint, sampled

    model = nn.Linear(64, 64)
    before = fingerprint(model)
    model.weight.data[63, 62] += 1e-3
    assert fingerprint(model) != before
    blocks = sampled(range(10**9))
    assert len(blocks) == 256 and blocks[0][0] == 0 and blocks[-1][-1] == 10**9 - 1
    assert sum(map(len, blocks)) == 2**24


def test_every_refusal_is_ours(copy: Path) -> None:
    (copy / "rows.jsonl").write_text("no rows\n")
    with pytest.raises(RungError, match=r"rows\.jsonl:1"):
        resume(copy / "run", quiet=True)
