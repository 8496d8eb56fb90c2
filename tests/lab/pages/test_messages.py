from __future__ import annotations

import pytest
from page_client import Served


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{", "no JSON"),
        (b"\xff", "no JSON"),
        (b"[" * 20_000, "no JSON"),
        (b"[1]", "a JSON list"),
        (b"{}", "word: expected a text"),
        (b'{"word": 1, "times": 1}', "word: expected a text"),
        (b'{"word": "\\ud800", "times": 1}', "word: holds half of a surrogate pair"),
        (b'{"\\ud800": "a"}', "'\\ud800' is not known"),
        (b'{"word": "a", "times": 1' + b"0" * 5000 + b"}", "no JSON"),
        (b'{"word": "a", "times": true}', "times: expected a whole number"),
        (b'{"word": "a", "times": 1.5}', "times: expected a whole number"),
        (b'{"word": "a", "times": 1, "tims": 2}', "'tims' is not known; did you mean 'times'?"),
    ],
)
def test_a_wrong_message_is_refused_in_words(served: Served, body: bytes, words: str) -> None:
    answer = served.post("/say", body)
    assert answer.status == 400 and words in answer.text


def test_a_refusal_is_text_that_the_page_can_show(served: Served) -> None:
    answer = served.post("/say", b'{"word": "no", "times": 1}')
    assert (answer.status, answer.text) == (409, "That word is taken.")
    assert answer.headers["content-type"].startswith("text/plain")
