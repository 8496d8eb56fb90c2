"""Every kind of run in an environment ends as it did when it was recorded; golden.py says how, and how to record."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parent))
import golden


@pytest.mark.parametrize("name", [kind.name for kind in golden.WORLD_KINDS])
def test_a_run_in_an_environment_ends_as_recorded(
    name: str, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    golden.check(name, tmp_path / "here", record_property)
