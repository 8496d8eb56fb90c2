"""Runs that draw their pairs themselves: what is drawn and paid, when it ends, what is shared, kills at any moment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from costs import work_of
from random_digits import SHORTEST, random_digits
from run_server import COMPARED, KILLED, Runs, assert_same

from rung.errors import CheckpointError, SettingsError
from rung.library import resume, train, trainer
from rung.settings import settings_from
from rung.tasks.load import load_task
from rung.tasks.order import items_at
from rung.trainers.budget import Budget
from rung.trainers.preferences.drawn_pairs import DrawnPairCollector
from rung.trainers.preferences.drawn_rounds import DrawnRounds
from rung.trainers.rollout_trainer import RolloutTrainer

TASK = {"name": "arithmetic", "levels": [1], "size": 40, "held_out": 6}
HARD = {**TASK, "levels": [5]}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model whose answers are a few random digits, and a reward that prefers the shorter."""
    folder = tmp_path_factory.mktemp("made")
    random_digits().save(folder / "model")
    (folder / "reward.py").write_text(SHORTEST)
    return folder


def settings_of(made: Path, method: str = "dpo", *, own: bool = True, **budget: float) -> dict[str, Any]:
    found = {
        "model": str(made / "model"),
        "method": {"name": method, "optimizer": {"learning_rate": 1e-3, "warmup_steps": 0}},
        "task": TASK,
        "steps": 60,
        "budget": budget or {"tokens": 200},
        "prompts_per_step": 3,
        "max_new_tokens": 12,
        "rewards": [{"function": f"{made}/reward.py:score"}],
        "learner": {"threads": 1},
        "evaluation": {"every": 2, "num_items": 3},
        "saving": {"every": 2},
        "reporting": {"page": False, "kl_rows": 1},
    }
    if own:
        found["method"]["pairs_per_step"] = 4
        found["pairs"] = {"source": "samples", "passes": 2}
    return found


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@contextmanager
def no_phase(name: str) -> Iterator[None]:
    yield


@pytest.fixture(scope="module")
def runs(made: Path) -> Runs:
    return Runs(settings_of(made))


def drawn(made: Path, folder: Path, **more: Any) -> tuple[RolloutTrainer, DrawnPairCollector, dict[str, Any]]:
    """The parts of a run after its first step, and that step's metrics; nothing was trained."""
    folder.mkdir(exist_ok=True)
    parts = trainer(settings_from({**settings_of(made), **more}), folder=folder)
    collector = parts.collector
    assert isinstance(collector, DrawnPairCollector)
    try:
        return parts, collector, dict(collector.collect(1, no_phase).metrics)
    finally:
        collector.close()


def test_tokens_buy_pairs_and_then_the_passes_are_made(whole: Path) -> None:
    rows, pairs = rows_of(whole / "metrics.jsonl"), rows_of(whole / "pairs.jsonl")
    first, last = rows[1], rows[-1]
    (store,) = (whole / "drawn").glob("*.jsonl")
    rounds = [one["made"]["tokens"] for one in rows_of(store)]
    assert first["tokens/generated"] == sum(rounds) >= 200 > sum(rounds[:-1])
    assert first["pairs/drawn"] == len(pairs) == first["pairs/prompts"] - first["pairs/without"] > 4
    assert all(row.get("tokens/generated") is None for row in rows[2:]), "training draws nothing"
    assert "tokens/trained" not in first, "nothing is learnt in the step that draws"
    assert last["pairs/passes"] >= 2 > last["pairs/passes"] - 4 / len(pairs)
    assert first["held_out/score"] == rows[0]["held_out/score"], "paid, and nothing learnt yet"
    assert last["held_out/score"] is not None and (whole / "final" / "config.json").is_file()
    assert rows[2]["loss"] == pytest.approx(0.6931471805599453) and last["preference/margin"] > 0
    assert all(row["chosen_reward"] == -len(row["chosen"]) > row["rejected_reward"] for row in pairs)


def test_prompts_and_held_out_items_are_those_of_the_other_methods(
    runs: Runs, whole: Path, made: Path, tmp_path: Path
) -> None:
    task = load_task(TASK["name"], seed=0, **{key: value for key, value in TASK.items() if key != "name"})
    places = [int(row["id"].split("/")[1]) for row in rows_of(whole / "pairs.jsonl")]
    met = [task.train[int(index)].prompt for index in items_at(0, 0, max(places) + 1, len(task.train))]
    assert places == sorted(places)
    assert [row["prompt"] for row in rows_of(whole / "pairs.jsonl")] == [met[place] for place in places]
    kept, runs.settings = runs.settings, {**settings_of(made, "reinforce", own=False), "steps": 0}
    try:
        assert runs.ask("train", tmp_path / "other")[0] == 0
    finally:
        runs.settings = kept
    at_start = "held_out/step_000000.json"
    assert (tmp_path / "other" / at_start).read_bytes() == (whole / at_start).read_bytes()


