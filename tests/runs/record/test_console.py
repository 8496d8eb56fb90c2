from __future__ import annotations

import io
import re
from collections.abc import Callable
from typing import Any

import pytest

from rung.batch import Episode, Judgement
from rung.lab.diagnosis.observed import Finding
from rung.runs.record.console import ConsoleReport, duration, sample_text

Make = Callable[..., Episode]
WARNING = Finding(severity="serious", says="it runs away", evidence="KL is 3", cause="a high rate", change="Lower [it]")


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


class Closed(io.StringIO):
    def write(self, text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


@pytest.fixture(autouse=True)
def plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "COLUMNS", "LINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")


def metrics(step: int, **more: float) -> dict[str, Any]:
    return {"step": step, "reward/mean": 0.5, "kl/start": 0.0123, "length/mean": 34.1, **more}


def timings(step: int) -> dict[str, Any]:
    return {"step": step, "tokens_per_second": 1240.4, "seconds/step": 2.0}


def run(stream: Any, make: Make, hostile: list[str], **options: Any) -> str:
    with ConsoleReport(total_steps=12, stream=stream, samples_every=5, **options) as console:
        console.start(["16 prompts x 8 samples", "[bold]plan[/bold]\x1b[31m"])
        console.step({"step": 0, "held_out/score": 0.25})
        for step in range(1, 13):
            console.step(metrics(step), timings(step))
            console.samples([make(hostile[step - 1]), make("4")], [f"ask {hostile[step - 1]}", "2+2="])
        console.warn(WARNING.text())
        console.finish(["done in 24s", "[bold]end[/bold]"])
    return stream.getvalue()


def test_without_a_terminal_there_is_one_plain_line_a_step(make_episode: Make, hostile: list[str]) -> None:
    out = run(io.StringIO(), make_episode, hostile)
    lines = out.splitlines()
    assert lines[0] == "16 prompts x 8 samples"
    assert lines[2] == "step  0/12  held-out 25.0 %"
    assert "step  1/12  reward 0.500  KL 0.0123  length 34.1  tokens/s 1,240  22s left" in lines
    assert "step 12/12  reward 0.500  KL 0.0123  length 34.1  tokens/s 1,240" in lines
    assert "warning: it runs away: KL is 3. Likely cause: a high rate. Lower [it]." in lines
    assert lines[-2:] == ["done in 24s", "[bold]end[/bold]"]
    assert sum(line.startswith("step ") for line in lines) == 13


def test_without_a_terminal_no_control_character_is_written(make_episode: Make, hostile: list[str]) -> None:
    for i in range(len(hostile)):
        out = run(io.StringIO(), make_episode, hostile[i:] + hostile[:i])
        assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]", out)


def test_samples_are_shown_at_the_first_step_and_every_so_often(make_episode: Make, hostile: list[str]) -> None:
    out = run(io.StringIO(), make_episode, hostile)
    assert re.findall(r"sample at step (\d+)", out) == ["1", "1", "5", "5", "10", "10"]
    assert "    → </script><script>document.title='owned'</script>" in out
    assert "sample at step" not in run(io.StringIO(), make_episode, hostile, samples_shown=0)


def test_on_a_terminal_markup_and_escapes_of_a_completion_stay_text(make_episode: Make, hostile: list[str]) -> None:
    for i in range(len(hostile)):
        out = run(Terminal(), make_episode, hostile[i:] + hostile[:i])
        ours = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out)  # rich's own: colour, cursor, line
        assert not re.search(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f\u202e\u2066\ud800-\udfff]", ours)
        assert "\x1b]" not in out  # no link, no title
        assert "\x1b[31mred" not in out and "\x1b[2J" not in out
    assert "[red]not red[/red]" in run(Terminal(), make_episode, [hostile[2]] * 12)


def test_on_a_terminal_a_line_is_redrawn(make_episode: Make, hostile: list[str]) -> None:
    out = run(Terminal(), make_episode, hostile)
    assert "step 12/12" in out and "100 %" in out and "progress." not in out and "held-out 25.0 % (step 0)" in out
    assert "\x1b[?25l" in out and out.rindex("\x1b[?25h") > out.rindex("\x1b[?25l")  # the cursor comes back
    assert "[bold]end[/bold]" in out and "Lower [it]" in out


