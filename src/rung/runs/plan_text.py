"""A plan as lines for people."""

from __future__ import annotations

from collections.abc import Iterator

from rung.methods import Method
from rung.runs.plan import Plan, Written
from rung.trainers.fits import accuracy_of
from rung.trainers.memory import Memory
from rung.trainers.units import count


def plan_lines(plan: Plan) -> list[str]:
    """The plan, one idea a line, at most about 100 characters each."""
    return list(_lines(plan))


def _lines(plan: Plan) -> Iterator[str]:
    settings, method = plan.settings, plan.method
    yield f"{method.name} on {settings.task.name} with {settings.model}"
    yield from _entry("method", f"{method.summary} ({method.paper})", *method.formula().splitlines())
    yield from _entry("a step", *plan.units.lines)
    yield from _entry("the run", *_run(plan))
    yield from _entry("held out", *_evaluation(plan))
    yield from _entry("judged", *_judged(plan))
    yield from _entry("trained", *_trained(plan))
    if plan.network.unknown is not None:
        yield from _entry("memory", "not estimated, because the model's size is not known")
    elif not plan.task.environment:
        yield from _entry("memory", *_memory(plan.memory, plan.task.prompt_tokens))
    yield from _written(plan)
    for note in plan.notes:
        yield from _entry("note", note)
    for warning in plan.warnings:
        yield from _entry("warning", warning)


def _entry(label: str, *lines: str) -> Iterator[str]:
    for index, line in enumerate(lines):
        yield f"  {label if index == 0 else '':<9} {line}"


def _run(plan: Plan) -> Iterator[str]:
    steps, limits = plan.settings.steps, plan.settings.budget.limits()
    spent = " or ".join(f"{_amount(limit)} {axis}" for axis, limit in limits.items())
    if plan.kind.draws_pairs:
        yield f"a budget of {spent}, which drawing and learning share; of tokens, which only drawing spends, all"
        prompts = plan.task.train_items
        yield f"at most {count(steps, 'step')}; seed {plan.settings.seed}; {prompts:,} prompts to draw answers to"
        return
    if limits:
        yield f"ends with the first step that reaches the budget: {spent}; never later than steps says"
    if plan.task.environment:
        yield f"{count(steps, 'step')}; seed {plan.settings.seed}"
        return
    epochs = steps * plan.units.items / max(plan.task.train_items, 1)
    tokens = f", at most {steps * plan.units.new_tokens:,} new tokens" if plan.units.new_tokens else ""
    items = "items" if plan.units.episodes else "pairs"
    yield (
        f"{count(steps, 'step')}{tokens}; seed {plan.settings.seed}; "
        f"{epochs:.2g} times through {plan.task.train_items:,} {items}"
    )


def _evaluation(plan: Plan) -> Iterator[str]:
    evaluation = plan.settings.evaluation
    best = "the token of the highest value each time" if plan.kind.values else "most likely tokens"
    how = best if evaluation.temperature == 0 else f"temperature {evaluation.temperature:g}"
    when = f"every {evaluation.every} steps, " if evaluation.every else ""
    if plan.task.environment:
        acts = "the likeliest action each time" if evaluation.temperature == 0 else "actions drawn"
        yield f"{evaluation.num_items:,} episodes ({acts}), at the start, {when}at the end"
        return
    if not plan.units.episodes:
        yield f"{plan.evaluation_items:,} pairs: does the chosen answer have the higher reward?"
        yield f"at the start, {when}at the end: {count(plan.evaluations, 'time')}"
        return
    yield f"{plan.evaluation_items:,} items x {count(evaluation.num_samples, 'sample')} ({how})"
    yield (
        f"at the start, {when}at the end: {count(plan.evaluations, 'time')}, "
        f"at most {plan.evaluation_tokens:,} new tokens each"
    )


def _judged(plan: Plan) -> Iterator[str]:
    """Which reward tells right from wrong, and what a reward sees of an answer."""
    settings = plan.settings
    name, why = accuracy_of(settings.rewards, plan.task.own_rewards, settings.rewarding.accuracy)
    if not name or plan.task.environment or plan.kind.stored_pairs:
        return
    yield f"the accuracy is '{name}', {why}"
    yield "rewards see special tokens as text; the end token and padding are taken off"


def _trained(plan: Plan) -> Iterator[str]:
    lora, network = plan.settings.lora, plan.network
    if network.unknown is not None:
        yield f"the model's size is not known: {network.unknown}"
    elif lora is None:
        yield f"all {millions(network.parameters)} weights; nothing of the model is frozen"
    else:
        share = plan.trained / network.parameters
        yield (
            f"a LoRA of rank {lora.rank}: {millions(plan.trained)} weights, {share:.1%} of the model's "
            f"{millions(network.parameters)}, which are frozen"
        )
    if plan.keeps_target:
        yield "frozen beside it: an older copy, which makes the targets"
    if plan.keeps_copy:
        why = "it gives the answers" if _answers(plan.method) else "the method's reference"
        why = why if plan.method.needs_start() else "for the metric kl/start"
        yield f"frozen beside it: a copy of the model as it starts ({why})"
    elif lora is not None and plan.method.needs_start():
        whose = "the answers are the frozen model's" if _answers(plan.method) else "the reference is the frozen model"
        yield f"{whose} with the adapter off"


def _answers(method: Method) -> bool:
    """Whether the answers that are learnt from are drawn from the start model."""
    return getattr(method, "behaviour", None) is not None


def _memory(memory: Memory, prompt_tokens: int) -> Iterator[str]:
    parts = ", ".join(f"{name} {size_in_words(size)}" for name, size in memory.parts.items() if size)
    yield f"at most about {size_in_words(memory.total)}, and what Python and torch take: {parts}"
    yield (
        f"an estimate, for prompts of at most {prompt_tokens:,} tokens; of cache and activations only the larger "
        "one is there at a time"
    )


def _written(plan: Plan) -> Iterator[str]:
    known = ("model", "method.name", "task.name")
    sources: dict[str, list[Written]] = {}
    for one in plan.written:
        if one.key not in known:
            sources.setdefault(_source(one.place), []).append(one)
    for source, settings in sources.items():
        yield f"  from {source}:"
        for one in settings:
            yield f"    {one.words()}"


def _source(place: str) -> str:
    """`run.yaml` of `run.yaml:7`; all flags together."""
    if place.startswith("--") or place == "METHOD":
        return "the command line"
    name, colon, line = place.rpartition(":")
    return name if colon and line.isdigit() else place


def _amount(limit: float) -> str:
    return f"{limit:,.0f}" if limit < 10**12 else f"{limit:.3g}"


def millions(count: int) -> str:
    """`39,168`, `134.5 million`, `1.2 billion`."""
    if count >= 10**9:
        return f"{count / 10**9:.1f} billion"
    return f"{count / 10**6:.1f} million" if count >= 10**6 else f"{count:,}"


def size_in_words(size: int) -> str:
    """`538 MiB`, `3.4 GiB`."""
    if size >= 2**30:
        return f"{size / 2**30:.1f} GiB"
    return f"{size / 2**20:.0f} MiB" if size >= 10 * 2**20 else f"{size / 2**20:.1f} MiB"
