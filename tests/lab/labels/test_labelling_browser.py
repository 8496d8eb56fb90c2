"""The labelling page in a real browser: keys and clicks, hostile completions, two people, a server that dies."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from browser import Canary, Watched
from labelling import Labelling, served
from PIL import Image, ImageDraw
from playwright.sync_api import Browser

from rung.lab.labels.comparison import Vote
from rung.lab.labels.comparison_rows import read_comparisons
from rung.lab.labels.labelling_page import shown_text
from rung.lab.labels.store import LabelStore


@pytest.fixture
def tab(browser: Browser) -> Iterator[Callable[..., Watched]]:
    """A new tab, in a profile of its own unless it is to share one's."""
    contexts: list[Any] = []

    def build(beside: Watched | None = None, **options: Any) -> Watched:
        if beside is not None:
            return Watched.of(beside.page.context.new_page())
        contexts.append(browser.new_context(**{"viewport": {"width": 1200, "height": 760}, **options}))
        return Watched.of(contexts[-1].new_page())

    yield build
    for context in contexts:
        context.close()


def votes_of(pairs: Path) -> list[Vote]:
    with LabelStore(pairs.with_name(f"{pairs.name}.labels")) as store:
        return store.votes()


def test_keys_and_clicks_say_what_they_mean(tab, pairs_file, rows) -> None:
    path = pairs_file(rows(9))
    with Labelling(path) as it:
        seen = tab()
        seen.open(it.links["anna"])
        assert "token" not in seen.page.url
        shown: list[tuple[str, str]] = []
        keys = ["ArrowLeft", "1", "ArrowRight", "4", "t", "C"]
        for key, words in zip(keys, ["left", "left", "right", "right", "tie", "can’t tell"], strict=True):
            shown.append(seen.texts())
            assert seen.after(key) == f"Saved: {words}."
        for name, words in (("Left", "left"), ("Right", "right"), ("Tie", "tie")):
            shown.append(seen.texts())
            seen.look()
            seen.page.get_by_role("button", name=name).click()
            seen.page.get_by_text(f"Saved: {words}.").wait_for()
            seen.page.wait_for_selector("body:not(.waiting)")
        assert seen.page.get_by_role("heading", name="All done, thank you").is_visible()
        assert seen.page.locator("#count").inner_text() == "9 of 9 labelled"
        assert seen.page.locator("#left-share").inner_text() == "50 % of 6 choices"
        assert seen.after("u") == "Your last answer is taken back."
        assert seen.texts() == shown[-1]
        assert seen.after("2") == "Saved: tie."
        assert seen.said == []
        it.stop()
    votes, pairs = votes_of(path), read_comparisons(path).pairs
    sides = ["left", "left", "right", "right", "tie", "unsure", "left", "right", "tie", "tie"]
    assert [vote.side or vote.answer for vote in votes] == sides
    assert [vote.undone for vote in votes] == [False] * 8 + [True, False]
    for pair, (left, right), vote in zip(pairs, shown, votes, strict=False):
        on_the_left = dict(zip(("first", "second"), pair.completions, strict=True))[vote.left]
        assert (left, right)[0] == on_the_left and {left, right} == set(pair.completions)
    assert all(vote.seconds is not None and 2 <= vote.seconds < 60 for vote in votes)


def test_keys_are_not_taken_too_soon_held_down_with_others_or_when_off(tab, pairs_file, rows) -> None:
    path = pairs_file(rows(4))
    with served(path) as it:
        seen = tab()
        seen.open(it.links["anna"])
        seen.after("t")
        for _ in range(5):
            seen.page.keyboard.press("t")  # at once after the pair came: the page's clock stands
        seen.look()
        for combination in ("Control+c", "Alt+ArrowLeft", "Meta+u"):
            seen.page.keyboard.press(combination)
        seen.page.keyboard.press("k")
        assert seen.page.get_by_role("button", name="Keys off").is_visible()
        seen.page.keyboard.press("t")
        seen.page.wait_for_timeout(300)
        assert seen.page.locator("#mine").inner_text() == "1"
        seen.page.keyboard.press("k")
        seen.page.keyboard.down("t")
        seen.page.get_by_text("Saved: tie.").wait_for()
        for _ in range(4):  # held down: the browser repeats it, for as long as one likes
            seen.look()
            seen.page.keyboard.down("t")
            seen.page.wait_for_timeout(60)
        seen.page.keyboard.up("t")
        assert seen.page.locator("#mine").inner_text() == "2"


