"""The observers of an ordinary run: warnings while it trains, and at its end the page and a diagnosis."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rung.lab.diagnosis.rules import diagnose, new_warnings
from rung.runs.observers import Finished, Observer, Row


class Warnings:
    """Tells each warning when it comes up; at the end, what is wrong with the whole run."""

    def stepped(self, metrics: Sequence[Row]) -> Iterable[str]:
        return [warning.text() for warning in new_warnings(metrics)]

    def finished(self, run: Finished) -> Iterable[str]:
        ill = [one.name for one in diagnose(run.folder).findings if one.severity != "note"]
        return [f"look at: {', '.join(ill)}; what they mean: rung diagnose {run.folder}"] if ill else []


class Page:
    """Writes report.html when the run has ended."""

    def stepped(self, metrics: Sequence[Row]) -> Iterable[str]:
        return ()

    def finished(self, run: Finished) -> Iterable[str]:
        from rung.lab.run_page.page import write_report

        try:
            write_report(run.folder)
        except OSError as error:
            return [f"the model is saved, but its report could not be written: {error}"]
        return [f"report: {run.folder / 'report.html'}"]


def watching(*, page: bool = True) -> list[Observer]:
    """What looks at a run unless something else is asked for; `page=False` leaves the page out."""
    return [Page(), Warnings()] if page else [Warnings()]
