"""The sections of the report page, each a function from data to HTML. Every foreign string goes through `text`."""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from rung.lab.diagnosis.warnings import RunWarning
from rung.lab.run_page.page_data import FILM, Film, RunRecord
from rung.lab.run_page.pictures import panel_svgs
from rung.runs.metrics.metric import Metric
from rung.runs.metrics.of_environments import STEPS, in_environment
from rung.runs.metrics.registry import METRICS, explain_metric, shown
from rung.runs.record.console import duration
from rung.runs.record.json_lines import Row
from rung.runs.record.visible import visible
from rung.runs.statistics import Difference


def text(value: object, *, limit: int = 2000, keep_newlines: bool = False) -> str:
    """Anything as inert HTML text."""
    return html.escape(visible(str(value), limit=limit, keep_newlines=keep_newlines), quote=True)


def header(run: RunRecord) -> str:
    """Title, state, and the numbers to believe: held-out before and after, the paired gain."""
    last = max((int(row.get("step") or 0) for row in run.metrics), default=0)
    state = f"Finished after {last:,} steps." if run.finished else f"Unfinished: {last:,} steps so far."
    seconds = sum(row.get("seconds/step") or 0.0 for row in run.timings)
    tokens = sum(row.get("tokens/generated") or 0.0 for row in run.metrics)
    if seconds:
        state += f" {duration(seconds)} of training"
        drawn = f"{STEPS} taken" if in_environment(run.metrics) else "tokens generated"
        state += f", {tokens:,.0f} {drawn}." if tokens else "."
    method = f"{text(run.method['name'])}: " if run.method.get("name") else ""
    summary = text(run.method.get("summary", ""))
    return (
        f'<h1>{text(run.name)}</h1><p class="soft">{method}{summary}</p><p class="soft">{state}</p>'
        f'<div class="card headline">{"".join(_headline(run))}</div>'
    )


