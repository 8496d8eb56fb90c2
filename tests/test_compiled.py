"""What a run is told of compiling: that it comes, and how long it took."""

from __future__ import annotations

from pathlib import Path

import pytest

from rung import compiled

numba = pytest.importorskip("numba")


def test_compiling_is_timed_and_nothing_else_is() -> None:
    if not compiled.compiles():
        pytest.skip("compiling is forbidden here")
    made, before = numba.njit(lambda x: x + 1), compiled.compile_seconds()
    assert made(1) == 2 and (first := compiled.compile_seconds()) > before
    assert made(2) == 3 and compiled.compile_seconds() == first, "it was compiled already"


def test_a_cache_is_cold_until_something_of_this_version_is_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compiled, "_folder", lambda: tmp_path / "here")
    monkeypatch.setattr(compiled, "compiles", lambda: True)
    assert compiled.cold()
    (tmp_path / "here" / "passes").mkdir(parents=True)
    assert compiled.cold(), "a folder alone is no function"
    (tmp_path / "here" / "passes" / "epoch.nbi").touch()
    assert not compiled.cold()
    monkeypatch.setattr(compiled, "compiles", lambda: False)
    assert not compiled.cold() and compiled.compile_seconds() == 0.0, "nothing is compiled, so nothing is waited for"
