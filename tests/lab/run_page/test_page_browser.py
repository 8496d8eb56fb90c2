"""The report page in a real browser: hostile completions stay text, and nothing is refused or asked for."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from rung.lab.run_page.page import write_report
from rung.rollouts.environments.recording import animated

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="needs Chromium")]


def dumped(page: Path, profile: Path) -> tuple[str, str]:
    assert BROWSER is not None
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    flags += " --disable-component-update --disable-sync --enable-logging=stderr --dump-dom"
    done = subprocess.run(
        [BROWSER, *flags.split(), f"--user-data-dir={profile}", f"file://{page}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


def test_hostile_completions_in_a_browser(made_up_run: Callable[..., Path], tmp_path: Path) -> None:
    page = write_report(made_up_run(5))
    dom, console = dumped(page, tmp_path / "profile")
    assert "<title>run: rung report</title>" in dom  # no completion has changed it
    assert console == ""  # nothing refused, no error
    assert "13 completions" in dom
    assert "&lt;/script&gt;&lt;script&gt;document.title='owned'&lt;/script&gt;" in dom
    tags: list[tuple[str, list[tuple[str, str | None]]]] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attributes: tags.append((tag, attributes))  # type: ignore[method-assign]
    parser.feed(dom)
    assert "td" in {tag for tag, _ in tags}
    assert not {tag for tag, _ in tags} & {"img", "iframe", "object", "embed", "form", "link"}
    assert not [name for _, attributes in tags for name, _ in attributes if name.startswith("on")]


def test_a_film_is_let_through_by_the_page_s_own_policy(made_up_run: Callable[..., Path], tmp_path: Path) -> None:
    folder = made_up_run(1)
    (folder / "episode.gif").write_bytes(animated([np.zeros((4, 4, 3), np.uint8)] * 2, fps=25))
    page = write_report(folder)
    dom, console = dumped(page, tmp_path / "profile")
    assert '<img class="film"' in dom and console == ""
    page.write_text(page.read_text().replace("img-src data:", "img-src 'none'"))
    assert "img-src" in dumped(page, tmp_path / "profile")[1]


def test_the_browser_would_have_seen_it(made_up_run: Callable[..., Path], tmp_path: Path) -> None:
    page = write_report(made_up_run(5))
    broken = page.read_text().replace("inner.textContent = text", "inner.innerHTML = text")
    page.write_text(broken)
    dom, console = dumped(page, tmp_path / "profile")
    assert "Content Security Policy" in console  # the changed script itself is refused by its hash
    assert "13 completions" not in dom
