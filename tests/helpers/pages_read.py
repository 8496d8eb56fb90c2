"""A page in one file, read as a browser's parser splits it."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

LOADING = {"img", "iframe", "object", "embed", "link", "base", "form", "audio", "video", "source", "frame"}


@dataclass
class ReadPage(HTMLParser):
    """The tags with their attributes, the text, our scripts, and the data inside."""

    html: str
    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)
    scripts: list[str] = field(default_factory=list)
    styles: list[str] = field(default_factory=list)
    islands: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()
        self._now: tuple[str, dict[str, str | None]] = ("", {})
        self.feed(self.html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._now = self.tags[-1]

    def handle_endtag(self, tag: str) -> None:
        self._now = ("", {})

    def handle_data(self, data: str) -> None:
        tag, attributes = self._now
        if tag == "script" and attributes.get("type") == "application/json":
            self.islands[str(attributes["id"])] = data
        else:
            {"script": self.scripts, "style": self.styles}.get(tag, self.texts).append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    @property
    def policy(self) -> str:
        (found,) = [a["content"] for tag, a in self.tags if a.get("http-equiv") == "Content-Security-Policy"]
        return str(found)

    def data(self, island: str) -> Any:
        return json.loads(self.islands[island])
