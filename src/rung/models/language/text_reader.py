"""Texts to tokens and back: a language model's tokenizer and chat template, without its weights.

A row of data (a prompt, perhaps with answers to learn from) is encoded here and nowhere else, so that what is found
out before a run is what the run does.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from rung.errors import DataError
from rung.models.language.chat_template import chat_templates
from rung.models.language.folder import foreign
from rung.models.language.template_tools import tool_form
from rung.tool_calls import TOOLS, told_plainly

Ids = npt.NDArray[np.int64]
Text = str | Sequence[Mapping[str, str]]
"""A prompt: a text that is continued as it stands, or messages."""

NO_LIMIT = 1 << 30
"""The context length of a model whose configuration states none."""
CONTEXT = ("max_position_embeddings", "n_positions", "max_target_positions", "max_seq_len")
CONTEXT += ("max_sequence_length", "seq_length")
"""The names that architectures have for it."""
_MARK = "rung"
_ANCHORS = ("\n", "a", "0", ".")
"""What an answer is put after, to encode it as the middle of a text and not as its beginning."""


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """A row in tokens. Example: `Encoded(prompt=[1, 7, 12], answers=([9, 2], [8, 2]))`."""

    prompt: Ids
    answers: tuple[Ids, ...] = ()
    """Each continues the prompt and ends with exactly one end token."""
    end_taken_off: bool = False
    """An answer's text carried an end token of its own."""
    unknown: bool = False
    """Characters that the tokenizer does not know became its unknown token."""

    @property
    def longest(self) -> int:
        """Tokens of the prompt with its longest answer."""
        return len(self.prompt) + max((len(ids) for ids in self.answers), default=0)


