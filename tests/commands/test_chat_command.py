"""`rung chat`: a line in, an answer out, until the input ends."""

from __future__ import annotations

import pytest

from rung.commands.evaluate import Talk
from rung.models.language.tiny import tiny_model
from rung.random import Stream
from rung.rollouts.sampler import InProcessSampler
from rung.rollouts.sampling import Prompt

TEMPLATE = (
    "{% for m in messages %}{{ m.role[0] }}:{{ m.content }};{% endfor %}{% if add_generation_prompt %}a:{% endif %}"
)


@pytest.fixture(scope="module")
def policy():
    return tiny_model(0)


def talk(policy, **changes):
    return Talk(InProcessSampler(policy), **{"temperature": 1.0, "max_new_tokens": 6, "seed": 0, **changes})


def greedy(policy, prompt):
    (episode,) = InProcessSampler(policy).sample(
        [Prompt("x", 0, policy.encode(prompt))],
        samples_per_prompt=1,
        max_new_tokens=6,
        temperature=0.0,
        stream=Stream(0, 0, "x"),
    )
    return episode.text


def test_without_a_template_it_continues_the_text(policy):
    one = talk(policy, temperature=0.0)
    assert not one.by_turns
    assert [one.answer("2+3="), one.answer("abc")] == [greedy(policy, "2+3="), greedy(policy, "abc")]


def test_turns_have_their_own_random_numbers_keyed_by_the_seed(policy):
    first, again, other = talk(policy), talk(policy), talk(policy, seed=1)
    answers = [first.answer("x") for _ in range(3)]
    assert answers == [again.answer("x") for _ in range(3)]
    assert len(set(answers)) > 1
    assert answers != [other.answer("x") for _ in range(3)]


def test_with_a_template_it_remembers_the_conversation(policy, monkeypatch):
    monkeypatch.setattr(policy.tokenizer, "chat_template", TEMPLATE)
    one = talk(policy, temperature=0.0)
    assert one.by_turns
    first = one.answer("hi")
    said = [{"role": "user", "content": "hi"}]
    assert policy.decode(policy.encode(tuple(said))) == "u:hi;a:"
    assert first == greedy(policy, tuple(said))
    said += [{"role": "assistant", "content": first}, {"role": "user", "content": "you"}]
    assert one.answer("you") == greedy(policy, tuple(said))
    one.start_afresh()
    assert one.answer("hi") == first


def test_the_oldest_turns_are_forgotten_when_the_context_is_full(policy, monkeypatch):
    monkeypatch.setattr(policy.tokenizer, "chat_template", TEMPLATE)
    monkeypatch.setattr(policy, "context_length", 60)
    one = talk(policy, temperature=0.0)
    for _ in range(5):
        one.answer("x" * 20)
    assert one.messages[-2] == {"role": "user", "content": "x" * 20}
    assert len(one.messages) < 10
    assert len(policy.encode(tuple(one.messages[:-1]))) <= 54


def test_piped_lines_are_answered_until_the_input_ends(rung, model):
    answer = rung("chat", model, "--temperature", "0", "--max-new-tokens", "5", stdin="2+3=\n\n4-1=\n")
    assert answer.code == 0
    assert "continues your text" in answer.err
    assert "> " not in answer.out and len(answer.out.splitlines()) >= 2
    assert rung("chat", model, stdin="").code == 0


def test_what_a_model_says_is_shown_harmless(rung, model, monkeypatch):
    monkeypatch.setattr(Talk, "answer", lambda self, line: "\x1b[31mred\x07 [bold]b[/bold] \u202e")
    answer = rung("chat", model, stdin="x\n")
    assert answer.out == "\\x1b[31mred\\x07 [bold]b[/bold] \\u202e\n"


def test_a_run_can_be_talked_to(rung, finished):
    assert rung("chat", finished, "--max-new-tokens", "2", stdin="1+1=\n").code == 0


def test_a_model_that_is_nowhere(rung):
    answer = rung("chat", "nobody/nothing", stdin="x\n")
    assert answer.code == 2 and "'nobody/nothing'" in answer.err
