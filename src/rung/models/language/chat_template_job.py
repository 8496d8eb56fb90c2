"""The child's side of `chat_template.py`: renders with transformers' own sandboxed environment, and without torch."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import Any

from rung.tool_calls import TOOLS

LONGEST = 16 * 2**20
"""Characters of a rendered text."""


def chat_template_job(setup: Mapping[str, Any]) -> tuple[Callable[[Mapping[str, Any]], Any], Any]:
    """Answers `{"template": ..., "special_tokens": {...}, "begins": ..., "conversations": [...]}` with `{"text": ...}`
    for each conversation, or with `{"refused": ...}` where the template raises."""
    os.environ["USE_TORCH"] = "0"  # rendering needs none, and without it the child starts in a second
    from transformers.utils.chat_template_utils import render_jinja_template

    def render(request: Mapping[str, Any], messages: Any) -> Mapping[str, str]:
        try:
            tools = json.loads(messages.pop(0)["content"]) if messages and messages[0].get("role") == TOOLS else None
            (text,), _ = render_jinja_template(
                conversations=[messages],
                tools=tools,
                chat_template=request["template"],
                add_generation_prompt=request["begins"],
                **request["special_tokens"],
            )
            if len(text) > LONGEST:
                return {"refused": f"it made {len(text):,} characters, expected at most {LONGEST:,}"}
            text.encode("utf-8")
        except Exception as error:  # noqa: BLE001  (a template may raise anything)
            kind = type(error).__name__
            return {"refused": (str(error) if kind == "TemplateError" else f"{kind}: {error}")[:1000]}  # its own words
        return {"text": text}

    return lambda request: [render(request, one) for one in request["conversations"]], None
