"""A run: a folder, and the loop that fills it. `train` starts one, `resume` goes on as if it had never stopped."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rung.compiled import cold, compile_seconds
from rung.errors import CheckpointError, DataError, RungError, SettingsError
from rung.faults import fault_point
from rung.methods.parts.protocols import fact
from rung.models.state import require_finite
from rung.runs import began, best, checkpoint
from rung.runs.began import require_format, write_card
from rung.runs.folder import SETTINGS, UNFINISHED, RunLock, problems_with, run_settings
from rung.runs.loop import STOPPED_BY_SIGNAL, StopRequest, run_steps
from rung.runs.observers import Finished, Observer, Observers, chosen
from rung.runs.recipes.sft import tiny_for
from rung.runs.record.console import ConsoleReport, NotebookReport, in_notebook
from rung.runs.record.files import RunFiles, read_rows
from rung.runs.record.trackers import Tracking, require_tracker
from rung.runs.statistics import Difference, Estimate, mean_score, score_difference
from rung.settings import Settings, to_yaml, with_whole_paths
from rung.settings.objects import Objects
from rung.settings.schema import SMALL
from rung.tasks.own_environment import commands_typed
from rung.trainers.budget import Budget, spent_on
from rung.trainers.build import rounding
from rung.trainers.choose import build
from rung.trainers.clock import peak_gib
from rung.trainers.handed import Handed, MakesLabeller
from rung.trainers.held_out import Scores, cut_scores_back, load_scores, save_scores
from rung.trainers.rollout_trainer import LOWER
from rung.trainers.trainer import Metrics, State, Trainer, TrainingStep
from rung.whole_files import folder_written_aside, require_writable, storage_in_words, write_whole

COMPILES = (
    "the first run on this machine compiles its loops, which takes half a minute; later runs find them in the cache"
)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """How a run ended.

    Example: `before.value` 0.18, `after.value` 0.77, `gain.value` 0.59 with `gain.in_standard_errors` 13.1.
    """

    folder: Path
    step: int
    finished: bool
    before: Estimate | None
    after: Estimate | None
    gain: Difference | None
    said: tuple[str, ...] = ()
    """What the run's observers said of it at its end."""
    notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict[str, float])
    """Where the time went since this was started: loading, the phases of the steps, what else the loop did, the end."""

    @property
    def exit_code(self) -> int:
        return 0 if self.finished else STOPPED_BY_SIGNAL

    def lines(self) -> list[str]:
        """What a person is told at the end."""
        lines: list[str] = []
        if self.after is not None:
            lines.append(f"held-out score after step {self.step}: {_words(self.after)}")
        if self.before is not None and self.gain is not None:
            errors = self.gain.in_standard_errors
            sigmas = f", {errors:.1f} standard errors" if errors is not None else ""
            lines.insert(0, f"held-out score before training: {_words(self.before)}")
            lines.append(
                f"paired difference: {self.gain.value:+.3f} ({self.gain.low:+.3f} to {self.gain.high:+.3f}{sigmas})"
            )
        if self.finished:
            lines += [f"model: {self.folder / 'final'}", *self.said]
        else:
            lines.append(f"stopped with everything saved; go on with: rung resume {self.folder}")
        if self.seconds:
            parts = sorted(self.seconds.items(), key=lambda one: -one[1])
            told = ", ".join(f"{name} {seconds:.1f}" for name, seconds in parts if seconds >= 0.05)
            lines.append(f"seconds: {told}; {sum(self.seconds.values()):.1f} in all")
        return lines + [f"note: {note}" for note in self.notes]


