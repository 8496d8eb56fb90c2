"""Checkpoints: complete and verified, or ignored."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rung.errors import CheckpointError
from rung.runs import checkpoint


def save(root: Path, step: int, value: float = 1.0) -> checkpoint.Checkpoint:
    return checkpoint.write(root, step, {"policy": {"w": torch.full((50,), value)}}, {"step": step})


def test_what_was_written_is_read_back_to_the_bit(tmp_path: Path) -> None:
    saved = save(tmp_path, 3, 0.1)
    found, refused = checkpoint.newest(tmp_path)
    assert found == saved and refused == []
    assert torch.equal(found.tensors("policy")["w"], torch.full((50,), 0.1)) and found.state() == {"step": 3}


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "extra", "manifest", "link", "no-manifest"])
def test_a_damaged_checkpoint_is_not_used_and_is_named(tmp_path: Path, damage: str) -> None:
    save(tmp_path, 1)
    folder = save(tmp_path, 2).folder
    file = folder / "policy.safetensors"
    content = file.read_bytes()
    if damage == "flip":
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "truncate":
        file.write_bytes(content[:-4])
    elif damage == "remove":
        file.unlink()
    elif damage == "extra":
        (folder / "extra.bin").write_bytes(b"x")
    elif damage == "manifest":
        (folder / "manifest.json").write_text("[1]")
    elif damage == "no-manifest":
        (folder / "manifest.json").unlink()
    else:
        (tmp_path / "elsewhere").write_bytes(content)
        file.unlink()
        file.symlink_to(tmp_path / "elsewhere")
    found, refused = checkpoint.newest(tmp_path)
    assert found is not None and found.step == 1
    assert len(refused) == 1 and "step_000002" in refused[0]


def test_one_step_is_found_by_its_number(tmp_path: Path) -> None:
    for step in (2, 10):
        save(tmp_path, step, step)
    assert checkpoint.steps(tmp_path) == [2, 10] and checkpoint.steps(tmp_path / "none") == []
    assert checkpoint.of_step(tmp_path, 2).state() == {"step": 2}
    (tmp_path / "step_000002" / "state.json").write_text("{}")
    with pytest.raises(CheckpointError, match="step_000002 cannot be used"):
        checkpoint.of_step(tmp_path, 2)


def test_tidy_keeps_the_newest_and_removes_what_was_half_written(tmp_path: Path) -> None:
    for step in (1, 2, 3, 4, 9):
        save(tmp_path, step)
    (tmp_path / "step_000005.aside").mkdir()
    checkpoint.tidy(tmp_path, keep=2, newest_step=4)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step_000003", "step_000004"]


def test_a_full_disk_leaves_the_older_one_in_use_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 1)
    for point in ("checkpoint.open", "checkpoint.file", "checkpoint.manifest"):
        monkeypatch.setenv("RUNG_FAULT", f"{point}:1:enospc")
        checkpoint.fault_point.__globals__["_reached"].clear()
        with pytest.raises(CheckpointError, match=r"needs .* MiB and there are .* MiB free"):
            save(tmp_path, 2)
        monkeypatch.delenv("RUNG_FAULT")
        found, refused = checkpoint.newest(tmp_path)
        assert found is not None and found.step == 1 and not refused
        assert [p.name for p in tmp_path.iterdir()] == ["step_000001"], "nothing is left of the failed one"


def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """A file-size limit makes the operating system itself refuse in the middle of a file."""
    code = (
        "import resource, sys, torch; from pathlib import Path; from rung.runs import checkpoint\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "root = Path(sys.argv[1]); w = lambda s: checkpoint.write(root, s, {'policy': {'w': torch.ones(100000)}}, {})\n"
        "w(1); resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))\n"
        "try: w(2)\n"
        "except checkpoint.CheckpointError as error: print(error)\n"
        "print(checkpoint.newest(root)[0].step)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert "checkpoint 2 could not be written" in done.stdout and done.stdout.strip().endswith("1")


@pytest.mark.parametrize("point", ["open", "file:1", "file:2", "manifest", "rename"])
def test_killed_while_writing_leaves_a_good_checkpoint(tmp_path: Path, point: str) -> None:
    name, _, nth = point.partition(":")
    code = (
        "import sys, torch; from pathlib import Path; from rung.runs import checkpoint\n"
        "for step, value in ((1, 1.0), (2, 2.0)):\n"
        "    if step == 2: import os; os.environ['RUNG_FAULT'] = sys.argv[2]\n"
        "    checkpoint.write(Path(sys.argv[1]), step, {k: {'w': torch.full((9,), value)} for k in 'ab'}, {})"
    )
    fault = f"checkpoint.{name}:{nth or 1}:kill"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path), fault], check=False, env={**os.environ})
    assert done.returncode == -signal.SIGKILL, "the fault point was reached"
    found, refused = checkpoint.newest(tmp_path)
    assert found is not None and refused == []
    assert found.step == (2 if name == "rename" else 1)
    assert float(found.tensors("a")["w"][0]) == found.step


def test_a_hostile_header_is_refused_and_nothing_runs(tmp_path: Path) -> None:
    folder = save(tmp_path, 1).folder
    header = json.dumps({"w": {"dtype": "F32", "shape": [2**60], "data_offsets": [0, 2**62]}}).encode()
    (folder / "policy.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    assert checkpoint.newest(tmp_path)[0] is None
    with pytest.raises(CheckpointError, match="policy"):
        checkpoint.Checkpoint(1, folder).tensors("policy")


def test_every_collector_says_what_pieces_it_has() -> None:
    """A checkpoint asks each of them; one that forgot would fail at its first checkpoint, not before."""
    import inspect

    from rung.trainers import trainer as collected
    from rung.trainers.boxes_1983 import collector as trial_collector
    from rung.trainers.policy_gradient import environment as environment_collector
    from rung.trainers.policy_gradient import text as text_collector
    from rung.trainers.preferences import pairs as pair_collector
    from rung.trainers.q_learning import environment as replay_collector

    wanted = {name for name, _ in inspect.getmembers(collected.Collector, inspect.isfunction) if name[0] != "_"}
    kinds = [
        environment_collector.EnvironmentCollector,
        pair_collector.PairCollector,
        replay_collector.ReplayCollector,
        text_collector.TextCollector,
        trial_collector.TrialCollector,
    ]
    assert "pieces" in wanted
    assert {kind.__name__: sorted(wanted - set(dir(kind))) for kind in kinds if wanted - set(dir(kind))} == {}