def _headline(run: RunRecord) -> list[str]:
    evaluated = [row for row in run.metrics if row.get("held_out/score") is not None]
    figures = []
    if evaluated:
        figures.append(_figure(_percent(evaluated[0]["held_out/score"]), _evaluation(evaluated[0])))
    if len(evaluated) > 1:
        figures.append(_figure(_percent(evaluated[-1]["held_out/score"]), _evaluation(evaluated[-1])))
        figures.append(_gain(run.gain, evaluated))
    rewards = [value for row in run.metrics if (value := row.get("reward/mean")) is not None]
    if rewards:
        tenth = max(1, len(rewards) // 10)
        ends = [shown("reward/mean", sum(part) / tenth) for part in (rewards[:tenth], rewards[-tenth:])]
        figures.append(_figure(f"{ends[0]} → {ends[1]}", "training reward, first and last tenth of the steps"))
    if not evaluated:
        figures.append(_figure("no held-out score", "this run was not evaluated on held-out items"))
    return figures


def _figure(value: str, caption: str) -> str:
    return f'<div class="figure"><b>{text(value)}</b><span>{text(caption)}</span></div>'


def _evaluation(row: Row) -> str:
    step = int(row.get("step") or 0)
    low, high = row.get("held_out/low"), row.get("held_out/high")
    interval = f", 95 % interval {_percent(low)} to {_percent(high)}" if low is not None and high is not None else ""
    return ("held-out before training" if step == 0 else f"held-out at step {step:,}") + interval


def _gain(gain: Difference | None, evaluated: Sequence[Row]) -> str:
    shares = all(0 <= (row["held_out/score"] or 0.0) <= 1 for row in evaluated)
    scale, unit = (100, " points") if shares else (1, "")
    if gain is None:
        change = (evaluated[-1]["held_out/score"] or 0.0) - (evaluated[0]["held_out/score"] or 0.0)
        return _figure(f"{change * scale:+.1f}{unit}", "difference of the two scores, not paired by item")
    ratio = gain.in_standard_errors
    caption = f"paired on {gain.items:,} items, 95 % interval {gain.low * scale:+.1f} to {gain.high * scale:+.1f}"
    if ratio is not None:
        caption += f", {ratio:.1f} standard errors ({gain.standard_error * scale:.1f}{unit} each)"
    return _figure(f"{gain.value * scale:+.1f}{unit}", caption)


def _percent(score: float | None) -> str:
    """A share in percent; a mean return as it is."""
    return shown("held_out/score", score)


def problems(found: Sequence[str]) -> str:
    """What of the folder could not be read."""
    if not found:
        return ""
    items = "".join(f"<p>{text(problem)}</p>" for problem in found)
    return f'<h2>Files</h2><div class="warning">{items}</div>'


def warnings(log: Sequence[tuple[int, RunWarning]]) -> str:
    """Every warning of the run, those that came up again counted."""
    if not log:
        return '<h2>Warnings</h2><p class="soft">None of the usual faults was seen.</p>'
    steps: dict[tuple[str, str], list[int]] = {}
    latest: dict[tuple[str, str], RunWarning] = {}
    for step, warning in log:
        steps.setdefault((warning.name, warning.subject), []).append(step)
        latest[warning.name, warning.subject] = warning
    return "<h2>Warnings</h2>" + "".join(_warning(latest[key], steps[key]) for key in steps)


def _warning(warning: RunWarning, steps: Sequence[int]) -> str:
    when = f"step {steps[0]:,}" if len(steps) == 1 else f"{len(steps)} times, first at step {steps[0]:,}"
    says = text(warning.says[:1].upper() + warning.says[1:])
    return (
        f'<div class="warning"><p><b>{says}</b> <span class="soft small">{when}</span></p>'
        f"<p>{text(warning.evidence[:1].upper() + warning.evidence[1:])}.</p>"
        f'<p class="small">Likely cause: {text(warning.cause)}. {text(warning.change)}.</p></div>'
    )


def curves(metrics: Sequence[Row], timings: Sequence[Row]) -> str:
    """The small multiples."""
    drawn = panel_svgs(metrics, timings)
    if not drawn:
        return '<h2>Curves</h2><p class="soft">No step has been made yet.</p>'
    cards = "".join(
        f'<div class="card curve" role="img" aria-label="{text(title)}"><h3>{text(title)}</h3>{svg}</div>'
        for title, svg in drawn
    )
    return f'<h2>Curves</h2><div class="grid">{cards}</div>'


def film(shown_film: Film | None) -> str:
    """The recorded episode, inside the page; a large one is only named."""
    if shown_film is None:
        return ""
    if shown_film.content is None:
        return (
            f'<h2>Film</h2><p class="soft">The film of an episode has {shown_film.size / 1e6:.1f} MB, more than this '
            f'page should: it lies beside it, in <a href="{FILM}">{FILM}</a>.</p>'
        )
    encoded = base64.b64encode(shown_film.content).decode("ascii")
    return (
        '<h2>Film</h2><div class="card"><img class="film" alt="A film of the trained policy playing one episode" '
        f'src="data:image/gif;base64,{encoded}"><p class="small soft">One episode of the trained policy, the best '
        f"action by its own judgement each time (<code>{FILM}</code>).</p></div>"
    )


def method_card(method: Mapping[str, Any]) -> str:
    """The method as it ran: formula, slots, paper, deviations."""
    if not method:
        return ""
    paper = str(method.get("paper") or "")
    arxiv = re.fullmatch(r"arXiv:(\d{4}\.\d{4,5})", paper)
    source = f'<a rel="noreferrer" href="https://arxiv.org/abs/{arxiv[1]}">{text(paper)}</a>' if arxiv else text(paper)
    slots = method.get("slots")
    rows = "".join(
        f"<dt>{text(name)}</dt><dd><code>{text(describe(value))}</code></dd>"
        for name, value in (slots.items() if isinstance(slots, dict) else ())
    )
    deviations = method.get("deviations")
    beyond = "".join(f"<li>{text(line)}</li>" for line in deviations) if isinstance(deviations, list) else ""
    return (
        f'<h2>Method: {text(method.get("name", "unnamed"))}</h2><div class="card">'
        f"<pre>{text(method.get('formula', ''), keep_newlines=True)}</pre><dl>{rows}</dl>"
        + (f'<p class="small soft">Beyond the paper:</p><ul class="small">{beyond}</ul>' if beyond else "")
        + (f'<p class="small soft">Paper: {source}</p>' if paper else "")
        + "</div>"
    )


def describe(value: Any) -> str:
    """A slot's filling in one line: `ClippedSurrogate(low=0.2, high=0.28)`."""
    if value is None:
        return "none"
    if isinstance(value, dict) and isinstance(value.get("part"), str):
        inside = ", ".join(f"{name}={describe(inner)}" for name, inner in value.items() if name != "part")
        return f"{value['part']}({inside})" if inside else value["part"]
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value)


