"""Parts of the reward that teach nothing, or that are met without being right."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np

from rung.lab.diagnosis.finding import Finding
from rung.lab.diagnosis.learning_rate import lower_rate
from rung.lab.diagnosis.stored import CLEAR, Sample, StoredRun, Trend, span
from rung.lab.diagnosis.warnings import WarningLimits
from rung.runs.statistics import standard_error


def constant_part(run: StoredRun) -> Finding | None:
    """Parts that had one value from the first step to the last."""
    names = _held_throughout(run, "constant_part")
    if not names:
        return None
    values = ", ".join(f"'{name}' was {run.values(f'reward/{name}')[-1]:.4g}" for name in names)
    only = set(names) == set(part_names(run))
    return Finding(
        name="constant_part",
        severity="serious" if only else "doubtful",
        says=f"the reward {_parts(names)} never varies",
        evidence=f"{values} for every completion of {span(run.steps)}",
        cause="every completion meets it, or none does; what is the same for all teaches nothing",
        change="Make it tell completions apart, or leave it out",
        **_weight(run, names[0]),
    )


def part_never_applies(run: StoredRun) -> Finding | None:
    """Parts that gave no value to any completion."""
    names = _held_throughout(run, "part_never_applies")
    if not names:
        return None
    return Finding(
        name="part_never_applies",
        severity="doubtful",
        says=f"the reward {_parts(names)} applies to no completion",
        evidence=f"no value in {span(run.steps)}",
        cause="the reward returns None for every sample, perhaps because a column that it reads is missing",
        change="Check what it reads from the task's rows, or leave it out",
        **_weight(run, names[0]),
    )


def gamed_reward(run: StoredRun) -> Finding | None:
    """A part of the reward rises while what counts falls: the held-out score, or the accuracy of the samples."""
    fell = _held_out_fell(run) or _accuracy_fell(run)
    rose = {name: trend for name in part_names(run) if (trend := run.trend(f"reward/{name}")) and trend.rises}
    if not fell or not rose:
        return None
    name = max(rose, key=lambda key: (rose[key].after - rose[key].before) / (rose[key].standard_error or 1e-9))
    return Finding(
        name="gamed_reward",
        severity="serious",
        says=f"the reward part '{name}' is gamed: it rises while what counts falls",
        evidence=f"'{name}' went from {_of(rose[name])}; {fell}",
        cause=f"'{name}' can be met without being right, and pays more than being right does",
        change=f"Read the best-rewarded samples, mend '{name}' or lower its weight, and begin again from a checkpoint "
        "before the fall",
        **_weight(run, name, halve=True),
    )


def part_names(run: StoredRun) -> list[str]:
    """The parts that the run's reward has."""
    found = {name for row in run.steps for name in row if name.startswith("reward/") and name != "reward/mean"}
    return sorted(name.removeprefix("reward/") for name in found)


def _held_throughout(run: StoredRun, warning: str) -> list[str]:
    """The parts about which a live warning stood from the first step at which it could to the last."""
    first = WarningLimits().steps
    wanted = len(run.steps) - first + 1
    found = [subject for (name, subject), one in run.standing.items() if name == warning and len(one.steps) >= wanted]
    return sorted(found) if wanted > 0 else []


def _held_out_fell(run: StoredRun) -> str:
    if len(run.scores) < 2:
        return ""
    fall = run.change(run.best, -1)
    if fall is None or fall.high >= 0:
        return ""
    best, last = run.evaluations[run.best], run.evaluations[-1]
    return (
        f"the held-out score fell from {run.scores[run.best]:.3f} at step {best.step} to {run.scores[-1]:.3f} at step "
        f"{last.step} ({fall.value:+.3f}, {fall.low:+.3f} to {fall.high:+.3f})"
    )


def _accuracy_fell(run: StoredRun) -> str:
    """Of the sampled completions; for rewards whose first part, which the held-out score is, is not the gamed one."""
    ends = accuracy_at_ends(run)
    if ends is None or ends.after - ends.before >= -CLEAR * ends.standard_error:
        return ""
    return f"{ends.before:.0%} of the first steps' samples were right, {ends.after:.0%} of the last ones"


def accuracy_at_ends(run: StoredRun) -> Trend | None:
    """Accuracy of the first and the last steps' samples; None in a run so short that they are the same."""
    if {row["step"] for row in run.first_samples} & {row["step"] for row in run.last_samples}:
        return None
    sides = [
        np.array([row["accuracy"] for row in side if row["accuracy"] is not None], dtype=np.float64)
        for side in (run.first_samples, run.last_samples)
    ]
    if not all(len(side) > 1 for side in sides):
        return None
    error = float(np.hypot(*(standard_error(side) for side in sides)))
    return Trend(float(sides[0].mean()), float(sides[1].mean()), error)


def _of(trend: Trend) -> str:
    return f"{trend.before:.3g} to {trend.after:.3g} (first and last third of the steps)"


