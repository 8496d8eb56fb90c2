"""Engines that draw for several processes that learn: the answers, and the bytes of a delivery."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from engines import engine_settings, interpreter

import rung
from rung.models.language.size import shape_of
from rung.settings import Settings
from rung.trainers.shares import sends


@pytest.fixture(scope="module", params=[2, pytest.param(3, marks=pytest.mark.slow)])
def with_engines(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Processes that learn and two engines that draw, and one process that learns with one engine."""
    folder = tmp_path_factory.mktemp("engines")
    asked = Settings.model_validate(engine_settings(folder, interpreter(folder)))
    small = {"learner.device": "cpu", "learner.compute": "float32", "learner.deadline_s": 60.0}
    several = {"learner.processes": request.param, "sampler.engines": 2}
    with (
        closing(rung.trainer(asked.changed(small))) as one,
        closing(rung.trainer(asked.changed(small | several))) as many,
    ):
        yield one, many


def test_engines_draw_for_several_processes_as_one_does_for_one(with_engines: Any) -> None:
    one, many = with_engines
    for _ in range(2):
        here, there = one.step(), many.step()
        assert [e.actions.tolist() for e in there.episodes] == [e.actions.tolist() for e in here.episodes]
        assert there.loss == pytest.approx(here.loss, rel=1e-3, abs=1e-5)
        assert there.metrics["delivery/gap"] < 1e-5 and there.metrics["delivery/staleness"] == 0


def test_a_delivery_from_several_processes_sends_what_the_plan_says(with_engines: Any) -> None:
    _, many = with_engines
    shape, ranks = shape_of(str(many.settings.model)), many.ranks
    plan = sends(many.settings, shape)
    assert plan.drawing == 0 and plan.delivery == 4 * shape.parameters // ranks.size
    many.collector.sampler.deliver({}, many.learner.updates + 1)
    ranks.sent.clear()
    ranks.came.clear()
    before = [seat.process.sent for seat in many.collector.sampler.engines.seats]
    many.evaluate()
    assert ranks.sent["weights"] == plan.without_gradient, "the proof's pass, and nothing is gathered to draw"
    assert ranks.came["delivered"] == plan.delivery * (ranks.size - 1)
    whole = 4 * shape.parameters
    for was, seat in zip(before, many.collector.sampler.engines.seats, strict=True):
        assert whole < seat.process.sent - was < whole + 30_000
