"""The samples of one step as the page shows them, and the tokens of one sample. Text is made visible, never markup."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from rung.batch import OK
from rung.runs.record.visible import shown_text, visible

MOST_ROWS = 4096
"""Completions of a step that are shown."""
MOST_CHARACTERS = 20_000
"""Of one prompt or completion."""
MOST_TOKENS = 16_384
"""Of one completion."""
MOST_PARTS = 64
"""Reward parts of one completion."""

STEP_COLUMNS = (
    *("group", "sample", "item", "prompt", "completion", "status", "mask", "advantages", "reward"),
    *("reward_parts", "accuracy", "terminated", "truncated", "turns"),
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
    own = [float(a) for a, chosen in zip(advantages or [], mask, strict=False) if chosen and a is not None]
    return {
        "row": number,
        "group": row["group"],
        "sample": row["sample"],
        "completion": _text(_said(row)),
        "status": visible(row["status"] or "not judged", limit=200),
        "ok": row["status"] == OK,
        "reward": finite(row["reward"]),
        "parts": [
            [visible(str(name), limit=60), finite(value)]
            for name, value in list((row["reward_parts"] or {}).items())[:MOST_PARTS]
        ],
        "accuracy": finite(row["accuracy"]),
        "advantage": finite(sum(own) / len(own)) if own else None,
        "tokens": sum(map(bool, mask)),
        "terminated": bool(row["terminated"]),
        "truncated": bool(row["truncated"]),
    }


def _said(row: Mapping[str, Any]) -> str | None:
    """The completion; over turns a paragraph each, and what came back behind an arrow."""
    arrows = {"assistant": "", "user": "← "}
    turns = row.get("turns") or ()
    return "\n".join(f"{arrows[t['role']]}{t['content'].rstrip()}" for t in turns) if turns else row["completion"]


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


def finite(value: Any) -> float | None:
    """The number, or None for what is none: JSON knows no NaN."""
    return float(value) if value is not None and math.isfinite(value) else None


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
