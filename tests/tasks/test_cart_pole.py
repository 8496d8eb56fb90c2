"""The cart-pole of 1983: its physics against Newton's distributions, its boxes against a table written by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from rung.errors import SettingsError
from rung.tasks.cart_pole import BOX_COUNT, FAILED, SECONDS, CartPole1983, box_of, moved
from rung.tasks.load import load_task
from rung.trainers.boxes_1983.picture import PicturedCartPole


def accelerations(state: np.ndarray, force: float, track: float, pivot: float) -> tuple[float, float]:
    """Cart and pole from Newton's and Euler's equations, solved as a linear system of both accelerations.

    Horizontally  (M + m) x'' + m l cos θ θ'' = F + m l θ'² sin θ − μc sgn x'
    About the pivot, a uniform pole (inertia 4/3 m l²):  m l cos θ x'' + 4/3 m l² θ'' = m g l sin θ − μp θ'
    """
    _, speed, angle, spin = state
    cart, pole, half, gravity = 1.0, 0.1, 0.5, 9.8
    left = np.array(
        [
            [cart + pole, pole * half * math.cos(angle)],
            [pole * half * math.cos(angle), 4 / 3 * pole * half**2],
        ]
    )
    right = np.array(
        [
            force + pole * half * spin**2 * math.sin(angle) - track * np.sign(speed),
            pole * gravity * half * math.sin(angle) - pivot * spin,
        ]
    )
    found = np.linalg.solve(left, right)
    return float(found[0]), float(found[1])


@pytest.mark.parametrize(("track", "pivot"), [(0.0, 0.0), (5e-4, 2e-6), (0.3, 0.01)])
def test_a_step_is_newtons_laws_by_eulers_method(track: float, pivot: float) -> None:
    draw = np.random.Generator(np.random.PCG64(0))
    for _ in range(200):
        state = draw.uniform([-2.4, -3, -0.2, -3], [2.4, 3, 0.2, 3])
        force = float(draw.choice([-10.0, 10.0]))
        cart, pole = accelerations(state, force, track, pivot)
        rates = np.array([state[1], cart, state[3], pole])
        assert np.allclose(moved(*state, force, track, pivot), state + 0.02 * rates, rtol=1e-12, atol=1e-13)
    assert SECONDS == 0.02


def test_friction_at_rest_is_none() -> None:
    assert moved(0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.5) == (0.0, 0.0, 0.0, 0.0)


def test_euler_takes_the_rates_of_the_beginning() -> None:
    """Not the semi-implicit form: the position moves by the old speed."""
    assert moved(1.0, 0.0, 0.0, 0.0, 10.0, 0.0, 0.0)[0] == 1.0


DEGREE = math.pi / 180
SIDES = {
    "position": (0, [(-2.4, 0), (-0.8, 1), (0.8, 2)], 2.4, 1),
    "speed": (1, [(-math.inf, 0), (-0.5, 1), (0.5, 2)], math.inf, 3),
    "angle": (
        2,
        [(-12 * DEGREE, 0), (-6 * DEGREE, 1), (-DEGREE, 2), (0.0, 3), (DEGREE, 4), (6 * DEGREE, 5)],
        12 * DEGREE,
        9,
    ),
    "spin": (3, [(-math.inf, 0), (-50 * DEGREE, 1), (50 * DEGREE, 2)], math.inf, 54),
}
"""For each quantity: its place, where each of its regions begins, where the last one ends, and its stride."""


def expected(state: list[float]) -> int:
    """Brute force over the table."""
    box = 0
    for place, regions, end, stride in SIDES.values():
        value = state[place]
        begins = [begin for begin, _ in regions]
        if value < begins[0] or value > end:
            return FAILED
        box += stride * max(index for begin, index in regions if value >= begin)
    return box


def around(edge: float) -> list[float]:
    return [] if math.isinf(edge) else [math.nextafter(edge, -math.inf), edge, math.nextafter(edge, math.inf)]


def test_boxes_at_every_edge_from_both_sides() -> None:
    """The 1/93 class of bug: every combination of edges, a hair below, on, and a hair above."""
    tried = [
        [0.0, *(near for begin, _ in regions for near in around(begin)), *around(end)]
        for _, regions, end, _ in SIDES.values()
    ]
    seen = set()
    for state in itertools.product(*tried):
        assert box_of(*state) == expected(list(state)), state
        seen.add(box_of(*state))
    assert seen == {FAILED, *range(BOX_COUNT)}, "every box, and no number beside"


def test_a_mapping_with_one_edge_wrong_is_seen() -> None:
    """Negative control: ≥ against > on one edge, and the failure's edge as part of a box."""
    assert box_of(0.0, 0.5, 0.0, 0.0) == expected([0.0, 0.5, 0.0, 0.0]) != box_of(0.0, 0.4999, 0.0, 0.0)
    assert box_of(2.4, 0.0, 0.0, 0.0) != FAILED
    assert box_of(math.nextafter(2.4, 3), 0.0, 0.0, 0.0) == FAILED


def test_it_is_not_gymnasiums() -> None:
    """Another start, another reward, no time limit."""
    picture = PicturedCartPole(CartPole1983())
    assert picture.reset(seed=3)[0] == (0.0, 0.0, 0.0, 0.0)
    rewards, failed = [], False
    while not failed:
        _, reward, failed, cut, _ = picture.step(1)
        rewards.append(reward)
        assert not cut
    assert rewards == [0.0] * (len(rewards) - 1) + [-1.0]


def test_a_picture_shows_where_the_cart_is() -> None:
    picture = PicturedCartPole(CartPole1983())
    picture.reset()
    before = picture.render()
    picture.state = (1.0, 0.0, 0.1, 0.0)
    assert before.shape == picture.render().shape == (150, 400, 3)
    assert (before != picture.render()).any()


def test_options_are_checked() -> None:
    task = load_task("cartpole-1983", track_friction=5e-4, pivot_friction=2e-6, most_steps=10)
    assert isinstance(task, CartPole1983) and task.friction == (5e-4, 2e-6) and task.most_steps == 10
    with pytest.raises(SettingsError, match="track_friction"):
        load_task("cartpole-1983", track_friction=-1.0)
    with pytest.raises(SettingsError, match="no option 'friction'"):
        load_task("cartpole-1983", friction=1.0)
    with pytest.raises(SettingsError, match="did you mean 'cartpole-1983'"):
        load_task("cartpole-1984")
