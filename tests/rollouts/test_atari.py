"""The papers' Atari protocol on the real emulator."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

pytest.importorskip("ale_py", reason="Atari is not installed: pip install -e '.[atari]'")

from rung.cli import app
from rung.errors import SettingsError
from rung.methods import METHODS
from rung.models.small.q_network import QNetwork
from rung.rollouts.environments.atari import AtariGame, area_weights
from rung.rollouts.environments.rows import EnvironmentRows, open_rows, replay
from rung.settings import Settings
from rung.tasks.environment import environment_task
from rung.trainers.q_learning.environment import q_shape
from rung.trainers.reading import read_run

PONG = "ALE/Pong-v5"


def test_a_game_begins_with_one_frame_and_three_of_nothing() -> None:
    rows = open_rows(environment_task(PONG), 2)
    assert isinstance(rows, EnvironmentRows)
    rows.reset(1, seed=3)
    assert rows.observations_BO.shape == (2, 4, 84, 84) and rows.observations_BO.dtype == np.uint8
    assert not rows.observations_BO[0].any() and not rows.observations_BO[1, :3].any()
    assert rows.observations_BO[1, 3].max() > 100, "the last one shows the game"
    rows.close()


@pytest.mark.parametrize("skip", [4, 3, 1])
def test_frames_are_skipped_once(skip: int) -> None:
    game = AtariGame(environment_task(PONG, frame_skip=skip, most_noops=0))
    game.reset(seed=0)
    before = game._ale.getEpisodeFrameNumber()
    for _ in range(10):
        game.step(2)
    assert game._ale.getEpisodeFrameNumber() - before == 10 * skip
    game.close()


def test_the_stack_moves_by_one_and_shows_the_maximum_of_two_screens() -> None:
    game = AtariGame(environment_task(PONG, most_noops=0))
    first = game.reset(seed=0)[0].copy()
    for _ in range(30):
        before = game._stack.copy()
        stack = game.step(3)[0]
        assert np.array_equal(stack[:3], before[1:])
    last_two = game._screens
    assert (last_two[0] != last_two[1]).any(), "the ball moved between them"
    expected = game._down @ np.maximum(*last_two).astype(np.float32) @ game._across
    assert np.array_equal(stack[3], np.rint(expected).astype(np.uint8))
    assert not np.array_equal(first[3], stack[3])
    game.close()


def test_downscaling_is_the_mean_of_what_is_covered() -> None:
    for before, after in ((210, 84), (160, 84), (84, 84), (5, 2)):
        weights = area_weights(before, after)
        np.testing.assert_allclose(weights.sum(1), 1, rtol=1e-6)
        np.testing.assert_allclose(weights.sum(0), after / before, rtol=1e-5)
    np.testing.assert_allclose(area_weights(5, 2)[0], [0.4, 0.4, 0.2, 0, 0], rtol=1e-6)


def test_no_action_is_sticky_and_the_same_actions_lead_to_the_same_place() -> None:
    task = environment_task(PONG)
    assert task.options["repeat_action_probability"] == 0.0
    actions = np.random.Generator(np.random.PCG64(0)).integers(0, 6, 200)
    one, two = EnvironmentRows(task, 1), EnvironmentRows(task, 2)
    assert replay(one, 0, 11, actions) == replay(two, 1, 11, actions)
    assert np.array_equal(one.observations_BO[0], two.observations_BO[1])
    replay(two, 0, 12, actions)
    assert not np.array_equal(two.observations_BO[0], two.observations_BO[1]), "another seed, another start"
    one.close(), two.close()


def test_a_pong_of_a_random_player_is_lost_by_about_twenty_and_every_point_is_one() -> None:
    rows = EnvironmentRows(environment_task(PONG), 1)
    random = np.random.Generator(np.random.PCG64(1))
    rows.reset(0, seed=5)
    total, seen, over = 0.0, set(), False
    while not over:
        rewards, ended, cut = rows.step(random.integers(0, 6, 1), (0,))
        total, over = total + rewards[0], bool(ended[0] or cut[0])
        seen.add(float(rewards[0]))
        assert not rows.lost_B[0], "Pong has no lives"
    assert -21 <= total <= -17 and seen <= {-1.0, 0.0, 1.0} and -1.0 in seen and not cut[0]
    rows.close()


def test_a_lost_life_is_told_and_does_not_end_the_game() -> None:
    rows = EnvironmentRows(environment_task("ALE/Breakout-v5"), 1)
    rows.reset(0, seed=0)
    lost, ended_N = 0, np.array([False])
    for _ in range(600):
        _, ended_N, _ = rows.step(np.array([1]), (0,))  # fire, and never move: every ball is lost
        lost += int(rows.lost_B[0])
        if ended_N[0]:
            break
    assert lost == 4 and ended_N[0] and not rows.lost_B[0], "five lives: the last one is the end itself"
    rows.close()


def test_a_game_is_cut_after_its_limit() -> None:
    task = environment_task(PONG, max_episode_steps=7)
    assert environment_task(PONG).max_episode_steps == 27_000
    rows = EnvironmentRows(task, 1)
    rows.reset(0, seed=0)
    cuts = [bool(rows.step(np.array([0]), (0,))[2][0]) for _ in range(7)]
    assert cuts == [False] * 6 + [True]
    rows.close()


@pytest.mark.parametrize("option", ["frameskip", "obs_type", "max_num_frames_per_episode"])
def test_what_would_be_applied_twice_is_refused(option: str) -> None:
    with pytest.raises(SettingsError, match="applied twice"):
        environment_task(PONG, **{option: 4})
    with pytest.raises(SettingsError, match="frame_skip: got 0"):
        environment_task(PONG, frame_skip=0)


def test_the_papers_networks() -> None:
    """2013: 16 8x8/4, 32 4x4/2, 256; 2015: 32, 64, 64 3x3/1, 512. Weights counted by hand."""
    task = environment_task(PONG)
    first = QNetwork(q_shape(task, METHODS["dqn"]))
    assert first.values(torch.zeros(2, 4, 84, 84, dtype=torch.uint8)).shape == (2, 6)
    by_hand = (4 * 64 + 1) * 16 + (16 * 16 + 1) * 32 + (32 * 81 + 1) * 256 + 257 * 6
    assert first.shape.numbers() == sum(p.numel() for p in first.trainable().values()) == by_hand
    second = q_shape(task, METHODS["dqn@2015"]).numbers()
    assert second == (4 * 64 + 1) * 32 + (32 * 16 + 1) * 64 + (64 * 9 + 1) * 64 + (64 * 49 + 1) * 512 + 513 * 6


@pytest.fixture(autouse=True)
def few_held_out_states(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rung.trainers.q_learning.environment.HELD_OUT", 20)


def pong(**more: object) -> Settings:
    small = {
        "steps": 3,
        "method.horizon": 40,
        "method.replay.starts": 40,
        "method.replay.batch": 8,
        "method.replay.capacity": 80,
        "task.max_episode_steps": 30,
        "evaluation.num_items": 1,
        "evaluation.every": 0,
        "saving.every": 1,
        "learner.threads": 1,
        "reporting.page": "false",
        **more,
    }
    sets = [f"{name}={value}" for name, value in small.items()]
    return read_run(flags={"method": "dqn", "task": PONG}, sets=sets).required()


@pytest.mark.slow
def test_pong_trains_is_stopped_resumed_and_ends_the_same(tmp_path: Path) -> None:
    from rung.library import resume, train

    whole = train(pong(**{"reporting.page": "true"}), tmp_path / "whole", quiet=True)
    assert whole.finished and whole.after is not None
    train(pong(steps=2), tmp_path / "stopped", quiet=True)
    resume(tmp_path / "stopped", {"steps": 3}, quiet=True)
    rows = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["updates"] == 40 and rows[-1]["replay/steps"] == 80 and rows[-1]["value/held_out_max_q"] is not None
    for name in ("final/q_network.safetensors", "checkpoints/step_000003/collector.safetensors"):
        assert (tmp_path / "stopped" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert (tmp_path / "whole" / "episode.gif").stat().st_size > 1000
    asked = ["eval", str(tmp_path / "whole"), "--items", "1", "--json"]
    assert json.loads(CliRunner().invoke(app, asked).stdout)["score"] == pytest.approx(whole.after.value)


def test_clipped_rewards_are_learnt_from_and_raw_ones_are_the_score(monkeypatch: pytest.MonkeyPatch) -> None:
    """A game that pays 7 a step: the replay holds 1, the return counts 7."""
    from contextlib import nullcontext

    from rung.library import trainer

    play = AtariGame.step

    def pays(self: AtariGame, action: int) -> tuple:
        stack, _, ended, cut, facts = play(self, action)
        return stack, 7.0, ended, cut, facts

    monkeypatch.setattr(AtariGame, "step", pays)
    parts = trainer(pong(**{"method.replay.starts": 79}))
    collected = parts.collector.collect(1, lambda _: nullcontext())
    window = parts.collector.replay.draw(np.array([0.5]), 1)
    assert float(window.rewards_NK) == 1.0 and collected.metrics["reward/mean"] == 7.0 * 30
    parts.collector.close()


def test_other_methods_say_that_they_cannot_see() -> None:
    answer = CliRunner().invoke(app, ["check", "ppo", "--task", PONG])
    assert answer.exit_code == 2 and "choose dqn" in answer.stderr
