"""Text of an answer never becomes code: every data set and hostile answers, both kinds of guard, the closed child."""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hostile import DEEP, OTHER_BYTES, READERS, for_sympy, makers

from rung.child import judged_one_by_one
from rung.errors import RewardError, SettingsError
from rung.rewards.judge import Judge
from rung.rewards.math_answer import MathAnswer, math_verify_job
from rung.rewards.reward import Failure, WeightedReward
from rung.rewards.text_is_not_code import CodeRefused, Guard, not_plain
from rung.rewards.user import FunctionReward, UserReward
from rung.tasks.reasoning_gym import ReasoningGymScore, Source, _score, made_entries, question_key
from rung.tasks.task import Item

EVALUATE = ("n_queens", "string_insertion", "spiral_matrix", "binary_matrix")
"""They give an answer to `eval`."""
PARSE = ("simple_integration", "intermediate_integration", "polynomial_multiplication", "countdown", "puzzle24")
"""They give it to sympy's parser, which gives it to `eval`."""


def data_sets() -> list[str]:
    from reasoning_gym.factory import DATASETS

    return sorted(set(DATASETS) - {"composite"})  # it wants to be told its parts


def made(name: str) -> tuple[Any, dict[str, Any]]:
    from reasoning_gym.factory import create_dataset

    data = create_dataset(name, seed=3, size=3)
    return data, data[0]


def scored(data: Any, answer: Any, entry: dict[str, Any]) -> float:
    """The score without a guard; an answer that the scorer cannot read gets 0."""
    try:
        return float(data.score_answer(answer, entry))
    except Exception:  # noqa: BLE001  what it raises differs by data set
        return 0.0


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "marker"


@pytest.mark.filterwarnings("ignore")  # the data sets' own
def test_every_data_set_scores_its_own_answer_as_before_and_runs_no_hostile_one(marker: Path):
    refused: dict[str, int] = {}
    guard = Guard()
    for name in data_sets():
        data, entry = made(name)
        own = entry["answer"]
        assert guard.run([str(own)], lambda d=data, e=entry: scored(d, e["answer"], e)) == scored(data, own, entry), (
            name
        )
        assert guard.refused == [], name
        for answer in (*makers(marker), *for_sympy(marker), *READERS, OTHER_BYTES):
            guard.run([answer], lambda d=data, a=answer, e=entry: scored(d, a, e))
            was_refused = bool(guard.refused)
            refused[name] = refused.get(name, 0) + was_refused
            score = _score(name, data, answer, entry, guard)
            assert not marker.exists(), (name, answer)
            if was_refused or name in (*EVALUATE, *PARSE):
                assert score <= scored(data, "surely wrong", entry), (name, answer, score)
            else:
                assert score == scored(data, answer, entry), f"{name} does not evaluate: a guard changes nothing"
    assert {name for name, count in refused.items() if count} == {*EVALUATE, *PARSE}


@pytest.mark.filterwarnings("ignore")  # a file that an answer opened stays open
def test_without_the_guard_the_same_answers_do_run(marker: Path):
    """The negative control: a hostile answer makes the file, and one that reads the scorer is right."""
    for names, answers in ((EVALUATE, makers(marker)), (PARSE, makers(marker)[:3] + for_sympy(marker)[:4:2])):
        for name in names:
            data, entry = made(name)
            for answer in answers:
                scored(data, answer, entry)
                assert marker.exists(), (name, answer)
                marker.unlink()
    data, entry = made("string_insertion")
    assert scored(data, READERS[0], entry) == scored(data, "oracle_answer", entry) == 0.1
    data, entry = made("simple_integration")
    x, integrand = entry["metadata"]["variable"], entry["metadata"]["integrand"]
    unworked = f"Integral({integrand}, {x})"
    assert scored(data, unworked, entry) == 1.0 and _score("s", data, unworked, entry, Guard()) == 0.0


