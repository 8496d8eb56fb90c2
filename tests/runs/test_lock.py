"""One process a run folder."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from rung.errors import SettingsError
from rung.runs.folder import RunLock, holds_something


def test_a_second_process_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from rung.runs.folder import RunLock\n"
        "with RunLock(Path(sys.argv[1])): print('held', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None and other.stdin is not None
    assert other.stdout.readline() == "held\n"
    with pytest.raises(SettingsError, match=f'"pid": {other.pid}'), RunLock(tmp_path):
        pass
    other.kill()
    other.wait()
    other.stdin.close()
    other.stdout.close()
    with RunLock(tmp_path):
        assert f'"pid": {os.getpid()}' in (tmp_path / ".lock").read_text(), "a dead process holds nothing"
    assert not holds_something(tmp_path)


def test_a_folder_with_only_a_lock_is_free(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_text("{}")
    assert not holds_something(tmp_path) and not holds_something(tmp_path / "none")
    (tmp_path / "settings.yaml").write_text("")
    assert holds_something(tmp_path)
