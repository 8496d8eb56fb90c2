"""What README and docs say is what the definitions and the recorded results say."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import rung

ROOT = Path(__file__).parent.parent


def test_generated_parts_are_up_to_date() -> None:
    sys.path.insert(0, str(ROOT / "docs"))  # its own neighbours
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    assert generate.main(check=True) == 0


def test_the_version_stands_in_the_changelog() -> None:
    assert f"## {rung.__version__}\n" in (ROOT / "CHANGELOG.md").read_text()


def test_public_names_exist_and_are_sorted() -> None:
    assert rung.__all__ == sorted(rung.__all__)
    for name in rung.__all__:
        assert getattr(rung, name) is not None