@pytest.mark.parametrize(
    "point",
    [
        "pairs.round:2",
        pytest.param("step.done:1", marks=pytest.mark.slow),
        pytest.param("update.step:3", marks=pytest.mark.slow),
        pytest.param("checkpoint.rename:1", marks=pytest.mark.slow),
        pytest.param("checkpoint.rename:2", marks=pytest.mark.slow),
    ],
)
def test_killed_and_resumed_it_ends_the_same(runs: Runs, whole: Path, tmp_path: Path, point: str) -> None:
    code, said = runs.ask("train", tmp_path / "run", fault=f"{point}:kill")
    assert code == KILLED, said
    before = [path.read_bytes() for path in (tmp_path / "run" / "drawn").glob("*.jsonl")]
    runs.resumed(tmp_path / "run")
    assert_same(tmp_path / "run", whole, (*COMPARED, "pairs.jsonl"))
    (after,) = [path.read_bytes() for path in (tmp_path / "run" / "drawn").glob("*.jsonl")]
    assert all(after.startswith(one) for one in before), "what was drawn is not drawn again"


def test_trained_tokens_leave_room_for_the_passes(made: Path, tmp_path: Path) -> None:
    parts, collector, _ = drawn(made, tmp_path / "run", budget={"trained": 200})
    assert collector.pairs is not None
    tokens = sum(len(ids) for one in collector.pairs.train for ids, _ in one.answers)
    last = max(int(row["id"].split("/")[1]) // 3 for row in rows_of(tmp_path / "run" / "pairs.jsonl"))
    of_last = sum(
        len(ids)
        for one in collector.pairs.train
        if int(one.pair.id.split("/")[1]) // 3 == last
        for ids, _ in one.answers
    )
    assert 2 * tokens >= 200 > 2 * (tokens - of_last)
    budget = Budget({"trained": 200}, work_of(parts.method, parts.policy))
    assert not parts.over(budget)
    budget.pay({"tokens/trained": 200.0}, 0.0)
    assert parts.over(budget), "training spends this budget, so it ends the run"


def test_an_annealed_rate_falls_over_the_passes_or_the_seconds_that_are_kept_for_them(
    made: Path, tmp_path: Path
) -> None:
    parts, collector, _ = drawn(made, tmp_path / "run", budget={"tokens": 100})
    assert collector.pairs is not None
    spent = Budget({"tokens": 100}, work_of(parts.method, parts.policy))
    spent.pay({"tokens/generated": 100.0}, 0.0)
    assert parts.progress(spent) == 0.0, "drawing has taken the budget, and nothing is learnt yet"
    collector.pairs.drawn = len(collector.pairs.train)
    assert parts.progress(spent) == 0.5, "one of two passes"
    by_clock = Budget({"seconds": 60.0}, work_of(parts.method, parts.policy))
    by_clock.pay({}, 45.0)
    assert parts.progress(by_clock) == 0.5, "30 seconds were for drawing, half of the others are spent"
    by_clock.pay({}, 60.0)
    assert parts.progress(by_clock) == 1.0


def test_operations_are_shared_by_drawing_and_learning(made: Path, tmp_path: Path) -> None:
    parts, collector, metrics = drawn(made, tmp_path / "run", budget={"flops": 4e9})
    assert collector.pairs is not None
    cost = work_of(parts.method, parts.policy)
    tokens = sum(len(ids) for one in collector.pairs.train for ids, _ in one.answers)
    drawing = metrics["tokens/generated"] * cost.generated
    assert drawing < 0.5 * 4e9, "most is left for learning, which costs more a token"
    assert drawing + tokens * (2 * cost.trained + cost.reference) >= 4e9


def test_of_seconds_drawing_takes_its_share(made: Path, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    settings = {**settings_of(made, seconds=10.0), "pairs": {"source": "samples", "seconds_share": 0.25}}
    collector = trainer(settings_from(settings), folder=tmp_path / "run").collector
    assert isinstance(collector, DrawnPairCollector)
    collector.close()
    from rung.trainers.preferences.drawing import PairsMade

    assert not collector._enough(PairsMade(tokens=10**9), 10**9, {"sample": 2.0, "reward": 0.4})
    assert collector._enough(PairsMade(), 0, {"sample": 2.0, "reward": 0.5})


def test_runs_share_what_is_the_same_and_each_pays(made: Path, tmp_path: Path, monkeypatch) -> None:
    shared = tmp_path / "shared"
    draws: list[int] = []
    append = DrawnRounds._append
    monkeypatch.setattr(DrawnRounds, "_append", lambda self, one: (draws.append(one.made.tokens), append(self, one))[1])

    def first_step(name: str, method: str, **more: Any) -> tuple[dict[str, Any], dict[str, float]]:
        (tmp_path / name).mkdir()
        settings = settings_of(made, method)
        collector = trainer(settings_from({**settings, **more}), folder=tmp_path / name, shared=shared).collector
        try:
            collected = collector.collect(1, no_phase)
        finally:
            collector.close()
        return dict(collected.metrics), dict(collected.seconds)

    dpo = first_step("dpo", "dpo")
    count = len(draws)
    assert count > 1 and dpo[0]["tokens/generated"] == sum(draws)
    assert first_step("simpo", "simpo") == dpo, "the same tokens and the very same seconds are paid"
    assert len(draws) == count, "and nothing was drawn"
    assert (tmp_path / "dpo" / "pairs.jsonl").read_bytes() == (tmp_path / "simpo" / "pairs.jsonl").read_bytes()
    more = first_step("longer", "dpo", budget={"tokens": 300})
    assert len(draws) > count and more[0]["tokens/generated"] == sum(draws), "it went on from there"
    first_step("other", "dpo", pairs={"source": "samples", "k": 3})
    assert len(list(shared.glob("*.jsonl"))) == 2, "another k draws other pairs"


def test_where_nothing_tells_answers_apart_the_run_ends_as_it_began(made: Path, tmp_path: Path) -> None:
    """Random digits are never a large product, so the task's own reward gives no pair."""
    settings = {**settings_of(made), "rewards": [], "task": HARD, "budget": {"tokens": 100}}
    summary = train(settings_from(settings), tmp_path / "run", quiet=True)
    rows = rows_of(tmp_path / "run" / "metrics.jsonl")
    assert summary.finished and [row["step"] for row in rows] == [0, 1]
    assert rows[1]["pairs/drawn"] == 0 and rows[1]["pairs/without"] >= rows[1]["pairs/all_wrong"] > 0
    assert rows[1]["tokens/generated"] >= 100, "it was looked for as long as the budget lasted"
    assert rows[1]["held_out/score"] == rows[0]["held_out/score"]
    assert (tmp_path / "run" / "pairs.jsonl").read_text() == ""
    again = resume(tmp_path / "run", quiet=True)
    assert again.finished and rows_of(tmp_path / "run" / "metrics.jsonl") == rows


def test_a_budget_that_drawing_does_not_spend_does_not_draw_for_ever(made: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("rung.trainers.preferences.drawn_pairs.BARREN", 3)
    more = {"rewards": [], "task": HARD, "budget": {"trained": 10**6}}
    parts, collector, metrics = drawn(made, tmp_path / "run", **more)
    assert metrics["pairs/prompts"] == 3 * 3 and collector.pairs is None
    assert parts.over(Budget({"trained": 10**6}, work_of(parts.method, parts.policy)))


def test_pairs_that_are_gone_or_others_are_refused_on_resume(made: Path, tmp_path: Path) -> None:
    settings = {**settings_of(made), "steps": 2, "budget": {"tokens": 100}}
    train(settings_from(settings), tmp_path / "run", quiet=True)
    file = tmp_path / "run" / "pairs.jsonl"
    kept = file.read_text()
    for text in ("", kept + kept.splitlines()[0] + "\n", kept[:-20]):
        file.write_text(text)
        with pytest.raises(CheckpointError, match="this run cannot go on"):
            resume(tmp_path / "run", {"steps": 4}, quiet=True)
    file.unlink()
    with pytest.raises(CheckpointError, match=r"pairs\.jsonl, the pairs that it drew, cannot be read"):
        resume(tmp_path / "run", {"steps": 4}, quiet=True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"budget": {}}, "pairs.source: how many pairs are drawn is decided by the budget"),
        ({"method": {"name": "reward_model"}}, "pairs.source: 'reward_model' trains a model of the reward"),
        ({"method": {"name": "grpo"}}, "pairs: 'grpo' draws samples at every step and takes no pairs"),
        ({"pairs": {"k": 3}}, "pairs: says how pairs are drawn, but pairs.source is 'file'"),
        ({"task": {"name": "CartPole-v1"}}, "'dpo' prefers one text to another, and 'CartPole-v1' is an environment"),
    ],
)
def test_wrong_settings_are_named(made: Path, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError, match=words.replace(".", r"\.")):
        trainer(settings_from({**settings_of(made), "rewards": [], **changes}))
