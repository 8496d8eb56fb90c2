"""report.html: a run as one page, in one file, that asks the network for nothing.

Everything a model or a data file wrote is inert: text is escaped or set as text by the script, samples travel as JSON
with `<` escaped, and the page's own policy forbids every script but ours and every request.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from rung.lab.run_page import page_sections as sections
from rung.lab.run_page.page_assets import SCRIPT, STYLE, content_policy
from rung.lab.run_page.page_data import RunRecord, read_run
from rung.lab.run_page.page_sections import text
from rung.runs.metrics.of_environments import in_environment
from rung.whole_files import write_whole


def write_report(folder: Path) -> Path:
    """Writes `folder/report.html` from what is in the folder and returns its path.

    Works on a run that is unfinished, has no evaluation or holds damaged files (the page says so). Raises `DataError`
    when the folder holds no run.

    >>> # write_report(Path("runs/a")) -> Path("runs/a/report.html")
    """
    target = Path(folder) / "report.html"
    write_whole(target, page(read_run(folder)).encode("utf-8"))
    return target


def page(run: RunRecord) -> str:
    """The whole page as text."""
    parts = [
        sections.header(run),
        sections.problems(run.problems),
        sections.warnings(run.warnings),
        sections.curves(run.metrics, run.timings),
        sections.film(run.film),
        sections.samples_table(run.samples, environment=in_environment(run.metrics)),
        sections.metrics_table(run.metrics, run.timings),
        sections.method_card(run.method),
        sections.settings(run.settings),
    ]
    return frame(f"{run.name}: rung report", parts, _data(run) if run.samples["rows"] else "")


def frame(title: str, parts: Sequence[str], scripts: str = "") -> str:
    """A page of ours around these sections."""
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{content_policy()}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{text(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
{"".join(parts)}
</main>
{scripts}
</body>
</html>
"""


def _data(run: RunRecord) -> str:
    data = {**run.samples, "parts": sections.part_names(run.samples)}
    island = json.dumps(data, ensure_ascii=True, allow_nan=False)
    for mark in "<>&":
        island = island.replace(mark, f"\\u{ord(mark):04x}")
    return f'<script type="application/json" id="samples-data">{island}</script>\n<script>{SCRIPT}</script>'
