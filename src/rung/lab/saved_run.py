"""A run's folder, opened: its metrics, samples, score and policy, from Python or a notebook."""

from __future__ import annotations

import functools
import html
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rung.errors import DataError
from rung.runs.folder import is_finished, model_in, require_run, run_settings
from rung.runs.record.files import read_rows
from rung.settings import Settings

if TYPE_CHECKING:
    import pyarrow

    from rung.runs.run import Summary
    from rung.runs.statistics import Difference, Estimate
    from rung.tasks.environment import EnvironmentTask

Row = Mapping[str, Any]


class SavedRun:
    """A run's folder, opened. Everything is read when it is asked for, so a run that still trains can be looked at.

    Attributes:
        folder: where it lies.
        summary: how it ended, where this run has just been trained here; else None.

    Example:

        run = rung.open("runs/grpo-arithmetic-1")
        run.score                       # 0.83, the last held-out score
        run.metrics()[-1]["kl/start"]   # 0.012
        run.table().to_pandas()         # where pandas is installed
        run.samples(step=20)[0]["completion"]
        run.policy()                    # the trained model

    Raises:
        SettingsError: the folder holds no run.
    """

    def __init__(
        self,
        folder: str | Path,
        summary: Summary | None = None,
        *,
        parts: Sequence[type[Any]] = (),
        task: Any = None,
    ) -> None:
        self.folder, self.summary, self._parts, self._task = Path(folder), summary, parts, task
        require_run(self.folder)

    def __repr__(self) -> str:
        score = "no score yet" if self.score is None else f"score {self.score:.3f}"
        return f"SavedRun({str(self.folder)!r}, step {self.step}, {score})"

    @cached_property
    def settings(self) -> Settings:
        """What it was asked to do."""
        return run_settings(self.folder, self._parts)

    @property
    def step(self) -> int:
        """The last step that was recorded; 0 before the first."""
        rows = self.metrics()
        return int(rows[-1]["step"]) if rows else 0

    @property
    def score(self) -> float | None:
        """The last held-out score: a share of right answers, or an environment's mean return. None before the first."""
        scores = [row["held_out/score"] for row in self.metrics() if row.get("held_out/score") is not None]
        return scores[-1] if scores else None

    @property
    def finished(self) -> bool:
        """Whether it came to its end and left a model in `final`."""
        return is_finished(self.folder) if self.summary is None else self.summary.finished

    @property
    def before(self) -> Estimate | None:
        """The held-out score before training with its interval; None where it was not trained here."""
        return None if self.summary is None else self.summary.before

    @property
    def after(self) -> Estimate | None:
        """The held-out score at the end with its interval; None where it was not trained here."""
        return None if self.summary is None else self.summary.after

    @property
    def gain(self) -> Difference | None:
        """The paired difference of the two; None where it was not trained here."""
        return None if self.summary is None else self.summary.gain

    @property
    def exit_code(self) -> int:
        """What `rung train` would exit with: 0, or 75 where a signal stopped it with everything saved."""
        return 0 if self.summary is None else self.summary.exit_code

    def metrics(self) -> list[Row]:
        """A dict a step by metric name, in order; `rung explain-metric NAME` says what one means."""
        return list(read_rows(self.folder / "metrics.jsonl").rows)

    def timings(self) -> list[Row]:
        """Seconds by phase, a dict a step."""
        return list(read_rows(self.folder / "timings.jsonl").rows)

    def table(self) -> pyarrow.Table:
        """The metrics as a pyarrow table: a row a step, a column a metric, null where a step has no such number."""
        import pyarrow as pa

        rows = self.metrics()
        names = list(dict.fromkeys(name for row in rows for name in row))
        kinds = {name: pa.int64() if name == "step" else pa.float64() for name in names}
        return pa.table({name: pa.array([row.get(name) for row in rows], kinds[name]) for name in names})

    def samples(self, step: int | None = None) -> list[Row]:
        """The completions of one step, or of all: prompt, completion, tokens, rewards by part, advantages.

        DataError when there are none of that step; an environment's episodes are not kept.
        """
        from rung.runs.record.samples import StoredSamples

        stored = StoredSamples(self.folder)
        steps = stored.steps()
        if step is not None and step not in steps:
            there = f"there are samples of steps {min(steps)} to {max(steps)}" if steps else "there are none at all"
            raise DataError([f"{self.folder}: no samples of step {step}; {there}"])
        return [row for one in (steps if step is None else [step]) for row in stored.read(one)]

    def policy(self, device: str | None = None, *, task: Any = None) -> Any:
        """The trained policy: what answers, what acts, or a reward model that scores.

        A language model has `generate("2+3=")`. What acts in an environment has `act(observation)`, which gives the
        likeliest action as the environment takes it. `task` is the environment where it was an object from Python.

        DataError while the run has left no model.
        """
        final = self.folder / "final"
        if not final.is_dir():
            raise DataError([f"{self.folder}: no model yet; the run writes it at its end (rung resume {self.folder})"])
        policy = loaded(final, device=device)
        if hasattr(policy, "to_environment"):
            known = functools.cache(lambda: self._environment(task or self._task))
            policy.to_environment = lambda actions_N: known().to_environment(actions_N)
        return policy

    def _environment(self, given: Any) -> EnvironmentTask:
        """What the run acted in, to be made only when the first action is asked for."""
        from rung.runs.run import handed
        from rung.settings.objects import taken_apart
        from rung.trainers.choose import kind_for, task_of

        _, objects = taken_apart({} if given is None else {"task": given})
        kind = kind_for(self.settings, self.settings.resolved_method())
        return task_of(self.settings, kind, handed(objects=objects))

    def _repr_html_(self) -> str:
        """The run in a notebook: what it is, and its curves, as the run's own page draws them."""
        from rung.lab.run_page.page import curves_page

        page = html.escape(curves_page(self.metrics(), self.timings()), quote=True)
        frame = f'<iframe sandbox="allow-scripts" style="border:0;width:100%;height:640px" srcdoc="{page}"></iframe>'
        return f"<p>{html.escape(repr(self))}</p>{frame}"


def loaded(folder: Path, *, device: str | None = None) -> Any:
    """The policy in a run's `final`, of whatever kind it is."""
    from rung.models.language.folder import is_reward_model
    from rung.models.language.load import load_policy
    from rung.models.small.environment_policy import load_environment_policy
    from rung.rollouts.answering import answering
    from rung.tasks.cart_pole import BOX_COUNT
    from rung.trainers.boxes_1983.policy import BoxPolicy

    kind = model_in(folder)
    if kind != "config":
        return BoxPolicy.load(folder, boxes=BOX_COUNT) if kind == "box_policy" else load_environment_policy(folder)
    if is_reward_model(folder):
        from rung.models.language.reward_model import load_reward_model

        return load_reward_model(folder, device=device)
    return answering(load_policy(str(folder), device=device))
