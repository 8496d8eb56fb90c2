"""A page in one file: its styles, scripts and data are put inside, and its policy lets nothing else run or load.

The same modules serve a page of `rung.lab.pages` and a page in one file; only here they are joined into one script.
Data travels as JSON islands in which `<`, `>` and `&` are escaped, so no text in them can end the island.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SHARED = Path(__file__).with_name("pages") / "static"
"""Modules and styles that all pages share."""

_STYLE = re.compile(r'<link rel="stylesheet" href="static/([\w.-]+)">')
_ICON = re.compile(r'<link rel="icon"[^>]*>\n?')
_SCRIPT = re.compile(r'<script type="module" src="static/([\w.-]+)"></script>\n?')
_IMPORT = re.compile(r'^import \{([^}]*)\} from "\./([\w.-]+)";$', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|class|const) (\w+))", re.MULTILINE)
_CHARSET = '<meta charset="utf-8">'


def in_one_file(html: str, folders: Sequence[Path], islands: Mapping[str, str]) -> str:
    """The page with everything inside that it names as `static/NAME`: styles and one module, but not its icon.

    They are looked for in the `folders` and in `SHARED`. `islands` are JSON texts by the id under which the script
    finds them; `encoded` makes one.
    """
    places = (*folders, SHARED)
    styles: list[str] = []

    def style(found: re.Match[str]) -> str:
        styles.append(_text(found[1], places))
        return f"<style>{styles[-1]}</style>"

    (entry,) = _SCRIPT.findall(html)
    script = joined(entry, places)
    html = _ICON.sub("", _STYLE.sub(style, _SCRIPT.sub("", html)))
    assert html.count(_CHARSET) == 1 and html.count("</body>") == 1, "the page's own frame"
    # Nothing is loaded from anywhere; what may run is ours, by its hash; no string is made into markup.
    allowed = f"script-src {_hash(script)}; style-src {' '.join(map(_hash, styles))}; img-src data:"
    forbidden = "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
    policy = f"default-src 'none'; {allowed}; {forbidden}"
    inside = [f'<script type="application/json" id="{name}">{data}</script>\n' for name, data in islands.items()]
    html = html.replace(_CHARSET, f'{_CHARSET}\n<meta http-equiv="Content-Security-Policy" content="{policy}">')
    return html.replace("</body>", f"{''.join(inside)}<script>{script}</script>\n</body>")


def encoded(value: Any) -> str:
    """JSON that can stand inside a script element, whatever its texts are.

    >>> encoded({"text": "</script>"})
    '{"text":"\\\\u003c/script\\\\u003e"}'
    """
    data = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for mark in "<>&":
        data = data.replace(mark, f"\\u{ord(mark):04x}")
    return data


def joined(entry: str, folders: Sequence[Path]) -> str:
    """One classic script of a module and all that it imports, each in a function of its own."""
    parts: dict[str, str] = {}
    _join(entry, folders, parts)
    script = "\n".join(['"use strict";', "const modules = {};", *parts.values(), ""])
    assert "</script" not in script and "<!--" not in script, "would end the element early"
    return script


def _join(name: str, folders: Sequence[Path], parts: dict[str, str]) -> None:
    text = _text(name, folders)
    for _, other in _IMPORT.findall(text):
        if other not in parts:
            _join(other, folders, parts)
    exports = ", ".join(_EXPORT.findall(text))
    taken = _IMPORT.sub(lambda it: f'const {{{it[1].replace(" as ", ": ")}}} = modules["{it[2]}"];', text)
    body = _EXPORT.sub("", taken)
    assert not re.search(r"^(import|export)\b", body, re.MULTILINE), (
        f"{name}: only named imports and exports are joined"
    )
    parts[name] = f'modules["{name}"] = (() => {{\n{body}return {{ {exports} }};\n}})();'


def _text(name: str, folders: Sequence[Path]) -> str:
    return next(folder / name for folder in folders if (folder / name).is_file()).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode('utf-8')).digest()).decode('ascii')}'"
