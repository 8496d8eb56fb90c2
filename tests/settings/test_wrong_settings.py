"""Every way to be wrong, all told at once, each with its place, what was got, what was expected."""

from __future__ import annotations

import pytest

from rung.methods import METHODS
from rung.trainers.reading import read_run

FLAGS = {"model": "gpt2", "method": "grpo", "task": "arithmetic"}

EVERYTHING_WRONG = """\
model: tiny
metod: grpo
steps: ten
seed: true
temperature: .nan
prompts_per_step: 0
evaluation:
  evry: 3
  items: 2.5
  items: 4
method:
  name: grpp
  optimizer: {learning_rat: 1e-5, beta1: 3, warmup_steps: a}
  objective: {part: ClippedSurogate}
rewards:
  - {function: x.py:f, weight: a}
  - {function: x.py:f}
  - {function: z}
lora: 3
learner: {compute: float16, threads: 0}
task:
  levels: [1]
"""

NAMES = ", ".join(METHODS)


def test_all_problems_are_told_at_once_with_file_and_line(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(EVERYTHING_WRONG)
    reading = read_run(config=file, flags={"seed": None}, sets=["every=3", "saving.kep=1"])
    assert reading.settings is None
    found = [problem.removeprefix(str(tmp_path) + "/").replace(f"{tmp_path}/", "") for problem in reading.problems]
    beginnings = [
        "--set every: could be any of evaluation.every, saving.every; write the whole key",
        "run.yaml:10: 'items' is given twice, first at run.yaml:9",
        "run.yaml:5: temperature: got nan, expected a finite number",
        "run.yaml:21: task.name: missing",
        "run.yaml:4: seed: got True, expected a whole number",
        "run.yaml:3: steps: got 'ten', expected a whole number",
        "run.yaml:6: prompts_per_step: got 0, expected 1 or more",
        "run.yaml:16: rewards.0.weight: got 'a', expected a number",
        "run.yaml:19: lora: got 3, expected keys with values: rank, alpha, targets, or null",
        "run.yaml:20: learner.compute: got 'float16', expected 'float32' or 'bfloat16', or null",
        "run.yaml:20: learner.threads: got 0, expected 1 or more, or null",
        "run.yaml:8: evaluation.evry: unknown key; did you mean 'evaluation.every'?; valid here: every, num_items, ",
        "--set saving.kep: unknown key; did you mean 'saving.keep'?; valid here: every, keep",
        "run.yaml:2: metod: unknown key; did you mean 'method'?; valid here: model, method, ",
        "run.yaml:12: method.name: got 'grpp'; did you mean 'grpo'?; valid: boxes, ",
        "run.yaml:13: method.optimizer.beta1: got 3, expected at least 0 and below 1",
        "run.yaml:14: method.objective: got part 'ClippedSurogate'; did you mean 'ClippedSurrogate'?, expected one of ",
        "run.yaml:13: method.optimizer.warmup_steps: got 'a', expected a whole number",
        "run.yaml:13: method.optimizer.learning_rat: unknown key; did you mean 'learning_rate'?; valid: ",
        "run.yaml:15: rewards: got 2 parts called 'f', expected different names; give each its `name`",
        "run.yaml:18: rewards.2.function: got 'z', expected 'task', path/file.py:function or the folder of a reward",
    ]
    for beginning in beginnings:
        assert any(problem.startswith(beginning) for problem in found), (beginning, found)
    assert len(found) == len(beginnings), found
    assert all("\n" not in problem for problem in found)


@pytest.mark.parametrize(
    ("sets", "problems"),
    [
        (["steps"], ["--set: got 'steps', expected KEY=VALUE such as steps=50"]),
        (["=3"], ["--set: got '=3', expected KEY=VALUE such as steps=50"]),
        (["steps="], ["--set steps: got no value after '='; to empty a setting write steps=null"]),
        (["steps=null"], ["--set steps: got None, expected a whole number"]),
        (["steps=[1"], ["--set steps: not YAML: expected ',' or ']', but got '<stream end>'"]),
        (["steps=.inf"], ["--set steps: got inf, expected a finite number"]),
        (["lora=2024-01-02"], ["--set lora: got a date, expected text: write it in quotes"]),
        (
            ["learning_rate=nan"],
            ["--set learning_rate: method.optimizer.learning_rate: got 'nan', expected a finite number"],
        ),
        (
            ["learning_rate=.nan"],
            ["--set learning_rate: method.optimizer.learning_rate: got nan, expected a finite number"],
        ),
        (["learning_rate=0"], ["--set learning_rate: method.optimizer.learning_rate: got 0, expected more than 0"]),
        (
            ["learning_rate=-1e-5"],
            ["--set learning_rate: method.optimizer.learning_rate: got -1e-05, expected more than 0"],
        ),
        (
            ["learning_rate=true"],
            ["--set learning_rate: method.optimizer.learning_rate: got True, expected a finite number"],
        ),
        (["num_epochs=1.5"], ["--set num_epochs: method.num_epochs: got 1.5, expected a whole number"]),
        (
            ["samples_per_prompt=true"],
            ["--set samples_per_prompt: method.samples_per_prompt: got True, expected a whole number"],
        ),
        (["max_grad_norm=0"], ["--set max_grad_norm: method.optimizer.max_grad_norm: got 0, expected more than 0"]),
        (["objective.low=1.5"], ["--set objective.low: method.objective.low: got 1.5, expected between 0 and 1"]),
        (["advantage.ddof=2"], ["--set advantage.ddof: method.advantage.ddof: got 2, expected 0 or 1"]),
        (
            ["reference_kl.coefficient=-1"],
            ["--set reference_kl.coefficient: method.reference_kl.coefficient: got -1, expected at least 0"],
        ),
        (
            ["step=3"],
            ["--set step: method.optimizer: got 3, expected one of AdamW, RMSprop, NaturalGradient, with its settings"],
        ),
        (
            ["advantage.part=[1]"],
            [
                "--set advantage.part: method.advantage: got part [1], expected one of EpisodeReturn, RewardToGo, "
                "RightAnswers, GroupNormalized, GroupCentred, GroupRelative, GroupCentredBatchScaled, "
                "NormalizedByOthers, ProcessNormalized, TeacherLogRatio, EachNormalized, GroupCentredOverMixed, "
                "PassAtK, GAE, LengthAdaptiveGAE, NStep, TurnRewardToGo, TurnNormalized, StateGroups, NoAdvantage"
            ],
        ),
        (["method.paper=x"], ["--set method.paper: says what the method is and cannot be set"]),
        (["method=3"], [f"--set method: got 3, expected one of {NAMES}"]),
        (["task=[1]"], ["--set task: got [1], expected a name, or keys with values: name"]),
        (["task.name=5"], ["--set task.name: got 5, expected text"]),
        (["rewards=3"], ["--set rewards: got 3, expected a list"]),
        (["rewards=[{weight: 1}]"], ["--set rewards: rewards.0.function: missing"]),
        (
            ["rewards=[{function: task, weight: 0}]"],
            ["--set rewards: got weight 0 for every part, expected at least one that counts"],
        ),
    ],
)
def test_one_wrong_set_is_one_problem(sets, problems):
    assert list(read_run(flags=FLAGS, sets=sets).problems) == problems


@pytest.mark.parametrize(
    ("flags", "sets", "problem"),
    [
        (
            {"method": "reinforce"},
            ["advantage=GroupNormalized"],
            "method.samples_per_prompt: got 1, but GroupNormalized compares the samples of one prompt",
        ),
        (
            {"method": "rloo"},
            ["num_epochs=2"],
            "--set num_epochs: method.num_epochs x method.num_minibatches: got 2 x 1 updates a "
            "rollout, but ScoreFunction has",
        ),
        (
            {"method": "trpo"},
            ["prompts_per_step=4", "num_critic_minibatches=16"],
            "--set num_critic_minibatches: method.optimizer.num_critic_minibatches: got 16, but a step has 4 prompts "
            "x 1 samples = 4 episodes; set 4 or fewer",
        ),
        (
            {},
            ["num_minibatches=17", "prompts_per_step=2", "samples_per_prompt=8"],
            "--set num_minibatches: method.num_minibatches: got 17, but a step has 2 prompts x 8 samples = 16 "
            "episodes; set 16 or fewer",
        ),
        (
            {"method": "reinforce_baseline"},
            ["prompts_per_step=1"],
            "--set prompts_per_step: got 1 prompt with 1 sample, but OthersInBatch compares with the step's other",
        ),
        (
            {},
            ["rewards=[{function: a.py:f}, {function: b.py:f}]"],
            "--set rewards: got 2 parts called 'f', expected different names",
        ),
        (
            {},
            ["rewards=[{function: a.py:f}, {function: b.py:g, name: f}]"],
            "--set rewards: got 2 parts called 'f', expected different names",
        ),
        (
            {},
            ["rewards=[{function: a.txt:f}]"],
            "--set rewards: rewards.0.function: got 'a.txt:f', expected 'task', path",
        ),
        (
            {},
            ["rewards=[{function: 'a.py:f()'}]"],
            "--set rewards: rewards.0.function: got 'a.py:f()', expected 'task', path",
        ),
        (
            {},
            ["network.hidden=[32]"],
            "--set network.hidden: got [32], but 'gpt2' has layers of its own",
        ),
        (
            {"method": "dqn", "task": "CartPole-v1", "model": "small"},
            ["network.hidden=[32]"],
            "--set network.hidden: got [32], but 'dqn' says its network itself; set method.network",
        ),
        (
            {"method": "ase_ace", "task": "cartpole-1983", "model": "small"},
            ["network.hidden=[32]"],
            "--set network.hidden: got [32], but 'ase_ace' has no network",
        ),
    ],
)
def test_contradictions_are_problems(flags, sets, problem):
    problems = read_run(flags={**FLAGS, **flags}, sets=sets).problems
    assert len(problems) == 1 and problems[0].startswith(problem), problems


def test_contradictions_are_told_beside_other_problems():
    problems = read_run(
        flags=FLAGS, sets=["steps=x", "num_minibatches=9999", "rewards=[{function: task}, {function: task}]"]
    ).problems
    assert [problem.split(":")[0] for problem in problems] == ["--set steps", "--set rewards", "--set num_minibatches"]


def test_a_contradiction_with_a_wrong_value_is_not_told():
    problems = read_run(flags=FLAGS, sets=["prompts_per_step=0", "num_minibatches=100"]).problems
    assert problems == ("--set prompts_per_step: got 0, expected 1 or more",)


def test_what_is_missing_is_told():
    assert read_run().problems == (
        "model: missing; expected a folder, a hub id, a .gguf file or 'tiny' (--model)",
        "task: missing; expected a task's name or a data file (--task)",
        f"method.name: missing; expected one of {NAMES}",
    )


@pytest.mark.parametrize(
    ("written", "problem"),
    [
        ("[]", "network.hidden: got [], expected 1 or more of them"),
        ("64", "network.hidden: got 64, expected a list"),
        ("[64, 0]", "network.hidden: network.hidden.1: got 0, expected 1 or more"),
    ],
)
def test_wrong_widths_are_told(written, problem):
    flags = {"method": "ppo", "task": "CartPole-v1", "model": "small"}
    assert read_run(flags=flags, sets=[f"network.hidden={written}"]).problems == (f"--set {problem}",)


def test_a_flag_from_python_is_the_value_itself():
    assert read_run(flags={**FLAGS, "seed": 3}).required().seed == 3
    assert read_run(flags={**FLAGS, "seed": 3.5, "task": 7}).problems == (
        "--task: got 7, expected a name, or keys with values: name",
        "--seed: got 3.5, expected a whole number",
    )


def test_wrong_flags_name_the_flag():
    problems = read_run(flags={"model": "", "method": "gripo", "task": "", "seed": "-1"}).problems
    assert problems == (
        "--model: got '', expected text that is not empty",
        "--task: got '', expected text that is not empty",
        "--seed: got -1, expected 0 or more",
        f"METHOD: got 'gripo'; did you mean 'grpo'?; valid: {NAMES}",
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"steps: 1\xff\n", "run.yaml: byte 8 is not UTF-8, expected a text file"),
        (b"just text\n", "run.yaml:1: got 'just text', expected keys with values"),
        (b"- 1\n- 2\n", "run.yaml:1: got [1, 2], expected keys with values"),
    ],
)
def test_a_file_that_holds_no_settings(content, problem, tmp_path):
    file = tmp_path / "run.yaml"
    file.write_bytes(content)
    assert read_run(config=file, flags=FLAGS).problems == (f"{tmp_path}/{problem}",)


def test_a_file_that_is_not_there_or_is_a_folder(tmp_path):
    missing = tmp_path / "no.yaml"
    assert read_run(config=missing, flags=FLAGS).problems == (f"{missing}: cannot be read: No such file or directory",)
    assert read_run(config=tmp_path, flags=FLAGS).problems == (f"{tmp_path}: cannot be read: Is a directory",)


def test_a_long_value_is_shortened():
    (problem,) = read_run(flags=FLAGS, sets=[f"steps={'x' * 10_000}"]).problems
    assert len(problem) < 250 and problem.endswith("expected a whole number")