def rewritten(name: str, entry: dict[str, Any]) -> tuple[str, float]:
    """The right answer in another form, which only evaluation finds out, and its score."""
    own = entry["answer"]
    if name == "n_queens":
        return repr([row.split() for row in own.split("\n")]), 0.5
    if name == "binary_matrix":
        return repr([[int(cell) for cell in row.split()] for row in own.split("\n")]), 0.1
    if name in ("string_insertion", "spiral_matrix"):
        return repr(list(own) if name == "string_insertion" else own.split()), 0.1
    if name == "puzzle24":  # its entries have no answer of their own; this one adds up
        return "(9 + 3) * (8 - 6)", 1.0
    if name == "countdown":
        return f"(({own}))", 1.0
    return f"({own})*sin(1)/sin(1) + log(exp(1)) - 1", 1.0


@pytest.mark.parametrize("name", [*EVALUATE, *PARSE])
def test_the_right_answer_in_another_form_is_right(name: str):
    data, entry = made(name)
    answer, score = rewritten(name, entry)
    assert answer != entry["answer"]
    guard = Guard()
    assert _score(name, data, answer, entry, guard) == score == scored(data, answer, entry)
    assert guard.refused == []


@pytest.mark.parametrize("name", ["n_queens", pytest.param("simple_integration", marks=pytest.mark.slow)])
def test_a_judge_goes_on_through_hostile_answers(name: str, marker: Path):
    source = Source(dataset=name, options={}, seeds={"train": 5}, sizes={"train": 2})
    with source.child() as child:
        question, own = made_entries(child, "train", 0, 1, 60)[0]
    columns = {"side": "train", "index": 0, "question_key": question_key(question)}
    answers = [*makers(marker), *for_sympy(marker), *READERS, *DEEP, OTHER_BYTES, "9**9**9**9"]
    with Judge([WeightedReward(reward=ReasoningGymScore(source=source))], deadline_s=3) as judge:
        items = [Item(id=str(i), prompt=question, columns=columns) for i in range(len(answers) + 1)]
        judgements = judge(items, [f"<answer>{answer}</answer>" for answer in (*answers, own)])
    assert not marker.exists()
    bad = [j.status for j in judgements if j.status != "ok"]
    assert bad in ([], ["score: timeout"], ["score: died"]), "the deadline bounds a tower of powers, no more is lost"
    assert all(j.total is None or j.total <= 0.01 for j in judgements[:-1]) and judgements[-1].accuracy == 1.0


def test_a_scorer_that_wants_more_for_its_own_answer_is_a_settings_error():
    class Scorer:
        def score_answer(self, answer: str, entry: dict[str, Any]) -> float:
            return float(eval(entry["program"]))

    with pytest.raises(SettingsError, match=r"reasoning_gym/odd cannot be scored safely.*wanted .*__import__"):
        _score("odd", Scorer(), "3", {"answer": "5", "program": "__import__('os').getpid()"}, Guard())

    class Refusing:
        def ask(self, request: object, *, deadline_s: float) -> Any:
            from rung.child import SETTINGS, ChildError

            raise ChildError(Failure(SETTINGS, "task: it cannot"))

    with pytest.raises(SettingsError, match="task: it cannot"):
        judged_one_by_one(Refusing(), [{}], 1.0)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "act",
    [
        lambda folder: os.system("true"),
        lambda folder: (folder / "new").write_text("x"),
        lambda folder: (folder / "new").mkdir(),
        lambda folder: os.rename(folder, folder.with_name("other")),  # noqa: PTH104
        lambda folder: os.open(folder / "new", os.O_CREAT | os.O_WRONLY),
        lambda folder: __import__("subprocess").run(["true"]),
        lambda folder: __import__("socket").socket(),
        lambda folder: __import__("shutil").rmtree(folder),
        lambda folder: __import__("pickle").loads(b"cos\ngetpid\n(tR."),
        lambda folder: __import__("colorsys"),
    ],
)
def test_a_closed_guard_lets_a_scorer_do_only_what_it_needs(act: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import sys

    monkeypatch.delitem(sys.modules, "colorsys", raising=False)
    guard = Guard()
    with pytest.raises(CodeRefused):
        guard.run(["look into colorsys"], lambda: act(tmp_path))
    assert list(tmp_path.iterdir()) == [] and len(guard.refused) == 1
    assert guard.run(["x"], lambda: ast.literal_eval("[1, 'a']")) == [1, "a"]
    assert guard.run(["x"], lambda: Path(__file__).read_text()[:3]) == '"""'


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("[['Q', '_'], ['_', 'Q']]", True),
        ("{'a': (1, -2.5), 'b': {3}}", True),
        ("(0x12 + 3) << 2 < 5", True),
        ("Symbol ('x' )**Integer (2 )/Float ('1.5' )+Function ('f' )(Symbol ('y' ))", True),
        ("sin(pi)*sqrt(2, evaluate=False)", True),
        ("x", False),
        ("sqrt('2')", False),
        ("Symbol('__import__')", False),
        ("Function('f', 3)(1)", False),
        ("Symbol('a b')", False),
        ("sqrt(*[2])", False),
        ("sqrt(2, evaluate=print)", False),
        ("[1][0]", False),
        ("sin", False),
    ],
)
def test_plain_syntax(text: str, plain: bool):
    assert (not_plain(ast.parse(text), mathematics=True) == []) is plain


