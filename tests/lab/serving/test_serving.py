"""A served model answers OpenAI's requests with what its own sampler draws, and nobody without the key."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from rung.lab.pages import PageServer
from rung.lab.serving import LARGEST_BODY, KeyGuard, Serving
from rung.models.language.tiny import tiny_model
from rung.random import Stream
from rung.rollouts.sampler import InProcessSampler
from rung.rollouts.sampling import Prompt

KEY = "k" * 20
TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% endfor %}="


class Client:
    """What a client would send, as bytes over a socket."""

    def __init__(self, port: int, refusals: list[str]) -> None:
        self.base, self.refusals = f"http://127.0.0.1:{port}/v1/", refusals

    def raw(self, path: str, body: bytes | None = None, **headers: str) -> tuple[int, bytes]:
        sent = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"} | headers
        request = urllib.request.Request(self.base + path, body, sent)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def ask(self, path: str = "completions", **asked: Any) -> dict[str, Any]:
        status, body = self.raw(path, json.dumps(asked).encode())
        assert status == 200, body
        return json.loads(body)

    def refused(self, path: str = "completions", **asked: Any) -> tuple[int, str]:
        status, body = self.raw(path, json.dumps(asked).encode())
        return status, json.loads(body)["error"]["message"]


@pytest.fixture(scope="module")
def policy() -> Any:
    found = tiny_model(0, context_length=64)
    found.tokenizer.chat_template = TEMPLATE
    return found


@pytest.fixture(scope="module")
def client(policy: Any) -> Iterator[Client]:
    refusals: list[str] = []
    guard = partial(KeyGuard, key=KEY)
    with PageServer(Serving(policy, "mine").routes(), guard=guard, refused=refusals.append) as server:
        thread = threading.Thread(target=server.run)
        thread.start()
        yield Client(server.port, refusals)
        server.stop()
        thread.join(20)
        assert not thread.is_alive()


def drawn(policy: Any, prompt: Any, seed: int, **how: Any) -> Any:
    ids = policy.encode(prompt)
    asked = {"samples_per_prompt": 1, "max_new_tokens": 8, "temperature": 1.0} | how
    return InProcessSampler(policy).sample([Prompt(f"seed {seed}, 0", 0, ids)], stream=Stream(0, 0, "serve"), **asked)


def test_an_answer_is_what_the_sampler_draws(client: Client, policy: Any) -> None:
    (own,) = drawn(policy, "2+3=", 7)
    answer = client.ask(prompt="2+3=", max_tokens=8, seed=7, logprobs=0)
    (choice,) = answer["choices"]
    assert choice["text"] == own.text and answer["model"] == "mine"
    assert choice["finish_reason"] == ("stop" if own.terminated else "length")
    assert choice["logprobs"]["token_logprobs"] == pytest.approx(own.log_probs.tolist(), abs=1e-6)
    tokens = len(own.actions)
    assert answer["usage"] == {"prompt_tokens": 5, "completion_tokens": tokens, "total_tokens": 5 + tokens}


def test_messages_go_through_the_chat_template_in_parts_too(client: Client, policy: Any) -> None:
    (own,) = drawn(policy, ({"role": "user", "content": "2+3"},), 1, temperature=0.0)
    for content in ("2+3", [{"type": "text", "text": "2+"}, {"type": "text", "text": "3"}]):
        asked = {"messages": [{"role": "user", "content": content}], "temperature": 0, "max_completion_tokens": 8}
        answer = client.ask("chat/completions", **asked, logprobs=True)
        (choice,) = answer["choices"]
        assert choice["message"] == {"role": "assistant", "content": own.text}
        assert len(choice["logprobs"]["content"]) == len(own.actions)


def test_several_samples_prompts_and_a_stop_text(client: Client) -> None:
    answer = client.ask(prompt=["1+1=", "2+2="], n=3, max_tokens=4, seed=1)
    assert [one["index"] for one in answer["choices"]] == list(range(6))
    assert len({one["text"] for one in answer["choices"]}) > 1
    whole = client.ask(prompt="1+1=", max_tokens=8, temperature=0)["choices"][0]["text"]
    cut = client.ask(prompt="1+1=", max_tokens=8, temperature=0, stop=whole[2])["choices"][0]
    assert cut["text"] == whole[: whole.index(whole[2])] and cut["finish_reason"] == "stop"


def test_who_asks_beside_others_gets_the_same_and_without_a_seed_another(client: Client) -> None:
    alone = [client.ask(prompt=f"{n}+1=", max_tokens=8, seed=n)["choices"] for n in range(6)]
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(client.ask, prompt=f"{n}+1=", max_tokens=8, seed=n) for n in range(6)]
        assert [one.result()["choices"] for one in asked] == alone
    assert len({client.ask(prompt="1+1=", max_tokens=8)["choices"][0]["text"] for _ in range(4)}) > 1


def test_a_stream_has_the_same_text(client: Client) -> None:
    messages = [{"role": "user", "content": "2+3"}]
    same = {"messages": messages, "max_tokens": 8, "seed": 3}
    whole = client.ask("chat/completions", **same)
    asked = json.dumps({**same, "stream": True, "stream_options": {"include_usage": True}}).encode()
    _, body = client.raw("chat/completions", asked)
    events = [line.removeprefix("data: ") for line in body.decode().split("\n\n") if line]
    assert events.pop() == "[DONE]"
    found = [json.loads(one) for one in events]
    assert found.pop()["usage"] == whole["usage"]
    assert {one["object"] for one in found} == {"chat.completion.chunk"}
    said = "".join(one["choices"][0]["delta"].get("content", "") for one in found)
    assert said == whole["choices"][0]["message"]["content"]
    assert found[-1]["choices"][0]["finish_reason"] == whole["choices"][0]["finish_reason"]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"prompt": "1", "top_p": 0.9}, "top_p: got '0.9'; input should be 1"),
        ({"prompt": "1", "temprature": 1}, "temprature: not known; did you mean 'temperature'?"),
        ({"prompt": "1", "tools": [{}]}, "tools: "),
        ({"prompt": "1" * 64}, "the prompt has 65 tokens, and the context holds 64"),
        ({"prompt": "1", "max_tokens": 99}, "max_tokens: got 99, but the context has room for 62"),
        ({"messages": []}, "prompt: missing"),
        ({"prompt": "1", "n": 0}, "n: got '0'"),
    ],
)
def test_what_cannot_be_done_is_refused_in_words(client: Client, asked: dict[str, Any], words: str) -> None:
    status, said = client.refused(**asked)
    assert status == 400 and words in said


def test_another_model_a_wrong_body_and_a_wrong_path(client: Client) -> None:
    assert client.refused(prompt="1", model="gpt") == (404, "model: got 'gpt', expected 'mine'")
    assert client.raw("completions", b"{")[0] == 400 and client.raw("completions", b"[1]")[0] == 400
    assert client.raw("nothing")[0] == 404
    assert client.raw("completions", b"{}", **{"Content-Length": str(LARGEST_BODY + 1)})[0] == 413
    status, body = client.raw("models")
    assert status == 200 and json.loads(body)["data"][0]["id"] == "mine"


@pytest.mark.parametrize(
    ("status", "headers"),
    [
        (401, {"Authorization": "Bearer wrong"}),
        (401, {"Authorization": ""}),
        (401, {"Authorization": f"Basic {KEY}"}),
        (403, {"Origin": "http://127.0.0.1"}),
        (421, {"Host": "evil.example"}),
    ],
)
def test_nobody_without_the_key_and_no_web_page(client: Client, status: int, headers: dict[str, str]) -> None:
    assert client.raw("models", **headers)[0] == status
    assert any(f"({status})" in one for one in client.refusals)
