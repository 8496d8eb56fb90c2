"""Whether the samples have anything to teach: answers of one prompt must differ in their reward, end by themselves, and
not repeat, as one text for every prompt or one phrase over and over."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rung.lab.diagnosis.learning import learning_rate_high
from rung.lab.diagnosis.observed import ObservedRun, Sample, Seen, span
from rung.runs.metrics import METRICS
from rung.runs.statistics import are_shares, mean_at_k, pass_at_k

MOST_SAMPLES = 4096
"""More samples of a prompt are not advised."""
NEVER = 0.05
"""pass@k of the start below which there is nothing to begin with."""
ALREADY = 0.9
"""Held-out score of the start above which there is nothing to gain."""
FIRST_STEPS = 3


def too_hard(run: ObservedRun) -> Seen | None:
    if _kind(run) != "all_wrong" or _was_better(run):
        return None
    return Seen(_shares(run), remedy=_more_samples(run))


def too_easy(run: ObservedRun) -> Seen | None:
    return Seen(_shares(run)) if _kind(run) == "all_right" else None


def flat_reward(run: ObservedRun) -> Seen | None:
    """Nothing to learn from, and neither because all are right nor because all are wrong."""
    kind = _kind(run)
    if kind in ("all_right", "all_wrong") or (run.in_environment and run.learned):
        return None
    silent = (("groups/no_spread", 1), ("advantage/size", 0), ("episodes/trained", 0))
    nothing_learnt = all(any(row.get(name) == value for name, value in silent) for row in run.late)
    if kind is None and not (run.late and nothing_learnt):
        return None
    return Seen(
        _shares(run) if kind else f"every advantage was 0, or no sample took part, in {span(run.late)}",
        case="cold" if (run.setting("temperature") or 1.0) < 1.0 else "",
    )


def refill_limit(run: ObservedRun) -> Seen | None:
    most = run.setting("method.keep_group.most_batches")
    rounds = run.values("groups/rounds", run.late)
    if not most or not run.setting("method.keep_group.refill") or not rounds:
        return None
    at_limit = sum(found >= most for found in rounds)
    if at_limit * 2 <= len(rounds) or run.learned:
        return None
    return Seen(f"{at_limit} of {len(rounds)} steps made all {most} rounds ({span(run.late)})")


def start_too_hard(run: ObservedRun) -> Seen | None:
    if run.in_environment or run.learned or not run.values("reward/mean"):
        return None
    samples, scores_NK = run.setting("method.samples_per_prompt"), _shares_at_start(run)
    wrong = run.mean("groups/all_wrong", run.steps[:FIRST_STEPS])
    k = 0 if scores_NK is None else scores_NK.shape[1]
    passed = None if scores_NK is None else pass_at_k(scores_NK, k).value
    hopeless = passed is not None and passed < NEVER
    if METRICS["groups/all_wrong"].standing(wrong) != "high" and not (wrong is None and hopeless):
        return None
    told: list[str] = []
    if wrong is not None:
        told.append(f"in {wrong:.0%} of the first groups none of the {samples or ''} samples was right")
    if passed is not None:
        told.append(f"held-out pass@{k} before training is {passed:.3f}")
    severity = "serious" if hopeless or (wrong or 0.0) >= 1 - NEVER else None
    return Seen("; ".join(told), severity=severity, remedy=_more_samples(run))


def start_too_easy(run: ObservedRun) -> Seen | None:
    scores_NK = _shares_at_start(run)
    if run.in_environment or scores_NK is None or run.learned:
        return None
    score = mean_at_k(scores_NK)
    if score.value < ALREADY:
        return None
    return Seen(f"held-out score before training: {score.value:.3f} ({score.low:.3f} to {score.high:.3f})")


def _more_samples(run: ObservedRun) -> dict[str, Any]:
    return run.changed_to("method.samples_per_prompt", lambda now: min(2 * now, MOST_SAMPLES))


def _shares_at_start(run: ObservedRun) -> npt.NDArray[np.float64] | None:
    """The scores of the evaluation before training, unless they are a reward model's: no share of those is right."""
    if not run.evaluations or run.evaluations[0].step != 0 or not are_shares(run.evaluations[0].scores_NK):
        return None
    return run.evaluations[0].scores_NK