USER = """
import ast, collections, dataclasses, json

GOLD = "len('abc')"

def evals(completions):
    return [float(eval(text)) for text in completions]

def swallows(completions):
    def one(text):
        try:
            return float(eval(text))
        except Exception:
            return 0.0
    return [one(text) for text in completions]

def wraps(completions):
    space = {}
    for text in completions:
        exec(f"import math\\ndef f():\\n    return ({text})\\nresult = f()", space)
    return [float(space["result"])] * len(completions)

def by_tree(completions):
    return [float(eval(compile(ast.parse(text, mode="eval"), "<answer>", "eval"))) for text in completions]

def parses(completions):
    import sympy
    return [float(sympy.sympify(text)) for text in completions]

def compute_score(solution_str, ground_truth):
    return float(eval(solution_str))

def own(completions):
    Point = collections.namedtuple("Point", ["answer", "len"])
    @dataclasses.dataclass
    class Pair:
        answer: int
        def both(self): return self.answer
    made = eval("len('abc')") + eval(GOLD) + Pair(Point(1, 2).answer).answer
    exec("import math\\nmath.sqrt(4)")
    import colorsys
    return [float(made)] * len(completions)

def is_python(completions):
    def one(text):
        try:
            compile(text, "<answer>", "exec")
        except SyntaxError:
            return 0.0
        return 1.0
    collections.namedtuple("Pair", "a b")
    return [one(text) + eval("1") for text in completions]

def later(completions):
    codes = [compile(text, "<answer>", "eval") for text in completions]
    return [float(eval(code)) for code in codes]

def literal(completions):
    def one(text):
        try:
            return float(len(ast.literal_eval(text)))
        except (ValueError, SyntaxError):
            return -1.0
    return [one(text) for text in completions]

def words(completions):
    secret = 7
    def one(text):
        try:
            return float(eval(text))
        except (NameError, SyntaxError):
            return -1.0
    return [one(text) for text in completions]
"""


@pytest.fixture
def user(tmp_path: Path) -> Path:
    file = tmp_path / "mine.py"
    file.write_text(USER)
    return file


