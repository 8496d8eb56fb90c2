"""The course: both languages say the same, notebooks are what their sources give, exercises are graded rightly."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import course
import grade
import pytest

LESSONS = [source.stem for source in course.sources()]
HOME = course.HERE


def pieces(lesson: str) -> list[course.Piece]:
    return course.read(HOME / "source" / f"{lesson}.md")


def code_of(lesson: str, *roles: str) -> list[str]:
    return [piece.code for piece in pieces(lesson) if isinstance(piece, course.Code) and piece.role in roles]


def shape(text: str) -> dict[str, list[str]]:
    """What two languages must have in common: headings, numbers with a point, code, formulas' letters, links."""
    return {
        "headings": re.findall(r"^#+(?= )", text, re.MULTILINE),
        "numbers": sorted(re.findall(r"\d+\.\d+", re.sub(r"^#+ \d+\.", "", text, flags=re.MULTILINE))),
        "code": sorted(re.findall(r"`[^`]+`|^    rung .*$", text, re.MULTILINE)),
        "rows": re.findall(r"^\|(?=.*\|$)", text, re.MULTILINE),
        "links": sorted(re.findall(r"\]\(([^)]+)\)", text)),
    }


def test_there_are_ten_lessons_with_a_picture_and_an_exercise_each() -> None:
    assert len(LESSONS) == 10
    for lesson in LESSONS:
        assert [len(code_of(lesson, role)) for role in ("exercise", "grade", "solution")] == [1, 1, 1], lesson
        for language in course.LANGUAGES:
            text = (HOME / language / f"{lesson}.ipynb").read_text(encoding="utf-8")
            assert '"image/png"' in text, f"{lesson} ({language}) has no picture stored"


@pytest.mark.parametrize("lesson", LESSONS)
def test_both_languages_say_the_same(lesson: str) -> None:
    for piece in pieces(lesson):
        if isinstance(piece, course.Text):
            assert shape(piece.by_language["en"]) == shape(piece.by_language["ja"]), piece.by_language["en"][:80]


def test_shapes_tell_texts_apart() -> None:
    one = "## A\n\n`rloo` 0.5 [x](y.md)"
    for other in ("# A\n\n`rloo` 0.5 [x](y.md)", "## A\n\n`grpo` 0.5 [x](y.md)", "## A\n\n`rloo` 0.6 [x](y.md)"):
        assert shape(one) != shape(other)
    assert shape(one) == shape("## あ\n\n`rloo` は 0.5 [よ](y.md)")


def test_a_text_in_one_language_alone_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "00_one.md"
    source.write_text("<!-- en -->\nhello\n```python\n1\n```\n", encoding="utf-8")
    with pytest.raises(ValueError, match="a text in en alone"):
        course.read(source)


def test_notebooks_are_what_their_sources_give() -> None:
    assert course.stale() == []
    for path in HOME.glob("*/*.ipynb"):
        ran = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
        assert all(cell["outputs"] for cell in ran if cell["metadata"].get("tags") == ["grade"]), f"{path} was not run"


@pytest.mark.parametrize("lesson", LESSONS)
def test_the_grader_passes_the_answer_and_not_the_start(lesson: str) -> None:
    first, (exercise,), (call,), (solution,) = (code_of(lesson, role) for role in ("", "exercise", "grade", "solution"))
    imports = [line for line in first[0].splitlines() if re.match(r"import (?!sys)|from (?!rung)", line)]
    for written, wanted in ((exercise, False), (solution, True)):
        names: dict[str, object] = {}
        exec("\n".join([*imports, written]), names)
        found = eval(call, names)
        assert isinstance(found, grade.Grade) and found.passed is wanted, f"{lesson}: {found}"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("lesson", LESSONS)
def test_a_lesson_runs_from_top_to_bottom(lesson: str, tmp_path: Path) -> None:
    script = tmp_path / f"{lesson}.py"
    script.write_text("\n".join(code_of(lesson, "", "exercise", "grade")), encoding="utf-8")
    places = os.pathsep.join((str(course.ROOT / "src"), str(HOME)))
    environment = {**os.environ, "PYTHONPATH": places, "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