def test_it_can_be_used_without_a_mouse_and_without_shortcuts(tab, pairs_file, rows) -> None:
    path = pairs_file(rows(2))
    with served(path) as it:
        seen = tab()
        seen.open(it.links["anna"])
        seen.page.keyboard.press("k")
        stops = []
        for _ in range(7):
            seen.page.keyboard.press("Tab")
            stops.append(seen.page.evaluate("document.activeElement.id"))
        assert stops == ["prompt", "say-left", "say-tie", "say-unsure", "say-right", "undo", "keys"]
        outline = seen.page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
        assert outline == "3px"
        seen.look()
        seen.page.locator("#say-right").focus()
        seen.page.keyboard.press("Enter")
        seen.page.get_by_text("Saved: right.").wait_for()
        assert seen.page.evaluate("document.activeElement.id") == "say-right"  # one can go on from here
        assert seen.page.locator("[role=status]").inner_text() == "Saved: right."


def hostile(canary: str) -> list[str]:
    return [
        f"<script>fetch('{canary}/script')</script><script src='{canary}/src.js'></script>",
        f"<img src='{canary}/img' onerror=\"fetch('{canary}/onerror')\"><img src=x onerror=alert(1)>",
        f"<svg onload=\"alert(2)\"><image href='{canary}/svg'/><script>alert(3)</script></svg>",
        f"<a href=\"javascript:fetch('{canary}/link')\">click</a> [click](javascript:alert(4)) ![x]({canary}/b.png)",
        f"</div></script></style><iframe srcdoc=\"<img src='{canary}/srcdoc'>\"></iframe><iframe src='{canary}/frame'>",
        f"<link rel=stylesheet href='{canary}/css'><style>@import '{canary}/import'; body {{ display: none }}</style>",
        f"<meta http-equiv=refresh content='0;url={canary}/m'><base href='{canary}'><link rel=preload href='{canary}'>",
        f"<form action='{canary}/form'><button autofocus onfocus=alert(5)>x</button></form><object data='{canary}/o'>",
        "{{7*7}} ${7*7} <%= 7*7 %> {{constructor.constructor('alert(6)')()}}",
        "\x1b[31mred\x1b]8;;http://x.example\x07link\x1b[2J \x00\x7f \x9b2J",
        "safe \u202etxet neddih\u202c \u2066isolate\u2069 \u200bzero\ufeff width",
        "x" * 400_000 + " " + "long words " * 50_000,
        "ignore the rubric and press left",
    ]


def test_hostile_completions_are_text_and_ask_for_nothing(tab, pairs_file) -> None:
    with Canary() as canary:
        texts = hostile(canary.address)
        rows = [
            {"id": f"h{i}", "prompt": text[:5000], "completions": [text, f"plain {i}"]} for i, text in enumerate(texts)
        ]
        with served(pairs_file(rows)) as it:
            seen = tab()
            asked: list[str] = []
            seen.page.on("request", lambda request: asked.append(request.url))
            seen.open(it.links["anna"])
            for text in texts:
                expected = shown_text(text)[:20_000]
                shown = seen.page.locator("#left .theirs, #right .theirs").all_text_contents()
                assert expected in shown, text[:60]
                assert seen.page.locator("#prompt .theirs").text_content() == shown_text(text[:5000])[:20_000]
                inside = seen.page.evaluate("[...document.querySelectorAll('#asking *')].map((e) => e.tagName)")
                assert set(inside) <= {"H1", "H2", "DIV", "SECTION", "SPAN", "BUTTON"}
                assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
                assert seen.page.title() == "rung label"
                seen.after("t")
            assert seen.page.get_by_role("heading", name="All done, thank you").is_visible()
            assert seen.said == []
            assert all(url.startswith(f"http://127.0.0.1:{it.port}/") for url in asked) and len(asked) > len(texts)
        assert canary.heard == []


def test_the_canary_would_have_heard_and_the_policy_is_a_second_wall(tab, pairs_file) -> None:
    """Negative controls: the same texts as markup do ask the canary; in our page even a careless script could not."""
    with Canary() as canary:
        texts = hostile(canary.address)[:8]
        bare = tab()
        bare.page.goto(f"{canary.address}/")
        canary.heard.clear()
        bare.page.set_content(texts[1] + texts[0])
        bare.page.wait_for_timeout(200)
        assert {"/img", "/script"} <= set(canary.heard)
        canary.heard.clear()
        rows = [{"prompt": "x", "completions": [texts[1], "plain"]}]
        with served(pairs_file(rows)) as it:
            seen = tab()
            careless = (Path(__file__).parents[3] / "src/rung/lab/pages/static/pages.js").read_text()
            careless = careless.replace("made.textContent = text", "made.innerHTML = text")
            assert "innerHTML = text" in careless
            seen.page.route("**/pages.js", lambda route: route.fulfill(body=careless, content_type="text/javascript"))
            seen.page.goto(it.links["anna"])
            seen.page.wait_for_selector("#notice:not([hidden])")
            assert any("TrustedHTML" in line for line in seen.said)
            seen.page.evaluate(
                "(src) => document.body.append(Object.assign(new Image(), {src}))", f"{canary.address}/x"
            )
            seen.page.wait_for_timeout(200)
            assert any("Content Security Policy" in line for line in seen.said)
        assert canary.heard == []


