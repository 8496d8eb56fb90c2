"""A run that was never stopped, which those that were are compared with."""

from __future__ import annotations

from pathlib import Path

import pytest
from run_server import Runs


@pytest.fixture(scope="module")
def whole(runs: Runs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a module's own `runs` trains from beginning to end."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    code, said = runs.ask("train", folder)
    assert code == 0, said
    return folder
