from __future__ import annotations

from pathlib import Path

import pytest

from rung.whole_files import SUFFIX, write_whole, written_aside


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
