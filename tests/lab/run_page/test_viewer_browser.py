"""The viewer in a real browser: curves over each other, coloured tokens, filters, a run that grows, hostile text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from browser import Canary, Watched
from made_up_runs import PIECES, episode, make_run, served, write_step
from playwright.sync_api import Browser, expect

from rung.batch import Judgement, Played, Turn
from rung.rollouts.environments.recording import animated


@pytest.fixture
def tab(browser: Browser) -> Iterator[Callable[..., Watched]]:
    contexts: list[Any] = []

    def build(link: str, **options: Any) -> Watched:
        contexts.append(browser.new_context(**{"viewport": {"width": 1200, "height": 800}, **options}))
        seen = Watched.of(contexts[-1].new_page())
        seen.page.goto(link)
        seen.page.wait_for_selector("body[data-looked]")
        if seen.page.locator("#tab-curves").count():
            seen.page.click("#tab-curves")
        return seen

    yield build
    for context in contexts:
        context.close()


def metric(seen: Watched, name: str) -> Any:
    return seen.page.locator(".metric").filter(has=seen.page.get_by_role("heading", name=name, exact=True))


def test_curves_of_two_runs_lie_over_each_other_with_meaning_range_and_numbers(tab, tmp_path: Path) -> None:
    make_run(tmp_path / "one", 3)
    make_run(tmp_path / "two", 5)
    with served(tmp_path / "one", tmp_path / "two") as server:
        seen = tab(server.links["viewer"])
        kl = metric(seen, "kl/start")
        expect(kl.locator("polyline.curve")).to_have_count(2)
        assert "the KL divergence" in kl.inner_text() and "Healthy: near 0 at the first step" in kl.inner_text()
        expect(kl.locator("rect.outside")).to_have_count(1)  # above 1, where step 3's 1.2 and step 5's 2 are
        expect(kl.locator(".readout .wrong")).to_have_text(["1.2", "2"])
        kl.locator("svg").focus()
        seen.page.keyboard.press("Home")
        assert kl.locator(".readout").inner_text().split() == ["step", "1", "0.4", "one", "0.4", "two"]
        seen.page.keyboard.press("ArrowRight")
        expect(kl.locator(".readout b")).to_have_text(["0.8", "0.8"])
        assert metric(seen, "reward/mean").locator(".readout").inner_text().split()[:3] == [
            "step",
            "2",
            "0.2",
        ]  # linked
        kl.locator("svg").evaluate("node => node.blur()")
        box = kl.locator("svg").bounding_box()
        seen.page.mouse.move(box["x"] + box["width"] - 10, box["y"] + box["height"] / 2)
        assert kl.locator(".readout").inner_text().split() == ["step", "5", "2", "two,", "outside"]
        score = metric(seen, "held_out/score")
        assert "50.0 % (40.0 % to 60.0 %)" in score.locator(".readout").inner_text()
        kl.locator("svg").focus()
        seen.page.keyboard.press("Home")
        seen.page.keyboard.press("+")
        expect(kl.locator(".readout b")).to_have_text(["0.4", "0.4"])  # closer, and still here
        assert [seen.page.locator(f"#x-{end}").input_value() for end in ("from", "to")] == ["1", "2"]
        seen.page.keyboard.press("Escape")
        seen.page.select_option("#x-along", "seconds")
        kl.locator("svg").focus()
        seen.page.keyboard.press("Home")
        seen.page.keyboard.press("ArrowRight")
        assert kl.locator(".readout").inner_text().split()[:2] == ["9", "s"]  # 4 s of the first step and 5 of the next
        seen.page.select_option("#smooth", "0.1")
        expect(kl.locator("polyline.faint")).to_have_count(2)
        seen.page.get_by_role("button", name="two").click()
        expect(kl.locator("polyline.curve")).to_have_count(1)
        seen.page.fill("#find-metric", "kl/")
        assert [h.inner_text() for h in seen.page.locator(".metric h2").all()] == ["kl/start"]
        assert seen.said == []


def test_a_run_at_a_glance_and_its_new_rows(tab, tmp_path: Path) -> None:
    files = make_run(tmp_path / "one", 2)
    make_run(tmp_path / "two", 3, text=False)
    (tmp_path / "two" / "episode.gif").write_bytes(animated([np.zeros((4, 4, 3), np.uint8)] * 2, fps=25))
    with served(tmp_path / "one", tmp_path / "two") as server:
        seen = tab(server.links["viewer"])
        page = seen.page
        page.click("#tab-overview")
        one, two = page.locator(".overview").nth(0), page.locator(".overview").nth(1)
        expect(one.locator("h2")).to_have_text("one")
        assert "Unfinished: 2 steps so far." in one.inner_text() and "50.0 %" in one.inner_text()
        assert two.locator("img.film").evaluate("node => node.decode().then(() => node.naturalWidth)") > 0
        row = two.locator("tr").filter(has=page.get_by_text("kl/start", exact=True))
        expect(row.locator("td.number")).to_have_text(["0.4", "1.2"])
        expect(row.locator("td.wrong")).to_have_text("1.2")  # above 1
        expect(row.locator("td").last).to_contain_text("If it runs away while the reward stands still")
        assert "push the policy too far from its start" in two.inner_text()
        names = page.locator("#run-table tbody td:nth-child(2)")
        expect(names).to_have_text(["one", "two"])
        page.get_by_role("button", name="Last reward").click()
        expect(names).to_have_text(["two", "one"])  # 0.3 and 0.2: of numbers the highest first
        expect(page.get_by_role("columnheader", name="Last reward")).to_have_attribute("aria-sort", "descending")
        page.keyboard.press("Enter")
        expect(names).to_have_text(["one", "two"])
        with (tmp_path / "one" / "settings.yaml").open("a") as settings:
            settings.write("steps: 12\n")
        write_step(files, 3)
        words = "Unfinished: 3 of 12 steps so far; while it trains, about 45s left. 15s of training"
        expect(page.locator(".overview").first).to_contain_text(words)
        page.keyboard.press("6")
        page.check("#only-different")
        expect(page.locator("#settings mark")).to_have_text(["steps: 12"])
        expect(page.locator("#settings .panel").last).to_contain_text("Nothing: the others have all of these lines.")
        page.locator("#tab-settings").press("1")
        page.get_by_role("button", name="two").click()
        expect(page.locator(".overview")).to_have_count(1)
        assert seen.said == []


def background(token: Any) -> str:
    return token.evaluate("node => getComputedStyle(node).backgroundColor")


def test_each_token_is_coloured_by_the_chosen_number_and_tells_all(tab, tmp_path: Path) -> None:
    make_run(tmp_path / "run", 1)
    with served(tmp_path / "run") as server:
        seen = tab(server.links["viewer"])
        seen.page.click("#tab-samples")
        seen.page.locator(".sample button").first.click()
        tokens = seen.page.locator(".tokens .token")
        tokens.first.wait_for()
        assert tokens.all_inner_texts() == list(PIECES)

        def classes() -> list[str]:
            return [token.get_attribute("class").removeprefix("token ") for token in tokens.all()]

        assert classes() == ["n4 clipped", "n2", "s0", "p2", "p4 clipped"]
        colours = [background(token) for token in tokens.all()]
        assert len(set(colours)) == 5  # each level has a colour of its own
        select = seen.page.locator(".token-panel select")
        expected = {
            "log_prob": ["s0 clipped", "s0", "s0", "s0", "s4 clipped"],
            "learner": ["s0 clipped", "s0", "s0", "s0", "s4 clipped"],
            "entropy": ["s0 clipped", "s1", "s2", "s3", "s4 clipped"],
            "reference": ["p4 clipped", "p4", "p4", "p4", "p4 clipped"],
            "clipped": ["s4 clipped", "s0", "s0", "s0", "s4 clipped"],
        }
        for value, wanted in expected.items():
            select.select_option(value)
            assert classes() == wanted, value
        tokens.nth(3).hover()
        said = seen.page.locator(".token-says")
        for words in ("4 of 5, id 13", '" 5"', "log-prob drawn\n-0.4", "entropy\n1.5", "ratio to reference\n2"):
            assert words in said.inner_text(), (words, said.inner_text())
        assert "clipped\nno" in said.inner_text()
        tokens.nth(3).focus()
        seen.page.keyboard.press("ArrowRight")
        assert "5 of 5" in said.inner_text() and "clipped\nyes" in said.inner_text()
        seen.page.keyboard.press("Home")
        assert "1 of 5" in said.inner_text()
        assert seen.said == []


def test_samples_are_found_sorted_and_grouped(tab, tmp_path: Path) -> None:
    files = make_run(tmp_path / "run", 2)
    failed = Judgement(total=None, parts={"correct": None}, accuracy=None, status="correct: timeout")
    odd = episode(0, 2, text="never ends", truncated=True, terminated=False, judgement=failed)
    write_step(files, 2, [episode(0, 0), episode(0, 1), odd, episode(1, 0)])
    with served(tmp_path / "run") as server:
        seen = tab(server.links["viewer"])
        page = seen.page
        page.click("#tab-samples")
        page.locator(".group").first.wait_for()

        def rows() -> list[int]:
            return [int(card.get_attribute("data-row")) for card in page.locator(".sample[data-row]").all()]

        assert rows() == [0, 1, 2, 3] and page.locator(".group").count() == 2
        assert "reward\n1" in page.locator(".sample").first.inner_text()
        assert "correct\n1" in page.locator(".sample").first.inner_text()
        expect(page.locator(".sample .verdict")).to_have_text(["right", "wrong", "right"])  # and one without a score
        page.fill("#find-text", "so it")
        page.select_option("#find-right", "wrong")
        assert rows() == [1]
        page.click("#find-everywhere")
        expect(page.locator("#sample-count")).to_have_text("5 samples found, 2 of 2 steps looked through")
        expect(page.locator(".sample p.soft").last).to_have_text("step 1, add-1")
        page.select_option("#find-right", "")
        page.fill("#find-text", "")
        page.fill("#find-text", "NEVER")
        assert rows() == [2] and page.locator("#sample-count").inner_text() == "1 of 4 samples"
        page.fill("#find-text", "1+3=")  # the prompt counts too
        assert rows() == [3]
        page.fill("#find-text", "")
        page.select_option("#find-status", label="correct: timeout")
        assert rows() == [2]
        page.select_option("#find-status", "")
        page.select_option("#find-ended", "own")
        assert rows() == [0, 1, 3]
        page.select_option("#find-ended", "")
        page.select_option("#find-part", label="format")
        page.fill("#part-low", "0.5")
        assert rows() == [1]
        page.fill("#part-low", "")
        page.uncheck("#grouped")
        page.select_option("#sample-sort", "reward")
        assert rows() == [1, 0, 3, 2]  # 0.5, 1, 1, and the one without a reward last
        page.select_option("#sample-sort", "-reward")
        assert rows() == [0, 3, 1, 2]
        page.click("#step-before")
        expect(page.locator(".sample")).to_have_count(6)
        assert seen.said == []


def test_a_conversation_is_shown_as_one(tab, tmp_path: Path) -> None:
    called = Turn(end=1, own=2, said="?<b>", told="12 <i>\nmore", reward=0.25, calls=("ok",))
    turns = (called, Turn(end=4, own=2, said="12", reward=1.0))
    mask = np.array([True, True, False, True, True])
    files = make_run(tmp_path / "run", 0)
    write_step(files, 1, [episode(0, 0, action_mask=mask, played=Played(turns=turns), answer="12")])
    with served(tmp_path / "run") as server:
        seen = tab(server.links["viewer"])
        page = seen.page
        page.click("#tab-samples")
        expect(page.locator(".turns > li")).to_have_count(3)
        own = page.locator(".turns .own")
        assert own.nth(0).inner_text() == "policy, turn 1: reward 0.25, advantage -0.75call ok\n\n?<b>"
        assert "right answer 12" in page.locator(".head").inner_text()
        told = page.locator(".turns .told")
        expect(told.locator(".theirs")).to_be_hidden()  # a tool's answer is folded
        told.locator("summary").click()
        expect(told.locator(".theirs")).to_have_text("12 <i>\nmore")
        page.locator(".sample button").click()
        tokens = page.locator(".tokens .token")
        expect(tokens.nth(2)).to_have_class("token other")
        assert tokens.nth(3).get_attribute("data-turn") == "turn 2: reward 1, advantage 0.75"
        assert seen.said == []


def test_a_prompts_answers_are_compared_between_steps_and_runs(tab, tmp_path: Path) -> None:
    one, two = make_run(tmp_path / "one", 1), make_run(tmp_path / "two", 0)
    write_step(two, 3, [episode(0, 0, text="so it was 5 <b>!</b>")])
    write_step(one, 2, [episode(0, 0, text="so it is 7")])
    with served(tmp_path / "one", tmp_path / "two") as server:
        seen = tab(server.links["viewer"])
        page = seen.page
        page.click("#tab-samples")
        select = page.locator(".head select")
        expect(select.locator("option")).to_have_text(["compare with …", "one, step 1", "two, step 3"])
        select.select_option(label="one, step 1")
        page.locator(".compared .theirs").wait_for()
        both = page.locator(".compared .theirs")
        assert (both.locator("del").inner_text(), both.locator("ins").inner_text()) == ("7", "5")
        select.select_option(label="two, step 3")
        expect(both).to_contain_text("was")
        expect(both.locator("del")).to_have_text(["is", "7"])
        assert "reward 1 here, 1 there" in page.locator(".compared").inner_text()
        expect(both.locator("b")).to_have_count(0)
        assert seen.said == []


def test_a_run_is_followed_and_a_resume_takes_rows_back(tab, tmp_path: Path) -> None:
    files = make_run(tmp_path / "run", 2)
    with served(tmp_path / "run") as server:
        seen = tab(server.links["viewer"])
        page = seen.page
        dots = ".metric:has(h2:text-is('reward/mean')) svg > circle"
        expect(page.locator(dots)).to_have_count(2)
        assert "without a final model yet" in page.locator("#following").inner_text()
        write_step(files, 3, [episode(0, 0)])
        page.locator(dots).nth(2).wait_for()
        files.cut_back(1)
        page.locator(dots).nth(1).wait_for(state="detached")
        expect(page.locator(dots)).to_have_count(1)
        page.click("#tab-samples")
        page.locator(".sample").first.wait_for()
        expect(page.locator("#sample-step option")).to_have_text(["1"])
        assert seen.said == []


def test_the_map_of_prompts_and_the_line_of_phases(tab, tmp_path: Path) -> None:
    make_run(tmp_path / "run", 3)
    with served(tmp_path / "run") as server:
        seen = tab(server.links["viewer"])
        page = seen.page
        page.click("#tab-prompts")
        page.locator("#map rect.cell").first.wait_for()
        expect(page.locator("#map rect.cell")).to_have_count(6)  # add-0 at three steps, three others at one each
        expect(page.locator("#map rect.m1")).to_have_count(6)  # a third is nearest to a quarter
        page.locator("#map svg").focus()
        page.keyboard.press("Home")
        assert page.locator("#map-says").inner_text() == "add-0, step 1: 33 % solved of 3 answers"
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowRight")
        assert page.locator("#map-says").inner_text() == "add-1, step 2: not asked"
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("Enter")
        page.locator(".group").first.wait_for()
        assert page.locator("#sample-step").input_value() == "1"
        page.click("#tab-prompts")
        page.select_option("#map-kind", "table")
        cells = page.locator("#map tbody tr").first.locator("td")
        expect(cells).to_have_text(["0+3=", "add-0", "3", "9", "33 % ", "33 %", "33 %", "0 points"])
        page.click("#tab-time")
        expect(page.locator("#time-line rect.phase")).to_have_count(6)
        assert "sample 20.0 %" in page.locator("#time-key").inner_text()  # 3 of 3 + 3 + 4 + 5 seconds
        page.locator("#time-line svg").focus()
        assert page.locator("#time-says").inner_text() == "step 3: sample 1 s, learn 5 s"
        page.click("#tab-settings")
        assert "method: grpo" in page.locator("#settings").inner_text()
        assert seen.said == []


def test_a_run_without_text_says_so_and_keeps_its_curves(tab, tmp_path: Path) -> None:
    make_run(tmp_path / "run", 3, text=False)
    with served(tmp_path / "run") as server:
        seen = tab(server.links["viewer"])
        expect(metric(seen, "reward/mean").locator("polyline")).to_have_count(1)
        seen.page.click("#tab-samples")
        assert "A run on an environment stores none" in seen.page.locator("#sample-list").inner_text()
        seen.page.click("#tab-prompts")
        assert "A run on an environment stores none" in seen.page.locator("#map").inner_text()
        assert seen.said == []


def test_everything_is_reached_by_keys_and_fits_a_phone(tab, tmp_path: Path) -> None:
    make_run(tmp_path / "run", 3)
    with served(tmp_path / "run") as server:
        seen = tab(server.links["viewer"], viewport={"width": 390, "height": 800}, color_scheme="dark")
        page = seen.page
        page.locator("#tab-curves").focus()
        for name in ("samples", "prompts", "time", "settings", "overview", "curves"):
            page.keyboard.press("ArrowRight")
            assert page.evaluate("document.activeElement.id") == f"tab-{name}"
            assert page.locator(f"#{name}").is_visible()
            page.wait_for_timeout(150)
            over = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert over <= 0, (name, over)
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(13, 17, 23)"
        assert seen.said == []


def hostile(canary: str) -> list[str]:
    return [
        f"<script>fetch('{canary}/script')</script><script src='{canary}/src.js'></script>",
        f"<img src='{canary}/img' onerror=\"fetch('{canary}/onerror')\"><svg onload=alert(1)>",
        f"</div></script><iframe srcdoc=\"<img src='{canary}/srcdoc'>\"></iframe><iframe src='{canary}/frame'>",
        f"<style>@import '{canary}/i'; body {{ display: none }}</style><link rel=stylesheet href='{canary}/css'>",
        f"<a href=\"javascript:fetch('{canary}/link')\">click</a> ![x]({canary}/b.png)",
        "__proto__",
        "\u202eturned \x1b[31mred\x00",
        "half a pair \ud800",
    ]


def make_hostile(folder: Path, texts: list[str]) -> None:
    files = make_run(folder, 0)
    judged = [Judgement(total=0.0, parts={text: 0.5}, accuracy=0.0, status="ok") for text in texts]
    judged[1] = Judgement(total=None, parts={texts[1]: None}, accuracy=None, status=texts[1])
    pieces = (texts * 2)[:5]
    episodes = [
        episode(i, 0, item=text, text=text, pieces=tuple(pieces), judgement=judgement)
        for i, (text, judgement) in enumerate(zip(texts, judged, strict=True))
    ]
    names = {f"reward/{text.encode('utf-8', 'backslashreplace').decode()}": 0.5 for text in texts}
    for step in (1, 2):
        write_step(files, step, episodes, **names)
    (folder / "settings.yaml").write_text("\n".join(f"note: {text}" for text in texts[:6]))
    (folder / "method.json").write_text(json.dumps(texts))


def test_hostile_text_is_text_and_asks_for_nothing(tab, tmp_path: Path) -> None:
    with Canary() as canary:
        texts = hostile(canary.address)
        folder = tmp_path / "<img src=x onerror=alert(9)>\u202e"
        make_hostile(folder, texts)
        make_run(tmp_path / "plain", 1)
        with served(folder, tmp_path / "plain") as server:
            seen = tab(server.links["viewer"])
            page = seen.page
            assert "<img src=x onerror=alert(9)>\\u202e" in page.locator("#legend").inner_text()
            assert page.title().startswith("<img src=x")
            heads = page.locator(".metric h2").all_inner_texts()
            assert f"reward/{texts[0]}"[:120] in " ".join(heads) and "reward/__proto__" in heads
            page.click("#tab-samples")
            page.locator(".sample").first.wait_for()
            said = page.locator("#sample-list").inner_text()
            for text in texts[:6]:
                assert text in said
            assert "\\u202eturned \\x1b[31mred\\x00" in said
            page.locator(".sample button").first.click()
            page.locator(".token").first.wait_for()
            page.locator(".token").nth(1).hover()
            assert "onerror" in page.locator(".token-says").inner_text()
            page.locator(".head select").first.select_option(index=1)
            page.locator(".compared .theirs").wait_for()
            for name in ("prompts", "time", "settings"):
                page.click(f"#tab-{name}")
                page.wait_for_timeout(200)
            page.locator("#settings summary").first.click()
            assert texts[0] in page.locator("#settings").inner_text()
            tags = page.evaluate("[...new Set([...document.body.querySelectorAll('*')].map(n => n.localName))]")
            assert not set(tags) & {"script", "img", "iframe", "style", "link", "a", "object", "form", "base", "meta"}
            assert seen.said == []
        assert canary.heard == []


def test_the_canary_would_have_heard(tab, tmp_path: Path) -> None:
    """Negative control: the same texts as markup ask it, and in our page the policy would still be a wall."""
    with Canary() as canary:
        texts = hostile(canary.address)
        canary.pages["/"] = "<!doctype html><body data-looked>" + "".join(texts[:3])
        bare = tab(f"{canary.address}/")
        bare.page.wait_for_timeout(300)
        assert {"/img", "/script"} <= set(canary.heard)
        canary.heard.clear()
        make_run(tmp_path / "run", 1)
        with served(tmp_path / "run") as server:
            seen = tab(server.links["viewer"])
            told = seen.page.evaluate(
                "text => { try { document.body.innerHTML = text; return 'made'; } catch (e) { return e.name; } }",
                texts[1],
            )
            assert told == "TypeError"  # trusted types
        assert canary.heard == []
