"""Rows in tokens, with tokenizers as they are in use: an answer is what follows its prompt and ends as turns end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from real_tokenizers import CHAT, END, TURN, TURN_END, byte_level, metaspace, reader

from rung.errors import DataError
from rung.models.language.text_reader import Encoded, TextReader
from rung.models.language.tiny import tiny_reader

QUESTION = ({"role": "user", "content": "What is 2 plus 3?"},)
BPE, WORDS = reader(byte_level()), reader(metaspace())
READERS = pytest.mark.parametrize("by", [BPE, WORDS, tiny_reader()], ids=["byte-level", "metaspace", "characters"])


def tokens(by: TextReader, prompt: Any, *answers: str) -> list[list[str]]:
    row = by.encode_row(prompt, answers)
    return [by.tokenizer.convert_ids_to_tokens(ids.tolist()) for ids in row.answers]


@READERS
@pytest.mark.parametrize("prompt", ["2+3=", "2 + 3 = ", "the ans", "the answer is", "the answer is ", "What is 2\n"])
@pytest.mark.parametrize("answer", ["5", " 5", "wer", "the answer\n", " is 5"])
def test_an_answer_is_what_follows_its_prompt(by: TextReader, prompt: str, answer: str) -> None:
    row = by.encode_row(prompt, [answer])
    assert row.prompt.tolist() == by.encode(prompt).tolist()
    (ids,) = row.answers
    assert ids[-1] == by.end_ids[0] and list(ids).count(by.end_ids[0]) == 1
    assert by.decode([*row.prompt, *ids]) == by.decode(by.encode(prompt + answer))


def test_an_answer_by_itself_would_bring_a_space_that_nobody_wrote() -> None:
    """The negative control: tokens of the answer alone read "2+3= 5"."""
    alone = WORDS.tokenizer("5", add_special_tokens=False)["input_ids"]
    assert WORDS.decode([*WORDS.encode("2+3="), *alone]) == "2+3= 5"
    assert tokens(WORDS, "2+3=", "5", " 5") == [["5", "</s>"], ["▁5", "</s>"]]


def test_a_prompt_keeps_its_tokens_where_both_together_would_merge() -> None:
    together = BPE.tokenizer("the answer")["input_ids"]
    prompt = BPE.encode("the ans").tolist()
    assert together[: len(prompt)] != prompt  # or this shows nothing
    row = BPE.encode_row("the ans", ["wer"])
    assert row.prompt.tolist() == prompt and BPE.decode([*prompt, *row.answers[0]]) == "the answer"


def test_an_answer_ends_as_the_templates_turns_end() -> None:
    end, turn_end = (BPE.tokenizer.convert_tokens_to_ids(token) for token in (END, TURN_END))
    assert BPE.turn_end == turn_end and BPE.end_ids == (end, turn_end)
    assert tokens(BPE, QUESTION, "5") == [["5", TURN_END]] and tokens(BPE, "2+3=", "5") == [["5", END]]


@pytest.mark.parametrize(
    ("template", "end"),
    [
        (CHAT, TURN_END),
        (CHAT.replace("<|im_end|>\n", " <|im_end|>"), TURN_END),
        (CHAT.replace("<|im_end|>\n", "\n\n"), END),
        (CHAT.replace("<|im_end|>\n", "."), END),
        (CHAT.replace("<|im_end|>\n", ""), END),
        ("{{ messages[0]['content'] }}{{ raise_exception('no') if messages|length > 1 }}", END),
    ],
)
def test_the_end_of_a_turn_is_read_from_the_template(template: str, end: str) -> None:
    assert tokens(reader(byte_level(chat=template)), QUESTION, "5") == [["5", end]]


@pytest.mark.parametrize("text", ["5", f"5{TURN_END}", f"5{TURN_END}\n", f"5{END}", f"5{TURN_END}{END}\n \n"])
def test_end_texts_that_an_answer_carries_are_taken_off(text: str) -> None:
    row = BPE.encode_row(QUESTION, [text, "6"])
    assert [BPE.decode(ids) for ids in row.answers] == ["5", "6"] and [len(ids) for ids in row.answers] == [2, 2]
    assert row.end_taken_off is (text != "5")


@pytest.mark.parametrize(
    ("prompt", "answers", "words"),
    [
        ("2+3=", [f"5{END}6"], "an answer goes on after the model's end token; cut it there"),
        (QUESTION, [f"5{TURN_END}\n{TURN}user\nhi"], "an answer goes on after the model's end token"),
        (QUESTION, [TURN_END], "an answer has no tokens of its own: it is empty but for its end token"),
        ("", [], "the prompt has no tokens"),
        ("a\ud800", [], "the prompt is no valid Unicode text"),
        ([{"role": "user", "content": "\udfff"}], [], "the prompt is no valid Unicode text"),
        ("a", ["\ud800"], "an answer is no valid Unicode text"),
        ("x" * 10_000_000, [], "the prompt has at least 769,230 tokens, and the model's context holds 128; shorten it"),
        ("a", ["x" * 10_000_000], "an answer has at least 769,230 tokens"),
        (
            [{"role": "system", "content": "Be brief."}, *QUESTION],
            [],
            "chat template refuses the messages: System role",
        ),
        ([{"role": "tool"}], [], "chat template refuses the messages: TypeError: can only concatenate"),
    ],
)
def test_what_cannot_be_read_is_said_in_words(prompt: Any, answers: Sequence[str], words: str) -> None:
    by = BPE if prompt != [{"role": "tool"}] else reader(byte_level(chat="{{ 'a' + messages[0]['role'] + 1 }}"))
    with pytest.raises(DataError) as caught:
        by.encode_row(prompt, answers)
    assert words in str(caught.value)
    others = [("2+3=", ["5"]), (prompt, answers), (QUESTION, ["6"])]
    found = by.encode_rows(others)
    assert found[1] == str(caught.value) and isinstance(found[0], Encoded)  # its neighbours stay


def test_a_nul_and_unknown_characters_are_read_and_said() -> None:
    assert BPE.decode(BPE.encode("\0 a")) == "\0 a" and not BPE.encode_row("日本").unknown
    assert WORDS.encode_row("日").unknown and WORDS.encode_row("2", ["日"]).unknown
    assert not WORDS.encode_row("2", ["5"]).unknown


def test_a_tokenizer_without_an_unknown_token_refuses_a_row_and_not_its_batch() -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    made = Tokenizer(models.WordLevel({"a": 0, "b": 1, "</s>": 2}, unk_token="<none>"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    by = reader(PreTrainedTokenizerFast(tokenizer_object=made, eos_token="</s>"))
    found = by.encode_rows([("a", ()), ("c", ()), ("a b", ())])
    assert [row if isinstance(row, str) else row.prompt.tolist() for row in found] == [
        [0],
        "the model's tokenizer cannot read the text: WordLevel error: Missing [UNK] token from the vocabulary; "
        "get or export the model again",
        [0, 1],
    ]


def test_a_tokenizer_without_an_end_token() -> None:
    by = reader(byte_level(end=None))
    assert by.end_ids == (by.turn_end,) and tokens(by, QUESTION, "5") == [["5", TURN_END]]
    by = reader(byte_level(end=None, chat=None))
    assert by.end_ids == () and len(by.encode("2+3="))
    with pytest.raises(DataError, match=r"no end token, so an answer could not be learnt to end; name one"):
        by.encode_row("2+3=", ["5"])


def test_a_token_beyond_the_embedding_is_named() -> None:
    tokenizer = byte_level()
    tokenizer.add_tokens(["<answer>"])
    by = reader(tokenizer, rows=len(tokenizer) - 1)
    assert by.encode("2+3=").max() < len(tokenizer) - 1
    with pytest.raises(DataError, match=rf"token id {len(tokenizer) - 1} \('<answer>'\): .*resize_token_embeddings"):
        by.encode_row("2+3=", ["<answer>5"])
    assert reader(tokenizer).encode("<answer>").tolist() == [len(tokenizer) - 1]


def test_many_rows_are_what_each_is_alone() -> None:
    rows = [("2+3=", ["5"]), (QUESTION, ["5", "6"]), ("the ans", ["wer"]), ("", ()), (QUESTION, ())]
    for by in (BPE, WORDS):
        for row, found in zip(rows, by.encode_rows(rows), strict=True):
            (alone,) = by.encode_rows([row])
            assert str(found) == str(alone)
