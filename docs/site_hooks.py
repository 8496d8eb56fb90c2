"""Lays the pages out for mkdocs: Markdown as it is, notebooks as pages, linked source files as pages, in their places.

A link between files of the repository then works in the site as it does in a clone, and mkdocs finds the dead ones.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
STAGE = ROOT / "build" / "site_pages"
FIRST = ("README.md", "README.ja.md", "CONTRIBUTING.md", "CHANGELOG.md", "benchmarks/README.md")
UNSEARCHED = "---\nsearch:\n  exclude: true\n---\n"
_LINK = re.compile(r"(\]\()([^)#\s:]+)((?:#[^)\s]*)?\))")


def on_config(config: Any) -> Any:
    """The pages are laid out anew, and patterns in the contents become lists of pages."""
    shutil.rmtree(STAGE, ignore_errors=True)
    todo = (
        [ROOT / name for name in FIRST]
        + sorted((ROOT / "docs").rglob("*.md"))
        + sorted((ROOT / "docs").rglob("*.ipynb"))
    )
    todo = [path for path in todo if "source" not in path.parts]
    done: set[Path] = set()
    while todo:
        path = todo.pop()
        if path not in done:
            done.add(path)
            todo += _laid_out(path)
    config["nav"] = _listed(config["nav"])
    return config


def _laid_out(path: Path) -> list[Path]:
    """Writes one page; gives what it links to within the repository."""
    place = STAGE / path.relative_to(ROOT)
    place.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix in (".png", ".svg", ".gif"):
        shutil.copy(path, place)
        return []
    linked: list[Path] = []

    def link(found: re.Match[str]) -> str:
        target = (path.parent / found[2]).resolve()
        if not target.exists() or not target.is_relative_to(ROOT):
            return found[0]  # mkdocs says that it leads nowhere
        linked.append(target)
        return found[1] + os.path.relpath(_page(target), path.parent) + found[3]

    text = _text(path, place)
    if path.suffix in (".md", ".ipynb"):
        text = _LINK.sub(link, text)
    (STAGE / _page(path).relative_to(ROOT)).write_text(text, encoding="utf-8")
    return linked


def _page(path: Path) -> Path:
    """Where the page about a file or a folder stands."""
    if path.is_dir():
        return path / ("README.md" if (path / "README.md").exists() else "files.md")
    if path.suffix in (".md", ".png", ".svg", ".gif"):
        return path
    return path.with_suffix(".md") if path.suffix == ".ipynb" else path.with_name(path.name + ".md")


def _text(path: Path, place: Path) -> str:
    if path.suffix == ".md":
        return path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        return _notebook(path, place)
    name = path.relative_to(ROOT)
    if path.is_dir():
        place.mkdir(parents=True, exist_ok=True)
        if (path / "README.md").exists():
            return (path / "README.md").read_text(encoding="utf-8")
        files = sorted(one for one in path.iterdir() if one.is_file() and one.suffix in (".py", ".md", ".yaml"))
        return f"# {name}\n\n" + "".join(f"- `{one.name}`\n" for one in files)
    kind = {".py": "python", ".yaml": "yaml", ".toml": "toml"}.get(path.suffix, "text")
    return f"{UNSEARCHED}# {name}\n\n````{kind}\n{path.read_text(encoding='utf-8')}\n````\n"


def _notebook(path: Path, place: Path) -> str:
    from nbconvert import MarkdownExporter

    text, resources = MarkdownExporter().from_filename(str(path))
    for name, data in resources["outputs"].items():
        picture = f"{path.stem}_{name}"
        (place.parent / picture).write_bytes(data)
        text = text.replace(f"]({name})", f"]({picture})")
    return text


def _listed(nav: Any) -> Any:
    """The contents with `*.md` patterns replaced by the pages that they match."""
    if isinstance(nav, dict):
        return {title: _listed(of) for title, of in nav.items()}
    if isinstance(nav, list):
        return [item for one in nav for item in _matched(one)]
    return nav


def _matched(entry: Any) -> list[Any]:
    if isinstance(entry, str) and "*" in entry:
        return [str(path.relative_to(STAGE)) for path in sorted(STAGE.glob(entry))]
    return [_listed(entry)]


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Japanese pages say so, so that a browser takes a Japanese font."""
    japanese = "/ja/" in page.file.src_uri or page.file.src_uri.endswith(".ja.md")
    return output.replace('<html lang="en"', '<html lang="ja"', 1) if japanese else output
