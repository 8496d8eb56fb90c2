"""The runs of mujoco_v5.py: what each row is, how it is run or finished, and what it brought."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import fmean
from typing import Any

import mujoco_scores as scoring
from experiment import Run, Work, commit, evaluations, metrics, seconds
from mujoco_scores import ADAPTIVE, CLIP, FIXED, NO_CLIP, SB3_PPO, SB3_TRPO, TRPO, TUNED_TRPO
from mujoco_tuned import ACTIONS, VERSIONS
from mujoco_tuned import TRPO as ZOO_TRPO

from rung.runs.record.machine import machine

WORKER = Path(__file__).parent / "mujoco_sb3.py"
RANDOM_EPISODES = 100
COMMON = ("task.normalize_observations=true", "task.normalize_rewards=true", "evaluation.every=1000000")
PEERS = {SB3_PPO: "PPO", SB3_TRPO: "TRPO"}
STOPPED = ("the weights were left as they are", "are NaN or infinite")
"""What rung says when it stops a run because a number is none."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """How rung is told to learn. `rollout`: environment steps of one step of the run."""

    method: str
    settings: tuple[str, ...] = ()
    rollout: int


ROWS = {
    NO_CLIP: Row(method="ppo", settings=("method.objective=Surrogate",), rollout=2048),
    CLIP: Row(method="ppo", rollout=2048),
    ADAPTIVE: Row(method="ppo_kl", rollout=2048),
    FIXED: Row(method="ppo_kl", settings=("method.objective.target=null",), rollout=2048),
    TRPO: Row(method="trpo", rollout=1024),
    TUNED_TRPO: Row(method="trpo@sb3-contrib", rollout=2048),
}
Key = tuple[str, str, int]
"""Row, task, seed."""


def zoo_settings(task: str) -> tuple[str, ...]:
    """The zoo's settings of TRPO in rung's words; `trpo@sb3-contrib` has what they leave alone.

    sb3-contrib takes the KL's mean over the dimensions of an action, rung their sum: the same step needs bound and
    damping times as large.
    """
    zoo = ZOO_TRPO[task]
    return (
        f"num_environments={zoo['n_envs']}",
        f"method.horizon={zoo['n_steps']}",
        f"method.advantage.discount={zoo['gamma']}",
        f"task.discount={zoo['gamma']}",
        f"method.advantage.lam={zoo['gae_lambda']}",
        f"method.optimizer.iterations={zoo['cg_max_steps']}",
        f"method.optimizer.damping={zoo['cg_damping'] * ACTIONS[task]}",
        f"method.optimizer.fisher_share={zoo['sub_sampling_factor']}",
        f"method.optimizer.critic_learning_rate={zoo['learning_rate']}",
        f"method.optimizer.num_critic_epochs={zoo['n_critic_updates']}",
        f"method.optimizer.num_critic_minibatches={zoo['n_envs'] * zoo['n_steps'] // zoo['batch_size']}",
        f"method.optimizer.max_kl={bound_of(TUNED_TRPO, task)}",
    )


def bound_of(row: str, task: str) -> float:
    """δ of a row of TRPO."""
    return ZOO_TRPO[task].get("target_kl", 0.01) * ACTIONS[task] if row == TUNED_TRPO else 0.01


def name_of(key: Key) -> str:
    row, task, seed = key
    return f"{row}-{task}-{seed}".replace(" ", "_").replace(",", "").replace("'", "")


def run_of(key: Key, steps: int) -> Run:
    """One run of rung, whole rollouts until it has that many environment steps."""
    name, task, seed = key
    row = ROWS[name]
    zoo = zoo_settings(task) if name == TUNED_TRPO else ()
    whole = (f"steps={-(-steps // row.rollout)}", *COMMON, *zoo, *row.settings)
    return Run(row.method, task, seed, whole)


def keep(work: Work, key: Key, steps: int, out: Path, python: str, kept: Path) -> None:
    """Finishes the run and keeps its result in `kept`, with what it is of; a run that is kept is left alone."""
    file = kept / f"{name_of(key)}.json"
    if not file.exists():
        finish(work, key, steps, out, python)
        put(file, {"commit": commit(), "machine": machine(), **of_run(key, out, steps)})


def put(file: Path, data: Any) -> None:
    """The file is there whole or not at all."""
    aside = file.with_suffix(".part")
    aside.write_text(json.dumps(data) + "\n")
    aside.replace(file)


def finish(work: Work, key: Key, steps: int, out: Path, python: str) -> None:
    """Runs it, or what is left of it; what is finished is left alone."""
    if key[0] in PEERS:
        finish_peer(key, steps, out / f"{name_of(key)}.json", python)
        return
    folder = out / name_of(key)
    if (folder / "stopped.json").exists():
        return
    try:
        work.finish(run_of(key, steps), folder)
    except SystemExit as ended:
        if not is_stop(str(ended)):
            raise
        (folder / "stopped.json").write_text(json.dumps({"said": str(ended).splitlines()[-1]}) + "\n")
        print(f"{folder.name}: stopped, {str(ended).splitlines()[-1]}", flush=True)


def is_stop(said: str) -> bool:
    """Whether rung stopped a run because a number is none; any other failure is the experiment's.

    >>> is_stop("exit 1, error: the loss is nan, at update 3: the weights were left as they are"), is_stop("exit 2")
    (True, False)
    """
    return any(words in said for words in STOPPED)


def finish_peer(key: Key, steps: int, file: Path, python: str) -> None:
    """A whole run of the peer in a process of its own; it does not go on where it stopped."""
    if file.exists():
        return
    row, task, seed = key
    whole = [python, str(WORKER), PEERS[row], task, str(seed), str(steps), str(file)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(whole, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(whole[1:])}\nexit {done.returncode}\n{done.stderr[-2000:]}")
    print(f"{name_of(key)}: {json.loads(file.read_text())['seconds']:.0f} s", flush=True)


def require_peers(python: str) -> dict[str, str]:
    """The peers' versions. SystemExit where they are not those that the settings are of, or step other environments."""
    try:
        done = subprocess.run([python, str(WORKER), "versions"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise SystemExit(f"--python: got {python}, expected a Python interpreter ({error.strerror})") from error
    found: dict[str, str] = json.loads(done.stdout) if done.returncode == 0 else {}
    wanted = {**VERSIONS, **{name: _here(name) for name in ("gymnasium", "mujoco")}}
    wrong = [
        f"{name} {found.get(name)}, expected {asked}" for name, asked in wanted.items() if found.get(name) != asked
    ]
    if wrong:
        raise SystemExit(
            f"--python: got an interpreter with {'; '.join(wrong)}. Give one that has them (pip install "
            "stable-baselines3==2.9.2 sb3-contrib==2.9.2 'gymnasium[mujoco]'), or leave these rows out of a trial "
            "with --rows"
        )
    return found


def _here(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError as error:
        raise SystemExit(f"there is no {package} here; pip install -e '.[mujoco]'") from error


def random_mean(task: str, out: Path) -> float:
    """What uniform actions earn, as the mean of 100 episodes; a file keeps it."""
    file = out / f"random-{task}.json"
    if not file.exists():
        import gymnasium

        environment: Any = gymnasium.make(task)
        environment.action_space.seed(0)
        returns: list[float] = []
        for episode in range(RANDOM_EPISODES):
            environment.reset(seed=episode)
            total, over = 0.0, False
            while not over:
                _, reward, ended, cut, _ = environment.step(environment.action_space.sample())
                total, over = total + float(reward), ended or cut
            returns.append(total)
        environment.close()
        put(file, returns)
    return fmean(json.loads(file.read_text()))


def of_run(key: Key, out: Path, steps: int) -> dict[str, Any]:
    """A run's score, its held-out mean return, its curve and what it took."""
    if key[0] in PEERS:
        found = json.loads((out / f"{name_of(key)}.json").read_text())
        episodes = [[at, value, 1] for at, value in found["episodes"]]
        more = {"held_out": fmean(found["held_out"]), "seconds": found["processor_seconds"]}
    else:
        folder = out / name_of(key)
        rows = metrics(folder)
        names = ("environment/steps", "reward/mean", "episodes/generated")
        episodes = [[row[name] for name in names] for row in rows if row.get("reward/mean") is not None]
        stopped = (folder / "stopped.json").exists()
        scored = evaluations(folder)
        held_out = None if stopped or not scored else scored[-1]["held_out/score"]
        kls = [row["trpo/kl"] for row in rows if row.get("trpo/kl") is not None]
        more = {"held_out": held_out, "seconds": seconds(folder), "stopped": stopped}
        more |= {"largest_kl": max(kls) / bound_of(key[0], key[1])} if kls else {}
    return {"score": scoring.last_mean(episodes), **more, "curve": scoring.curve(episodes, steps)}
