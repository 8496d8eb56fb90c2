"""Turns on the run page: the policy's words, and behind an arrow what a tool or a user answered."""

from __future__ import annotations

from rung.lab.run_page.shown import STEP_COLUMNS, shown_step


def test_a_tools_answer_and_a_users_stand_behind_an_arrow() -> None:
    said = [
        ("assistant", "?times(3, 4)"),
        ("tool", "12\n"),
        ("assistant", "so"),
        ("user", "go on\n"),
        ("assistant", "12"),
    ]
    row = dict.fromkeys(STEP_COLUMNS) | {"group": 0, "sample": 0, "item": "1", "prompt": "3*4=", "completion": "?times"}
    row |= {"status": "ok", "mask": [True], "turns": [{"role": role, "content": text} for role, text in said]}
    assert "?times(3, 4)\n← 12\nso\n← go on\n12" in repr(shown_step([row])).replace("\\n", "\n")
