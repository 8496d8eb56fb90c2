"""The sections of a comparison's page, each a function from data to HTML. Every foreign string goes through `text`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from rung.lab.compare.pictures import colour_of, curves_svg, scores_svg, short, traces
from rung.lab.run_page.page import frame
from rung.lab.run_page.page_sections import text
from rung.lab.run_page.pictures import COLOURS
from rung.runs.metrics.of_environments import STEPS, said_of_steps
from rung.runs.metrics.registry import shown

Data = Mapping[str, Any]
AXIS_NAMES = {
    "tokens": "tokens generated",
    "trained": "tokens trained",
    "steps": "environment steps",
    "seconds": "seconds",
    "flops": "operations",
}
IN_ENVIRONMENTS = {**AXIS_NAMES, "tokens": STEPS, "trained": f"{STEPS} trained on"}


def in_environments(rows: Sequence[Data]) -> bool:
    """Whether the methods acted in an environment, whose steps are counted where text has tokens."""
    return any(row["score"] is not None and row["spent"]["steps"] for row in rows)


def title(data: Data) -> str:
    """`3 methods on arithmetic`."""
    count = len(data["methods"])
    return f"{count} method{'s' * (count != 1)} on {data['task']['name']}"


def header(data: Data) -> str:
    """The verdict, and what was compared at which budget."""
    details = "".join(f"<li>{text(line)}</li>" for line in data["verdict"]["details"])
    seeds, budget = data["seeds"], data["budget"]
    return (
        f"<h1>{text(title(data))}</h1>"
        f'<p class="soft">Model {text(data["model"])}; {budget["limit"]:,.12g} {text(budget["words"])} a run; '
        f"{len(seeds)} seed{'s' * (len(seeds) != 1)}.</p>"
        f'<div class="card"><h3>Verdict</h3><p><b>{text(data["verdict"]["headline"])}</b></p>'
        + (f'<ul class="small">{details}</ul>' if details else "")
        + "</div>"
    )


def failures(rows: Sequence[Data]) -> str:
    """The runs that failed, with their last words."""
    found = [(row["method"], one) for row in rows for one in row["failed"]]
    if not found:
        return ""
    items = "".join(
        f'<div class="warning"><p><b>{text(method)}, seed {one["seed"]}</b></p>'
        f"<pre>{text(one['error'][-1500:], keep_newlines=True)}</pre></div>"
        for method, one in found
    )
    return f"<h2>Failed runs</h2>{items}"


def scores(rows: Sequence[Data], order: Sequence[str], data: Data) -> str:
    """The final held-out scores: the picture and the table."""
    if not rows:
        return "<h2>Held-out score</h2><p>No run has finished.</p>"
    percent = _score(data)
    columns: list[tuple[str, Callable[[Data], str]]] = [
        ("score", lambda row: percent(row["score"])),
        ("95 % interval", lambda row: f"{percent(row['interval'][0])} to {percent(row['interval'][1])}"),
        ("at the start", lambda row: percent(row["start"])),
        ("gain", lambda row: _gain(row["gain"], percent)),
        ("worst seed", lambda row: f"{percent(row['worst_seed']['score'])} (seed {row['worst_seed']['seed']})"),
        ("seeds", lambda row: str(len(row["seeds"]))),
    ]
    few = min(len(row["seeds"]) for row in rows)
    of = "of fewer than four runs it is their mean" if few < 4 else "the mean of the middle half of the runs"
    return (
        '<h2>Held-out score</h2><p class="soft small">After the budget was spent. Diamond: interquartile mean over '
        f"seeds ({of}); bar: 95 % bootstrap interval over seeds and items; dots: the seeds; dashed: before training."
        f'</p><div class="card curve scroll" role="img" aria-label="Scores with intervals">'
        f"{scores_svg(rows, order, shares=data['shares'])}</div>"
        f'<div class="card scroll">{_table(rows, columns)}</div>'
    )


def pairs(rows: Sequence[Data], data: Data) -> str:
    """P(row beats column) on an item of a run, the pairs that are told apart marked."""
    if len(rows) < 2:
        return ""
    found = {(pair["after"], pair["before"]): pair for pair in data["pairs"]}
    names = [row["method"] for row in rows]
    head = "".join(f'<th class="number">{text(name, limit=40)}</th>' for name in names)
    body = "".join(
        f'<tr><td class="name">{text(row, limit=40)}</td>{"".join(_cell(found, row, column) for column in names)}</tr>'
        for row in names
    )
    lines = "".join(f"<tr>{_pair(pair, data)}</tr>" for pair in data["pairs"])
    heads = ("pair", "difference", "95 % interval", "p", "p, Holm", "seeds won", "told apart")
    table = "".join(f"<th>{name}</th>" for name in heads)
    return (
        '<h2>Which beats which</h2><p class="soft small">The probability that the row scores more than the column on '
        "the same item of the same seed, ties one half. Bold: told apart by the rule at the end of this page.</p>"
        f'<div class="card scroll"><table><thead><tr><th></th>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        '<details><summary class="small soft">Every pair: the paired difference</summary>'
        f'<div class="card scroll"><table><thead><tr>{table}</tr></thead><tbody>{lines}</tbody></table></div></details>'
    )


def curves(order: Sequence[str], data: Data) -> str:
    """Held-out score against every axis of the budget."""
    if not data["axes"]:
        return ""
    budget = data["budget"]["axis"]
    axes = sorted(data["axes"], key=lambda axis: axis != budget)
    cards = "".join(
        f'<div class="card curve" role="img" aria-label="Score against {text(data["axes"][axis])}">'
        f"<h3>{text(data['axes'][axis])}{' (the budget)' * (axis == budget)}</h3>{curves_svg(data, axis)}</div>"
        for axis in axes
    )
    return (
        '<h2>Score against what was spent</h2><p class="soft small">The mean over seeds; each seed faintly behind it.'
        f"</p>{_legend(order)}<div class='grid'>{cards}</div>"
    )


def cost(rows: Sequence[Data], data: Data) -> str:
    """What a run spent on each axis, its memory, its seconds a step."""
    columns: list[tuple[str, Callable[[Data], str]]] = [("steps", lambda row: f"{row['steps']:,.0f}")]
    names = IN_ENVIRONMENTS if in_environments(rows) else AXIS_NAMES
    for axis in data["axes"]:
        columns.append((names[axis], lambda row, axis=axis: short(row["spent"][axis] or 0.0)))
    columns += [
        ("over the budget", lambda row: "–" if row["overspent"] is None else f"{row['overspent']:.1%}"),
        ("seconds a step", lambda row: shown("", row["clock"]["seconds_a_step"])),
        ("evaluating, s", lambda row: shown("", row["clock"]["seconds_of_evaluations"])),
        ("memory, GiB", lambda row: shown("", row["clock"]["peak_gib"])),
    ]
    counted = f"{STEPS}, weights and passes" if in_environments(rows) else "tokens, weights and passes, without prompts"
    return (
        '<h2>Cost</h2><p class="soft small">Means over seeds of one run; each run ends with its first whole step that '
        "reaches the budget. Evaluations and checkpoints are not counted. Operations are estimated from "
        f"{counted}. Seconds and memory are of this machine, "
        f"{text(data['clock']['machine'])}.</p>"
        f'<div class="card scroll">{_table(rows, columns)}</div>'
    )


def stability(rows: Sequence[Data], data: Data) -> str:
    """The worst seed, how far the score fell from its best, entropy and KL; and their courses."""
    percent = _score(data)
    columns: list[tuple[str, Callable[[Data], str]]] = [
        ("worst seed", lambda row: percent(row["worst_seed"]["score"])),
        ("best less last score", lambda row: percent(row["stability"]["fall"])),
        ("entropy, first step", lambda row: shown("", row["stability"]["entropy_first"])),
        ("entropy, last step", lambda row: shown("", row["stability"]["entropy_last"])),
        ("KL to the start, last", lambda row: shown("", row["stability"]["kl_last"])),
        ("highest", lambda row: shown("", row["stability"]["kl_highest"])),
    ]
    said = said_of_steps if in_environments(rows) else str
    cards = "".join(
        f'<div class="card curve" role="img" aria-label="{text(said(name))}"><h3>{text(said(name))}</h3>{svg}</div>'
        for name, svg in traces(data)
    )
    return (
        f'<h2>Stability</h2><div class="card scroll">{_table(rows, columns)}</div>'
        '<p class="soft small">Below: against operations, the mean over seeds.</p>'
        f"{_legend([row['method'] for row in data['methods']])}<div class='grid'>{cards}</div>"
    )


def samples(rows: Sequence[Data]) -> str:
    """What became of what was drawn."""

    def generated(row: Data) -> str:
        return _whole(row["samples"]["tokens_generated"])

    columns: list[tuple[str, Callable[[Data], str]]] = [
        ("episodes", lambda row: _whole(row["samples"]["episodes"])),
        (f"{STEPS} taken" if in_environments(rows) else "tokens generated", generated),
        ("trained", lambda row: _whole(row["samples"]["tokens_trained"])),
        ("dropped", lambda row: _share(row["samples"]["tokens_dropped"], row["samples"]["tokens_generated"])),
        ("cut off", lambda row: _percent(row["samples"]["truncated"])),
        ("groups without spread", lambda row: _percent(row["samples"]["no_spread"])),
        ("not judged", lambda row: _whole(row["samples"]["failed"])),
    ]
    return (
        '<h2>What became of the samples</h2><p class="soft small">Means over seeds of one run. Dropped: generated, but '
        "in no update (groups that cannot teach, answers in no pair, what was not judged). A group without "
        "spread has equal rewards.</p>"
        f'<div class="card scroll">{_table(rows, columns)}</div>'
    )


def drawn_pairs(rows: Sequence[Data]) -> str:
    """What methods that learn from pairs drew first."""
    drew = [row for row in rows if row.get("drawn_pairs")]  # results of before have none
    if not drew:
        return ""

    def of(name: str) -> Callable[[Data], str]:
        return lambda row: _whole(row["drawn_pairs"][name])

    def asked(name: str) -> Callable[[Data], str]:
        return lambda row: _whole(row["drawn_pairs"]["settings"][name])

    columns: list[tuple[str, Callable[[Data], str]]] = [
        ("prompts", of("prompts")),
        ("answers to each", asked("k")),
        ("pairs", of("drawn")),
        ("prompts without a pair", of("without")),
        ("of these all right", of("all_right")),
        ("all wrong", of("all_wrong")),
        ("passes asked for", asked("passes")),
        ("passes made", lambda row: shown("", row["drawn_pairs"]["passes"])),
    ]
    return (
        '<h2>Pairs</h2><p class="soft small">Methods that learn from pairs draw them first: answers of the same model '
        "to the same prompts, told apart by the same rewards. Runs that draw the same pairs share them, and each pays "
        "for all of them. Drawing ends when it and the passes over the pairs that are to come take the budget: of "
        "generated tokens, which training does not spend, drawing takes all, and training then makes its passes; of "
        "seconds it takes a set share. Means over seeds of one run.</p>"
        f'<div class="card scroll">{_table(drew, columns)}</div>'
    )


def differences(data: Data) -> str:
    """What each method changes, from their definitions as they ran."""
    items = "".join(_difference(one) for one in data["differences"])
    others = "".join(
        f"<dt><code>{text(key)}</code></dt><dd>"
        + ", ".join(f"{text(method)}: {text(value)}" for method, value in values.items())
        + "</dd>"
        for key, values in data["settings_that_differ"].items()
    )
    beside = f'<div class="card"><h3>Settings beside the method that differ</h3><dl>{others}</dl></div>'
    return (
        '<h2>What each method is</h2><p class="soft small">From the definitions, with the settings they ran with. '
        "Each method ran with its own and its recipe's settings; none was tuned for this comparison. With another "
        "learning rate the order may be another.</p>"
        f'<div class="grid">{items}</div>' + (beside if others else "")
    )


def how(data: Data) -> str:
    """The rules, in full."""
    items = "the same for every seed" if data["common_items"] else "each seed's own, the same for all methods"
    differs = ""
    if data["start_differs"]:
        listed = ", ".join(map(str, data["start_differs"]))
        differs = (
            f"<li>With seed {text(listed)} the methods did not begin with equal scores: their first policies differ "
            "(a critic's or a head's random start).</li>"
        )
    return (
        '<h2>How it was measured</h2><div class="card"><ul class="small">'
        f"<li>Seeds {text(', '.join(map(str, data['seeds'])))}: a seed decides the order of prompts, every random "
        "number, and the problems where a task makes them. The model at the start is the same one.</li>"
        f"<li>Held-out items are {items}. With a seed, every method meets the same prompts in the same order (a method "
        "that draws groups again goes on faster) and is evaluated with the same random numbers.</li>"
        "<li>Score: the mean over items of a run, then the interquartile mean over runs. Interval: 2,000 bootstrap "
        "draws of the runs and, within them, of the items"
        f"{' (the same draw of items for all runs)' if data['common_items'] else ''}; with one seed of its items alone."
        " With few seeds such an interval is rather too narrow; the verdict does not rest on it.</li>"
        f"<li>{text(data['rule'])}</li>{differs}</ul></div>"
    )


def _difference(one: Data) -> str:
    changes = "".join(f"<li><code>{text(change)}</code></li>" for change in one["changes"])
    below, listed = "Where its line begins.", ""
    if one["from"]:
        below = f"What it changes from {text(one['from'])}:"
        listed = f'<ul class="small">{changes}</ul>' if changes else '<p class="small">Nothing: no slot differs.</p>'
    return (
        f'<div class="card"><h3>{text(one["method"])}</h3><p class="small">{text(one["summary"])} '
        f'<span class="soft">({text(one["paper"])})</span></p><p class="small soft">{below}</p>{listed}</div>'
    )


def _cell(found: Mapping[tuple[str, str], Data], row: str, column: str) -> str:
    pair, turned = found.get((row, column)), found.get((column, row))
    known = pair or turned
    if row == column or known is None:
        return '<td class="number soft">–</td>'
    value, low, high = (known["probability"][key] for key in ("value", "low", "high"))
    if pair is None:
        value, low, high = 1 - value, 1 - high, 1 - low
    words = f"{value:.2f}"
    apart = known["p_adjusted"] is not None and known["p_adjusted"] < 0.05
    strength = round(min(1.0, abs(value - 0.5) * 2) * 45)
    colour = COLOUR_MORE if value > 0.5 else COLOUR_LESS
    return (
        f'<td class="number" style="background: color-mix(in srgb, var(--{colour}) {strength}%, transparent)" '
        f'title="95 % interval {low:.2f} to {high:.2f}">{f"<b>{words}</b>" if apart else words}</td>'
    )


COLOUR_MORE, COLOUR_LESS = "c0", "c1"


def _pair(pair: Data, data: Data) -> str:
    names = f"<td>{text(pair['after'], limit=40)} − {text(pair['before'], limit=40)}</td>"
    one = pair["difference"]
    if one is None:
        return names + '<td colspan="6" class="soft">one seed in common: nothing tells how much a seed matters</td>'
    points = _signed(data)
    cells = (
        points(one["value"]),
        f"{points(one['low'])} to {points(one['high'])}",
        f"{one['p']:.2g}",
        f"{pair['p_adjusted']:.2g}",
        f"{one['won']} of {one['seeds']}",
        "yes" if pair["p_adjusted"] < 0.05 else "no",
    )
    return names + "".join(f'<td class="number">{text(cell)}</td>' for cell in cells)


def _table(rows: Iterable[Data], columns: Sequence[tuple[str, Callable[[Data], str]]]) -> str:
    head = "".join(f'<th class="number">{text(name)}</th>' for name, _ in columns)
    body = "".join(
        f'<tr><td class="name">{text(row["method"], limit=40)}</td>'
        + "".join(f'<td class="number">{text(value(row))}</td>' for _, value in columns)
        + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr><th>method</th>{head}</tr></thead><tbody>{body}</tbody></table>"


def _legend(order: Sequence[str]) -> str:
    marks = "".join(
        f'<span><i style="display:inline-block;width:0.8em;height:0.8em;border-radius:2px;margin-right:0.35em;'
        f'background:var(--c{COLOURS.index(colour_of(index))})"></i>{text(method, limit=40)}</span>'
        for index, method in enumerate(order)
    )
    return f'<p class="tools small">{marks}</p>'


def _score(data: Data) -> Callable[[float | None], str]:
    if data["shares"]:
        return lambda value: "–" if value is None else f"{value * 100:.1f} %"
    return lambda value: shown("", value)


def _signed(data: Data) -> Callable[[float], str]:
    scale, unit = (100, " points") if data["shares"] else (1, "")
    return lambda value: f"{value * scale:+.4g}{unit}" if not data["shares"] else f"{value * scale:+.1f}{unit}"


def _gain(gain: Data | None, percent: Callable[[float | None], str]) -> str:
    if gain is None:
        return "one seed"
    return f"{percent(gain['value'])} ({percent(gain['low'])} to {percent(gain['high'])})"


def _whole(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f}"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _share(part: float | None, whole: float | None) -> str:
    return "–" if part is None or not whole else f"{part / whole:.1%}"


def page(data: Mapping[str, Any]) -> str:
    """The whole page as text."""
    scored = [row for row in data["methods"] if row["score"] is not None]
    scored.sort(key=lambda row: -row["score"])
    order = [row["method"] for row in data["methods"]]
    parts = [
        header(data),
        failures(data["methods"]),
        scores(scored, order, data),
        pairs(scored, data),
        curves(order, data),
        cost(scored, data),
        stability(scored, data),
        samples(scored),
        drawn_pairs(scored),
        differences(data),
        how(data),
    ]
    return frame(f"{title(data)}: rung compare", parts)
