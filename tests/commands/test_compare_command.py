"""`rung compare` with wrong arguments, and what a comparison's settings become. Nothing here is run."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from rung.commands.comparing import LADDER, Asked, comparison_of, jobs_for
from rung.comparison.pairs import learns_from_pairs, refusal
from rung.comparison.plan import claim, read_plan
from rung.comparison.results import common_items
from rung.errors import RungError, SettingsError
from rung.methods import METHODS


def problems(**asked) -> list[str]:
    with pytest.raises(RungError) as error:
        comparison_of(Asked(**asked))
    return error.value.problems


def test_without_arguments_the_ladder_on_the_tiny_model():
    found = comparison_of(Asked())
    assert tuple(found.settings) == LADDER and found.seeds == (0, 1, 2) and found.axis == "tokens"
    for settings in found.settings.values():
        assert (settings.model, settings.task.name) == ("tiny", "arithmetic")
        assert settings.budget.limits() == {"tokens": found.limit}
        assert settings.learner.threads == 1 and not settings.reporting.page
        assert settings.evaluation.items == 200


def test_the_budget_ends_a_run_and_steps_only_bounds_it():
    found = comparison_of(Asked(methods=["grpo"], budget="tokens=2M"))
    assert found.limit == 2_000_000 and found.settings["grpo"].steps == 100_000
    assert comparison_of(Asked(methods=["grpo"], sets=["steps=7"])).settings["grpo"].steps == 7


@pytest.mark.parametrize(
    ("written", "axis", "limit"),
    [("seconds=90", "seconds", 90.0), ("flops=2T", "flops", 2e12), ("trained=5k", "trained", 5000)],
)
def test_axes(written, axis, limit):
    found = comparison_of(Asked(methods=["grpo"], budget=written))
    assert (found.axis, found.limit) == (axis, limit)


def test_environments_take_their_recipes_and_count_their_steps():
    found = comparison_of(Asked(methods=["reinforce", "ppo", "grpo"], task="CartPole-v1", budget="steps=100K"))
    assert {settings.model for settings in found.settings.values()} == {"small"}
    assert found.settings["ppo"].environments == 1 and found.settings["grpo"].environments == 16
    assert all(settings.saving.every == 20 for settings in found.settings.values()), "a kill must not lose a whole run"


def test_seeds_begin_with_the_seed():
    assert comparison_of(Asked(methods=["grpo"], seeds=2, sets=["seed=7"])).seeds == (7, 8)


def test_settings_for_one_method_alone():
    found = comparison_of(
        Asked(
            methods=["grpo", "reinforce"], sets=["learning_rate=1e-3"], sets_for=["grpo:method.step.learning_rate=5e-4"]
        )
    )
    rates = {name: settings.resolved_method().step.learning_rate for name, settings in found.settings.items()}
    assert rates == {"grpo": 5e-4, "reinforce": 1e-3}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"methods": ["grpp"]}, "METHOD: got 'grpp'; did you mean 'grpo'?"),
        ({"methods": ["grpo", "grpo"]}, "METHOD: 'grpo' is named 2 times, expected once"),
        ({"budget": "tokens=0"}, "--budget tokens: got '0', expected 1 or more"),
        ({"budget": "tokens=-5"}, "--budget tokens: got '-5', expected 1 or more"),
        ({"budget": "seconds=0"}, "--budget seconds: got '0', expected more than 0"),
        ({"budget": "tokens=lots"}, "--budget tokens: got 'lots', expected a whole number such as 200000, 200K or 2M"),
        ({"budget": "tokens="}, "--budget tokens: got ''"),
        ({"budget": "2M"}, "--budget: got '2M', expected AXIS=N such as tokens=2M"),
        ({"budget": "token=2M"}, "--budget: got 'token'; did you mean 'tokens'?"),
        ({"budget": "steps=100K"}, "budget.steps: got 100000, but 'arithmetic' has no environment steps"),
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


def test_a_problem_of_all_methods_is_told_once():
    found = problems(methods=["grpo", "reinforce"], sets=["stepz=3"])
    assert len(found) == 1 and not found[0].startswith("grpo")


def test_a_model_of_one_s_own_needs_a_budget(tmp_path):
    found = problems(methods=["grpo"], model=str(tmp_path), task="arithmetic")
    assert any(problem.startswith("--budget: missing; give AXIS=N such as tokens=2M") for problem in found)


def test_several_problems_at_once():
    found = problems(methods=["grpp"], budget="token=1")
    assert len(found) == 2


def test_methods_that_learn_from_pairs_are_refused_in_words():
    assert not any(learns_from_pairs(METHODS[name]) for name in LADDER)
    stand_in = SimpleNamespace(name="dpo", pairs_per_step=16)
    assert learns_from_pairs(stand_in) and refusal(stand_in).startswith("METHOD: 'dpo' learns from stored pairs")


def test_a_plan_comes_back_and_claims_its_folder_alone(tmp_path):
    comparison = comparison_of(Asked(methods=["reinforce", "ppo"], task="CartPole-v1", budget="steps=1K", seeds=2))
    folder = tmp_path / "a"
    assert claim(comparison, folder) is False
    assert read_plan(folder) == comparison
    assert claim(comparison, folder) is True
    other = comparison_of(Asked(methods=["reinforce", "ppo"], task="CartPole-v1", budget="steps=2K", seeds=2))
    with pytest.raises(SettingsError, match=r"budget.steps is 1000, now 2000"):
        claim(other, folder)
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "notes.txt").write_text("mine")
    with pytest.raises(SettingsError, match="is not empty and holds no comparison"):
        claim(comparison, tmp_path / "b")


def test_how_many_at_a_time():
    small = comparison_of(Asked(methods=["reinforce"], seeds=1))
    assert jobs_for(small, None) == 1, "there is only one run"
    assert jobs_for(small, 4) == 4
    own_threads = comparison_of(Asked(methods=["reinforce"], sets=["learner.threads=2"]))
    assert jobs_for(own_threads, None) == 1


ROW = '{{"prompt": "{n}+1=", "answer": "{m}", "completion": "{m}"}}\n'


def test_paths_are_kept_whole(in_folder):
    """Else a run's settings.yaml, which has them whole, would not be the comparison's, and it could not go on."""
    (in_folder / "rows.jsonl").write_text("".join(ROW.format(n=n, m=n + 1) for n in range(40)))
    found = comparison_of(Asked(methods=["grpo"], task="rows.jsonl", model="tiny", budget="tokens=1K", seeds=2))
    assert found.settings["grpo"].task.name == str(in_folder / "rows.jsonl")
    assert common_items(found), "a file's held-out rows are the same for every seed"
    made_from_the_seed = comparison_of(Asked(methods=["grpo"], seeds=2))
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