def _kind(run: ObservedRun) -> str | None:
    """Why most of the late groups have no spread: `all_right`, `all_wrong` or `same`; None where most have some."""

    def most(name: str) -> bool:
        return METRICS[f"groups/{name}"].standing(run.mean(f"groups/{name}", run.late)) == "high"

    if not most("no_spread"):
        return None
    return next((kind for kind in ("all_right", "all_wrong") if most(kind)), "same")


def _was_better(run: ObservedRun) -> bool:
    """Right answers were there and were lost to updates that are too strong: the prompts are not what is wrong."""
    early = run.mean("groups/all_wrong", run.steps[:3])
    begun = early is not None and METRICS["groups/all_wrong"].standing(early) == "ok"
    return begun and learning_rate_high(run) is not None


def _shares(run: ObservedRun) -> str:
    names = ("no_spread", "all_right", "all_wrong")
    flat, right, wrong = (run.mean(f"groups/{name}", run.late) or 0.0 for name in names)
    why = f"{right:.0%} all right, {wrong:.0%} all wrong, {max(0.0, flat - right - wrong):.0%} equal for another reason"
    return f"{flat:.0%} of the groups in {span(run.late)} have no spread: {why}"


_THINKING = re.compile(r"<(/?)(think|thinking|thought|reasoning|scratchpad)>", re.IGNORECASE)
HARMLESS = 0.5
"""Accuracy of the cut completions above which a run that learns is not held back by the cut."""
MOST = 0.5
"""Share of the completions from which a cut is serious, and of the cut ones from which thinking is the reason."""


def truncated(run: ObservedRun) -> Seen | None:
    """Many completions end at the limit instead of by themselves. In an environment that can be a success."""
    share = _share_cut(run)
    if share is None or run.in_environment or thinking_too_long(run) is not None:
        return None
    if always_calls(run) is not None or turns_run_out(run) is not None:
        return None
    right = _right(run, cut=True)
    if run.learned and (right is None or right > HARMLESS):
        return None
    return Seen(
        _evidence(run, share),
        severity="serious" if share > MOST and not run.learned else None,
        words={"how_many": "most" if share > MOST else "many"},
    )


def thinking_too_long(run: ObservedRun) -> Seen | None:
    share, cut = _share_cut(run), [row for row in run.last_samples if row["truncated"]]
    if share is None or not cut:
        return None
    thinking = sum(still_thinking(row) for row in cut) / len(cut)
    if thinking < MOST:
        return None
    return Seen(f"{_evidence(run, share)}; {thinking:.0%} of those cut off in the last samples were still thinking")


def _share_cut(run: ObservedRun) -> float | None:
    """The share of the late completions that were cut off, where it is not a healthy one."""
    share = run.mean("length/truncated", run.late)
    return share if METRICS["length/truncated"].standing(share) == "high" else None


def still_thinking(sample: Sample) -> bool:
    """Whether the last mark of thinking, in the prompt or the completion, opens and does not close.

    >>> still_thinking({"prompt": "2+3? <think>", "completion": "let me see"})
    True
    """
    marks = _THINKING.findall((sample["prompt"] or "")[-200:] + (sample["completion"] or ""))
    return bool(marks) and not marks[-1][0]


def _evidence(run: ObservedRun, share: float) -> str:
    limit = run.setting("max_new_tokens")
    of_limit = f" at {limit} tokens" if limit else ""
    cut, whole = _right(run, cut=True), _right(run, cut=False)
    beside = f"; right: {cut:.0%} of the cut ones" if cut is not None else ""
    beside += f", {whole:.0%} of the others" if cut is not None and whole is not None else ""
    return f"{share:.0%} of the completions in {span(run.late)} were cut{of_limit}{beside}"