def test_a_users_function_that_evaluates_completions_is_refused_in_words(user: Path, marker: Path):
    attack = f"__import__('os').system('touch {marker}')"
    for function in ("evals", "swallows", "wraps", "by_tree", "parses"):
        opened = UserReward(f"{user}:{function}").open(20)
        try:
            assert opened(["p"], ["2*(3+4)"], {}) == [14.0], function
            for text in (attack, f"[{attack}][0]", f"(lambda: {attack})()"):
                with pytest.raises(RewardError) as caught:
                    opened(["p"], [text], {})
                assert caught.value.status == "refused"
                assert re.search(
                    r"run text of a completion as code: .*; read such text with ast\.literal_eval", str(caught.value)
                )
                assert not marker.exists(), (function, text)
        finally:
            opened.close()
    (score,) = UserReward(f"{user}:compute_score")(["p"], [attack], {"answer": ["1"]})
    assert isinstance(score, Failure) and score.status == "refused" and not marker.exists()
    with pytest.raises(RewardError, match="refused"):
        UserReward(f"{user}:later")(["p"] * 2, [attack, "1 + 1"], {})
    assert not marker.exists()
    here = FunctionReward(lambda completions: [float(eval(text)) for text in completions], name="here")
    with pytest.raises(RewardError, match="refused"):
        here(["p"], [attack], {})
    assert not marker.exists() and here(["p"], ["1+1"], {}) == [2.0]


@pytest.mark.parametrize(
    ("function", "completions", "scores"),
    [
        ("own", ["len('abc') and import math; math.sqrt(4), self.answer=answer, answer"], [7.0]),
        ("is_python", ["import os; os.system('true')", "secret", "it was 7"], [2.0, 2.0, 1.0]),
        ("literal", ["[1, 2]", "open('x')", "[", "f(1)"], [2.0, -1.0, -1.0, -1.0]),
        ("words", ["secret", "it is 7", "1 + 1"], [-1.0, -1.0, 2.0]),
    ],
)
def test_what_a_users_function_may_do(user: Path, function: str, completions: Sequence[str], scores: list[float]):
    assert UserReward(f"{user}:{function}")(["p"] * len(completions), list(completions), {}) == scores


def test_math_verify_runs_no_answer(marker: Path):
    boxed = [f"\\boxed{{{answer}}}" for answer in (*makers(marker), *for_sympy(marker))]
    columns = {"answer": ["x+1"] * (len(boxed) + 1)}
    scores = MathAnswer()(["p"] * (len(boxed) + 1), [*boxed, "\\boxed{1+x}"], columns)
    assert scores == [0.0] * len(boxed) + [1.0] and not marker.exists()


def test_an_answer_that_math_verify_would_run_is_wrong_and_a_gold_one_an_error(monkeypatch: pytest.MonkeyPatch):
    import math_verify

    def parse(text: str, parsing_timeout: int) -> object:
        return eval(text[1:-1]) if "getpid" in text else text

    monkeypatch.setattr(math_verify, "parse", parse)
    monkeypatch.setattr(math_verify, "verify", lambda gold, found, timeout_seconds: True)
    answer, _ = math_verify_job({})
    attack = "__import__('os').getpid()"
    assert answer({"gold": "x", "answer": attack}) == 0.0 and answer({"gold": "x", "answer": "y"}) == 1.0
    with pytest.raises(RewardError, match=r"the row's answer would run as code: .*getpid"):
        answer({"gold": attack, "answer": "x"})


def test_a_closed_child_has_a_folder_of_its_own_and_no_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RUNG_TEST_SECRET", "do not tell")
    monkeypatch.chdir(tmp_path)
    source = Source(dataset="codeio", options={}, seeds={"train": 5}, sizes={"train": 6})
    with source.child() as child:
        assert len(made_entries(child, "train", 0, 6, 60)) == 6
        process = Path(f"/proc/{child.pid}")
        environment = dict(line.split("=", 1) for line in (process / "environ").read_text().split("\0") if line)
        folder = Path(os.readlink(process / "cwd"))  # noqa: PTH115
        assert "RUNG_TEST_SECRET" not in environment
        assert environment["HOME"] == environment["TMPDIR"] == str(folder) and folder.name.startswith("rung-child-")
        assert set(environment) <= {
            *("PATH", "LANG", "LC_ALL", "LC_CTYPE", "TZ", "LD_LIBRARY_PATH", "OMP_NUM_THREADS", "PYTHONPATH"),
            *("PYTHONHASHSEED", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "PYTHONUSERBASE", "HOME", "TMPDIR"),
            "RUNG_WORKER",  # by which the guard finds what it started
        }
    assert not folder.exists() and list(tmp_path.iterdir()) == []
