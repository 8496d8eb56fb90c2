"""A budget as people write it."""

from __future__ import annotations

import pytest

from rung.errors import SettingsError
from rung.settings import BudgetSettings, read_settings, to_yaml
from rung.trainers.reading import read_run

FLAGS = {"model": "tiny", "method": "grpo", "task": "arithmetic"}


@pytest.mark.parametrize(
    ("written", "meant"),
    [("2M", 2_000_000), ("200k", 200_000), ("1.5M", 1_500_000), ("2e6", 2_000_000), ("1_000", 1000), (7, 7)],
)
def test_suffixes(written: object, meant: int) -> None:
    assert BudgetSettings.model_validate({"tokens": written}).tokens == meant


@pytest.mark.parametrize("written", ["2Q", "M", "", "1.5", "0", "-3", 0, -1, True, [1], "nan", "inf", 1.5])
def test_what_is_no_count_is_refused(written: object) -> None:
    with pytest.raises(SettingsError):
        BudgetSettings.model_validate({"tokens": written})


@pytest.mark.parametrize("written", ["0", "-1", "inf", "soon", True])
def test_what_is_no_amount_is_refused(written: object) -> None:
    with pytest.raises(SettingsError):
        BudgetSettings.model_validate({"seconds": written})


def test_it_is_a_setting_like_any_other(tmp_path) -> None:
    settings = read_run(flags=FLAGS, sets=["budget.tokens=2M", "budget.seconds=90"]).required()
    assert settings.budget.limits() == {"tokens": 2_000_000, "seconds": 90.0}
    (tmp_path / "settings.yaml").write_text(to_yaml(settings))
    assert read_settings(tmp_path / "settings.yaml") == settings


def test_the_sentences_say_what_is_expected() -> None:
    (problem,) = read_run(flags=FLAGS, sets=["budget.tokens=lots"]).problems
    assert problem.startswith("--set budget.tokens: got 'lots', expected a whole number such as 200000, 200K or 2M")
    (problem,) = read_run(flags=FLAGS, sets=["budget.tokens=0"]).problems
    assert "expected 1 or more" in problem
    (problem,) = read_run(flags=FLAGS, sets=["budget.token=5"]).problems
    assert "did you mean 'budget.tokens'" in problem


def test_environment_steps_need_an_environment() -> None:
    with pytest.raises(SettingsError, match=r"budget.steps: got 100, but 'arithmetic' has no environment steps"):
        read_run(flags=FLAGS, sets=["budget.steps=100"]).required()
    found = read_run(flags={"method": "ppo", "task": "CartPole-v1"}, sets=["budget.steps=100K"]).required()
    assert found.budget.limits() == {"steps": 100_000}
