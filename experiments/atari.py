"""DQN on two games of Atari from their screens, about an hour of one core each. It goes on where it stopped.

The protocol is the 2013 paper's (Mnih et al., section 5): every fourth frame, the maximum of two, grey, 84x84, four at
once, no sticky actions; the sign of rewards is learnt from, and games are scored raw, with ε = 0.05. Settings are the
recipe's, environment_atari_hour.

Scaled down: 400,000 steps where the paper has 10 million frames of training and its successor 50 million; to learn
anything in that time the recipe adds what came later (a target network, returns of three steps, Adam) and shortens the
exploration to 100,000 steps. One seed a game. Pong's mean of 10 and Breakout's of 31 are left to a machine with a GPU.

Pass lines, fixed before the run:
1. Pong leaves the random level (-20.4, table 1) behind: the whole 95 % interval of its last score lies above.
2. Figure 2 of the paper: the mean of max Q over fixed states rises smoothly. From the first update on, its rank
   correlation (Spearman) with the step is at least 0.8 on Breakout, a game with no negative rewards, as the paper's two
   are. That of the training games' mean return is printed beside it, and is expected to be lower.
Breakout's score, and max Q on Pong, which falls while games are lost, are reported without a line.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from dqn_cartpole import rises, traced
from experiment import Experiment, Result, Run, Work, evaluations, metrics, scores
from pictures import GREY, panels, say
from words import table

GAMES = {"Pong": "ALE/Pong-v5", "Breakout": "ALE/Breakout-v5"}
RANDOM, PUBLISHED, HUMAN = {"Pong": -20.4, "Breakout": 1.2}, {"Pong": 20, "Breakout": 168}, {"Pong": -3, "Breakout": 31}
"""Table 1 of the paper."""
RISES = 0.8
RECIPE = ("--recipe", "environment_atari_hour")


def of_run(folder: Path) -> dict[str, Any]:
    """A game's scores, what its training games brought, and max Q, each with the environment steps until then."""
    rows = [row for row in metrics(folder) if row["step"]]
    learning = [row for row in rows if row["updates"]]
    last = evaluations(folder)[-1]
    return {
        **{name: last[f"held_out/{name}"] for name in ("score", "low", "high")},
        "steps": rows[-1]["environment/steps"],
        "updates": sum(row["updates"] for row in rows),
        "q_rises": rises(learning, "value/held_out_max_q"),
        "return_rises": rises(learning, "reward/mean"),
        "scores": scores(folder),
        "returns": traced([row for row in learning if row["reward/mean"] is not None], "reward/mean"),
        "max_q": traced(learning, "value/held_out_max_q"),
    }


def measure(work: Work, folders: Mapping[Any, Path]) -> dict[str, Any]:
    games = {game: of_run(folder) for game, folder in folders.items()}
    passed = games["Pong"]["low"] > RANDOM["Pong"] and games["Breakout"]["q_rises"] >= RISES
    return {"seed": work.seeds[0], "passed": passed, "games": games}


def title(run: Result) -> str:
    said = (f"{found['score']:.1f} at {game} (random: {RANDOM[game]})" for game, found in run["games"].items())
    return f"After {next(iter(run['games'].values()))['steps']:,.0f} steps DQN scores {' and '.join(said)}"


def picture(run: Result) -> Any:
    """Figure 2 of the paper: the noisy return above, max Q below."""
    figure, axes = panels(2, len(run["games"]), size=(10, 6), sharex=True)
    for (above, below), (game, found) in zip(axes.T, run["games"].items(), strict=True):
        for name, label in (("returns", "games played to learn"), ("scores", "held-out games")):
            points = np.array(found[name], float).reshape(-1, 2)
            above.plot(points[:, 0] / 1000, points[:, 1], label=label, marker="o" if name == "scores" else None)
        above.axhline(RANDOM[game], **GREY, label="random (paper)")
        say(above, title=game)
        points = np.array(found["max_q"], float).reshape(-1, 2)
        below.plot(points[:, 0] / 1000, points[:, 1])
        say(
            below, "environment steps, thousands", title=f"max Q, rank correlation with the step {found['q_rises']:.2f}"
        )
    say(axes[0][0], y="mean return", legend=True)
    say(axes[1][0], y="mean max Q of fixed states")
    return figure


def lines(run: Result) -> Iterator[str]:
    yield from ("The last two columns are rank correlations with the step, from the first update on.", "")
    rows = [
        (
            *(game, f"{found['score']:.1f}", f"{found['low']:.1f} to {found['high']:.1f}"),
            *(RANDOM[game], HUMAN[game], PUBLISHED[game], f"{found['q_rises']:.2f}", f"{found['return_rises']:.2f}"),
        )
        for game, found in run["games"].items()
    ]
    head = "game | last score, 10 games | interval | random | person | paper, 10 million | max Q | training return"
    yield from table(head, rows)
    steps, updates = (run["games"]["Pong"][key] for key in ("steps", "updates"))
    yield from ("", f"{steps:,.0f} steps of the agent and {updates:,.0f} updates a game.")


EXPERIMENT = Experiment.here(
    globals(),
    pass_line=f"Pong's last score above {RANDOM['Pong']} with its whole interval; rank correlation of max Q with the "
    f"step at least {RISES} on Breakout",
    runs=lambda work: {g: Run("dqn", t, work.seeds[0], ("saving.every=5",), RECIPE) for g, t in GAMES.items()},
    shows="Mean return and the mean of max Q against environment steps",
)

if __name__ == "__main__":
    EXPERIMENT.main()