def train(
    settings: Settings,
    folder: Path,
    *,
    quiet: bool = False,
    plan: Sequence[str] = (),
    shared: Path | None = None,
    observers: Observers = (),
    hands: Handed | None = None,
) -> Summary:
    """Trains in a new folder. SettingsError when the folder already holds something.

    In `shared` lies what runs may share that draw the same (pairs drawn from a model); None: each draws its own.

    The folder is a run, to be resumed, from the moment that settings.yaml stands in it: after everything was found to
    load, before anything is trained.
    """
    if wrong := problems_with(folder, resumable=True):
        raise SettingsError(wrong)
    require_tracker(settings.reporting.tracker)
    require_writable(folder, "--out", folder=True)
    settings = with_whole_paths(settings, Path.cwd())
    commands_typed(settings.tools)  # a new run's settings are the user's own
    started = time.perf_counter()
    with RunLock(folder):
        trainer = build(settings, hands or handed(), folder, shared)
        (folder / UNFINISHED).touch()
        write_card(folder, trainer.method)
        began.write(folder, settings, trainer.inputs)
        fault_point("run.begin")
        write_whole(folder / SETTINGS, to_yaml(settings).encode())
        first = [COMPILES] if settings.model == SMALL and cold() else []
        told = [*plan, *(f"  note      {note}" for note in (*trainer.notes, *first))]
        return _Run(trainer, settings, folder, quiet, chosen(observers, settings)).go(started, done=0, plan=told)


def resume(
    folder: Path,
    changes: Mapping[str, Any] | None = None,
    *,
    parts: Sequence[type[Any]] = (),
    quiet: bool = False,
    shared: Path | None = None,
    observers: Observers = (),
    hands: Handed | None = None,
) -> Summary:
    """Goes on from the newest checkpoint that verifies; what was written after it is taken back first.

    `changes` may set `steps`, `budget`, `evaluation.every`, `saving` and `reporting`; anything else would make another
    run, or scores that cannot be compared with the run's own.
    """
    before = run_settings(folder, parts)
    require_format(folder)
    began.require_settings(folder, before)
    settings = _changed(before, changes or {})
    require_tracker(settings.reporting.tracker)
    started = time.perf_counter()
    with RunLock(folder):
        found, refused = checkpoint.newest(folder / "checkpoints")
        trainer = build(settings, hands or handed(), folder, shared)
        with ExitStack() as on_error:  # a trainer has processes of its own: they end if it cannot go on
            on_error.callback(trainer.close)
            began.require_inputs(folder, trainer.inputs)
            (folder / UNFINISHED).touch()
            run = _Run(trainer, settings, folder, quiet, chosen(observers, settings), found.step if found else 0)
            for sentence in [*refused, *_anneals_anew(before, settings)]:
                run.console.warn(sentence)
            if changes:
                write_whole(folder / SETTINGS, to_yaml(settings).encode())
            plan = run.restore(found)
            on_error.pop_all()
        return run.go(started, done=found.step if found else 0, plan=plan)


def handed(labeller: MakesLabeller | None = None, objects: Objects | None = None) -> Handed:
    """What a run is built with beside its settings: the tiny model's maker, who stands for people, given objects."""
    return Handed(tiny=tiny_for, people=labeller, objects=objects or Objects())


def _changed(settings: Settings, changes: Mapping[str, Any]) -> Settings:
    kept = [key for key in changes if not any(f"{key}.".startswith(f"{name}.") for name in (*began.FREE, "evaluation"))]
    wrong = [f"{key}: a resumed run keeps it, or it would be another run; {began.MAY_CHANGE}" for key in sorted(kept)]
    if wrong:
        raise SettingsError(wrong)
    changed = settings.changed(changes)
    was, now = settings.evaluation.as_data(), changed.evaluation.as_data()
    wrong = [
        f"evaluation.{key}: got {now[key]}, but the scores so far were taken with {was[key]}, and no others compare "
        f"with them item by item; {began.MAY_CHANGE} (to score the result otherwise: rung eval DIR)"
        for key in was
        if key != "every" and was[key] != now[key]
    ]
    if wrong:
        raise SettingsError(wrong)
    return changed


def _anneals_anew(before: Settings, now: Settings) -> list[str]:
    """What is to be said where a rate that falls to 0 over the run meets another length of it."""
    anneals = fact(getattr(now.resolved_method(), "optimizer", None), "anneal", False)
    if not anneals or (before.steps, before.budget) == (now.steps, now.budget):
        return []
    return [
        "method.optimizer.anneal: the learning rate falls to 0 over the run's new length from here on; the steps "
        "that were made had the rate of the old one, so this is not the run that the new length "
        "would have given from the start"
    ]


def _words(score: Estimate) -> str:
    return f"{score.value:.3f} ({score.low:.3f} to {score.high:.3f}, {score.items} items)"


