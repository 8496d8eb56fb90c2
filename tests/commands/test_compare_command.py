"""`rung compare` with wrong arguments, and what a comparison's settings become. Nothing here is run."""

from __future__ import annotations

from pathlib import Path

import pytest

from rung.commands.compare import plan_lines
from rung.errors import RungError, SettingsError
from rung.lab.compare.plan import LADDER, claim, comparison_of, jobs_for, read_plan
from rung.lab.compare.results import common_items


def problems(**asked) -> list[str]:
    with pytest.raises(RungError) as error:
        comparison_of(**asked)
    return error.value.problems


def test_without_arguments_the_ladder_on_the_tiny_model():
    found = comparison_of()
    assert tuple(found.settings) == LADDER and found.seeds == (0, 1, 2) and found.axis == "tokens"
    for settings in found.settings.values():
        assert (settings.model, settings.task.name) == ("tiny", "arithmetic")
        assert settings.budget.limits() == {"tokens": found.limit}
        assert settings.learner.threads == 1 and not settings.reporting.page
        assert settings.evaluation.num_items == 200


def test_the_budget_ends_a_run_and_steps_only_bounds_it():
    found = comparison_of(methods=["grpo"], budget="tokens=2M")
    assert found.limit == 2_000_000 and found.settings["grpo"].steps == 100_000
    assert comparison_of(methods=["grpo"], sets=["steps=7"]).settings["grpo"].steps == 7


@pytest.mark.parametrize(
    ("written", "axis", "limit"),
    [("seconds=90", "seconds", 90.0), ("flops=2T", "flops", 2e12), ("trained=5k", "trained", 5000)],
)
def test_axes(written, axis, limit):
    found = comparison_of(methods=["grpo"], budget=written)
    assert (found.axis, found.limit) == (axis, limit)


def test_environments_take_their_recipes_and_count_their_steps():
    found = comparison_of(methods=["reinforce", "ppo", "grpo"], task="CartPole-v1", budget="steps=100K")
    assert {settings.model for settings in found.settings.values()} == {"small"}
    assert found.settings["ppo"].num_environments == 1 and found.settings["grpo"].num_environments == 16
    assert all(settings.saving.every == 20 for settings in found.settings.values()), "a kill must not lose a whole run"


def test_seeds_begin_with_the_seed():
    assert comparison_of(methods=["grpo"], seeds=2, sets=["seed=7"]).seeds == (7, 8)


def test_settings_for_one_method_alone():
    found = comparison_of(
        methods=["grpo", "reinforce"],
        sets=["learning_rate=1e-3"],
        sets_for=["grpo:method.optimizer.learning_rate=5e-4"],
    )
    rates = {name: settings.resolved_method().optimizer.learning_rate for name, settings in found.settings.items()}
    assert rates == {"grpo": 5e-4, "reinforce": 1e-3}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"methods": ["grpp"]}, "METHOD: got 'grpp'; did you mean 'grpo'?"),
        ({"methods": ["grpo", "grpo"]}, "METHOD: 'grpo' is named 2 times, expected once"),
        ({"methods": ["grpo", "grpo@paper"]}, "METHOD: 'grpo' is named 2 times, expected once"),
        ({"budget": "tokens=0"}, "--budget tokens: got '0', expected 1 or more"),
        ({"budget": "tokens=-5"}, "--budget tokens: got '-5', expected 1 or more"),
        ({"budget": "seconds=0"}, "--budget seconds: got '0', expected more than 0"),
        ({"budget": "tokens=lots"}, "--budget tokens: got 'lots', expected a whole number such as 200000, 200K or 2M"),
        ({"budget": "tokens="}, "--budget tokens: got ''"),
        ({"budget": "2M"}, "--budget: got '2M', expected AXIS=N such as tokens=2M"),
        ({"budget": "token=2M"}, "--budget: got 'token'; did you mean 'tokens'?"),
        ({"budget": "steps=100K"}, "--budget steps: got 100000, but 'arithmetic' has no environment steps"),
        ({"sets_for": ["grpp:steps=3"]}, "--set-for: got 'grpp'; did you mean 'grpo'?; compared: grpo, reinforce"),
        ({"sets_for": ["learning_rate=3"]}, "--set-for: got 'learning_rate=3', expected METHOD:KEY=VALUE"),
        ({"sets_for": ["grpo:max_new_tokens=5"]}, "max_new_tokens: must be the same for all methods, got 5 for grpo"),
        ({"sets": ["budget.tokens=5"]}, "budget: a comparison's is given by --budget"),
        ({"sets": ["method.objective.high=0.3"]}, "reinforce: --set method.objective.high"),
        ({"task": "no-such-task"}, "no-such-task"),
    ],
)
def test_wrong_arguments_are_named(asked, words):
    found = problems(**{"methods": ["grpo", "reinforce"], **asked})
    assert any(words in problem for problem in found), found


