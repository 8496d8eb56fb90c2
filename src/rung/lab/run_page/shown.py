"""What a page shows of a run, as JSON values: the run at a glance, the samples of a step, the tokens of one sample.

Text is made visible, never markup."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rung.batch import OK
from rung.errors import SettingsError
from rung.lab.diagnosis.observed import Finding, ObservedRun
from rung.lab.diagnosis.stored import evaluations, object_in
from rung.lab.run_page.summary import state, summary
from rung.runs.metrics import METRICS, Metric, explain_metric, shown
from rung.runs.record.files import Row
from rung.runs.record.visible import finite, shown_text, visible
from rung.runs.statistics import Difference

FILM = "episode.gif"
"""Where training leaves the film of an episode."""


def overview(
    folder: Path, settings: str, metrics: Sequence[Row], timings: Sequence[Row], warnings: Sequence[tuple[int, Finding]]
) -> dict[str, Any]:
    """The overview of a run's folder. What cannot be read is a sentence in `problems`; `row` is the run in one line."""
    problems: list[str] = []
    finished = (folder / "final").is_dir()
    gain = _paired(folder, metrics, problems)
    return {
        "state": state(settings, metrics, timings, finished=finished),
        "row": summary(settings, metrics, timings, gain, finished=finished),
        "figures": _figures(metrics, gain),
        "warnings": _warnings(warnings),
        "method": _method(object_in(folder / "method.json", problems)),
        "film": film_in(folder, problems),
        "problems": [visible(problem, limit=300) for problem in problems],
    }


def _paired(folder: Path, metrics: Sequence[Row], problems: list[str]) -> Difference | None:
    """The gain from the first to the last evaluation, paired by item; None where there are no two to compare."""
    if sum(row.get("held_out/score") is not None for row in metrics) < 2:
        return None
    wrong: list[str] = []
    gain = ObservedRun(evaluations=evaluations(folder / "held_out", wrong)).gain
    problems += [f"held_out: the evaluations cannot be compared: {one}" for one in wrong]
    return gain


