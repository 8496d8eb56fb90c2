"""Locks and folders that several processes want at once."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from rung.whole_files import folder_written_aside, held, made_once

TOGETHER = """
import os, sys, time
from pathlib import Path
from rung.whole_files import held
root = Path(sys.argv[1])
for _ in range(400):
    try:
        with held(root / "lock", wait=sys.argv[2] == "wait"):
            inside = os.open(root / "inside", os.O_CREAT | os.O_EXCL)  # FileExistsError: two hold it together
            os.close(inside)
            os.unlink(root / "inside")
    except BlockingIOError:
        pass
"""
ONCE = """
import sys, time
from pathlib import Path
from rung.whole_files import folder_written_aside, made_once
with made_once(Path(sys.argv[1])) as to_make:
    if to_make:
        with folder_written_aside(Path(sys.argv[1])) as aside:
            time.sleep(0.3)
            (aside / "whole").write_text("whole")
print(to_make, (Path(sys.argv[1]) / "whole").read_text())
"""


def at_once(code: str, *arguments: str, count: int = 3) -> list[str]:
    command = [sys.executable, "-c", code, *arguments]
    asked = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(count)]
    answers = [one.communicate() for one in asked]
    assert [one.returncode for one in asked] == [0] * count, answers
    return [out.strip() for out, _ in answers]


@pytest.mark.parametrize("how", ["wait", "ask"])
def test_no_two_ever_hold_a_lock_together(tmp_path: Path, how: str) -> None:
    at_once(TOGETHER, str(tmp_path), how)
    assert not (tmp_path / "lock").exists()


def test_what_three_want_at_once_is_made_once_and_leftovers_go(tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "tiny"
    for left in ("tiny.aside", "tiny.ab12.writing", "other.aside"):
        (folder.parent / left).mkdir(parents=True)
    with held(folder.parent / "busy.lock"):
        (folder.parent / "busy.aside").mkdir()
        assert sorted(at_once(ONCE, str(folder))) == ["False whole", "False whole", "True whole"]
    assert sorted(path.name for path in folder.parent.iterdir()) == ["busy.aside", "tiny"]


def test_a_maker_that_fails_leaves_it_to_the_next(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), made_once(tmp_path / "x") as to_make, folder_written_aside(tmp_path / "x"):
        assert to_make
        raise ZeroDivisionError
    with made_once(tmp_path / "x") as to_make:
        assert to_make
    assert list(tmp_path.iterdir()) == []
