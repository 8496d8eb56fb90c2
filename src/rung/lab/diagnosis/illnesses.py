"""All illnesses, in the order in which a reader wants them, and the diagnosis of a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rung.lab.diagnosis import ending, environments, learning_rate, numbers, policy_change, reward_parts, signal
from rung.lab.diagnosis import reward_parts as repeats
from rung.lab.diagnosis import signal as lengths
from rung.lab.diagnosis import signal as start
from rung.lab.diagnosis.finding import Finding
from rung.lab.diagnosis.stored import StoredRun, read_stored

Illness = Callable[[StoredRun], Finding | None]

ILLNESSES: tuple[Illness, ...] = (
    numbers.not_finite,
    numbers.sampler_gap,
    numbers.one_token_off,
    numbers.failed_rewards,
    reward_parts.gamed_reward,
    reward_parts.constant_part,
    reward_parts.part_never_applies,
    signal.too_hard,
    signal.too_easy,
    signal.flat_reward,
    signal.refill_limit,
    start.start_too_hard,
    start.start_too_easy,
    lengths.truncated,
    lengths.thinking_too_long,
    learning_rate.learning_rate_high,
    learning_rate.learning_rate_low,
    learning_rate.clipped_often,
    learning_rate.gradient_always_clipped,
    learning_rate.gradient_spikes,
    policy_change.entropy_collapse,
    policy_change.kl_runs_off,
    policy_change.score_collapse,
    policy_change.score_falls,
    policy_change.learnt_by_heart,
    repeats.same_completion,
    repeats.loops,
    environments.blind_critic,
    environments.refused_steps,
    environments.returns_stand_still,
    ending.unfinished,
    ending.damaged,
    ending.never_evaluated,
    ending.too_short,
    ending.not_distinguishable,
)

_ORDER = ("serious", "doubtful", "note")


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
            return f"healthy: none of the {len(ILLNESSES)} illnesses that are looked for was found" + (
                ", only notes" if self.findings else ""
            )
        counts = {kind: sum(one.severity == kind for one in self.findings) for kind in _ORDER}
        return "found: " + ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)

    def as_data(self) -> dict[str, Any]:
        """What `rung diagnose --json` prints."""
        findings = [one.as_data() for one in self.findings]
        return {"run": self.run, "summary": self.summary, "healthy": self.healthy, "findings": findings}


def diagnose(run: StoredRun | Path) -> Diagnosis:
    """What is wrong with a run. Raises `DataError` when a folder holds nothing to read.

    >>> # diagnose(Path("runs/a")).findings[0].setting -> "max_new_tokens"
    """
    if isinstance(run, Path):
        run = read_stored(run)
    found = [finding for illness in ILLNESSES if (finding := illness(run)) is not None]
    found.sort(key=lambda one: _ORDER.index(one.severity))
    return Diagnosis(run=run.name, summary=_summary(run), findings=tuple(found))


def _summary(run: StoredRun) -> str:
    """How far it came, and the number to believe."""
    said = [f"{len(run.steps)} steps" if run.steps else "no step of training yet"]
    if len(run.scores) > 1:
        said.append(f"held-out score {run.scores[0]:.4g} at first, {run.scores[-1]:.4g} at last")
        if run.gain is not None:
            said.append(f"paired difference {run.gain.value:+.3g} ({run.gain.low:+.3g} to {run.gain.high:+.3g})")
    elif run.scores:
        said.append(f"held-out score {run.scores[0]:.4g} at step {run.evaluations[0].step}")
    return "; ".join(said)