def metrics_table(metrics: Sequence[Row], timings: Sequence[Row]) -> str:
    """Each metric that the run recorded: first and last value, meaning, healthy range."""
    first: dict[str, float] = {}
    last: dict[str, float] = {}
    for row in (*metrics, *timings):
        for name, value in row.items():
            if value is not None and name != "step":
                first.setdefault(name, value)
                last[name] = value
    parts = sorted(name for name in last if name not in METRICS and name.startswith("reward/"))
    order = [name for name in METRICS if name in last]
    at = order.index("reward/mean") + 1 if "reward/mean" in order else 0
    environment = in_environment(metrics)
    listed = order[:at] + parts + order[at:]
    rows = "".join(
        _metric_row(explain_metric(name, environment=environment), first[name], last[name]) for name in listed
    )
    if not rows:
        return ""
    head = "<tr><th>Metric</th><th>First</th><th>Last</th><th>Meaning</th><th>Healthy</th></tr>"
    return f'<h2>Metrics</h2><div class="card scroll"><table><thead>{head}</thead><tbody>{rows}</tbody></table></div>'


def _metric_row(metric: Metric, first: float, last: float) -> str:
    name = metric.name
    outside = metric.standing(last) != "ok"
    unit = f' <span class="soft">In {metric.unit}.</span>' if metric.unit.startswith("nats") else ""
    advice = f'<p class="small">{text(metric.what_to_do)}</p>' if outside else ""
    return (
        f'<tr><td class="name"><code>{text(name, limit=60)}</code></td>'
        f'<td class="number soft">{shown(name, first)}</td>'
        f'<td class="number{" outside" if outside else ""}">{shown(name, last)}</td>'
        f"<td>{text(metric.meaning)}{unit}</td>"
        f"<td>{text(metric.healthy)}{advice}</td></tr>"
    )


def part_names(samples: Mapping[str, Any]) -> list[str]:
    """The reward parts that the shown samples have, in order."""
    return sorted({name for row in samples["rows"] for name in row["parts"]})


def samples_table(samples: Mapping[str, Any], *, environment: bool = False) -> str:
    """The frame of the samples' table; the script fills it from the data. An environment has none, and its film."""
    if environment and not samples["rows"]:
        return ""
    if not samples["rows"]:
        return '<h2>Samples</h2><p class="soft">No completion has been stored.</p>'
    steps = sorted({row["step"] for row in samples["rows"]})
    options = "".join(
        f'<option value="{step}"{" selected" if step == steps[-1] else ""}>step {step:,}</option>' for step in steps
    )
    heads = "".join(f'<th class="number">{text(name)}</th>' for name in part_names(samples))
    return (
        '<h2>Samples</h2><p class="soft small">Invisible and active characters are written as escapes. All completions'
        " of all steps are in <code>samples/</code> (Parquet), with token ids and log-probabilities.</p>"
        f'<div class="tools"><label>At <select id="step">{options}</select></label>'
        '<label>Show <select id="kind"><option value="all">all</option><option value="right">right</option>'
        '<option value="wrong">wrong</option><option value="failed">not judged</option>'
        '<option value="truncated">cut off</option></select></label>'
        '<label>Containing <input id="find" type="search"></label><span class="soft small" id="count"></span></div>'
        '<div class="card window"><table id="samples"><thead><tr><th>Prompt</th><th>Completion</th>'
        f'<th class="number">Reward</th>{heads}<th class="number">Advantage</th><th class="number">Tokens</th>'
        "<th>Status</th></tr></thead><tbody></tbody></table></div>"
        "<noscript><p>The table of samples needs the page's own script.</p></noscript>"
    )


def settings(content: str) -> str:
    """settings.yaml as it stands."""
    if not content:
        return ""
    shown_text = text(content, limit=65536, keep_newlines=True)
    return f'<h2>Settings</h2><div class="card"><pre>{shown_text}</pre></div>'