def _right(run: ObservedRun, *, cut: bool) -> float | None:
    """Accuracy of the last samples that were cut, or that were not."""
    found = [row["accuracy"] for row in run.last_samples if bool(row["truncated"]) == cut]
    judged = [one for one in found if one is not None]
    return sum(judged) / len(judged) if judged else None


FEW_PROMPTS = 4
MANY = 0.5
"""Share of the prompts, or of the completions, from which saying the same is the rule."""
SHORTEST_LOOP = 24
"""Tokens of the shortest completion that is looked at for loops."""
LONGEST_PERIOD = 64
SAME = 0.95
"""Share of tokens that must equal the one a period before."""


def same_completion(run: ObservedRun) -> Seen | None:
    answers = _answers(run.last_samples)
    counts = Counter(text for texts in answers.values() for text in texts)
    text = counts.most_common(1)[0][0] if counts else ""
    share, prompts = _share_of(answers, text), len(answers)
    if prompts < FEW_PROMPTS or share < MANY or _accuracy(run.last_samples, text) >= MANY or run.learned:
        return None
    before = _share_of(_answers(run.first_samples), text)
    what = f"'{text[:60]}'" if text else "nothing at all"
    return Seen(
        f"{what} is an answer to {share:.0%} of {prompts} prompts in the last samples ({before:.0%} in the first)",
        case="grown" if before < share else "",
    )


def loops(run: ObservedRun) -> Seen | None:
    share, count = _looping(run.last_samples)
    if not count or share < MANY / 2:
        return None
    before, _ = _looping(run.first_samples)
    return Seen(
        f"{share:.0%} of the {count} longer completions in the last samples ({before:.0%} in the first)",
        case="grown" if share > 2 * before else "",
        severity="serious" if share >= MANY else None,
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


def _share_of(answers: Mapping[str, set[str]], text: str) -> float:
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


NO_CALLS = 0.02
"""Calls an episode that are as good as none."""
ONE_TURN, SEVERAL_TURNS = 1.05, 1.5
"""Turns an episode at most at last, and at least at first, where the policy has given up the others."""


def stops_calling(run: ObservedRun) -> Seen | None:
    """Tools were called at first, or were given in the settings, and are not called any more."""
    now, first = run.mean("tools/calls", run.late), run.mean("tools/calls", run.steps[:3])
    if now is None or first is None or now > NO_CALLS or not (first > 5 * NO_CALLS or run.setting("tools")):
        return None
    return Seen(f"{now:.2g} calls an episode; in the first steps it were {first:.2g}")


def always_calls(run: ObservedRun) -> Seen | None:
    """Most episodes call in every turn, until no turn is left."""
    calls, turns, cut = (run.mean(name, run.late) for name in ("tools/calls", "turns/mean", "turns/most_reached"))
    if calls is None or turns is None or cut is None or cut <= MOST or calls < 0.9 * turns:
        return None
    return Seen(f"{calls:.2g} calls in {turns:.2g} turns an episode, and {cut:.0%} of them end with no turn left")


def ends_at_first_turn(run: ObservedRun) -> Seen | None:
    """Episodes that had several turns have one."""
    now, first = run.mean("turns/mean", run.late), run.mean("turns/mean", run.steps[:3])
    if now is None or first is None or now > ONE_TURN or first < SEVERAL_TURNS or stops_calling(run) is not None:
        return None
    return Seen(f"{now:.3g} turns an episode; in the first steps it were {first:.3g}")


def turns_run_out(run: ObservedRun) -> Seen | None:
    """Most episodes are cut because they have no turn left."""
    cut = run.mean("turns/most_reached", run.late)
    if cut is None or cut <= MOST or always_calls(run) is not None:
        return None
    return Seen(f"{cut:.0%} of the episodes reach the last turn without an end")
