"""What stands between two turns of the policy: the environment's words, in tokens.

The policy's own tokens are never encoded again. A text that is continued as it stands goes on with the words alone.
In a chat the template says what stands around them; it is asked once, with two histories, and must say the same.
No word of an environment becomes a special token, so that none can end a turn or speak as somebody else.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np

from rung.errors import DataError
from rung.models.language.text_reader import Ids, TextReader

_SAID, _TOLD = "rung", "gnur"


class BetweenTurns:
    """The tokens between turns, as one reader writes them.

    Example: `BetweenTurns(reader).ids("higher\\n", chat=False, last=7)`.
    """

    def __init__(self, reader: TextReader) -> None:
        self.reader = reader

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
        special = any(token.content in text for token in self.reader.tokenizer.added_tokens_decoder.values())
        if special:
            found = [*self._read(before), *self.words(text), *self._read(after)]
        else:
            found = self._read(before + text + after)
        return np.asarray(found if last == end else [end, *found], np.int64)

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
        end = self.reader.turn_end
        for text in rendered:
            if isinstance(text, DataError):
                raise text
        tails = {str(text).rpartition(_SAID)[2] for text in rendered}
        mark = "" if end is None else self.reader.decode_whole([[end]])[0]
        (tail, *others), (whole, *_) = tails, map(str, rendered)
        before, found, after = tail.partition(_TOLD)
        if end is None or others or not found or not before.startswith(mark):
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
