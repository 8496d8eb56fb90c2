"""The ladder as an SVG picture: a box a method, an arrow from its parent, on it the slots that it changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape

from rung.methods import Method
from rung.methods.explain import difference

WIDTH, ROW, INDENT, BOX = 1180, 46, 54, 190


def ladder_picture(methods: Mapping[str, Method]) -> str:
    """An SVG text; equal definitions give equal bytes."""
    order = list(_walk(methods, None, 0))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {ROW * len(order) + 16}" '
        'font-family="sans-serif" font-size="14">',
        "<style>.box{fill:#eef3fb;stroke:#33507a} .preset{fill:#f6f1e7} .ink{fill:#10233f} .soft{fill:#556}"
        "path{stroke:#8aa0bf;fill:none} @media (prefers-color-scheme: dark) {.box{fill:#1b2738;stroke:#6f8fbf}"
        ".preset{fill:#2b2618} .ink{fill:#e6edf3} .soft{fill:#9da7b3}}</style>",
    ]
    place = {name: (16 + depth * INDENT, 12 + row * ROW) for row, (name, depth) in enumerate(order)}
    for name, _ in order:
        lines += _entry(methods, name, place)
    return "\n".join([*lines, "</svg>", ""])


def _walk(methods: Mapping[str, Method], parent: str | None, depth: int) -> Iterator[tuple[str, int]]:
    for name, method in methods.items():
        if method.parent == parent:
            yield name, depth
            yield from _walk(methods, name, depth + 1)


def _entry(methods: Mapping[str, Method], name: str, place: Mapping[str, tuple[int, int]]) -> list[str]:
    method, (x, y) = methods[name], place[name]
    kind = "box" if "@" not in name else "box preset"
    found = [
        f'<rect x="{x}" y="{y}" width="{BOX}" height="32" rx="6" class="{kind}"/>',
        f'<text x="{x + 10}" y="{y + 21}" class="ink">{escape(name)}</text>',
    ]
    if method.parent is None:
        return found
    above_x, above_y = place[method.parent]
    slots = dict.fromkeys(change.slot.split(".")[0] for change in difference(methods[method.parent], method))
    words = ", ".join(slots)
    corner = above_x + 22
    return [
        f'<path d="M{corner} {above_y + 32} V{y + 16} H{x}"/>',
        *found,
        f'<text x="{x + BOX + 12}" y="{y + 21}" class="soft" font-size="12">{escape(words)}</text>',
    ]