class TextReader:
    """A tokenizer with what its model says of lengths and ends.

    Attributes:
        context_length: tokens of prompt and answer together.
        num_embeddings: the model reads token ids below this; None: not known.
        end_ids: an episode ends at the first of these tokens: the tokenizer's own end token stands first, the one with
            which the chat template ends a turn last.
    """

    def __init__(
        self, tokenizer: Any, *, context_length: int, end_ids: Sequence[int | None], num_embeddings: int | None
    ) -> None:
        self.tokenizer, self.context_length, self.num_embeddings = tokenizer, context_length, num_embeddings
        size = num_embeddings or NO_LIMIT  # what has no embedding cannot be drawn
        found = (tokenizer.eos_token_id, *end_ids, self.turn_end)
        self.end_ids = tuple(dict.fromkeys(int(i) for i in found if i is not None and i < size))

    def encode(self, prompt: Text) -> Ids:
        """Prompt ids [P]. A str is continued as it stands, with the tokenizer's beginning token at most once; messages
        go through the chat template with a generation prompt.

        Raises:
            DataError: messages for a tokenizer without a chat template, or of a kind that the template refuses; a
                prompt without any token, or that is no valid Unicode.
        """
        return self.encode_row(prompt).prompt

    def encode_row(self, prompt: Text, answers: Sequence[str] = ()) -> Encoded:
        """One row. DataError, with what is wrong with it, where it cannot be encoded."""
        (found,) = self.encode_rows([(prompt, answers)])
        if isinstance(found, str):
            raise DataError([found])
        return found

    def encode_rows(self, rows: Sequence[tuple[Text, Sequence[str]]]) -> list[Encoded | str]:
        """Each row in tokens, or a sentence that says what is wrong with it; many rows at once are faster."""
        try:
            return self._encoded(rows)
        except DataError as error:  # one text of the batch was too much for the tokenizer
            return error.problems if len(rows) == 1 else [one for row in rows for one in self.encode_rows([row])]

    def _encoded(self, rows: Sequence[tuple[Text, Sequence[str]]]) -> list[Encoded | str]:
        written = self._written([prompt for prompt, _ in rows])
        problems = [
            text.problems[0] if isinstance(text, DataError) else self._unreadable(text, answers)
            for text, (_, answers) in zip(written, rows, strict=True)
        ]
        ids: dict[tuple[int, int], list[int]] = {}
        for chat in (False, True):
            texts = {
                (n, m): text + ending
                for n, (text, (prompt, answers)) in enumerate(zip(written, rows, strict=True))
                if isinstance(text, str) and not problems[n] and isinstance(prompt, str) is not chat
                for m, ending in enumerate(("", *answers))
            }
            ids |= zip(texts, self._tokens(list(texts.values()), chat), strict=True)
        return [problems[n] or self._checked(n, row, ids) for n, row in enumerate(rows)]

    def _written(self, prompts: Sequence[Text]) -> list[str | DataError]:
        """The prompts as the texts that go through the tokenizer; messages are rendered all together."""
        talks = [[dict(message) for message in one] for one in prompts if not isinstance(one, str)]
        wrong = [_no_unicode("the prompt", json.dumps(talk, ensure_ascii=False, default=str)) for talk in talks]
        rendered = iter(self._rendered([talk for talk, problem in zip(talks, wrong, strict=True) if not problem]))
        whole = iter([DataError([problem]) if problem else next(rendered) for problem in wrong])
        begin = self.tokenizer.bos_token if self._adds[0] else ""
        return [one.removeprefix(begin) if isinstance(one, str) else next(whole) for one in prompts]

    def _unreadable(self, prompt: str, answers: Sequence[str]) -> str:
        """What keeps a row's texts from being encoded at all; empty: nothing."""
        for what, one in (("the prompt", prompt), *(("an answer", answer) for answer in answers)):
            if problem := _no_unicode(what, one):
                return problem
            if len(one) > self.context_length * self._longest_token:
                at_least = len(one) // self._longest_token
                return f"{what} has at least {at_least:,} tokens, and {self._most()}; shorten it"
        return ""

    def _most(self) -> str:
        return f"the model's context holds {self.context_length:,}"

    @cached_property
    def tool_form(self) -> str:
        """The form in which the chat template writes tool calls (`rung.tool_calls.FORMS`); empty: it has none."""
        return tool_form(self.rendered_as_is, self.ends) if self.tokenizer.chat_template else ""

    @cached_property
    def ends(self) -> list[str]:
        """The texts of `end_ids`."""
        return self.decode_whole([[one] for one in self.end_ids])

    def rendered_as_is(self, talks: Sequence[Sequence[Mapping[str, Any]]]) -> list[str | DataError]:
        """Conversations through the chat template, whether it takes tools or drops them."""
        return chat_templates().render(self.tokenizer, talks)

    def _rendered(self, talks: Sequence[Sequence[Mapping[str, str]]], *, begins: bool = True) -> list[str | DataError]:
        if not self.tokenizer.chat_template:
            problem = (
                "the prompt is a list of messages, but this model's tokenizer has no chat template: "
                "give the prompt as a str (a reasoning-gym task does so with task.chat=false), or use a model trained "
                "for chat"
            )
            return [DataError([problem])] * len(talks)
        if any(talk[0]["role"] == TOOLS for talk in talks) and not self.tool_form:
            talks = [told_plainly(talk) if talk[0]["role"] == TOOLS else talk for talk in talks]
        return chat_templates().render(self.tokenizer, talks, begins=begins)

    def _tokens(self, texts: list[str], chat: bool) -> list[list[int]]:
        if not texts:
            return []
        how = {"add_special_tokens": not chat, "return_attention_mask": False, "return_token_type_ids": False}
        with foreign("the model's tokenizer cannot read the text"):
            found = self.tokenizer(texts, **how)["input_ids"]
        return [ids[:-1] for ids in found] if self._adds[1] and not chat else found

    @cached_property
    def _adds(self) -> tuple[bool, bool]:
        """Whether the tokenizer itself puts its beginning token before a text, and its end token after it."""
        with foreign("the model's tokenizer cannot read the text"):
            ids = self.tokenizer("a")["input_ids"]
        return ids[:1] == [self.tokenizer.bos_token_id], ids[-1:] == [self.tokenizer.eos_token_id]

    @cached_property
    def _longest_token(self) -> int:
        """Characters that one token stands for at most."""
        return max(map(len, self.tokenizer.get_vocab()), default=1)

    def _checked(
        self, n: int, row: tuple[Text, Sequence[str]], ids: Mapping[tuple[int, int], list[int]]
    ) -> Encoded | str:
        prompt, (text, answers) = ids[n, 0], row
        if not prompt:
            return "the prompt has no tokens, expected at least one to continue from"
        end = self.end_ids[0] if self.end_ids else None
        end = self.turn_end if self.turn_end in self.end_ids and not isinstance(text, str) else end
        if answers and end is None:
            return (
                "the model's tokenizer has no end token, so an answer could not be learnt to end; name one "
                "(tokenizer.eos_token = ...) and save it with the model"
            )
        found: list[list[int]] = []
        taken_off = False
        for m, answer in enumerate(answers, start=1):
            own = self._after(prompt, ids[n, m], answer)
            if own is None:
                return "an answer's first token would reach into its prompt; move the space or letters between them"
            cut = next((place for place, token in enumerate(own) if token in self.end_ids), None)
            if cut is not None:
                if self.decode([token for token in own[cut:] if token not in self.end_ids]).strip():
                    return "an answer goes on after the model's end token; cut it there"
                own, taken_off = own[:cut], True
            if not own and answer:
                why = "it is empty but for its end token" if cut is not None else "they are one with its prompt's"
                return f"an answer has no tokens of its own: {why}"
            found.append([*own, end])  # type: ignore[list-item]
        every = [prompt, *found]
        largest = max(map(max, every))
        if self.num_embeddings is not None and largest >= self.num_embeddings:
            return self._beyond(largest)
        unknown = self.tokenizer.unk_token_id
        return Encoded(
            prompt=np.asarray(prompt, np.int64),
            answers=tuple(np.asarray(one, np.int64) for one in found),
            end_taken_off=taken_off,
            unknown=unknown is not None and unknown not in self.end_ids and any(unknown in one for one in every),
        )

    def _after(self, prompt: list[int], whole: list[int], answer: str) -> list[int] | None:
        """The answer's tokens as what follows its prompt: the rest of both encoded together where that begins with the
        prompt's tokens, else tokens that continue the prompt to the same text; None where there are none."""
        if whole[: len(prompt)] == prompt:
            return whole[len(prompt) :]
        (text,) = self.decode_whole([whole])
        for own in self._alone(answer):
            if self.decode_whole([[*prompt, *own]]) == [text]:
                return own
        return None

    def _alone(self, answer: str) -> Iterator[list[int]]:
        """The answer's tokens by itself, then as they are after other texts."""
        yield self._tokens([answer], True)[0]
        for anchor in _ANCHORS:
            before, both = self._tokens([anchor, anchor + answer], True)
            if both[: len(before)] == before:
                yield both[len(before) :]

    def _beyond(self, token: int) -> str:
        """The sentence on a token id for which the model has no embedding."""
        (text,) = self.decode_whole([[token]])
        last = (self.num_embeddings or 0) - 1
        return (
            f"token id {token} ({text!r}): the model has embeddings for 0 to {last} only; the "
            "tokenizer was given tokens that the model was not: model.resize_token_embeddings(len(tokenizer)) and save "
            "both, or take the tokenizer that the model came with"
        )

    @cached_property
    def turn_end(self) -> int | None:
        """The token with which the chat template ends the assistant's turn; None where it has none of its own."""
        if not self.tokenizer.chat_template:
            return None
        turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": _MARK}]
        (text,) = self._rendered([turns], begins=False)
        tail = "" if isinstance(text, DataError) else text.rpartition(_MARK)[2]
        for token in self._tokens([tail], True)[0] if tail else ():
            if token in self.tokenizer.added_tokens_decoder:
                return token
            if self.decode_whole([[token]])[0].strip():
                return None
        return None

    def decode(self, ids: Sequence[int] | npt.NDArray[Any]) -> str:
        """The text of the ids, special tokens included, without what frames it: padding, the beginning token before
        it, the end token after it. Bytes that are no UTF-8 become replacement marks."""
        start, end, pad = 0, len(ids), self.tokenizer.pad_token_id
        while start < end and int(ids[start]) in (pad, self.tokenizer.bos_token_id):
            start += 1
        while end > start and int(ids[end - 1]) in (pad, *self.end_ids):
            end -= 1
        return self.decode_whole([[int(i) for i in ids[start:end]]])[0]

    def decode_whole(self, rows: Sequence[Sequence[int]]) -> list[str]:
        """The text of each row of ids, special tokens included."""
        return self.tokenizer.batch_decode(rows, clean_up_tokenization_spaces=False)


def _no_unicode(what: str, text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        return f"{what} is no valid Unicode text: {error}; correct it"
    return ""


def told_by(model: Any) -> dict[str, Any]:
    """What a loaded model says of its reader."""
    return {
        "context_length": context_length(model.config),
        "end_ids": listed_ends(getattr(model, "generation_config", None)),
        "num_embeddings": model.get_input_embeddings().weight.shape[0],
    }


def listed_ends(config: Any) -> Sequence[int | None]:
    """The end tokens that a generation configuration, or a model's own, names: one, several, or none."""
    found = getattr(config, "eos_token_id", None)
    return found if isinstance(found, (list, tuple)) else [found]


def context_length(config: Any) -> int:
    """Tokens of prompt and answer together, as a model's configuration states it."""
    text = config.get_text_config()
    for name in CONTEXT:
        value = getattr(text, name, None)
        if isinstance(value, int) and value > 0:
            return value
    return NO_LIMIT
