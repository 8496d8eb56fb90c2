"""What README and docs say is what the definitions and the recorded results say."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import yaml

import rung
from rung.methods import METHODS
from rung.methods.parts.shipped import PARTS

ROOT = Path(__file__).parent.parent


def test_generated_parts_are_up_to_date() -> None:
    assert import_module("generate").main(check=True) == 0


def test_no_recorded_result_names_a_place_on_a_machine() -> None:
    place = re.compile(r'["= ]/[A-Za-z][\w.-]*/')
    assert place.search('"task.held_out_file=/home/me/rows.jsonl"')
    results = [*ROOT.glob("experiments/results/*.json"), *ROOT.glob("benchmarks/results/*.json")]
    assert results and [file.name for file in results if place.search(file.read_text(encoding="utf-8"))] == []


def broken_links(path: Path) -> list[str]:
    """Links of a Markdown file to files that are not there."""
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8"))
    return [to for to in targets if "://" not in to and not (path.parent / to).exists()]


def test_links_between_pages_lead_somewhere(tmp_path: Path) -> None:
    pages = [ROOT / "README.md", ROOT / "README.ja.md", *sorted((ROOT / "docs").rglob("*.md"))]
    assert {str(page.relative_to(ROOT)): found for page in pages if (found := broken_links(page))} == {}
    (tmp_path / "page.md").write_text("[a](there.md) [b](https://example.org) ![c](pictures/no.png)")
    assert broken_links(tmp_path / "page.md") == ["there.md", "pictures/no.png"]


PAIRS = (
    ("README.md", "README.ja.md"),
    ("docs/start.md", "docs/ja/start.md"),
    ("docs/which_method.md", "docs/ja/which_method.md"),
    ("docs/course/README.md", "docs/course/README.ja.md"),
)
"""Pages in English and in Japanese."""


def shape(text: str) -> dict[str, list[str]]:
    """What a page and its translation have in common; links by the page that they lead to."""
    code = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
    links = re.findall(r"\]\(((?!README|\.\./start|\.\./which|ja/\D|docs/ja|docs/course/README.ja)[^)]+)\)", text)
    return {
        "code": code.findall(text),
        "headings": [found.rstrip() for found in re.findall(r"^#+ ", text, re.MULTILINE)],
        "links": [Path(link).name.replace(".ja", "") for link in links],
        "numbers": re.findall(r"\d+\.\d+", re.sub(r"arXiv:\S+", "", code.sub("", text))),
        "methods": re.findall(r"^\| `([a-z_]+)` \|", text, re.MULTILINE),
        "rows": [found[0] for found in re.findall(r"^\|.*\|$", text, re.MULTILINE)],
    }


def test_japanese_pages_keep_step_with_the_english_ones() -> None:
    for english, japanese in PAIRS:
        one, other = (shape((ROOT / name).read_text(encoding="utf-8")) for name in (english, japanese))
        assert one == other and one["headings"], japanese
    changed = shape((ROOT / "README.ja.md").read_text(encoding="utf-8").replace("steps=10", "steps=11"))
    assert changed["code"] != shape((ROOT / "README.md").read_text(encoding="utf-8"))["code"]


def test_every_method_has_its_page_and_no_page_is_left_over() -> None:
    pages = import_module("method_pages").method_pages()
    there = {str(path.relative_to(ROOT)) for path in (ROOT / "docs" / "methods").glob("*.md")}
    assert there == set(pages)
    ideas = import_module("method_ideas")
    assert set(ideas.IDEAS) | set(ideas.SOURCES) <= set(METHODS), "an idea of a method that is not there"
    for name, method in METHODS.items():
        if "@" not in name:
            text = pages[f"docs/methods/{import_module('method_pages').file_name(name)}"]
            assert method.formula() in text and (f'name="{name}"' in text or f"\n{name}:\n" in text)


def test_the_version_stands_in_the_changelog() -> None:
    assert f"## {rung.__version__}\n" in (ROOT / "CHANGELOG.md").read_text()


def test_public_names_exist_and_are_sorted() -> None:
    assert rung.__all__ == sorted(rung.__all__)
    for name in rung.__all__:
        assert getattr(rung, name) is not None


def test_the_reference_has_every_public_name() -> None:
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    headings = set(re.findall(r"^### (\w+)$", page, re.MULTILINE)) | set(re.findall(r"^\| `rung\.(\w+)`", page, re.M))
    assert sorted(headings & set(rung.__all__)) == sorted(set(rung.__all__) - {"parts"})
    slots = {slot.__name__ for slot in PARTS if getattr(slot, "_is_protocol", False)}
    shipped = {f"`{part.__name__}(" for parts in PARTS.values() for part in parts}
    assert slots <= headings and [one for one in shipped if one not in page] == []
    assert " at 0x" not in page


def test_a_docstring_becomes_markdown() -> None:
    markdown = import_module("api_pages").markdown
    said = "Does.\n\nArgs:\n    a, b: two numbers,\n        added.\n\n>>> f(1)\n2"
    assert markdown(said) == "Does.\n\nArgs:\n\n- `a, b`: two numbers, added.\n\n```python\n>>> f(1)\n2\n```"


def test_every_page_stands_in_the_contents_of_the_site() -> None:
    def paths(nav: object) -> Iterator[str]:
        if isinstance(nav, str):
            yield from [str(found.relative_to(ROOT)) for found in ROOT.glob(nav)] if "*" in nav else [nav]
        for one in nav.values() if isinstance(nav, dict) else nav if isinstance(nav, list) else ():
            yield from paths(one)

    listed = set(paths(yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]))
    pages = {str(page.relative_to(ROOT)) for page in ROOT.glob("docs/**/*.md") if "source" not in page.parts}
    assert pages - listed == set() and {one for one in listed if not (ROOT / one).is_file()} == set()