def _parts(names: list[str]) -> str:
    return f"part{'s' * (len(names) > 1)} " + " and ".join(f"'{name}'" for name in names)


def _weight(run: StoredRun, part: str, *, halve: bool = False) -> dict[str, object]:
    """The rewards to set: with the part's weight halved, or without the part; a task's own parts have no setting."""
    chosen = run.settings.rewards if run.settings is not None else ()
    if not any(one.part == part for one in chosen):
        return {"setting": "rewards"}
    now = [one.as_data() for one in chosen]
    if halve:
        value = [{**one.as_data(), "weight": one.weight / 2 if one.part == part else one.weight} for one in chosen]
    else:
        value = [one.as_data() for one in chosen if one.part != part]
    return {"setting": "rewards", "value": value or None, "now": now}


FEW_PROMPTS = 4
MANY = 0.5
"""Share of the prompts, or of the completions, from which saying the same is the rule."""
SHORTEST_LOOP = 24
"""Tokens of the shortest completion that is looked at for loops."""
LONGEST_PERIOD = 64
SAME = 0.95
"""Share of tokens that must equal the one a period before."""


def same_completion(run: StoredRun) -> Finding | None:
    """One text has become the answer to most prompts, and it is mostly wrong."""
    text, share, prompts = _commonest(run.last_samples)
    if prompts < FEW_PROMPTS or share < MANY or _accuracy(run.last_samples, text) >= MANY or run.learned:
        return None
    before = _share_of(run.first_samples, text)
    what = f"'{text[:60]}'" if text else "nothing at all"
    return Finding(
        name="same_completion",
        severity="serious",
        says="the policy says the same to most prompts, and is mostly wrong",
        evidence=f"{what} is an answer to {share:.0%} of {prompts} prompts in the last samples ({before:.0%} in the "
        "first)",
        cause="the policy has collapsed: the updates were too strong, or the reward pays for this text"
        if before < share
        else "the model does not look at the prompt, or is asked in a form that it does not know",
        change="Read the samples; lower the learning rate, and check what the reward gives for this text",
        **lower_rate(run, 3),
    )


def loops(run: StoredRun) -> Finding | None:
    """Many completions repeat one phrase to their end."""
    share, count = _looping(run.last_samples)
    if not count or share < MANY / 2:
        return None
    before, _ = _looping(run.first_samples)
    grown = share > 2 * before
    return Finding(
        name="loops",
        severity="serious" if share >= MANY else "doubtful",
        says="many completions repeat one phrase over and over",
        evidence=f"{share:.0%} of the {count} longer completions in the last samples ({before:.0%} in the first)",
        cause="the updates have harmed the model" if grown else "the model itself repeats, as a base model does",
        change="Lower the learning rate or add a KL term, and begin again from an earlier checkpoint"
        if grown
        else "Start with `rung sft` on examples that end, give the task a stop text, or use an instructed model",
        **(lower_rate(run, 3) if grown else {}),
    )


def is_loop(ids: Sequence[int]) -> bool:
    """Whether the second half of a completion is one phrase repeated.

    >>> is_loop([5, 6, 7] * 10), is_loop(range(30)), is_loop([1, 1])
    (True, False, False)
    """
    tokens = np.asarray(ids)
    if len(tokens) < SHORTEST_LOOP:
        return False
    half = tokens[len(tokens) // 2 :]
    periods = range(1, min(LONGEST_PERIOD, len(half) // 3) + 1)
    return any(float((half[period:] == half[:-period]).mean()) >= SAME for period in periods)


def _looping(rows: Sequence[Sample]) -> tuple[float, int]:
    """(share of them that loop, how many are long enough to tell)."""
    long = [row["token_ids"] for row in rows if row["token_ids"] and len(row["token_ids"]) >= SHORTEST_LOOP]
    return (sum(map(is_loop, long)) / len(long), len(long)) if long else (0.0, 0)


def _commonest(rows: Sequence[Sample]) -> tuple[str, float, int]:
    """The text that answers the most prompts, the share of the prompts, and how many prompts there are."""
    answers = _answers(rows)
    counts = Counter(text for texts in answers.values() for text in texts)
    if not counts:
        return "", 0.0, 0
    text, count = counts.most_common(1)[0]
    return text, count / len(answers), len(answers)


def _share_of(rows: Sequence[Sample], text: str) -> float:
    answers = _answers(rows)
    return sum(text in texts for texts in answers.values()) / len(answers) if answers else 0.0


def _answers(rows: Sequence[Sample]) -> dict[str, set[str]]:
    """Prompt → the texts that are at least half of its completions."""
    by_prompt: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        by_prompt[row["prompt"] or ""].append((row["completion"] or "").strip())
    return {
        prompt: {text for text, count in Counter(texts).items() if count >= MANY * len(texts)}
        for prompt, texts in by_prompt.items()
    }


def _accuracy(rows: Sequence[Sample], text: str) -> float:
    found = [row["accuracy"] or 0.0 for row in rows if (row["completion"] or "").strip() == text]
    return sum(found) / len(found) if found else 0.0
