"""Writes the course's notebooks, English and Japanese, from one source a lesson.

    python docs/course/course.py [NAME ...]   runs the lessons once and writes both notebooks with the outputs
    python docs/course/course.py --words      writes the words anew and keeps the outputs that are stored
    python docs/course/course.py --check      exits 1 where a notebook is not what its source gives

A source is Markdown. `<!-- en -->` and `<!-- ja -->` begin a text in each language, and the two always stand together.
A block ```python is a cell of both notebooks. ```python exercise is a cell that the reader is to change, ```python
grade the grader's call, ```python solution an answer, folded away. `{{cartpole/methods/ppo/solved}}` is a number of
experiments/results, `{{cartpole/methods/ppo/final_iqm|.0f}}` the same by a format.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
LANGUAGES = ("en", "ja")
FOLDED = {"en": "One answer (try first)", "ja": "解答例（まず自分で考えてから）"}
SECONDS = 600
_PIECE = re.compile(
    r"^<!-- (en|ja) -->\n|^```python(?: (exercise|grade|solution))?\n(.*?)^```\n", re.MULTILINE | re.DOTALL
)
_NUMBER = re.compile(r"\{\{([^}|]+?)(?:\|([^}]+))?\}\}")


@dataclass(frozen=True)
class Text:
    """A text in every language."""

    by_language: dict[str, str]


@dataclass(frozen=True)
class Code:
    """A cell of code; `role` is exercise, grade, solution or nothing."""

    code: str
    role: str


Piece = Text | Code


def sources() -> list[Path]:
    return sorted((HERE / "source").glob("*.md"))


def recorded(path: str, form: str | None) -> str:
    """A number of experiments/results by its path."""
    name, *keys = path.split("/")
    value: Any = json.loads((ROOT / "experiments" / "results" / f"{name}.json").read_text(encoding="utf-8"))
    for key in keys:
        value = value[int(key)] if isinstance(value, list) else value[key]
    return format(value, form or "")


def read(source: Path) -> list[Piece]:
    """The pieces of a lesson, in order. ValueError where a text is not in every language."""
    text = _NUMBER.sub(lambda found: recorded(found[1], found[2]), source.read_text(encoding="utf-8"))
    marks = list(_PIECE.finditer(text))
    if not marks or text[: marks[0].start()].strip():
        raise ValueError(f"{source.name}: text in front of the first <!-- en -->")
    pieces: list[Piece] = []
    words: dict[str, str] = {}
    for mark, after in zip(marks, [*marks[1:], None], strict=True):
        said = text[mark.end() : after.start() if after else None].strip()
        if mark[1] is None:
            pieces += _whole(source, words)
            words = {}
            pieces.append(Code(mark[3].rstrip("\n"), mark[2] or ""))
            if said:
                raise ValueError(f"{source.name}: a text after code needs <!-- en --> before it: {said[:40]!r}")
        elif mark[1] in words:
            pieces += _whole(source, words)
            words = {mark[1]: said}
        else:
            words[mark[1]] = said
    return pieces + _whole(source, words)


def _whole(source: Path, words: dict[str, str]) -> list[Piece]:
    if words and set(words) != set(LANGUAGES):
        raise ValueError(f"{source.name}: a text in {', '.join(words)} alone: {next(iter(words.values()))[:60]!r}")
    return [Text(words)] if words else []


def cells(pieces: Sequence[Piece], language: str) -> Iterator[dict[str, Any]]:
    """The notebook's cells, without outputs."""
    for number, piece in enumerate(pieces):
        if isinstance(piece, Code) and piece.role != "solution":
            tags = {"tags": [piece.role]} if piece.role else {}
            yield {"cell_type": "code", "id": f"c{number}", "metadata": tags, "source": piece.code,
                   "execution_count": None, "outputs": []}  # fmt: skip
        else:
            text = _folded(piece.code, language) if isinstance(piece, Code) else piece.by_language[language]
            yield {"cell_type": "markdown", "id": f"c{number}", "metadata": {}, "source": text}


def _folded(code: str, language: str) -> str:
    return f'<details markdown="1"><summary>{FOLDED[language]}</summary>\n\n```python\n{code}\n```\n\n</details>'


def notebook(pieces: Sequence[Piece], language: str) -> dict[str, Any]:
    about = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    return {"cells": list(cells(pieces, language)), "metadata": about, "nbformat": 4, "nbformat_minor": 5}


def place(source: Path, language: str) -> Path:
    return HERE / language / f"{source.stem}.ipynb"


def ran(source: Path) -> dict[str, list[Any]]:
    """The outputs of each cell of code, by its id, after the lesson was run once from top to bottom."""
    import nbformat
    from nbclient import NotebookClient

    book = nbformat.from_dict(notebook(read(source), "en"))
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(HERE), os.environ.get("PYTHONPATH"))))
    with tempfile.TemporaryDirectory() as empty:  # so that runs begin at number 1 and nothing is left behind
        NotebookClient(book, timeout=SECONDS, resources={"metadata": {"path": empty}}).execute()
    return {cell["id"]: _plain(cell["outputs"]) for cell in book["cells"] if "outputs" in cell}


def _plain(outputs: Sequence[Any]) -> list[dict[str, Any]]:
    """Outputs without what says nothing: progress, the reports of single runs, the numbers of the calls."""
    kept = (one for one in outputs if one.get("name") != "stderr")
    said = [dict(one) for one in kept if one["output_type"] != "display_data" or "image/png" in one["data"]]
    return [{**one, "execution_count": None} if "execution_count" in one else one for one in said]


def stored(path: Path) -> dict[str, list[Any]]:
    found = json.loads(path.read_text(encoding="utf-8"))["cells"] if path.is_file() else []
    return {cell["id"]: cell["outputs"] for cell in found if "outputs" in cell}


def written(source: Path, language: str, outputs: dict[str, list[Any]]) -> str:
    book = notebook(read(source), language)
    for cell in book["cells"]:
        if cell["cell_type"] == "code":
            cell["outputs"] = outputs.get(cell["id"], [])
    return json.dumps(book, ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def stale() -> list[str]:
    """The notebooks that are not what their sources give, or whose code was never run."""
    found: list[str] = []
    for source in sources():
        for language in LANGUAGES:
            path = place(source, language)
            text = path.read_text(encoding="utf-8") if path.is_file() else ""
            if text != written(source, language, stored(path)) or '"output_type": "error"' in text:
                found.append(str(path.relative_to(ROOT)))
    return found


def main(arguments: Sequence[str]) -> int:
    if "--check" in arguments:
        print(*(f"{one}: not what its source gives; run: make course" for one in stale()), sep="\n")
        return int(bool(stale()))
    wanted = [one for one in arguments if not one.startswith("-")]
    for source in sources():
        if wanted and not any(one in source.stem for one in wanted):
            continue
        outputs = stored(place(source, "en")) if "--words" in arguments else ran(source)
        for language in LANGUAGES:
            path = place(source, language)
            path.parent.mkdir(exist_ok=True)
            path.write_text(written(source, language, outputs), encoding="utf-8")
        print(f"{source.stem}: written")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