def test_the_cursor_comes_back_after_an_error() -> None:
    stream = Terminal()
    with pytest.raises(RuntimeError, match="boom"), ConsoleReport(total_steps=3, stream=stream) as console:
        console.start([])
        raise RuntimeError("boom")
    out = stream.getvalue()
    assert out.rindex("\x1b[?25h") > out.rindex("\x1b[?25l")


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_quiet_keeps_the_warnings_and_the_end(stream: Any, make_episode: Make, hostile: list[str]) -> None:
    out = re.sub(r"\x1b\[[0-9;]*m", "", run(stream(), make_episode, hostile, quiet=True))
    words = out.replace("warning:", "warning").split()
    assert words[:4] == ["warning", "it", "runs", "away:"]
    assert words[-4:] == ["done", "in", "24s", "[bold]end[/bold]"]
    assert len(out.splitlines()) == 3


def test_a_dumb_terminal_gets_plain_lines(
    make_episode: Make, hostile: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    assert "\x1b" not in run(Terminal(), make_episode, hostile)


@pytest.mark.parametrize("quiet", [True, False])
def test_output_that_went_away_stops_nothing(make_episode: Make, hostile: list[str], quiet: bool) -> None:
    assert run(Closed(), make_episode, hostile, quiet=quiet) == ""


def test_an_encoding_without_our_letters_is_no_error(make_episode: Make, hostile: list[str]) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    with ConsoleReport(total_steps=1, stream=stream) as console:
        console.step(metrics(1), timings(1))
        console.samples([make_episode("שלום")], ["é"])
    assert b"\\u2192 \\u05e9" in raw.getvalue()


def test_a_resumed_run_counts_from_where_it_was() -> None:
    stream = io.StringIO()
    console = ConsoleReport(total_steps=100, first_step=90, stream=stream)
    console.step(metrics(91), {"seconds/step": 10.0})
    assert stream.getvalue().endswith("90s left\n") or stream.getvalue().endswith("1m 30s left\n")


def test_time_left_is_unknown_before_the_first_step_and_over_at_the_last() -> None:
    console = ConsoleReport(total_steps=2, stream=io.StringIO())
    assert console.time_left() == ""
    console.step(metrics(1), {"seconds/step": 30.0})
    assert console.time_left() == "30s left"
    console.step(metrics(2), {"seconds/step": 30.0})
    assert console.time_left() == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0s"), (59.4, "59s"), (60, "1m 00s"), (3599.6, "1h 00m"), (7500, "2h 05m")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_best_and_the_worst_are_shown_with_their_rewards(make_episode: Make) -> None:
    def judged(total: float | None) -> Judgement:
        return Judgement(
            total=total, parts={"right": total}, accuracy=total, status="ok" if total is not None else "x: died"
        )

    stream = io.StringIO()
    episodes = [
        make_episode(f"t{i}", judgement=judged(total)) for i, total in enumerate([0.5, 0.0, None, 1.0, 1.0, 0.0])
    ]
    ConsoleReport(total_steps=1, stream=stream).samples(episodes)
    assert re.findall(r"→ (t\d)", stream.getvalue()) == ["t3", "t1"]
    title, body = sample_text(episodes[2], None)
    assert title == "reward – (right –)  x: died  item add-0" and body == "→ t2"


def test_long_texts_are_cut_and_a_prompt_shows_its_end(make_episode: Make) -> None:
    _, body = sample_text(make_episode("c" * 1000), "p" * 1000 + "END", limit=10)
    assert body == "… pppppppEND\n→ cccccccccc… (990 more)"
    assert sample_text(make_episode("", truncated=True, judgement=None), None) == (
        "not judged  truncated  item add-0",
        "→ (nothing)",
    )


def test_no_episode_no_sample() -> None:
    stream = io.StringIO()
    ConsoleReport(total_steps=1, stream=stream).samples([])
    assert stream.getvalue() == ""