def _figures(metrics: Sequence[Row], gain: Difference | None) -> list[tuple[str, str]]:
    """(value, caption) of the held-out score before and after, the gain between them, and the training reward."""
    evaluated = [row for row in metrics if row.get("held_out/score") is not None]
    ends = evaluated[:1] + evaluated[1:][-1:]
    figures = [(shown("held_out/score", row["held_out/score"]), _evaluation(row)) for row in ends]
    if len(evaluated) > 1:
        figures.append(_gain(gain, evaluated))
    rewards = [value for row in metrics if (value := row.get("reward/mean")) is not None]
    if rewards:
        tenth = max(1, len(rewards) // 10)
        before, after = (shown("reward/mean", sum(part) / tenth) for part in (rewards[:tenth], rewards[-tenth:]))
        figures.append((f"{before} → {after}", "training reward, first and last tenth of the steps"))
    if not evaluated:
        figures.append(("no held-out score", "this run was not evaluated on held-out items"))
    return figures


def _evaluation(row: Row) -> str:
    step = int(row.get("step") or 0)
    low, high = (row.get(f"held_out/{end}") for end in ("low", "high"))
    said = [shown("held_out/score", end) for end in (low, high)]
    interval = "" if low is None or high is None else f", 95 % interval {said[0]} to {said[1]}"
    return ("held-out before training" if step == 0 else f"held-out at step {step:,}") + interval


def _gain(gain: Difference | None, evaluated: Sequence[Row]) -> tuple[str, str]:
    scores = [row["held_out/score"] or 0.0 for row in evaluated]
    scale, unit = (100, " points") if all(0 <= score <= 1 for score in scores) else (1, "")
    if gain is None:
        change = (scores[-1] - scores[0]) * scale
        return f"{change:+.1f}{unit}", "difference of the two scores, not paired by item"
    caption = f"paired on {gain.items:,} items, 95 % interval {gain.low * scale:+.1f} to {gain.high * scale:+.1f}"
    if (ratio := gain.in_standard_errors) is not None:
        caption += f", {ratio:.1f} standard errors ({gain.standard_error * scale:.1f}{unit} each)"
    return f"{gain.value * scale:+.1f}{unit}", caption


def _warnings(log: Sequence[tuple[int, Finding]]) -> list[dict[str, str]]:
    """Every warning of the run once, with the steps at which it came up."""
    came_up: dict[tuple[str, str], list[tuple[int, Finding]]] = {}
    for step, warning in log:
        came_up.setdefault((warning.name, warning.subject), []).append((step, warning))
    said = [
        {
            "says": last.says[:1].upper() + last.says[1:],
            "when": (f"step {first:,}" if count == 1 else f"{count} times, first at step {first:,}"),
            "evidence": f"{last.evidence[:1].upper()}{last.evidence[1:]}.",
            "advice": f"Likely cause: {last.cause}. {last.change}.",
        }
        for first, last, count in ((times[0][0], times[-1][1], len(times)) for times in came_up.values())
    ]
    return [{name: visible(text, limit=2000) for name, text in one.items()} for one in said]


def _method(card: Mapping[str, Any]) -> dict[str, Any] | None:
    """The method as it ran: formula, slots, paper, deviations; of a card of another shape what it has."""
    if not card:
        return None
    text = {name: _shown(card.get(name) or "") for name in ("name", "summary", "formula", "paper")}
    slots, deviations = card.get("slots"), card.get("deviations")
    arxiv = re.fullmatch(r"arXiv:(\d{4}\.\d{4,5})", text["paper"])
    named = slots.items() if isinstance(slots, dict) else ()
    return {
        **text,
        "link": f"https://arxiv.org/abs/{arxiv[1]}" if arxiv else "",
        "slots": [[_shown(name), _shown(describe(part))] for name, part in named],
        "deviations": [_shown(line) for line in deviations] if isinstance(deviations, list) else [],
    }


def describe(value: Any) -> str:
    """A slot's filling in one line: `ClippedSurrogate(low=0.2, high=0.28)`."""
    if value is None:
        return "none"
    if isinstance(value, dict) and isinstance(value.get("part"), str):
        inside = ", ".join(f"{name}={describe(inner)}" for name, inner in value.items() if name != "part")
        return f"{value['part']}({inside})" if inside else value["part"]
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


def meanings(names: Iterable[str], *, environment: bool) -> dict[str, Any]:
    """What a page says about metrics, and the order in which a reader wants them; of a name that is not ours nothing.

    `{"order": ["step", ...], "meanings": [{"name": "kl/start", ...}, ...]}`.
    """
    found: list[Metric] = []
    for name in names:
        try:
            found.append(explain_metric(name, environment=environment))
        except SettingsError:
            found.append(Metric(name=name, unit="", meaning="", healthy="", what_to_do=""))
    return {"order": list(METRICS), "meanings": [vars(metric) for metric in found]}


def _shown(value: object) -> str:
    return shown_text(str(value)[:4000])


def film_in(folder: Path, problems: list[str]) -> dict[str, int] | None:
    """How large the film is; None where there is none that can be shown."""
    path = folder / FILM
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            begin = file.read(6)
    except OSError as error:
        problems.append(f"{FILM}: cannot be read ({error.strerror or error})")
        return None
    if begin not in (b"GIF87a", b"GIF89a"):
        problems.append(f"{FILM}: is no GIF, so it is not shown")
        return None
    return {"bytes": path.stat().st_size}


MOST_ROWS = 4096
"""Completions of a step that are shown."""
MOST_CHARACTERS = 20_000
"""Of one prompt or completion."""
MOST_TOKENS = 16_384
"""Of one completion."""
MOST_TURNS = 256
"""Messages of one conversation."""
MOST_PARTS = 64
"""Reward parts of one completion."""

STEP_COLUMNS = (
    *("group", "sample", "item", "prompt", "completion", "status", "mask", "advantages", "reward"),
    *("reward_parts", "accuracy", "terminated", "truncated", "answer"),
    *("turns", "turn_ends", "turn_rewards", "turn_calls"),
)
TOKEN_COLUMNS = (
    *("group", "sample", "mask", "token_ids", "pieces", "log_probs", "advantages"),
    *("learner_log_probs", "entropy", "clipped", "reference_log_probs"),
)


def shown_step(rows: Sequence[Mapping[str, Any]], *, most: int | None = None) -> dict[str, Any]:
    """A step's groups and samples as JSON values, at most so many. `row` of a sample is its place in the file."""
    shown = rows[: MOST_ROWS if most is None else most]
    first_of_group: dict[Any, Mapping[str, Any]] = {}
    for row in shown:
        first_of_group.setdefault(row["group"], row)
    return {
        "groups": [
            {"group": group, "item": _text(row["item"], 200), "prompt": _text(row["prompt"])}
            for group, row in first_of_group.items()
        ],
        "samples": [_sample(number, row) for number, row in enumerate(shown)],
        "left_out": len(rows) - len(shown),
    }


def _sample(number: int, row: Mapping[str, Any]) -> dict[str, Any]:
    mask, advantages = row["mask"] or [], row["advantages"]
    return {
        "row": number,
        "group": row["group"],
        "sample": row["sample"],
        "completion": _text(_said(row)),
        "answer": None if (answer := row.get("answer")) is None else _text(answer, 200),
        "turns": _turns(row)[:MOST_TURNS],
        "status": visible(row["status"] or "not judged", limit=200),
        "ok": row["status"] == OK,
        "reward": finite(row["reward"]),
        "parts": [
            [visible(str(name), limit=60), finite(value)]
            for name, value in list((row["reward_parts"] or {}).items())[:MOST_PARTS]
        ],
        "accuracy": finite(row["accuracy"]),
        "advantage": _mean_advantage(advantages, mask, slice(None)),
        "tokens": sum(map(bool, mask)),
        "terminated": bool(row["terminated"]),
        "truncated": bool(row["truncated"]),
    }


def _said(row: Mapping[str, Any]) -> str | None:
    """The completion; over turns a paragraph each, and what came back behind an arrow."""
    turns = row.get("turns") or ()
    texts = (f"{'' if t['role'] == 'assistant' else '← '}{t['content'].rstrip()}" for t in turns)
    return "\n".join(texts) if turns else row["completion"]


def _turns(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Each message of a conversation. One of the policy's own has its reward, its mean advantage, how its calls of
    tools ended, and the index of its last token, unless an older run did not store them."""
    found: list[dict[str, Any]] = []
    own = zip(*(row.get(f"turn_{name}") or () for name in ("ends", "rewards", "calls")), strict=False)
    begin = 0
    for said in row.get("turns") or ():
        one: dict[str, Any] = {"who": visible(said["role"], limit=40), "text": _text(said["content"].rstrip())}
        if said["role"] == "assistant" and (facts := next(own, None)) is not None:
            end, reward, calls = facts
            advantage = _mean_advantage(row["advantages"], row["mask"] or [], slice(begin, end + 1))
            one |= {"reward": finite(reward), "advantage": advantage, "end": end}
            one["calls"] = [visible(status, limit=60) for status in calls[:MOST_PARTS]]
            begin = end + 1
        found.append(one)
    return found


def _mean_advantage(advantages: Sequence[Any] | None, mask: Sequence[bool], part: slice) -> float | None:
    """The mean over the policy's own tokens of a part of the episode."""
    pairs = zip((advantages or [])[part], mask[part], strict=False)
    own = [float(advantage) for advantage, chosen in pairs if chosen and advantage is not None]
    return finite(sum(own) / len(own)) if own else None


def shown_tokens(row: Mapping[str, Any]) -> dict[str, Any]:
    """Each token's text and numbers; a list is null where the run did not store it.

    `gap` is the learner's log-prob less the sampler's, `reference` the log of the learner's ratio to the reference.
    """
    count = len(row["mask"] or [])
    mask = [bool(own) for own in row["mask"] or []][:MOST_TOKENS]
    sampler, learner = (_numbers(row[name], count) for name in ("log_probs", "learner_log_probs"))
    return {
        "pieces": _listed(row["pieces"], count, shown_text),
        "ids": _listed(row["token_ids"], count, int),
        "own": mask,
        "advantage": _numbers(row["advantages"], count),
        "log_prob": sampler,
        "learner": learner,
        "gap": _differences(learner, sampler),
        "entropy": _numbers(row["entropy"], count),
        "reference": _differences(learner, _numbers(row["reference_log_probs"], count)),
        "clipped": _listed(row["clipped"], count, bool),
        "left_out": max(0, count - MOST_TOKENS),
    }


def _text(text: str | None, limit: int = MOST_CHARACTERS) -> str:
    text = text or ""
    rest = len(text) - limit
    return shown_text(text[:limit]) + (f"… ({rest:,} more characters)" if rest > 0 else "")


def _numbers(values: Sequence[Any] | None, count: int) -> list[float | None] | None:
    return _listed(values, count, _short)


def _short(value: Any) -> float | None:
    """Six significant digits: what was stored has no more, and a page of tokens is half as large."""
    number = finite(value)
    return None if number is None else float(f"{number:.6g}")


def _listed(values: Sequence[Any] | None, count: int, made: Any) -> list[Any] | None:
    """One value per token; None where the column has another length, so that it belongs to other tokens."""
    if values is None or len(values) != count:
        return None
    return [None if value is None else made(value) for value in values[:MOST_TOKENS]]


def _differences(
    ones: Sequence[float | None] | None, others: Sequence[float | None] | None
) -> list[float | None] | None:
    if ones is None or others is None:
        return None
    return [None if a is None or b is None else _short(a - b) for a, b in zip(ones, others, strict=True)]