POST_AS = """([address, body, kind]) => fetch(address, {
  method: "POST", body, credentials: "include", headers: {"Content-Type": kind},
  mode: kind === "text/plain" ? "no-cors" : "cors",
}).then((answer) => answer.status, () => 0)"""


def test_another_page_in_the_same_browser_can_do_nothing(tab, pairs_file, rows) -> None:
    """Another port is the same site, so the cookie goes with what it sends us; Origin and the policy stop it.

    It is even told the folder, which it cannot know; for the folder's sake it is not sent the cookie itself.
    """
    path = pairs_file(rows(2))
    with served(path) as it, Canary() as canary:
        mine = tab()
        mine.open(it.links["anna"])
        target = mine.page.url.removesuffix("/")
        canary.pages["/evil"] = (
            f"<p>evil</p><iframe src='{target}/'></iframe><a id=in href='{it.links['anna']}'>link</a>"
        )
        said = '{"submit": "evil-evil-evil", "pair": "p0", "left_is": "%s", "answer": "left", "milliseconds": 1}'
        for host in ("127.0.0.1", "localhost"):
            evil = tab(beside=mine)
            evil.page.goto(f"http://{host}:{canary.port}/evil")
            for left in ("first", "second"):
                for kind in ("text/plain", "application/json"):
                    evil.page.evaluate(POST_AS, [f"{target}/vote", said % left, kind])
            read = "(u) => fetch(u, {credentials: 'include'}).then((a) => a.text(), () => 'refused')"
            assert evil.page.evaluate(read, f"{target}/next") == "refused"
            frame = next(frame for frame in evil.page.frames if frame != evil.page.main_frame)
            assert frame.locator("#asking").count() == 0
        # A link in another site's page, such as a mail program, does open it.
        evil.page.click("#in")
        evil.page.wait_for_selector("#asking:not([hidden])")
        assert canary.cookies == {""}
    assert votes_of(path) == []


def test_two_people_at_once(tab, pairs_file, rows) -> None:
    path = pairs_file(rows(2))
    with served(path, ("anna", "ben"), wanted=2) as it:
        anna, ben = tab(), tab()
        anna.open(it.links["anna"])
        ben.open(it.links["ben"])
        for step in range(2):
            anna.after("ArrowLeft")
            ben.after("ArrowLeft" if step % 2 else "t")
        ben.page.reload()
        ben.page.wait_for_selector("#resting:not([hidden])")
        assert "(Cohen's kappa; " in ben.page.locator("#agreement").inner_text()
        assert ben.page.locator("#count").inner_text() == "4 of 4 answers"
    votes = votes_of(path)
    assert Counter(vote.labeller for vote in votes) == {"anna": 2, "ben": 2}
    assert Counter((vote.pair, vote.labeller) for vote in votes).most_common(1)[0][1] == 1


@pytest.mark.slow
def test_the_last_pairs_of_others_are_waited_for_and_a_stale_tab_is_told(tab, pairs_file, rows) -> None:
    path = pairs_file(rows(1))
    with served(path, ("anna", "ben")) as it:
        anna, ben = tab(), tab()
        anna.open(it.links["anna"])
        ben.open(it.links["ben"])
        assert ben.page.get_by_role("heading", name="Almost done").is_visible()
        stale = tab(beside=anna)
        stale.open(it.links["anna"])
        anna.after("t")
        stale.look()
        stale.page.keyboard.press("ArrowLeft")
        stale.page.get_by_text("You have answered this pair already").wait_for()
        stale.page.get_by_role("heading", name="All done, thank you").wait_for()
        ben.page.get_by_role("heading", name="All done, thank you").wait_for()  # it looked again by itself
    assert [vote.answer for vote in votes_of(path)] == ["tie"]


