"""The rules: everything that rung looks for in a run, in the order in which a reader wants it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from rung.lab.diagnosis import control, ending, learning_rate, lengths, numbers, policy, repeats, reward_parts, signal
from rung.lab.diagnosis.finding import Finding
from rung.lab.diagnosis.observed import ObservedRun
from rung.lab.diagnosis.stored import read_stored


@dataclass(frozen=True)
class Rule:
    """One thing that can be wrong with a run; its name is its function's.

    Example: `Rule(lengths.truncated, "metrics")`.
    """

    look: Callable[[ObservedRun], Finding | None]
    needs: Literal["metrics", "folder"]
    """`metrics`: can be told from the rows so far, so it is also a warning while the run trains; `folder`: needs
    samples, settings or evaluations, or the whole of the run."""

    @property
    def name(self) -> str:
        return self.look.__name__


RULES: tuple[Rule, ...] = (
    Rule(numbers.not_finite, "metrics"),
    Rule(numbers.sampler_gap, "metrics"),
    Rule(numbers.one_token_off, "metrics"),
    Rule(numbers.capped_ratio, "metrics"),
    Rule(numbers.failed_rewards, "metrics"),
    Rule(reward_parts.gamed_reward, "metrics"),
    Rule(reward_parts.held_out_falls, "metrics"),
    Rule(reward_parts.constant_part, "metrics"),
    Rule(reward_parts.part_never_applies, "metrics"),
    Rule(signal.too_hard, "metrics"),
    Rule(signal.too_easy, "metrics"),
    Rule(signal.flat_reward, "metrics"),
    Rule(signal.refill_limit, "folder"),
    Rule(signal.start_too_hard, "folder"),
    Rule(signal.start_too_easy, "folder"),
    Rule(lengths.truncated, "metrics"),
    Rule(lengths.thinking_too_long, "folder"),
    Rule(learning_rate.learning_rate_high, "metrics"),
    Rule(learning_rate.learning_rate_low, "metrics"),
    Rule(learning_rate.clipped_often, "metrics"),
    Rule(learning_rate.gradient_always_clipped, "folder"),
    Rule(learning_rate.gradient_spikes, "metrics"),
    Rule(policy.entropy_collapse, "metrics"),
    Rule(policy.kl_runs_off, "metrics"),
    Rule(policy.score_collapse, "metrics"),
    Rule(policy.score_falls, "metrics"),
    Rule(policy.learnt_by_heart, "folder"),
    Rule(repeats.same_completion, "folder"),
    Rule(repeats.loops, "folder"),
    Rule(control.blind_critic, "metrics"),
    Rule(control.refused_steps, "metrics"),
    Rule(control.returns_stand_still, "folder"),
    Rule(ending.still_running, "folder"),
    Rule(ending.unfinished, "folder"),
    Rule(ending.damaged, "folder"),
    Rule(ending.never_evaluated, "folder"),
    Rule(ending.too_short, "folder"),
    Rule(ending.not_distinguishable, "folder"),
)

_ORDER = ("serious", "doubtful", "note")


def found_in(run: ObservedRun) -> list[Finding]:
    """What the rules find; of a run that trains, only those that need metrics alone are asked."""
    asked = [rule for rule in RULES if not run.live or rule.needs == "metrics"]
    return [replace(found, name=rule.name) for rule in asked if (found := rule.look(run)) is not None]


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
        findings = [dict(vars(one)) for one in self.findings]
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
