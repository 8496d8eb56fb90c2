"""Chat templates: programs of strangers, which end in time, within memory, and in our words."""

from __future__ import annotations

import time
from typing import Any

import pytest

from rung.errors import DataError
from rung.models.language import chat_template
from rung.models.language.policy import TextPolicy
from rung.models.language.tiny import tiny_model
from rung.rollouts.sampling import prompts_of
from rung.tasks.task import Item

GOOD = (
    "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content | trim }}{% endfor %}"
    "{{ '(' if add_generation_prompt }}"
)
DOUBLES = "{% set n = namespace(s='aaaa') %}{% for i in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}"
ASKED = [{"role": "system", "content": "Be brief. "}, {"role": "user", "content": "2+3?"}]


@pytest.fixture(scope="module")
def policy() -> TextPolicy:
    return tiny_model(0, layers=1, width=16)


def test_a_text_is_rendered_as_transformers_renders_it(policy: TextPolicy) -> None:
    policy.tokenizer.chat_template = GOOD
    expected = policy.tokenizer.apply_chat_template(ASKED, add_generation_prompt=True, return_dict=True)["input_ids"]
    assert policy.encode(ASKED).tolist() == expected
    assert policy.decode_whole([expected]) == ["<bos>[system]Be brief.[user]2+3?("]
    policy.tokenizer.chat_template = {"default": GOOD, "tool_use": "{{ 1 / 0 }}"}
    assert policy.encode(ASKED).tolist() == expected


def test_one_child_serves_all_and_renders_many_at_once(policy: TextPolicy) -> None:
    policy.tokenizer.chat_template = GOOD
    policy.encode(ASKED)
    child = chat_template.chat_templates()._child
    pid, began = child.pid, time.monotonic()
    rows = policy.encode_rows([(ASKED, ())] * 1000)
    assert time.monotonic() - began < 3 and pid is not None and child.pid == pid
    assert {tuple(row.prompt.tolist()) for row in rows} == {tuple(policy.encode(ASKED).tolist())}  # type: ignore[union-attr]


def test_one_conversation_that_never_ends_leaves_the_others(
    policy: TextPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_template, "DEADLINE_S", 1.0)
    loops = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    hangs = "{% if m.content == 'hang' %}" + loops + "{% endif %}"
    policy.tokenizer.chat_template = "{% for m in messages %}[{{ m.content }}]" + hangs + "{% endfor %}"
    talks = [[{"role": "user", "content": word}] for word in ("a", "hang", "b", "hang", "hang")]
    began = time.monotonic()
    found = policy.encode_rows([(talk, ()) for talk in talks])
    assert [isinstance(one, str) for one in found] == [False, True, False, True, True]
    again = policy.encode_rows([(talk, ()) for talk in talks[:1]])
    assert isinstance(again[0], str), "a template that was ended twice renders nothing more"
    assert time.monotonic() - began < 15


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "it did not end within 1 s"),
        ("{{ 'a' * 10000000000 }}", "MemoryError"),
        (
            "{% set n = namespace(s='aaaa') %}{% for i in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
            "MemoryError",
        ),
        ("{{ 'a' * 50000000 }}", "it made 50,000,000 characters, expected at most 16,777,216"),
        ("{% if %}", "TemplateSyntaxError: Expected an expression"),
        ("{{ raise_exception('only users may speak') }}", "messages: only users may speak"),
        ("{{ nothing.at.all }}", "UndefinedError: 'nothing' is undefined"),
        ("{{ ''.__class__.__mro__ }}", "SecurityError"),
        ("{{ 7 // 0 }}", "ZeroDivisionError"),
        ("{{ '\\ud800' }}", "UnicodeEncodeError"),
        ({"other": GOOD}, "multiple chat templates with no default"),
        (5, "it is no text but a int"),
    ],
    ids=lambda one: str(one)[:30],
)
def test_a_template_that_cannot_be_rendered_is_refused_with_its_item(
    template: Any, why: str, policy: TextPolicy, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "1 s" in why:
        monkeypatch.setattr(chat_template, "DEADLINE_S", 1.0)
        monkeypatch.setitem(chat_template.WHY, "timeout", "it did not end within 1 s")
    policy.tokenizer.chat_template = template
    item = Item(id="q7", prompt=tuple(ASKED), columns={})
    with pytest.raises(DataError) as error:
        prompts_of(policy, [item])
    assert str(error.value).startswith("item q7: the model's chat template refuses the messages: ")
    assert why in str(error.value)
