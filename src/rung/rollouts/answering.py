"""A language model that is asked from Python: prompts in, texts out, by the sampler that trained it."""

from __future__ import annotations

from collections.abc import Sequence

from rung.models.language.policy import TextPolicy
from rung.random import Stream
from rung.rewards.reward import Prompt as Asked
from rung.rollouts.sampler import InProcessSampler
from rung.rollouts.sampling import Prompt


class AnsweringPolicy(TextPolicy):
    """A `TextPolicy` that answers.

    Example: `rung.open("runs/first").policy().generate("2+3=")` is `"5\\n"`.
    """

    def generate(
        self,
        prompt: Asked,
        *more: Asked,
        max_new_tokens: int = 128,
        temperature: float = 0.0,
        seed: int = 0,
        stop: Sequence[str] = (),
    ) -> str | list[str]:
        """What the model writes after a text, or answers to messages; for several prompts a list.

        Args:
            temperature: 0: the most likely token each time.
            seed: keys what is drawn at a temperature above 0.
            stop: texts that end an answer, as a task has them.
        """
        prompts = [Prompt(str(at), at, self.encode(one)) for at, one in enumerate((prompt, *more))]
        episodes = InProcessSampler(self).sample(
            prompts,
            samples_per_prompt=1,
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            stream=Stream(seed, 0, "generate"),
            stop=stop,
        )
        texts = [episode.text for episode in episodes]
        return texts if more else texts[0]


def answering(policy: TextPolicy) -> AnsweringPolicy:
    """The same model, which answers."""
    return AnsweringPolicy(policy.model, policy.tokenizer, compute_dtype=policy.compute_dtype)
