"""Golden results: what a tiny run of every kind leaves behind, recorded once, so that a pure move is proved byte-equal.

    python tests/golden.py --record              record every kind anew into tests/golden.json
    python tests/golden.py --record grpo dqn     only these kinds; the others stay (same machine and libraries only)
    python tests/golden.py                       compare with what is recorded and say what differs

Record only when results are meant to change, and say in the commit why. A failing kind is read in words: which step,
which key, what it was, what it is.

Every kind goes through the command line (`rung.cli`) in this process. Compared are the rows of metrics.jsonl number by
number, a hash of the rows of samples.parquet, and a hash of the tensors in final/. Nothing that depends on the clock is
among them.

Other processors and other libraries round differently. So the file holds the machine it was recorded on. On an equal
one (processor, torch's instruction set, the libraries in `machine()`) everything is compared exactly. On another one
only the start and the first step are, each number to `TOLERANCE`; later steps have drawn from a distribution that
differs in the last bits, and hashes and whole results mean nothing there. The last lines of pytest say which of the two
was done.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import importlib.util
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import chdir
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

os.environ["RUNG_COMPUTE"] = "float32"  # also where a command has no setting for it
FILE = Path(__file__).with_name("golden.json")
TOLERANCE = {"rel_tol": 1e-2, "abs_tol": 1e-3}
"""On another machine. A float32 sum differs by 1e-6 there, the model at the start has been trained, and Adam divides a
gradient by its own size: each makes more of it. With torch and MKL held to the oldest instruction sets the largest
difference of a first step was 6e-3. The absolute part is for numbers that are zero but for rounding."""
LIBRARIES = ("torch", "numpy", "transformers", "gymnasium", "ale-py", "peft", "numba", "scipy")
OF_THE_CLOCK = ("seconds", "clock")
Row = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """One kind of run. `commands` are words after `rung`, run in an empty folder; START stands for the text model."""

    name: str
    commands: tuple[str, ...]
    reads: tuple[str, ...] = ("run",)
    """What is read afterwards: run folders, files of rows, JSON files, or `said` for what the last command printed."""
    needs: tuple[str, ...] = ()
    """Modules without which the kind is skipped."""


def sets(*lines: str) -> str:
    """`a=1 b=2` as the words of `--set`."""
    return "".join(f" --set {word}" for line in lines for word in line.split())


ONE_THREAD = "learner.threads=1 learner.compute=float32"
SEED = "--out run --seed 0 --quiet"
RUN = SEED + sets("reporting.page=false saving.every=0 evaluation.every=1", ONE_THREAD)
SUMS = "task.levels=[1] task.size=140 task.held_out=16"
SFT = f"sft --model tiny --task arithmetic {SEED}" + sets(
    SUMS, "steps=70 evaluation_items=16 max_new_tokens=6 learning_rate=2e-3", ONE_THREAD
)
OTHER = SFT.replace("--out run", "--out other").replace("steps=70", "steps=5")
DRAWN = "steps=3 prompts_per_step=4 max_new_tokens=6 evaluation.num_items=8 evaluation.num_samples=1"
STEP = "method.optimizer.warmup_steps=0"
TEXT = f"--model START --recipe tiny --task arithmetic {RUN}" + sets(SUMS, DRAWN)
EIGHT = sets("method.samples_per_prompt=8")
PAIRS = RUN + sets("evaluation.num_items=8 steps=3 method.pairs_per_step=8 method.optimizer.learning_rate=1e-3", STEP)
FROM_FILE = f"--model START --recipe none --task PAIRS {PAIRS} --set task.held_out=0.3"
STAGES = ("sft", "pairs", "reward_model", "policy")
GROUP_METHODS = (
    *(
        "reinforce",
        "reinforce_baseline",
        "grpo",
        "dr_grpo",
        "reinforce++",
        "reinforce++_baseline",
        "gspo",
        "cispo",
        "lite_ppo",
        "maxrl",
    ),
    *("sapo", "dppo", "dppo_kl", "gmpo", "grpo@deepseek-v3.2", "opo", "gpg", "gdpo", "pass_at_k"),
    *("clip_cov", "kl_cov", "online_rft", "rft", "grpo@trl", "grpo@verl", "grpo@nemo-rl", "grpo@prime-rl"),
)
PAIR_METHODS = ("ipo", "cdpo", "rdpo", "ln_dpo", "kto", "simpo", "orpo", "apo_zero", "apo_down", "unlikelihood", "rpo")


WHOLE_TEACHER = {"distillation_whole": "", "gkd": "", "distillation_top_k": "method.objective.top_k=3"}


def text(
    name: str, line: str = "", *, method: str = "", groups: str = EIGHT, step: str = STEP, needs: tuple[str, ...] = ()
) -> Kind:
    """A method on sums."""
    return Kind(f"text-{name}", (f"train {method or name} {TEXT} {groups} {sets(step, line)}",), needs=needs)


def world(name: str, method: str, line: str, *, task: str = "CartPole-v1", needs: tuple[str, ...] = ()) -> Kind:
    """A method in an environment."""
    command = f"train {method} --task {task} {RUN}" + sets("steps=3 evaluation.num_items=2", line)
    return Kind(f"world-{name}", (command,), needs=("gymnasium", *needs))


ONE = sets("method.samples_per_prompt=1 prompts_per_step=16")
TEXT_KINDS = (
    Kind("sft", (SFT,)),
    *(text(method) for method in GROUP_METHODS),
    text("grpo@openrlhf", "method.num_minibatches=2"),
    text("dapo", "prompts_per_step=3"),
    text("adaptive_entropy", "method.entropy_target.target=2.0 method.entropy_target.step=0.05"),
    text("high_entropy", "prompts_per_step=3"),
    text("grpo_iterative", "method.reference_kl.refresh_every=1"),
    text("grpo-kl", "method.reference_kl.coefficient=0.1", method="grpo"),
    text("ppo", "method.num_minibatches=4 method.num_epochs=2", groups=ONE),
    text("ppo_kl", "method.num_minibatches=4 method.num_epochs=2", groups=ONE),
    text("vapo", "method.critic.warmup_steps=2"),
    text("kl-in-reward", "method.num_minibatches=2 method.num_epochs=2", method="ppo@lm-human-preferences", groups=ONE),
    text("ppo@trl-2025", "method.num_minibatches=2 method.num_epochs=2", groups=ONE),
    text("actor_critic", groups=ONE),
    text("trpo", groups=ONE, step=""),
    text("rloo-lora", "learner.micro_batch_tokens=48 lora.rank=4", method="rloo", needs=("peft",)),
    Kind(
        "text-distillation",
        (
            OTHER,
            f"train distillation {TEXT} {EIGHT}" + sets(STEP, "teacher=other/final"),
        ),
    ),
    Kind(
        "text-distillation_whole",
        (
            OTHER,
            *(
                f"train {name} {TEXT} {EIGHT}".replace("--out run", f"--out {name}")
                + sets(STEP, f"teacher=other/final {more}")
                for name, more in WHOLE_TEACHER.items()
            ),
        ),
        reads=tuple(WHOLE_TEACHER),
    ),
    Kind(
        "text-grpo_process",
        (
            f"sft --model tiny --task running-sum {SEED.replace('run', 'first')}"
            + sets("task.held_out=16 steps=40 evaluation_items=4 learning_rate=2e-3", ONE_THREAD),
            f"train grpo_process --model first/final --recipe tiny --task running-sum {RUN} {EIGHT}"
            + sets(DRAWN, STEP, "task.held_out=16 task.steps=true max_new_tokens=12"),
        ),
    ),
    Kind(
        "text-dqn",
        (
            f"train dqn --model START --recipe tiny_values --task arithmetic {RUN}"
            + sets(SUMS, DRAWN, "evaluation.temperature=0 prompts_per_step=8 method.steps_between_updates=6")
            + sets(
                "method.replay.starts=12 method.replay.batch=8 method.replay.capacity=60 method.exploration.over=40"
            ),
        ),
    ),
    Kind(
        "text-dpo-drawn",
        (
            f"train dpo --model START --task arithmetic {PAIRS}"
            + sets(SUMS, "steps=40 evaluation.every=2 prompts_per_step=8 max_new_tokens=6 method.pairs_per_step=4")
            + sets("pairs.source=samples pairs.passes=2 budget.tokens=300"),
        ),
        reads=("run", "run/pairs.jsonl"),
    ),
    *(Kind(f"pairs-{method}", (f"train {method} {FROM_FILE}",)) for method in ("dpo", "reward_model", *PAIR_METHODS)),
    Kind(
        "rlhf",
        (
            f"rlhf --model START --task arithmetic {SEED} --method grpo"
            + "".join(sets(f"{stage}.{word}") for stage in STAGES for word in ONE_THREAD.split())
            + sets("sft.steps=3 sft.examples_per_step=8 sft.evaluation_items=8 sft.max_new_tokens=6 pairs.prompts=60")
            + sets("pairs.max_new_tokens=6 reward_model.steps=3 reward_model.method.pairs_per_step=4 policy.steps=2")
            + sets("policy.method.samples_per_prompt=4 policy.prompts_per_step=4 policy.max_new_tokens=6")
            + sets("policy.evaluation.num_items=8 policy.reporting.page=false reward_model.reporting.page=false"),
        ),
        reads=("run/sft", "run/pairs.jsonl", "run/reward_model", "run/policy"),
    ),
    Kind(
        "pairs-command",
        (
            "pairs --model START --task arithmetic --out pairs.jsonl --k 4 --seed 0 --quiet"
            + sets(SUMS, "prompts=60 pairs_per_prompt=2 max_new_tokens=6", ONE_THREAD),
        ),
        reads=("pairs.jsonl",),
    ),
    Kind(
        "eval-command",
        (
            OTHER,
            "eval START --base other/final --task arithmetic --split train --k 4 --items 16 --max-new-tokens 6 --seed 0"
            " --json --samples samples.jsonl" + sets(SUMS),
        ),
        reads=("said", "samples.jsonl"),
    ),
)

PPO = "method.horizon=64 method.num_minibatches=4 method.num_epochs=2 num_environments=2"
VALUES = "method.horizon=60 method.replay.starts=40 method.replay.batch=16 method.replay.capacity=100"
EPISODES = "prompts_per_step=2 method.samples_per_prompt=3"
SCALED = "task.normalize_observations=true task.normalize_rewards=true"
EVERYTHING = (
    "method.steps_between_updates=5 method.updates=2 num_environments=3 method.target_network.part=Every "
    "method.target_network.updates=7 method.value_target.part=DoubleTarget method.value_target.steps=3 "
    "method.replay.part=Prioritised method.network.duelling=true method.optimizer.part=CentredRMSprop"
)
SCREENS = (
    "steps=2 evaluation.every=0 evaluation.num_items=1 task.max_episode_steps=300 "
    "method.horizon=24 method.replay.starts=16 method.replay.batch=4 method.replay.capacity=200"
)
TRIALS = f"--task cartpole-1983 {RUN}" + sets("steps=12 task.most_steps=700 evaluation.every=0")
LABELS = (
    "preferences.labels=30 preferences.oracle_error=0.1 num_environments=2 method.horizon=130 "
    "method.learned_reward.first_updates=20 method.learned_reward.later_updates=5"
)
WORLD_KINDS = (
    world("ppo", "ppo", PPO),
    world("ppo_kl", "ppo_kl", f"{PPO} {SCALED}"),
    world("ppo-pendulum", "ppo", f"{PPO} {SCALED} network.hidden=[16]", task="Pendulum-v1"),
    *(world(name, name, PPO) for name in ("ppo@baselines", "ppo@sb3", "ppo@cleanrl")),
    world("actor_critic", "actor_critic", "num_environments=4"),
    world("a2c@sb3", "a2c@sb3", "num_environments=4"),
    world("trpo", "trpo", "method.horizon=64 num_environments=2"),
    world("trpo@sb3-contrib", "trpo@sb3-contrib", "method.horizon=128 num_environments=2"),
    world("trpo-pendulum", "trpo", "method.horizon=64 num_environments=2", task="Pendulum-v1"),
    *(world(name, name, EPISODES) for name in ("grpo", "rloo")),
    world("reinforce", "reinforce", "prompts_per_step=4"),
    world("dqn", "dqn", VALUES),
    world("dqn@2013", "dqn@2013", VALUES),
    world("dqn-everything", "dqn", f"{EVERYTHING} {VALUES}"),
    world("dqn-screens", "dqn", SCREENS, task="ALE/Breakout-v5", needs=("ale_py",)),
    world("rlhf@2017", "rlhf@2017", LABELS, task="Pendulum-v1"),
    *(Kind(f"trials-{name}", (f"train {name} {TRIALS}",), needs=("numba",)) for name in ("boxes", "ase", "ase_ace")),
    Kind(
        "eval-world",
        (
            f"train ppo --task CartPole-v1 {RUN}" + sets(PPO, "steps=1 evaluation.num_items=1"),
            "eval run --items 3 --json",
        ),
        reads=("said",),
        needs=("gymnasium",),
    ),
    Kind(
        "compare",
        (
            "compare reinforce ppo --task CartPole-v1 --budget steps=300 --seeds 1 --jobs 2 --out run"
            " --set-for ppo:method.horizon=64 --set-for ppo:method.num_minibatches=4"
            " --set-for reinforce:prompts_per_step=4"
            + sets("num_environments=2 evaluation.num_items=2 evaluation.every=2 reporting.page=false", ONE_THREAD),
        ),
        reads=("run/comparison.json",),
        needs=("gymnasium",),
    ),
)
KINDS = {kind.name: kind for kind in (*TEXT_KINDS, *WORLD_KINDS)}


def record_of(kind: Kind, folder: Path) -> Row:
    """Runs a kind in an empty folder; what it left, as it stands in golden.json."""
    folder.mkdir(parents=True, exist_ok=True)
    said = [rung(command, folder) for command in kind.commands][-1]
    found: Row = {}
    for read in kind.reads:
        found |= left_by(folder / read, said, prefix="" if read == kind.reads[0] else f"{Path(read).name}: ")
    return found


def left_by(path: Path, said: str, prefix: str) -> Row:
    """Rows of numbers and hashes that a command left at a place."""
    if path.name == "said":
        return {f"{prefix}rows": [leaves(json.loads(said))]}
    if path.suffix == ".json":
        return {f"{prefix}rows": [leaves(json.loads(path.read_text(encoding="utf-8")))]}
    if path.suffix == ".jsonl":
        return {f"{prefix}content": hash_of(path.read_text(encoding="utf-8").splitlines())}
    found: Row = {f"{prefix}rows": list(rows_of(path))}
    if (path / "samples.parquet").is_file():
        found[f"{prefix}samples"] = hash_of(samples_of(path / "samples.parquet"))
    if (path / "held_out").is_dir():
        files = sorted((path / "held_out").iterdir())
        found[f"{prefix}held_out"] = hash_of(file.name + file.read_text(encoding="utf-8") for file in files)
    return {**found, f"{prefix}final": hash_of(tensors_of(path / "final"))}


def rows_of(run: Path) -> Iterator[Row]:
    """metrics.jsonl; a fine-tuning leaves its losses instead."""
    if (run / "metrics.jsonl").is_file():
        yield from (json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines())
    else:
        losses = json.loads((run / "losses.json").read_text(encoding="utf-8"))
        yield from ({"step": step, "loss": loss} for step, loss in enumerate(losses))


def samples_of(file: Path) -> Iterator[str]:
    import pyarrow.parquet

    table = pyarrow.parquet.read_table(file)
    yield str(table.schema.remove_metadata())
    yield from (repr(row) for row in table.to_pylist())


def tensors_of(final: Path) -> Iterator[str | bytes]:
    """Name, number format, shape and bytes of every tensor of a model, by name."""
    import torch
    from safetensors.torch import load_file

    files = sorted(final.rglob("*.safetensors"))
    assert files, f"{final} holds no tensors"
    for file in files:
        for name, tensor in sorted(load_file(file).items()):
            yield f"{file.relative_to(final)} {name} {tensor.dtype} {tuple(tensor.shape)}"
            yield tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()


def hash_of(parts: Iterator[str | bytes] | Sequence[str]) -> str:
    found = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        found.update(len(data).to_bytes(8, "big") + data)
    return found.hexdigest()


def leaves(data: Any, key: str = "") -> Row:
    """The numbers of nested JSON as one row: no words, nothing that depends on the clock.

    >>> leaves({"a": [1, {"b": 2.5}], "words": "so", "seconds": 3.1})
    {'a/0': 1, 'a/1/b': 2.5}
    """
    if not isinstance(data, dict | list):
        return {} if isinstance(data, str) else {key: data}
    pairs = data.items() if isinstance(data, Mapping) else enumerate(data)
    found: Row = {}
    for name, value in pairs:
        if name not in OF_THE_CLOCK:
            found |= leaves(value, f"{key}/{name}" if key else str(name))
    return found


def rung(command: str, folder: Path) -> str:
    """What `rung COMMAND` prints; the words START and PAIRS are the text model and a file of pairs."""
    import torch
    from typer.testing import CliRunner

    from rung.cli import app

    torch.set_num_threads(1)
    words = [word.replace("START", start()) if "START" in word else word for word in command.split()]
    if "PAIRS" in words:
        written = pairs_file(folder / "sums.jsonl")
        words = [written.name if word == "PAIRS" else word for word in words]
    own = {"PYTHONPATH": str(Path(sys.modules["rung"].__file__ or "").parents[1]), "OMP_NUM_THREADS": "1"}
    with chdir(folder), patch.dict(os.environ, own):  # `rung compare` starts processes, which are to find the same rung
        answer = CliRunner().invoke(app, words)
    if answer.exit_code != 0:
        raise AssertionError(f"rung {' '.join(words)}: exit {answer.exit_code}\n{answer.output}") from answer.exception
    return answer.stdout


@cache
def start() -> str:
    """The model that every run on text starts from: what the kind `sft` leaves. Made once a process."""
    folder = tempfile.TemporaryDirectory(prefix="rung-golden-")
    _KEPT.append(folder)
    rung(SFT, Path(folder.name))
    return str(Path(folder.name) / "run" / "final")


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def pairs_file(path: Path) -> Path:
    """Sums: the right answer is chosen, a wrong one rejected."""
    rows = [
        {"id": f"s{n}", "prompt": f"{n}+{n + 1}=", "chosen": f"{2 * n + 1}\n", "rejected": f"{n}\n"} for n in range(24)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@cache
def machine() -> dict[str, str]:
    """What decides how numbers are rounded: processor, instruction set, libraries."""
    import torch

    found = {"processor": _processor(), "instructions": torch.backends.cpu.get_cpu_capability(), "threads": "1"}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "none"
    return found


def _processor() -> str:
    """Name, family, model and stepping: cloud machines call many different processors by one name."""
    file = Path("/proc/cpuinfo")
    if not file.is_file():
        import platform

        return platform.processor() or platform.machine()
    lines = [line.partition(":") for line in file.read_text(encoding="utf-8").split("\n\n")[0].splitlines()]
    fields = {key.strip(): value.strip() for key, _, value in lines}
    wanted = ("model name", "cpu family", "model", "stepping")
    return ", ".join(f"{key} {fields[key]}" for key in wanted if key in fields)


def other_machine(was: Mapping[str, str]) -> list[str]:
    """In words, what differs from the machine that was recorded on; empty: nothing."""
    now = machine()
    return [f"{key} was {was.get(key)}, is {now.get(key)}" for key in {**was, **now} if was.get(key) != now.get(key)]


def differences(was: Row, now: Row, *, exactly: bool) -> list[str]:
    """In words, what is not as recorded; empty: nothing."""
    found: list[str] = []
    for part in sorted({*was, *now}):
        if part not in was or part not in now:
            found.append(f"{part}: {'new' if part in now else 'gone'}")
        elif part.endswith("rows"):
            found += _rows(part, was[part], now[part], exactly=exactly)
        elif exactly and was[part] != now[part]:
            found.append(f"{part}: not the same bytes as recorded")
    return found


def _rows(part: str, was: list[Row], now: list[Row], *, exactly: bool) -> Iterator[str]:
    if exactly and len(was) != len(now):
        yield f"{part}: were {len(was)}, are {len(now)}"
    equal: Callable[[Any, Any], bool] = _exactly if exactly else _nearly
    for before, after in zip(was, now, strict=False):
        if not exactly and before.get("step", 2) > 1:  # a row without a step tells of the end
            continue
        for key in sorted({*before, *after}):
            one, other = before.get(key, "absent"), after.get(key, "absent")
            if not equal(one, other):
                yield f"{part}: step {before.get('step', '-')}, {key}: was {one!r}, is {other!r}"


def _exactly(one: Any, other: Any) -> bool:
    return repr(one) == repr(other)


def _nearly(one: Any, other: Any) -> bool:
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (one, other))
    return math.isclose(one, other, **TOLERANCE) if numbers else one == other


def check(name: str, folder: Path, record_property: Callable[[str, object], None]) -> None:
    """The test of one kind."""
    import pytest

    kind, kept = KINDS[name], recorded()
    for module in missing(kind):
        pytest.skip(f"needs {module}")
    other = other_machine(kept["machine"])
    how = f"on the first step only, to {TOLERANCE}, for this is another machine: {'; '.join(other)}"
    record_property("golden", how if other else "exactly, on the machine they were recorded on")
    found = differences(kept["kinds"][name], record_of(kind, folder), exactly=not other)
    assert not found, "\n".join([f"{name}: {len(found)} differences from tests/golden.json", *found[:20]])


def missing(kind: Kind) -> list[str]:
    return [name for name in kind.needs if importlib.util.find_spec(name) is None]


def recorded() -> Row:
    return json.loads(FILE.read_text(encoding="utf-8"))


def write(data: Row) -> None:
    """One line a row, so that a new recording is read in a diff."""
    kinds = []
    for name in KINDS:
        if name in data["kinds"]:
            parts = []
            for part, value in data["kinds"][name].items():
                rows = ",\n".join(f"    {json.dumps(row, sort_keys=True)}" for row in value) if "rows" in part else ""
                parts.append(f"   {json.dumps(part)}: " + (f"[\n{rows}\n   ]" if rows else json.dumps(value)))
            kinds.append(f"  {json.dumps(name)}: {{\n" + ",\n".join(parts) + "\n  }")
    text_of_kinds = ",\n".join(kinds)
    FILE.write_text(
        f'{{\n "machine": {json.dumps(data["machine"])},\n "kinds": {{\n{text_of_kinds}\n }}\n}}\n', encoding="utf-8"
    )


def main() -> int:
    asked = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    asked.add_argument("kinds", nargs="*", help="kinds to take; all of them")
    asked.add_argument("--record", action="store_true", help="write tests/golden.json instead of comparing")
    arguments = asked.parse_args()
    unknown = set(arguments.kinds) - set(KINDS)
    if unknown:
        asked.error(f"no such kind: {', '.join(sorted(unknown))}; there are {', '.join(KINDS)}")
    kept = recorded() if FILE.is_file() else {"machine": machine(), "kinds": {}}
    exactly = not other_machine(kept["machine"])
    if arguments.record and arguments.kinds and not exactly:
        asked.error("the file was recorded on another machine or with other libraries: record every kind")
    new: Row = {"machine": machine(), "kinds": dict(kept["kinds"]) if arguments.kinds else {}}
    failed = False
    for name in arguments.kinds or KINDS:
        if missing(KINDS[name]):
            print(f"{name}: skipped, needs {', '.join(missing(KINDS[name]))}")
            failed |= arguments.record
            continue
        began = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            new["kinds"][name] = record_of(KINDS[name], Path(folder))
        found = [] if arguments.record else differences(kept["kinds"][name], new["kinds"][name], exactly=exactly)
        failed |= bool(found)
        print(f"{name}: {time.monotonic() - began:.1f} s", *found[:20], sep="\n  ", flush=True)
    if arguments.record:
        write(new)
    else:
        print("compared exactly" if exactly else f"another machine: compared to {TOLERANCE}, the first step only")
    return int(failed)


if __name__ == "__main__":
    os.environ["HF_HUB_OFFLINE"] = "1"
    sys.path.insert(0, str(FILE.parents[1] / "src"))  # this checkout's rung, whichever one is installed
    sys.exit(main())