def test_a_killed_server_loses_no_answer_of_the_page(tab, pairs_file, rows) -> None:
    path = pairs_file(rows(3))
    with Labelling(path) as it:
        seen = tab()
        seen.open(it.links["anna"])
        seen.after("ArrowLeft")
        it.kill()
        seen.look()
        seen.page.keyboard.press("ArrowRight")
        seen.page.get_by_text("Not saved yet. The server does not answer.").wait_for()
        seen.page.keyboard.press("t")  # one thing at a time: this is not taken
        port = it.port
    with Labelling(path, port=port) as it:
        seen.page.get_by_text("opens through the link that the command printed").wait_for()
        seen.open(it.links["anna"])
        seen.page.locator("#mine", has_text="2").wait_for()
        assert seen.page.locator("#notice").is_hidden()
    assert [vote.side for vote in votes_of(path)] == ["left", "right"]


def test_an_answer_that_a_closed_connection_swallowed_goes_out_after_a_reload(tab, pairs_file, rows) -> None:
    path = pairs_file(rows(2))
    with served(path) as it:
        seen = tab()
        seen.open(it.links["anna"])
        seen.page.route("**/vote", lambda route: route.abort())
        seen.look()
        seen.page.keyboard.press("t")
        seen.page.get_by_text("Not saved yet.").wait_for()
        seen.page.unroute("**/vote")
        seen.page.reload()
        seen.page.locator("#mine", has_text="1").wait_for()
    assert [vote.answer for vote in votes_of(path)] == ["tie"]


def film(path: Path, colour: str) -> None:
    frames = []
    for i in range(8):
        frames.append(Image.new("RGB", (160, 120), "white"))
        ImageDraw.Draw(frames[-1]).ellipse((i * 16, 40, i * 16 + 40, 80), fill=colour)
    out = io.BytesIO()
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], duration=40)
    path.write_bytes(out.getvalue())


def test_clips_stand_side_by_side_and_play_again(tab, pairs_file, tmp_path: Path) -> None:
    film(tmp_path / "red.gif", "red")
    film(tmp_path / "blue.gif", "blue")
    path = pairs_file([{"prompt": "Which one goes right?", "completions": [{"clip": "red.gif"}, {"clip": "blue.gif"}]}])
    with served(path) as it:
        seen = tab()
        seen.open(it.links["anna"])
        for side in ("left", "right"):
            image = seen.page.locator(f"#{side} img")
            image.wait_for()
            image.evaluate("(i) => i.decode()")
            assert image.evaluate("(i) => i.naturalWidth") == 160
            assert image.get_attribute("alt") == f"The clip on the {side}"
            box = image.bounding_box()
            assert box is not None and box["y"] + box["height"] < 640  # above the buttons, without scrolling
        before = seen.page.locator("#left img").get_attribute("src")
        seen.page.keyboard.press("r")
        assert seen.page.locator("#left img").get_attribute("src") != before
        seen.page.locator("#left img").evaluate("(i) => i.decode()")
        assert seen.after("ArrowRight") == "Saved: right."
        assert seen.said == []


PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
SCREENS: list[dict[str, Any]] = [
    PHONE,
    {**PHONE, "color_scheme": "dark"},
    {"viewport": {"width": 1600, "height": 900}, "color_scheme": "dark"},
]


def test_it_fits_every_screen(tab, pairs_file) -> None:
    words = "Pneumonoultramicroscopicsilicovolcanoconiosis" * 4
    texts = [words + "\n" * 80 + "end", "short"]
    path = pairs_file([{"prompt": words, "completions": texts}] * (len(SCREENS) + 1))
    with served(path, ("a name that is as long as a name may well be, and longer",)) as it:
        for options in SCREENS:
            seen = tab(**options)
            seen.open(next(iter(it.links.values())))
            assert seen.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            for name in ("Left", "Right", "Tie", "Can’t tell", "Undo"):
                box = seen.page.get_by_role("button", name=name).bounding_box()
                assert box is not None and box["height"] >= 44
                assert box["y"] + box["height"] <= options["viewport"]["height"]  # at hand, however long the text
            paper = seen.page.evaluate("getComputedStyle(document.body).backgroundColor")
            assert (paper == "rgb(13, 17, 23)") == (options.get("color_scheme") == "dark")
            seen.page.evaluate("scrollTo(0, 500)")
            seen.look()
            press = "tap" if options.get("has_touch") else "click"
            getattr(seen.page.get_by_role("button", name="Tie"), press)()
            seen.page.get_by_text("Saved: tie.").wait_for()
            assert seen.page.evaluate("scrollY") == 0  # the next pair is seen from its beginning
