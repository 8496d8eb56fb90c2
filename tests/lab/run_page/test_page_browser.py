"""report.html in a real browser, from its file: all views work, hostile completions stay text, nothing is asked for."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import Watched
from made_up_runs import PIECES, episode, make_run, write_step
from playwright.sync_api import Browser, expect

from rung.lab.run_page import page as page_module
from rung.lab.run_page.page import curves_page, write_report
from rung.rollouts.environments.recording import animated


@pytest.fixture
def opened(browser: Browser) -> Iterator[Callable[..., Watched]]:
    contexts = []

    def build(page: Path, width: int = 1200, scheme: str = "light") -> Watched:
        contexts.append(browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme))
        seen = Watched.of(contexts[-1].new_page())
        seen.page.on("request", lambda request: request.url.startswith("file:") or seen.said.append(request.url[:40]))
        seen.page.goto(f"file://{page}")
        return seen

    yield build
    for context in contexts:
        context.close()


def requests_for_data(seen: Watched) -> list[str]:
    return [said for said in seen.said if not said.startswith("data:image/gif")]


def test_every_view_works_without_a_server(opened: Callable[..., Watched], tmp_path: Path) -> None:
    files = make_run(tmp_path / "run", 60)
    write_step(files, 61, [episode(0, 0, text="so it is 7")])
    (tmp_path / "run" / "method.json").write_text(
        '{"name": "grpo", "slots": {"critic": null}, "paper": "arXiv:2402.03300"}'
    )
    seen = opened(write_report(tmp_path / "run"))
    page = seen.page
    expect(page.locator("#overview .figure b").first).to_have_text("50.0 %")
    assert page.title() == "run – rung report" and page.locator("#title").inner_text() == "rung report"
    said = page.locator("#overview").inner_text()
    for words in (
        "Unfinished: 61 steps so far.",
        "push the policy too far from its start",
        "Method: grpo",
        "critic\nnone",
        "Healthy",
    ):
        assert words in said, words
    expect(page.locator("#overview td.wrong").first).to_be_visible()
    expect(page.locator("#overview a")).to_have_attribute("href", "https://arxiv.org/abs/2402.03300")
    assert "24 of 61 steps with samples" in page.locator("#left-out").inner_text()
    page.click("#tab-curves")
    kl = page.locator(".metric").filter(has=page.get_by_role("heading", name="kl/start", exact=True))
    expect(kl.locator("polyline.curve")).to_have_count(1)
    expect(kl.locator("polyline.faint")).to_have_count(1)  # a long curve has its running mean over it
    page.click("#tab-samples")
    expect(page.locator(".sample")).to_have_count(1)
    expect(page.locator("#sample-step option")).to_have_count(24)
    page.locator(".sample button").first.click()
    expect(page.locator(".tokens .token")).to_have_text(list(PIECES))
    compare = page.locator(".head select")
    expect(compare.locator("option")).to_have_count(24)  # "compare with", and the other steps that are in the page
    compare.select_option(index=1)
    expect(page.locator(".compared .theirs del")).to_have_text("7")
    page.click("#tab-prompts")
    expect(page.locator("#map tbody tr")).to_have_count(60)  # nearly all were asked once, so a map would show nothing
    page.select_option("#map-kind", "map")
    page.locator("#map svg").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator("#sample-list .notice")).to_have_text(
        "The samples of step 2 are not in this page; rung view shows them."
    )
    page.click("#tab-time")
    expect(page.locator("#time-line rect.phase").first).to_be_visible()
    page.click("#tab-settings")
    assert "method: grpo" in page.locator("#settings").inner_text()
    assert seen.said == []


def test_it_fits_a_phone_in_the_dark_and_is_reached_by_keys(opened: Callable[..., Watched], tmp_path: Path) -> None:
    make_run(tmp_path / "run", 3)
    seen = opened(write_report(tmp_path / "run"), width=390, scheme="dark")
    page = seen.page
    page.locator("#overview .figure").first.wait_for()
    page.locator("#tab-overview").focus()
    for name in ("curves", "samples", "prompts", "time", "settings", "overview"):
        page.keyboard.press("ArrowRight")
        assert page.locator(f"#{name}").is_visible()
        page.wait_for_timeout(100)
        assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0, name
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(13, 17, 23)"
    assert seen.said == []


def test_hostile_completions_stay_text(
    opened: Callable[..., Watched], made_up_run: Callable[..., Path], hostile: list[str]
) -> None:
    seen = opened(write_report(made_up_run(5)))
    page = seen.page
    page.click("#tab-samples")
    expect(page.locator(".sample")).to_have_count(13)
    said = page.locator("#sample-list").inner_text()
    assert hostile[0] in said and hostile[1] in said and "\\u202eturned round" in said
    for name in ("overview", "curves", "prompts", "time", "settings"):
        page.click(f"#tab-{name}")
        page.wait_for_timeout(100)
    tags = page.evaluate("[...new Set([...document.body.querySelectorAll('main *')].map(n => n.localName))]")
    assert not set(tags) & {"script", "img", "iframe", "style", "link", "object", "form", "base", "meta"}
    assert page.title() == "run – rung report" and seen.said == []


def test_the_browser_would_have_seen_it(opened: Callable[..., Watched], made_up_run: Callable[..., Path]) -> None:
    """Negative control: a changed script is refused by its hash, and markup from text by trusted types."""
    report = write_report(made_up_run(5))
    whole = opened(report)
    told = "text => { try { document.body.innerHTML = text; return 'made'; } catch (e) { return e.name; } }"
    assert whole.page.evaluate(told, "<img src=x onerror=alert(1)>") == "TypeError"
    report.write_text(report.read_text().replace("made.textContent = text", "made.innerHTML = text"))
    broken = opened(report)
    broken.page.wait_for_timeout(300)
    assert any("Content Security Policy" in words for words in broken.said)
    assert broken.page.locator("#overview-list > *").count() == 0


def test_a_film_is_let_through_by_the_page_s_own_policy(
    opened: Callable[..., Watched], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_run(tmp_path / "run", 1, text=False)
    film = tmp_path / "run" / "episode.gif"
    film.write_bytes(animated([np.zeros((4, 4, 3), np.uint8)] * 2, fps=25))
    report = write_report(tmp_path / "run")
    seen = opened(report)
    width = "node => node.decode().then(() => node.naturalWidth)"
    assert seen.page.locator("img.film").evaluate(width) > 0
    assert requests_for_data(seen) == []
    report.write_text(report.read_text().replace("img-src data:", "img-src 'none'"))
    refused = opened(report)
    refused.page.locator("img.film").wait_for(state="attached")
    refused.page.wait_for_timeout(200)
    assert any("img-src" in words for words in refused.said)
    monkeypatch.setattr(page_module, "LARGEST_FILM", 10)
    beside = opened(write_report(tmp_path / "run"))
    expect(beside.page.locator("#overview a")).to_have_attribute("href", "episode.gif")
    assert "more than this page should" in beside.page.locator("#overview").inner_text() and beside.said == []


def test_a_run_that_has_not_begun_says_so(opened: Callable[..., Watched], tmp_path: Path) -> None:
    (tmp_path / "settings.yaml").write_text("steps: 3\n")
    seen = opened(write_report(tmp_path))
    expect(seen.page.locator("#overview")).to_contain_text("No step has been made yet.")
    seen.page.click("#tab-samples")
    expect(seen.page.locator("#sample-list")).to_contain_text("No samples are stored yet.")
    assert seen.said == []


def test_problems_are_said(opened: Callable[..., Watched], made_up_run: Callable[..., Path]) -> None:
    folder = made_up_run(3)
    (folder / "timings.jsonl").write_text("nonsense\n")
    (folder / "method.json").write_text("[")
    (folder / "samples" / "step_000002.parquet").write_bytes(b"PAR1 nonsense")
    seen = opened(write_report(folder))
    notice = seen.page.locator("#notice")
    expect(notice).to_contain_text("timings.jsonl, row 1")
    expect(notice).to_contain_text("step_000002.parquet: not a readable part")
    expect(seen.page.locator("#overview .notice").first).to_contain_text("method.json: not JSON")
    assert seen.said == []


def test_the_curves_alone_are_drawn_within_a_notebook(opened: Callable[..., Watched], tmp_path: Path) -> None:
    metrics = [{"step": 0, "held_out/score": 0.2}]
    metrics += [{"step": step, "kl/start": 0.1 * step, "<b>mine</b>": 1.0} for step in range(1, 9)]
    timings = [{"step": step, "seconds/step": 2.0} for step in range(1, 9)]
    page = curves_page(metrics, timings)
    (tmp_path / "notebook.html").write_text(f'<iframe srcdoc="{html.escape(page)}" height="600"></iframe>')
    seen = opened(tmp_path / "notebook.html")
    inside = seen.page.frame_locator("iframe")
    expect(inside.locator(".metric h2")).to_have_text(["held_out/score", "kl/start", "seconds/step", "<b>mine</b>"])
    expect(inside.locator(".metric").nth(1).locator("polyline.curve")).to_have_count(1)
    expect(inside.locator(".metric").nth(1)).to_contain_text("Healthy")
    inside.locator("#find-metric").fill("seconds")
    expect(inside.locator(".metric h2")).to_have_text(["seconds/step"])
    assert seen.said == []


def test_the_curves_of_a_run_that_has_not_begun_say_so(opened: Callable[..., Watched], tmp_path: Path) -> None:
    (tmp_path / "curves.html").write_text(curves_page([], []))
    seen = opened(tmp_path / "curves.html")
    expect(seen.page.locator("#curve-grid")).to_have_text("No metrics yet.")
    assert seen.said == []
