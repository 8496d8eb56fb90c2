"""What stands between two turns of the policy: the environment's words, in tokens.

The policy's own tokens are never encoded again. A text that is continued as it stands goes on with the words alone.
In a chat the template says what stands around them; it is asked once, with two histories, and must say the same.
No word of an environment becomes a special token, so that none can end a turn or speak as somebody else.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from rung.errors import DataError
from rung.models.language.template_tools import NAME, VALUE, around_results
from rung.models.language.text_reader import Ids, TextReader

_SAID, _TOLD = "rung", "gnur"


class BetweenTurns:
    """The tokens between turns, as one reader writes them.

    Example: `BetweenTurns(reader).ids("higher\\n", chat=False, last=7)`.
    """

    def __init__(self, reader: TextReader) -> None:
        self.reader = reader
        self._known: dict[int, tuple[int, list[str], bool] | None] = {}
        """What stands around so many results of tools."""

    def words(self, text: str) -> list[int]:
        """A text in the middle of another, without special tokens."""
        how = {"add_special_tokens": False, "split_special_tokens": True, "return_attention_mask": False}
        before, both, alone = self.reader.tokenizer(["\n", "\n" + text, text], **how)["input_ids"]
        return both[len(before) :] if both[: len(before)] == before else alone

    def ids(self, text: str, *, chat: bool, last: int) -> Ids:
        """What follows the policy's last token, up to where its next turn begins.

        Raises DataError: the chat template cannot be continued without writing earlier turns anew.
        """
        if not chat:
            return np.asarray(self.words(text), np.int64)
        end, before, after = self._around
        return self._joined(end, [before, after], [text], last)

    def results(self, results: Sequence[tuple[str, str]], *, last: int) -> Ids:
        """What follows a turn with tool calls: (tool, what it answered) for each, as the template writes results.

        As a user's words where it has no way to write them.
        """
        for given in (results, [(results[0][0], "\n".join(text for _, text in results))]):
            found = self._around_results(len(given)) if self.reader.tool_form else None
            if found is not None:
                end, parts, as_json = found
                named = zip(parts, given, strict=False)  # the last part names none
                parts = [*(part.replace(f"{NAME}{n}", one[0]) for n, (part, one) in enumerate(named)), parts[-1]]
                texts = [json.dumps(text, ensure_ascii=False)[1:-1] if as_json else text for _, text in given]
                return self._joined(end, parts, texts, last)
        return self.ids("\n".join(text for _, text in results), chat=True, last=last)

    def takes_results(self, num_calls: int) -> bool:
        """Whether the template can be continued with the results of so many calls, as a tool's words."""
        return self._around_results(num_calls) is not None

    def _joined(self, end: int, parts: Sequence[str], texts: Sequence[str], last: int) -> Ids:
        """The template's parts with texts between them, after the token that ends a turn where it was not drawn."""
        if any(
            token.content in text for token in self.reader.tokenizer.added_tokens_decoder.values() for text in texts
        ):
            found = self._read(parts[0])
            for text, part in zip(texts, parts[1:], strict=True):
                found += [*self.words(text), *self._read(part)]
        else:
            found = self._read("".join(one for pair in zip(parts, [*texts, ""], strict=True) for one in pair))
        return np.asarray(found if last == end else [end, *found], np.int64)

    def _around_results(self, num_calls: int) -> tuple[int, list[str], bool] | None:
        if num_calls not in self._known:
            ends = dict(zip(self.reader.ends, self.reader.end_ids, strict=True))
            found = around_results(self.reader.rendered_as_is, self.reader.ends, num_calls)
            self._known[num_calls] = None
            if found is not None:
                end, parts, as_json, whole = found
                own = self._read(whole[whole.rindex(VALUE) :].partition(end)[2])
                if self._read(whole)[-len(own) :] == own:
                    self._known[num_calls] = (ends[end], parts, as_json)
        return self._known[num_calls]

    def _read(self, text: str) -> list[int]:
        how = {"add_special_tokens": False, "return_attention_mask": False}
        return self.reader.tokenizer(text, **how)["input_ids"] if text else []

    @cached_property
    def _around(self) -> tuple[int, str, str]:
        """The token that ends a turn, and the texts before and after the environment's words that follow it."""
        last = [{"role": "assistant", "content": _SAID}, {"role": "user", "content": _TOLD}]
        longer = [{"role": "user", "content": "b c"}, {"role": "assistant", "content": "d"}]
        talks = [[*history, {"role": "user", "content": "a"}, *last] for history in ([], longer)]
        rendered = self.reader._rendered(talks)  # pyright: ignore[reportPrivateUsage]
        for text in rendered:
            if isinstance(text, DataError):
                raise text
        tails = {str(text).rpartition(_SAID)[2] for text in rendered}
        (tail, *others), (whole, *_) = tails, map(str, rendered)
        before, found, after = tail.partition(_TOLD)
        ends = zip(self.reader.ends, self.reader.end_ids, strict=True)
        mark, end = max(((text, one) for text, one in ends if text and before.startswith(text)), default=("", None))
        if end is None or others or not found:
            raise self._cannot("what stands between two turns depends on what was said, or no token ends a turn")
        before = before.removeprefix(mark)
        own = self._read(before + _TOLD + after)
        if self._read(whole)[-len(own) :] != own:
            raise self._cannot("its tokens after a turn depend on what stands before it")
        return end, before, after

    @staticmethod
    def _cannot(why: str) -> DataError:
        return DataError(
            [f"the model's chat template cannot be continued turn by turn: {why}; give the task's prompts as text"]
        )
