"""DQN on two games of Atari from their screens, about an hour of one core each. It goes on where it stopped.

    python experiments/atari.py                runs both at once, then writes the results
    python docs/generate.py                    prints them into docs/experiments.md

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

from pathlib import Path
from typing import Any

import numpy as np
from dqn_cartpole import spearman
from running import (
    PICTURES,
    ROOT,
    Run,
    evaluations,
    metrics,
    plots,
    provenance,
    record,
    recorded,
    run_all,
    save_picture,
)

RUNS = ROOT / "runs" / "atari"
GAMES = {"Pong": "ALE/Pong-v5", "Breakout": "ALE/Breakout-v5"}
RANDOM, PUBLISHED, HUMAN = {"Pong": -20.4, "Breakout": 1.2}, {"Pong": 20, "Breakout": 168}, {"Pong": -3, "Breakout": 31}
"""Table 1 of the paper."""
RISES, SEED = 0.8, 0


def of_run(folder: Path) -> dict[str, Any]:
    """A game's scores, what its training games brought, and max Q, each with the environment steps until then."""
    rows = [row for row in metrics(folder) if row["step"]]
    learning = [row for row in rows if row["updates"]]
    played = [row for row in learning if row["reward/mean"] is not None]
    scored = evaluations(folder)
    last = scored[-1]
    return {
        "score": last["held_out/score"],
        "low": last["held_out/low"],
        "high": last["held_out/high"],
        "steps": rows[-1]["environment/steps"],
        "updates": sum(row["updates"] for row in rows),
        "q_rises": spearman([row["step"] for row in learning], [row["value/held_out_max_q"] for row in learning]),
        "return_rises": spearman([row["step"] for row in played], [row["reward/mean"] for row in played]),
        "scores": [[row.get("environment/steps") or 0.0, row["held_out/score"]] for row in scored],
        "returns": [[row["environment/steps"], row["reward/mean"]] for row in played],
        "max_q": [[row["environment/steps"], row["value/held_out_max_q"]] for row in learning],
    }


def picture(games: dict[str, Any], path: Path) -> None:
    """Figure 2 of the paper: the noisy return above, max Q below."""
    figure, axes = plots().subplots(2, len(games), figsize=(10, 6), sharex=True)
    for column, (game, found) in enumerate(games.items()):
        above, below = axes[0][column], axes[1][column]
        for name, label in (("returns", "games played to learn"), ("scores", "held-out games")):
            steps, values = zip(*found[name], strict=True)
            above.plot(np.array(steps) / 1000, values, label=label, marker="o" if name == "scores" else None)
        above.axhline(RANDOM[game], color="grey", linestyle="--", linewidth=0.8, label="random (paper)")
        above.set_title(game, fontsize=10)
        steps, values = zip(*found["max_q"], strict=True)
        below.plot(np.array(steps) / 1000, values)
        below.set_title(f"rank correlation with the step {found['q_rises']:.2f}", fontsize=10)
        below.set_xlabel("environment steps, thousands")
    axes[0][0].set_ylabel("mean return")
    axes[0][0].legend(fontsize=8)
    axes[1][0].set_ylabel("mean max Q of fixed states")
    save_picture(figure, path)


def words() -> str:
    """The recorded result for the docs."""
    run = recorded("atari")
    if run is None:
        return "Not recorded yet."
    lines = [
        "![Mean return and the mean of max Q against environment steps](pictures/atari.png)",
        "",
        provenance(run),
        "The last two columns are rank correlations with the step, from the first update on.",
        "",
        "| game | last score, 10 games | interval | random | person | paper, 10 million | max Q | training return |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for game, found in run["games"].items():
        interval = f"{found['low']:.1f} to {found['high']:.1f}"
        table = f"{RANDOM[game]} | {HUMAN[game]} | {PUBLISHED[game]}"
        rises = f"{found['q_rises']:.2f} | {found['return_rises']:.2f}"
        lines.append(f"| {game} | {found['score']:.1f} | {interval} | {table} | {rises} |")
    steps, updates = (run["games"]["Pong"][key] for key in ("steps", "updates"))
    lines += ["", f"{steps:,.0f} steps of the agent and {updates:,.0f} updates a game."]
    return "\n".join(lines)


def main() -> None:
    settings = ("saving.every=5",)
    command = f"--recipe environment_atari_hour --seed {SEED}".split()
    runs = [Run(game, "train", "dqn", "--task", task, *command, settings=settings) for game, task in GAMES.items()]
    folders = run_all(runs, RUNS)
    games = {game: of_run(folder) for game, folder in zip(GAMES, folders, strict=True)}
    result = {
        "seed": SEED,
        "pass_line": f"Pong's last score above {RANDOM['Pong']} with its whole interval; rank correlation of max Q "
        f"with the step at least {RISES} on Breakout",
        "passed": games["Pong"]["low"] > RANDOM["Pong"] and games["Breakout"]["q_rises"] >= RISES,
        "games": games,
    }
    record("atari", result, runs_in=folders)
    picture(games, PICTURES / "atari.png")


if __name__ == "__main__":
    main()