@pytest.mark.parametrize(
    ("methods", "more", "words"),
    [
        (["grpo", "reward_model"], {}, "METHOD: 'reward_model' trains a model of the reward, which answers no prompts"),
        (["ppo", "dpo"], {"task": "CartPole-v1", "budget": "steps=1K"}, "'dpo' prefers one text to another, and 'Cart"),
        (["ase", "dpo"], {"task": "cartpole-1983", "budget": "steps=1K"}, "'dpo' prefers one text to another"),
        (["ppo", "dqn"], {"task": "Pendulum-v1", "budget": "steps=1K"}, "the max over a continuous action has no"),
        (["grpo", "rlhf@2017"], {}, "rlhf@2017: method.learned_reward: got model 'tiny', but rewards are learnt from"),
        (["ppo", "ase"], {"task": "CartPole-v1", "budget": "steps=1K"}, "'ase' learns in the boxes of cartpole-1983"),
        (["grpo", "dpo"], {"sets": ["pairs.k=8"]}, "'grpo' draws samples at every step and takes no pairs"),
        (["grpo", "dpo"], {"sets_for": ["dpo:pairs.k=1"]}, "pairs.k: got 1, expected 2 or more"),
        (["dpo"], {"sets": ["pairs.source=file"], "task": "rows.jsonl"}, "pairs.source: in a comparison pairs are"),
        (["dpo"], {"sets_for": ["dpo:pairs.passses=2"]}, "unknown key; did you mean 'pairs.passes'?"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_starts(in_folder, methods, more, words):
    rows = [f'{{"prompt": "{n}+1=", "chosen": "{n + 1}", "rejected": "{n}"}}\n' for n in range(9)]
    (in_folder / "rows.jsonl").write_text("".join(rows))
    found = problems(methods=methods, **more)
    assert any(words in problem for problem in found), found
    assert all("reward_model" in problem for problem in found) or len(found) == 1, found


@pytest.mark.parametrize(
    ("methods", "task"), [(["ppo", "dqn", "rlhf@2017"], "CartPole-v1"), (["boxes", "ase_ace"], "cartpole-1983")]
)
def test_what_makes_sense_in_an_environment_is_taken(methods, task):
    found = comparison_of(methods=methods, task=task, budget="steps=1K", seeds=2)
    assert list(found.settings) == methods and not common_items(found)


def test_a_problem_of_all_methods_is_told_once():
    found = problems(methods=["grpo", "reinforce"], sets=["stepz=3"])
    assert len(found) == 1 and not found[0].startswith("grpo")


def test_a_model_of_one_s_own_needs_a_budget(tmp_path):
    found = problems(methods=["grpo"], model=str(tmp_path), task="arithmetic")
    assert any(problem.startswith("--budget: missing; give AXIS=N such as tokens=2M") for problem in found)


def test_several_problems_at_once():
    found = problems(methods=["grpp"], budget="token=1")
    assert len(found) == 2


def test_methods_that_learn_from_pairs_draw_them_and_are_measured_as_the_others():
    found = comparison_of(methods=["grpo", "dpo", "kto"], budget="tokens=6K", sets_for=["kto:pairs.passes=2"])
    sources = {name: settings.pairs.source for name, settings in found.settings.items()}
    assert sources == {"grpo": "file", "dpo": "samples", "kto": "samples"}
    assert found.settings["kto"].pairs.passes == 2 and found.settings["dpo"].pairs.passes == 3
    evaluations = [settings.evaluation for settings in found.settings.values()]
    assert evaluations[0] == evaluations[1] == evaluations[2]
    (line,) = [line for line in plan_lines(found, Path("x"), 1) if "pairs" in line]
    assert line == "  pairs     dpo, kto: from the model's own samples, as the settings of each say"
    (line,) = [line for line in plan_lines(comparison_of(methods=["dpo"]), Path("x"), 1) if "pairs" in line]
    assert line.endswith("4 answers a prompt; all of the budget buys pairs, then 3 passes over them")
    assert not any("pairs" in line for line in plan_lines(comparison_of(methods=["grpo"]), Path("x"), 1))


def test_a_plan_comes_back_and_claims_its_folder_alone(tmp_path):
    comparison = comparison_of(methods=["reinforce", "ppo"], task="CartPole-v1", budget="steps=1K", seeds=2)
    folder = tmp_path / "a"
    assert claim(comparison, folder) is False
    assert read_plan(folder) == comparison
    assert claim(comparison, folder) is True
    other = comparison_of(methods=["reinforce", "ppo"], task="CartPole-v1", budget="steps=2K", seeds=2)
    with pytest.raises(SettingsError, match=r"budget.steps is 1000, now 2000"):
        claim(other, folder)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "notes.txt").write_text("mine")
    with pytest.raises(SettingsError, match="is not empty and holds no comparison"):
        claim(comparison, tmp_path / "b")


def test_how_many_at_a_time():
    small = comparison_of(methods=["reinforce"], seeds=1)
    assert jobs_for(small, None) == 1, "there is only one run"
    assert jobs_for(small, 4) == 4
    own_threads = comparison_of(methods=["reinforce"], sets=["learner.threads=2"])
    assert jobs_for(own_threads, None) == 1


ROW = '{{"prompt": "{n}+1=", "answer": "{m}", "completion": "{m}"}}\n'


def test_paths_are_kept_whole(in_folder):
    """Else a run's settings.yaml, which has them whole, would not be the comparison's, and it could not go on."""
    (in_folder / "rows.jsonl").write_text("".join(ROW.format(n=n, m=n + 1) for n in range(40)))
    found = comparison_of(methods=["grpo"], task="rows.jsonl", model="tiny", budget="tokens=1K", seeds=2)
    assert found.settings["grpo"].task.name == str(in_folder / "rows.jsonl")
    assert common_items(found), "a file's held-out rows are the same for every seed"
    made_from_the_seed = comparison_of(methods=["grpo"], seeds=2)
    assert not common_items(made_from_the_seed)


def test_resume_takes_no_other_argument(rung, tmp_path):
    answer = rung("compare", "grpo", "--resume", tmp_path)
    assert answer.code == 2 and answer.errors == ["METHOD: --resume takes everything from the folder; leave it out"]
    answer = rung("compare", "--resume", tmp_path)
    assert answer.code == 2 and "holds no comparison" in answer.errors[0]


def test_help_says_what_it_does(rung):
    answer = rung("compare", "--help")
    assert answer.code == 0 and "same budget" in answer.out and "--set-for" in answer.out


def test_zero_seeds_are_refused(rung):
    assert rung("compare", "grpo", "--seeds", "0").code == 2


def test_what_is_probably_not_meant_is_said_with_its_methods() -> None:
    sets_for = ["dapo:learning_rate=0.1"]
    found = comparison_of(methods=["grpo", "dapo"], sets=["evaluation.temperature=0"], sets_for=sets_for)
    warnings = [line for line in plan_lines(found, Path("x"), 1) if "warning" in line]
    begins = (
        "evaluation.num_samples: the 4",
        "dapo: method.optimizer.learning_rate",
    )
    assert len(warnings) == len(begins)
    assert all(any(line.startswith(f"  warning   {begin}") for line in warnings) for begin in begins), warnings
    assert not any("warning" in line for line in plan_lines(comparison_of(methods=["grpo"]), Path("x"), 1))
