"""The claims' rules, each branch with numbers, and that every claim has its file and its part of the page."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

ROOT = Path(__file__).parent.parent
HOME = ROOT / "experiments" / "claims"

threads = torch.get_num_threads()
claim: Any = importlib.import_module("claim")
every: Any = importlib.import_module("every_claim")
experiment: Any = importlib.import_module("experiment")
intervals: Any = importlib.import_module("intervals")
in_process: Any = importlib.import_module("in_process")
torch.set_num_threads(threads)  # a claim is kept to one thread; the tests are not
Number = intervals.Number
ABOVE, BELOW, ACROSS = Number(2.0, 1.5, 3.0), Number(-2.0, -3.0, -1.0), Number(0.5, -1.0, 2.0)
HALF, NOT = "holds here only when", "does not hold here"


def module(name: str) -> Any:
    return importlib.import_module(name)


def test_every_claim_has_its_file_and_its_part_of_the_page() -> None:
    shared = {"claim", "every_claim", "in_process"}
    assert {path.stem for path in HOME.glob("*.py")} - shared == set(every.CLAIMS)
    page = (ROOT / "docs" / "claims.md").read_text()
    assert tuple(re.findall(r"<!-- generated: (\w+) -->", page)) == ("every_claim", *every.CLAIMS)
    for name in every.CLAIMS:
        assert every.claim_of(name).name == name
        assert every.claim_of(name).sentence in every.words()


def kinds(*said: str) -> list[str]:
    return [text if text == claim.HOLDS else HALF if text.startswith(HALF) else text[: len(NOT)] for text in said]


def test_dqn_is_judged_by_its_scores_and_then_by_its_grid() -> None:
    verdict = module("dqn_continuous").verdict
    said = [
        verdict({"a": BELOW, "b": BELOW}, 3),
        verdict({"a": ACROSS, "b": BELOW}, 3),
        verdict({"a": ACROSS, "b": ABOVE}, 9),
        verdict({"a": ACROSS, "b": ABOVE}, 3),
    ]
    assert kinds(*said) == ["holds", HALF, HALF, NOT]
    assert said[1].endswith("the task is b") and "531,441" in said[2]


def test_reinforce_is_judged_by_steps_and_by_what_comes_after() -> None:
    verdict, one = module("reinforce_unstable").verdict, Number(1.2, 0.8, 1.9)
    said = [verdict(ABOVE, ABOVE), verdict(ABOVE, ACROSS), verdict(one, ABOVE), verdict(one, ACROSS)]
    assert kinds(*said) == ["holds", HALF, HALF, NOT]
    assert "efficiency" in said[1] and "stability" in said[2]


def test_actor_critic_is_judged_by_how_many_lambdas_do_and_how_many_runs_fell() -> None:
    verdict = module("actor_critic_balance").verdict
    hard, easy = {0.0: 100, 0.5: 400, 0.9: 500, 0.95: 300, 1.0: 20}, {0.0: 460, 0.5: 480, 0.9: 500, 0.95: 20, 1.0: 20}
    said = [verdict(hard, 2), verdict(easy, 2), verdict(hard, 1), verdict(easy, 1)]
    assert kinds(*said) == ["holds", HALF, HALF, NOT]
    assert "collapse is meant" in said[1] and "balance is meant" in said[2]


def test_trpo_is_expensive_where_operations_and_seconds_are_more() -> None:
    verdict, less = module("trpo_expensive").verdict, Number(0.5, 0.4, 0.6)
    said = [
        verdict({"a": (ABOVE, ABOVE), "b": (ABOVE, ABOVE)}),
        verdict({"a": (ABOVE, less), "b": (ABOVE, ABOVE)}),
        verdict({"a": (ABOVE, less), "b": (less, ABOVE)}),
    ]
    assert kinds(*said) == ["holds", HALF, NOT]
    assert said[1].endswith("the model is b")


def test_grpo_is_judged_by_a_step_and_by_the_score_at_equal_operations() -> None:
    grpo = module("grpo_less_compute")
    same, worse = {"ppo": ACROSS}, {"ppo": BELOW}
    said = [
        grpo.verdict(True, True, same),
        grpo.verdict(True, False, same),
        grpo.verdict(True, True, worse),
        grpo.verdict(False, False, same),
    ]
    assert kinds(*said) == ["holds", HALF, HALF, NOT]
    assert "network of its own" in said[1] and "ppo scored higher" in said[2]
    assert grpo.less(ABOVE) and not grpo.less(Number(1.2, 1.01, 1.4)) and not grpo.less(Number(1.01, 1.01, 1.01))


def test_dapo_is_judged_by_each_count_and_by_its_falls() -> None:
    verdict = module("dapo_over_grpo").verdict

    def said(tokens: Any, steps: Any, updates: Any, falls: Any) -> str:
        return verdict({"tokens": tokens, "steps": steps, "updates": updates}, falls)

    found = [
        said(ABOVE, ABOVE, ACROSS, BELOW),
        said(ABOVE, ABOVE, BELOW, ACROSS),
        said(ACROSS, ABOVE, BELOW, ACROSS),
        said(ACROSS, ACROSS, BELOW, BELOW),
        said(BELOW, ACROSS, BELOW, ACROSS),
        said(ACROSS, ACROSS, BELOW, ABOVE),
    ]
    assert kinds(*found) == ["holds", HALF, HALF, HALF, NOT, NOT]
    assert "generated tokens or steps" in found[1] and found[2].endswith("counted in steps")
    assert "stability" in found[3] and "GRPO scored higher" in found[4] and "no difference" in found[5]


def test_dapo_and_grpo_are_read_off_where_the_shorter_run_ends() -> None:
    dapo = module("dapo_over_grpo")
    assert dapo.UPDATES == {"grpo": 1, "dapo": 16}

    def run(steps: int, tokens: int, last: float) -> dict[str, Any]:
        points = ((0, 0, 0.0), (steps, tokens, last))
        return {"curve": [{"step": s, "spent": {"tokens": t}, "score": score} for s, t, score in points]}

    runs = {"grpo": [run(32, 100, 0.8)] * 2, "dapo": [run(8, 100, 0.6)] * 2}
    assert dapo.gain(runs, "tokens").value == pytest.approx(0.6 - 0.8)
    assert dapo.gain(runs, "steps").value == pytest.approx(0.6 - 0.8 * 8 / 32)
    assert dapo.gain(runs, "updates").value == pytest.approx(0.6 * 32 / 128 - 0.8)


def test_dpo_is_judged_by_its_step_and_by_its_end() -> None:
    verdict = module("dpo_supervised").verdict
    said = [
        verdict(ABOVE, [0.3, 0.0], [0.4, 0.4]),
        verdict(ABOVE, [0.001, 0.0], [0.4, 0.4]),
        verdict(ACROSS, [0.001, 0.0], [0.4, 0.4]),
    ]
    assert kinds(*said) == ["holds", HALF, NOT]
    assert verdict(ABOVE, [0.005], [0.001]) == "holds", "fine-tuning that ends nearer is no sign of RL"


def test_dpo_begins_in_the_direction_of_supervised_learning_and_ends_at_rls_optimum(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dpo = module("dpo_supervised")
    monkeypatch.setattr(dpo, "TREE", dpo.Tree(3, 2))
    found = dpo.of_world(3)
    assert found["points"][0]["supervised"] == pytest.approx(1.0, abs=1e-9)
    assert found["points"][-1]["supervised"] < 0.999 and found["points"][0]["rl"] < 0.999
    assert found["off"]["dpo"] < 1e-4 and found["off"]["sft"] > 0.05


def test_the_shares_below_475_begin_after_the_first_that_reached_it() -> None:
    reinforce = module("reinforce_unstable")
    scores = [{"score": score} for score in (20, 480, 470, 500)]
    assert reinforce.below_after(scores) == 0.5
    assert reinforce.below_after(scores[:1]) == 1.0
    assert reinforce.below_after(scores[:2]) == 0.0


def test_an_offset_of_both_actions_is_no_bias() -> None:
    """What every action of a state shares, no policy gradient sees; what parts them, it does."""
    actor_critic = module("actor_critic_balance")
    draw = torch.Generator().manual_seed(0)
    drawn_2R = torch.randn(2, 400, generator=draw, dtype=torch.float64).numpy()
    of_2R = np.array([[1.0], [3.0]]) + drawn_2R
    probs_2 = torch.tensor([0.25, 0.75]).numpy()
    found_2, error_2 = actor_critic.centred(of_2R, probs_2)
    assert actor_critic.centred(of_2R + 7.0, probs_2)[0] == pytest.approx(found_2)
    assert found_2 == pytest.approx([-1.5, 0.5], abs=0.2) and float(probs_2 @ found_2) == pytest.approx(0, abs=1e-9)
    assert error_2[0] == pytest.approx(0.75**2 * 2 / 400, rel=0.2)


def test_intervals_over_seeds() -> None:
    assert intervals.mean([1.0, 2.0, 3.0]).low == pytest.approx(2 - 4.303 / 3**0.5, abs=1e-3)
    assert intervals.ratio([4.0, 4.0], [2.0, 2.0]) == Number(2.0, 2.0, 2.0)
    assert intervals.difference([5.0, 7.0, 9.0], [1.0, 1.0, 1.0]).low == pytest.approx(6 - 4.303 * 2 / 3**0.5, abs=1e-3)
    with pytest.raises(ValueError, match="got 1 values, expected at least 2 seeds"):
        intervals.mean([1.0])


@pytest.mark.parametrize("name", every.CLAIMS)
def test_what_is_recorded_was_judged_by_the_rule_that_stands_in_the_file(name: str) -> None:
    """A rule that was changed after the run no longer is the one that the result was judged by."""
    one = every.claim_of(name)
    run = experiment.recorded(one.key)
    assert run["rule"] == one.rule
    assert kinds(run["verdict"])[0] in (claim.HOLDS, HALF, NOT)
    assert run["number"]["low"] <= run["number"]["value"] <= run["number"]["high"]
    assert len(run["seeds"]) >= 3 and one.finding(run) in every.words()
    assert json.dumps(run["number"]) and run["sentence"] in one.row()


def test_a_recorded_claim_says_verdict_number_rule_and_how_it_was_got(monkeypatch: pytest.MonkeyPatch) -> None:
    dqn = module("dqn_continuous")

    def arms(*means: float) -> dict[str, Any]:
        names = ("dqn, 3 values", "dqn, 9 values", "ppo")
        return {
            name: {"runs": {str(i): {"score": mean + 10.0 * (i - 1)} for i in range(3)}}
            for name, mean in zip(names, means, strict=True)
        }

    tasks = {"Pendulum-v1": arms(-400.0, -160.0, -160.0), "Reacher-v5": arms(-9.0, -8.0, -10.0)}
    found = dqn.of_scores({"tasks": tasks, "steps": 20_000, "commit": "abc1234", "seeds": [0, 1, 2]})
    assert found["gaps"]["Pendulum-v1"]["best"] == "9" and found["number"]["value"] == pytest.approx(0.0)
    assert dqn.suffices(found["scores"]["Reacher-v5"]) == 3 and found["suffices"] == 9
    run = {**found, **{key: getattr(dqn.EXPERIMENT, key) for key in ("sentence", "measured", "unit", "rule")}}
    run |= {"machine": "a machine", "commit": "def5678", "command": "python it.py"}
    said = "\n".join(dqn.EXPERIMENT.said(run))
    rule = dqn.EXPERIMENT.rule
    for part in ("**Holds here only when", "531,441", rule, "abc1234", "def5678", "`python it.py`", "-160"):
        assert part in said, part
    assert "Pass line" not in said
    monkeypatch.setattr(claim, "recorded", {"claims_dqn_continuous": run}.get)
    assert every.words().count("not recorded yet") == len(every.CLAIMS) - 1


# --- what takes back a verdict that says too much ------------------------------------------------------------------


def checked(name: str, run: dict[str, Any]) -> tuple[str, list[str]]:
    """What is said of a result: the verdict, and what stands beside it."""
    one = every.claim_of(name)
    return one.finding(run), list(one.beside(run))


def test_a_best_value_at_the_end_of_its_grid_is_not_known_to_be_the_best() -> None:
    assert "is the highest of its grid" in claim.at_edge({"1": 0.1, "2": 0.2, "10": 0.3}, "the rate")
    assert claim.at_edge({"1": 0.1, "10": 0.2, "2": 0.3}, "the rate") == ""
    verdict = claim.not_here("no difference could be told")
    inside, edge = {"1e-05": 0.1, "2e-05": 0.2, "4e-05": 0.1}, {"1e-05": 0.3, "2e-05": 0.2}
    assert checked("dapo_over_grpo", {"verdict": verdict, "tuning": {"grpo": inside, "dapo": inside}}) == (verdict, [])
    left, beside = checked("dapo_over_grpo", {"verdict": verdict, "tuning": {"grpo": inside, "dapo": edge}})
    assert left.startswith("cannot be told here") and "lowest of its grid" in beside[0] and verdict in beside[1]
    assert checked("dapo_over_grpo", {"verdict": claim.HOLDS, "tuning": {"dapo": edge}})[0] == claim.HOLDS


def test_a_best_value_that_others_overlap_is_not_told_from_them() -> None:
    def run(half: float, fell: int) -> dict[str, Any]:
        scores = {"0": 100.0, "0.5": 400.0, "0.9": 500.0, "0.95": 300.0, "1": 20.0}
        lambdas = {lam: {"score": s, "interval": [s - half, s + half], "fell": fell} for lam, s in scores.items()}
        return {"verdict": claim.HOLDS, "lambdas": lambdas, "seeds": [1, 2, 3]}

    assert checked("actor_critic_balance", run(10.0, 1)) == (claim.HOLDS, [])
    left, beside = checked("actor_critic_balance", run(120.0, 1))
    assert "collapse is meant" in left and "2 have an interval that overlaps" in beside[0]
    assert checked("actor_critic_balance", run(120.0, 0))[0].startswith(NOT)


def test_a_row_of_the_table_that_contradicts_a_verdict_is_named() -> None:
    run = {"verdict": claim.not_here("the grid stays small"), "suffices": 3, "steps": 10}
    left, beside = checked("dqn_continuous", run)
    assert "many dimensions" in left and "Humanoid" in beside[0] and "129,140,163" in left
    assert checked("dqn_continuous", {**run, "suffices": 1})[0] == run["verdict"]


def test_a_verdict_that_changed_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    one = every.claim_of("reinforce_unstable")
    monkeypatch.setattr(experiment, "RESULTS", tmp_path)
    monkeypatch.setattr(type(one), "draw", lambda *_: None)
    for commit, verdict in (("a", "holds"), ("b", "holds"), ("c", "does not hold here: no")):
        one.record({"commit": commit, "verdict": verdict, "number": {}})
    run = experiment.recorded(one.key)
    assert [found["commit"] for found in run["history"]] == ["a", "b"]
    (said,) = one.beside(run)
    assert "at commit b it was “holds”, at c it is “does not hold here: no”" in said
    assert list(one.beside({**run, "verdict": "holds"})) == []


# --- operations ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_operations_of_a_small_networks_update_are_counted_where_they_are_made() -> None:
    """PPO on CartPole: 10 epochs of 128 rows through two networks of 4-64-64; nothing of it goes through torch."""
    parts = in_process.parts_of("ppo", "CartPole-v1", seed=1, sets=("num_environments=1", "method.horizon=128"))
    batch = in_process.collected(parts)
    weights, first = {2: 4 * 64 + 64 * 64 + 64 * 2, 1: 4 * 64 + 64 * 64 + 64}, 4 * 64
    a_row = sum(2 * count + 2 * count + 2 * (count - first) for count in weights.values())  # forward, two ways back
    before = 2 * weights[2]  # old log-probs; the values are those of the rollout
    counted = in_process.operations(lambda: parts.learner.update(batch, 1))
    parts.collector.close()
    assert counted == 128 * (10 * a_row + before)


def test_work_that_is_not_counted_is_no_zero() -> None:
    with pytest.raises(ValueError, match="got 0 operations"):
        in_process.operations(lambda: sum(range(9)))
    assert in_process.operations(lambda: sum(range(9)), or_none=True) == 0
