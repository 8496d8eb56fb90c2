"""A page in one file: modules joined in order, only their hashes allowed, and data that cannot end its island."""

from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path

import pytest
from pages_read import LOADING, ReadPage

from rung.lab.one_file import encoded, in_one_file, joined

PAGE = """<!doctype html>
<html><head>
<meta charset="utf-8">
<link rel="icon" href="static/rung.svg" type="image/svg+xml">
<link rel="stylesheet" href="static/own.css">
<script type="module" src="static/own.js"></script>
</head><body><p>words</p></body></html>
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "own.css").write_text("p { color: red; }")
    (tmp_path / "own.js").write_text(
        'import { by } from "./pages.js";\nimport { one, two as second } from "./other.js";\nby(one + second());\n'
    )
    (tmp_path / "other.js").write_text(
        "export const one = 1;\nexport async function two() { return one; }\nconst mine = 3;\n"
    )
    return tmp_path


def test_everything_is_inside_and_only_that_may_run(folder: Path) -> None:
    page = ReadPage(in_one_file(PAGE, [folder], {"data": encoded([1])}))
    (script,) = page.scripts
    (style,) = page.styles
    for text, kind in ((script, "script-src"), (style, "style-src")):
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind} 'sha256-{digest}';" in page.policy
    assert page.policy.startswith("default-src 'none'; ") and "unsafe" not in page.policy
    assert "require-trusted-types-for 'script'" in page.policy
    assert not {tag for tag, _ in page.tags} & LOADING and not [a for _, a in page.tags if "src" in a]
    assert [tag for tag, _ in page.tags].index("style") > [a.get("http-equiv") for _, a in page.tags].index(
        "Content-Security-Policy"
    ), "a policy holds for what follows it"
    assert page.data("data") == [1] and page.text == "words"


def test_modules_are_joined_after_what_they_import(folder: Path) -> None:
    script = joined("own.js", [folder, Path("src/rung/lab/pages/static")])
    places = [script.index(f'modules["{name}"] = ') for name in ("pages.js", "other.js", "own.js")]
    assert places == sorted(places)
    assert 'const { one, two as second } = modules["other.js"];' not in script, "a renamed import is no destructuring"
    assert "return { one, two };" in script and "export" not in script and "import {" not in script


def test_what_cannot_be_joined_is_refused(folder: Path) -> None:
    for text in ('import * as all from "./other.js";\n', "export default 1;\n", "const x = '</script>';\n"):
        (folder / "own.js").write_text(text)
        with pytest.raises(AssertionError):
            joined("own.js", [folder])


def test_data_cannot_end_its_island() -> None:
    value = ["</script><script>alert(1)</script>", "<!--", "]]>", "&lt;", "\u2028 \u202e \ud800", "__proto__"]
    text = encoded(value)
    assert text.isascii() and not set("<>&") & set(text) and json.loads(text) == value
    with pytest.raises(ValueError, match="Out of range float"):
        encoded(float("nan"))
