"""A run of an older format is refused in words, and can still be looked at."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rung.errors import CheckpointError
from rung.lab.diagnosis.rules import diagnose
from rung.lab.saved_run import SavedRun
from rung.library import resume, train
from rung.runs.began import FORMAT

SETTINGS = {"method": "reinforce", "task": "CartPole-v1", "steps": 1, "quiet": True, "evaluation": {"num_items": 1}}


@pytest.mark.parametrize("said", [{"format": FORMAT - 1, "rung": "0.1.7"}, {"format": FORMAT + 1, "rung": "9.0"}, {}])
def test_another_format_is_refused_and_can_be_viewed(tmp_path: Path, said: dict[str, object]) -> None:
    run = train(out=tmp_path / "run", **SETTINGS)
    card = json.loads((run.folder / "method.json").read_text())
    assert card.pop("format") == FORMAT and card.pop("rung")
    (run.folder / "method.json").write_text(json.dumps({**card, **said}))
    with pytest.raises(CheckpointError, match=rf"written by rung {said.get('rung', '0.1')} .*rung eval"):
        resume(run.folder, {"steps": 2})
    assert SavedRun(run.folder).score == run.score and diagnose(run.folder) is not None


def test_its_own_format_goes_on(tmp_path: Path) -> None:
    train(out=tmp_path / "run", **SETTINGS)
    assert resume(tmp_path / "run", {"steps": 2}, quiet=True).step == 2
