from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest

from rung.whole_files import SUFFIX, folder_written_aside, write_whole, written_aside

SOURCE = Path(__file__).parents[1] / "src" / "rung"


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    write_whole(path, b"old")
    with pytest.raises(KeyboardInterrupt), written_aside(path) as aside:
        aside.write_bytes(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_until_the_end_the_bytes_are_only_aside(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    with written_aside(path) as aside:
        aside.write_bytes(b"new")
        assert not path.exists() and aside.name == "a.bin" + SUFFIX
    assert path.read_bytes() == b"new"


def test_a_folder_takes_the_place_of_an_older_one_whole(tmp_path: Path) -> None:
    path = tmp_path / "made" / "final"
    for name in ("old", "new"):
        with folder_written_aside(path) as aside:
            (aside / "inner").mkdir()
            (aside / "inner" / name).write_bytes(b"1")
            assert not (path / "inner" / name).exists()
    assert [p.name for p in (path / "inner").iterdir()] == ["new"]
    assert list(path.parent.iterdir()) == [path]


def test_an_error_leaves_the_old_folder_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "final"
    with folder_written_aside(path) as aside:
        (aside / "a").write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), folder_written_aside(path) as aside:
        (aside / "a").write_bytes(b"half")
        raise KeyboardInterrupt
    assert (path / "a").read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_is_not_taken_over(tmp_path: Path) -> None:
    left = tmp_path / f"final{SUFFIX}"
    left.mkdir()
    (left / "half").write_bytes(b"1")
    with folder_written_aside(tmp_path / "final") as aside:
        (aside / "whole").write_bytes(b"2")
    assert [p.name for p in (tmp_path / "final").iterdir()] == ["whole"]


def test_a_folder_that_cannot_take_its_name_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a file")
    with pytest.raises(OSError), folder_written_aside(tmp_path / "a"):
        pass
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_all_is_synced_before_the_rename(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda handle: done.append(Path(f"/proc/self/fd/{handle}").readlink().name))
    with folder_written_aside(tmp_path / "f") as aside:
        (aside / "a").write_bytes(b"1")
    assert done == ["a", f"f{SUFFIX}", tmp_path.name]
    done.clear()
    write_whole(tmp_path / "b", b"1")
    assert done == [f"b{SUFFIX}", tmp_path.name]


NAMES = {"fsync", "fdatasync", "rename", "renames", "move"}


def renames_or_syncs(tree: ast.AST) -> list[str]:
    """The calls that rename a path or sync it; `text.replace(old, new)` and `dataclasses.replace` are none."""
    found: list[str] = []
    for call in ast.walk(tree):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
            of_path = call.func.attr == "replace" and len(call.args) == 1 and not call.keywords
            if of_path or call.func.attr in NAMES or ast.unparse(call.func) == "os.replace":
                found.append(ast.unparse(call))
    return found


def test_nobody_else_renames_or_syncs() -> None:
    found = {
        path.relative_to(SOURCE).as_posix(): calls
        for path in SOURCE.rglob("*.py")
        if (calls := renames_or_syncs(ast.parse(path.read_text(encoding="utf-8"))))
    }
    assert found.keys() == {"whole_files.py"}, "write whole files and folders by rung.whole_files"


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("os.fsync(3)", 1),
        ("a.rename(b)", 1),
        ("a.replace(b)", 1),
        ("os.replace(a, b)", 1),
        ("shutil.move(a, b)", 1),
        ("'a'.replace('b', 'c')", 0),
        ("dataclasses.replace(a, b=1)", 0),
        ("replace(a, b=1)", 0),
    ],
)
def test_a_rename_is_seen(code: str, count: int) -> None:
    """Negative control."""
    assert len(renames_or_syncs(ast.parse(code))) == count
