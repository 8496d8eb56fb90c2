"""Every Python snippet of these pages runs as it stands, in its page's order, with two steps a run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def snippets(page: str) -> list[tuple[int, str]]:
    """The page's Python blocks, each with the number of its first line."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [(text[: block.start(1)].count("\n"), block[1]) for block in found]


LONG = [pytest.mark.slow, pytest.mark.timeout(900)]
SLOW = [pytest.param(page, marks=LONG) for page in ("docs/start.md", "docs/coming_from.md")]


@pytest.mark.parametrize("page", ["README.md", "docs/own.md", "docs/conversations.md", *SLOW])
def test_the_snippets_of_a_page_run(page: str, tmp_path: Path) -> None:
    blocks = snippets(page)
    assert blocks, f"{page} has no Python"
    # One module as long as the page, so that a traceback names the page's own line.
    lines = [""] * (blocks[-1][0] + blocks[-1][1].count("\n"))
    for start, block in blocks:
        for number, line in enumerate(block.splitlines()):
            lines[start + number] = line
    script = tmp_path / f"{Path(page).stem}.py"
    text = re.sub(r"\b(steps?)=\d+", r"\1=2", "\n".join(lines))
    script.write_text(text + "\n", encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{page}: {done.stderr[-3000:]}"
