"""TensorBoard: event files in the run's own folder."""

from __future__ import annotations

from collections.abc import Mapping

from rung.runs.record.trackers.tracker import TrackedRun


class TensorBoardTracker:
    """Writes `RUN/tensorboard/`; a resumed run writes it anew from its metrics, so that no step is there twice."""

    def __init__(self, run: TrackedRun) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = run.folder / "tensorboard"
        for old in folder.glob("events.out.tfevents.*"):
            old.unlink()
        self.where = f"TensorBoard: tensorboard --logdir {folder}"
        self._writer = SummaryWriter(str(folder))
        for step, numbers in run.history:
            self._add(step, numbers)
        self._writer.flush()

    def row(self, step: int, numbers: Mapping[str, float]) -> None:
        self._add(step, numbers)
        self._writer.flush()

    def _add(self, step: int, numbers: Mapping[str, float]) -> None:
        for name, value in numbers.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        self._writer.close()
