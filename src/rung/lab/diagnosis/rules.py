"""The rules: everything that rung looks for in a run, in the order in which a reader wants it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from rung.lab.diagnosis import (
    control,
    ending,
    learning_rate,
    lengths,
    numbers,
    policy,
    repeats,
    reward_parts,
    signal,
)
from rung.lab.diagnosis.finding import Finding
from rung.lab.diagnosis.observed import ObservedRun
from rung.lab.diagnosis.stored import read_stored


@dataclass(frozen=True)
class Rule:
    """One thing that can be wrong with a run.

    Example: `Rule("truncated", "metrics", lengths.truncated)`.
    """

    name: str
    needs: Literal["metrics", "folder"]
    """`metrics`: can be told from the rows so far, so it is also a warning while the run trains; `folder`: needs
    samples, settings or evaluations, or the whole of the run."""
    look: Callable[[ObservedRun], Finding | None]

    def find(self, run: ObservedRun) -> Finding | None:
        """The finding under this rule's name; None when the run is in order."""
        found = self.look(run)
        return None if found is None else replace(found, name=self.name)


RULES: tuple[Rule, ...] = (
    Rule("not_finite", "metrics", numbers.not_finite),
    Rule("sampler_gap", "metrics", numbers.sampler_gap),
    Rule("one_token_off", "metrics", numbers.one_token_off),
    Rule("capped_ratio", "metrics", numbers.capped_ratio),
    Rule("failed_rewards", "metrics", numbers.failed_rewards),
    Rule("gamed_reward", "metrics", reward_parts.gamed_reward),
    Rule("held_out_falls", "metrics", reward_parts.held_out_falls),
    Rule("constant_part", "metrics", reward_parts.constant_part),
    Rule("part_never_applies", "metrics", reward_parts.part_never_applies),
    Rule("too_hard", "metrics", signal.too_hard),
    Rule("too_easy", "metrics", signal.too_easy),
    Rule("flat_reward", "metrics", signal.flat_reward),
    Rule("refill_limit", "folder", signal.refill_limit),
    Rule("start_too_hard", "folder", signal.start_too_hard),
    Rule("start_too_easy", "folder", signal.start_too_easy),
    Rule("truncated", "metrics", lengths.truncated),
    Rule("thinking_too_long", "folder", lengths.thinking_too_long),
    Rule("learning_rate_high", "metrics", learning_rate.learning_rate_high),
    Rule("learning_rate_low", "metrics", learning_rate.learning_rate_low),
    Rule("clipped_often", "metrics", learning_rate.clipped_often),
    Rule("gradient_always_clipped", "folder", learning_rate.gradient_always_clipped),
    Rule("gradient_spikes", "metrics", learning_rate.gradient_spikes),
    Rule("entropy_collapse", "metrics", policy.entropy_collapse),
    Rule("kl_runs_off", "metrics", policy.kl_runs_off),
    Rule("score_collapse", "metrics", policy.score_collapse),
    Rule("score_falls", "metrics", policy.score_falls),
    Rule("learnt_by_heart", "folder", policy.learnt_by_heart),
    Rule("same_completion", "folder", repeats.same_completion),
    Rule("loops", "folder", repeats.loops),
    Rule("blind_critic", "metrics", control.blind_critic),
    Rule("refused_steps", "metrics", control.refused_steps),
    Rule("returns_stand_still", "folder", control.returns_stand_still),
    Rule("still_running", "folder", ending.still_running),
    Rule("unfinished", "folder", ending.unfinished),
    Rule("damaged", "folder", ending.damaged),
    Rule("never_evaluated", "folder", ending.never_evaluated),
    Rule("too_short", "folder", ending.too_short),
    Rule("not_distinguishable", "folder", ending.not_distinguishable),
)

_ORDER = ("serious", "doubtful", "note")


def found_in(run: ObservedRun) -> list[Finding]:
    """What the rules find; of a run that trains, only those that need metrics alone are asked."""
    asked = [rule for rule in RULES if not run.live or rule.needs == "metrics"]
    return [found for rule in asked if (found := rule.find(run)) is not None]


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """A run's state in words.

    Example: `Diagnosis(run="a", summary="50 steps; held-out 0.305 → 0.580 ...", findings=(Finding(...),))`.
    """

    run: str
    summary: str
    findings: tuple[Finding, ...]
    """The serious ones first."""

    @property
    def healthy(self) -> bool:
        """Nothing worse than a note."""
        return all(one.severity == "note" for one in self.findings)

    def lines(self) -> list[str]:
        """What `rung diagnose` prints."""
        found = [line for one in self.findings for line in ("", *one.lines())]
        return [f"{self.run}: {self.summary}", self._verdict(), *found]

    def _verdict(self) -> str:
        if self.healthy and any(one.name == "too_short" for one in self.findings):
            return "nothing wrong was seen, but the run is too short to say more"
        if self.healthy:
            return f"healthy: {len(RULES)} rules were checked and none found a fault" + (
                ", see the notes" if self.findings else ""
            )
        counts = {kind: sum(one.severity == kind for one in self.findings) for kind in _ORDER}
        return "found: " + ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)

    def as_data(self) -> dict[str, Any]:
        """What `rung diagnose --json` prints."""
        findings = [one.as_data() for one in self.findings]
        return {"run": self.run, "summary": self.summary, "healthy": self.healthy, "findings": findings}


def diagnose(run: ObservedRun | Path) -> Diagnosis:
    """What is wrong with a run. Raises `DataError` when a folder holds nothing to read.

    >>> # diagnose(Path("runs/a")).findings[0].setting -> "max_new_tokens"
    """
    if isinstance(run, Path):
        run = read_stored(run)
    found = sorted(found_in(run), key=lambda one: _ORDER.index(one.severity))
    return Diagnosis(run=run.name, summary=_summary(run), findings=tuple(found))


def _summary(run: ObservedRun) -> str:
    """How far it came, and its held-out score."""
    said = [f"{len(run.steps)} steps" if run.steps else "no step of training yet"]
    if len(run.scores) > 1:
        said.append(f"held-out score {run.scores[0].value:.4g} at first, {run.scores[-1].value:.4g} at last")
        if run.gain is not None:
            said.append(f"paired difference {run.gain.value:+.3g} ({run.gain.low:+.3g} to {run.gain.high:+.3g})")
    elif run.scores:
        said.append(f"held-out score {run.scores[0].value:.4g} at step {run.scores[0].step}")
    return "; ".join(said)