class _Run:
    """The record of one run in its folder: what the loop tells it goes to files, console and checkpoints."""

    def __init__(
        self,
        trainer: Trainer,
        settings: Settings,
        folder: Path,
        quiet: bool,
        observers: Sequence[Observer],
        done: int = 0,
    ) -> None:
        self.trainer, self.settings, self.folder, self.observers = trainer, settings, folder, observers
        report = NotebookReport if in_notebook() else ConsoleReport
        self.console = report(
            total_steps=settings.steps,
            first_step=done,
            samples_every=settings.reporting.samples_every,
            quiet=quiet,
        )
        self.files = RunFiles(folder, say=self.console.warn)
        self.checkpoints = folder / "checkpoints"
        self.seconds: dict[str, float] = {}
        self.history: list[Metrics] = []
        self.budget = Budget(settings.budget.limits(), trainer.work)

    def restore(self, found: checkpoint.Checkpoint | None) -> list[str]:
        """Loads a checkpoint, if there is one, and cuts every file back to it; returns what was done, in sentences."""
        step = found.step if found else 0
        checkpoint.tidy(self.checkpoints, self.settings.saving.keep, step)
        said = [f"resumed from step {step} in {self.folder}", *self.files.cut_back(step if found else -1)]
        cut_scores_back(self.folder, step if found else -1)
        best.cut_back(self.folder, step if found else -1)
        self.history = list(self.files.history())
        self.budget.spent = spent_on(self.history, read_rows(self.files.timings.path).rows, self.budget.work)
        if found is None:
            return said
        state = found.state()
        self._load(found, state)
        now = rounding()
        differs = [
            f"{key} was {state['environment'].get(key)}, is {now[key]}"
            for key in now
            if state["environment"].get(key) != now[key]
        ]
        if differs:
            self.console.warn(
                f"the resumed run will not be bitwise equal to an uninterrupted one: {'; '.join(differs)}"
            )
        return said

    def _load(self, found: checkpoint.Checkpoint, state: Mapping[str, Any]) -> None:
        """Raises CheckpointError when a checkpoint is another run's, or its content does not fit this one."""
        if state.get("run") != began.run_of(self.folder):
            raise CheckpointError(
                f"{found.folder}: is a checkpoint of another run, one that began with other settings or inputs; put "
                "back this run's own, or remove it to go on from the one before"
            )
        try:
            tensors = {name: found.tensors(name) for name in ("policy", "optimizer", "collector")}
            self.trainer.load_state(State(numbers=state, tensors=tensors, pieces=found.pieces()))
        except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            if isinstance(error, RungError):
                raise
            raise CheckpointError(
                f"{found.folder}: does not fit this run ({type(error).__name__}: {error}); remove it to go on from the "
                "one before"
            ) from error

    def go(self, started: float, *, done: int, plan: Sequence[str]) -> Summary:
        tracker = self.settings.reporting.tracker
        told = {"metrics": self.history, "timings": read_rows(self.files.timings.path).rows, "say": self.console.warn}
        with (
            storage_in_words(f". Nothing that was saved is lost; when that is mended: rung resume {self.folder}"),
            closing(self.trainer),
            StopRequest() as stop,
            self.console,
            closing(Tracking(tracker, self.folder, self.settings.as_data(), **told)) as self.tracked,
        ):
            self.console.start(plan)
            begun = time.perf_counter()
            step, finished = run_steps(self.trainer, self.settings, self, stop, done=done, budget=self.budget)
            ended = time.perf_counter()
            said = self.finish(step) if finished else ()
            loop = {**self.seconds, "other": max(ended - begun - sum(self.seconds.values()), 0.0)}
            seconds = {"load": begun - started, **loop, "end": time.perf_counter() - ended}
            summary = replace(self.summary(step, finished, said), seconds=seconds)
            self.console.finish(summary.lines())
            return summary

    def evaluated(self, step: int, scores: Scores) -> None:
        save_scores(self.folder, step, scores)
        if self.settings.saving.best:
            weights = self.trainer.policy.state()
            require_finite(f"step {step}: the weights that were scored", weights, what=LOWER)
            best.note(self.folder, step, mean_score(scores.scores_NK).value, weights)

    def stepped(self, step: int, metrics: Metrics, timings: Metrics) -> None:
        self.history.append(self.files.metrics.append(metrics))
        measured = self.files.timings.append({"step": step, **timings, "memory/peak_gib": peak_gib()})
        self.tracked.row(self.history[-1], measured)
        for name, more in timings.items():
            kind, _, phase = name.partition("/")
            if kind == "seconds" and phase != "step":
                self.seconds[phase] = self.seconds.get(phase, 0.0) + (more or 0.0)
        self.console.step(metrics, timings)
        for observer in self.observers:
            for sentence in observer.stepped(self.history):
                self.console.warn(sentence)

    def said(self, sentence: str) -> None:
        self.console.warn(sentence)

    def sampled(self, step: TrainingStep) -> None:
        episodes, batch = step.episodes, step.batch
        if not episodes:
            return
        prompts = [self.trainer.prompt_of(episode) for episode in episodes]
        advantages_BT = None if batch is None else batch.advantages_BT
        advantages = [None] * len(episodes) if advantages_BT is None else list(advantages_BT)
        self.files.write_samples(step.number, episodes, prompts=prompts, advantages=advantages, learnt=batch)
        self.console.samples(episodes, prompts)

    def save(self, step: int) -> None:
        if not self.files.flush():
            raise CheckpointError(
                f"step {step}: the disk of {self.folder} takes no more, so no checkpoint was begun; older ones are "
                "untouched. Free some space, then: rung resume"
            )
        state = self.trainer.state()
        for name in ("policy", "optimizer"):
            require_finite(f"step {step}: the checkpoint's {name}", state.tensors[name], what=LOWER)
        numbers = {"step": step, **state.numbers, "run": began.run_of(self.folder), "environment": rounding()}
        checkpoint.write(self.checkpoints, step, state.tensors, numbers, state.pieces)
        checkpoint.tidy(self.checkpoints, self.settings.saving.keep, step)
        best.saved(self.folder, step)

    def _take_best(self) -> tuple[str, ...]:
        """The policy becomes the best there was, where that is asked for; says which."""
        found, refused = best.of_run(self.folder) if self.settings.saving.best else (None, [])
        if found is None:
            return tuple(refused)
        self.trainer.policy.load_state(found.tensors("policy"))
        score = found.state()["score"]
        return (*refused, f"final: the weights of step {found.step}, whose held-out score was the highest, {score:.3f}")

    def finish(self, step: int) -> tuple[str, ...]:
        """The last things: the model as a Hugging Face folder, the samples in one file; then the observers' turn.

        Returns what they said.
        """
        require_finite(f"step {step}: the final weights", self.trainer.policy.state(), what=LOWER)
        which = self._take_best()
        if (seconds := compile_seconds()) > 1:
            which = (*which, f"{seconds:.0f} s of it went into compiling; the next run finds that in the cache")
        with folder_written_aside(self.folder / "final") as aside:
            self.trainer.save(aside)
            fault_point("finish.final")
        fault_point("finish.samples")
        self.files.merge_samples()
        if self.settings.reporting.page:
            self.trainer.film(self.folder)
        run = Finished(folder=self.folder, metrics=self.history, timings=read_rows(self.files.timings.path).rows)
        fault_point("finish.report")
        said = (*which, *(sentence for observer in self.observers for sentence in observer.finished(run)))
        (self.folder / UNFINISHED).unlink(missing_ok=True)
        return said

    def summary(self, step: int, finished: bool, said: tuple[str, ...]) -> Summary:
        notes = self.files.problems() + ([self.tracked.where] if self.tracked.where else [])
        before, after = (self._scores(of, notes) for of in (0, step))
        both = before is not None and after is not None and step > 0
        return Summary(
            folder=self.folder,
            step=step,
            finished=finished,
            before=mean_score(before) if before is not None else None,
            after=mean_score(after) if after is not None else None,
            gain=score_difference(before, after) if both else None,
            said=said,
            notes=tuple(notes),
        )

    def _scores(self, step: int, notes: list[str]) -> Any:
        """An evaluation's scores; of a damaged file it is said that they are not known."""
        try:
            return load_scores(self.folder, step)
        except DataError as error:
            notes.append(str(error))
            return None
