"""A small transformer made from scratch, for experiments and tests: an ordinary Hugging Face model in miniature.

A Llama with 0.8 million parameters over single characters. Its tokenizer knows the printable ASCII characters and the
newline, or the characters that it is given; everything else becomes the unknown token.
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Any

import torch

from rung.models.language.policy import TextPolicy
from rung.models.language.text_reader import TextReader, context_length

if TYPE_CHECKING:
    from transformers import LlamaConfig

SPECIAL = ("<pad>", "<bos>", "<eos>", "<unk>")
CHARACTERS = "\n" + string.digits + string.ascii_letters + string.punctuation + " "


def tiny_tokenizer(characters: str = CHARACTERS) -> Any:
    """One token a character. The beginning token is put before every text once, the end token never."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: i for i, token in enumerate((*SPECIAL, *characters))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    tokenizer.decoder = decoders.Fuse()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", vocabulary["<bos>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )


def tiny_config(
    characters: str = CHARACTERS, *, context_length: int = 512, layers: int = 4, width: int = 128
) -> LlamaConfig:
    """The model's configuration; `width` is a multiple of 8, and there are 4 heads whatever it is."""
    from transformers import LlamaConfig

    return LlamaConfig(
        vocab_size=len(SPECIAL) + len(characters),
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context_length,
        tie_word_embeddings=True,
        initializer_range=0.05,  # 0.02 is for widths in the thousands; at 128 it costs a third of the warm-up
        pad_token_id=SPECIAL.index("<pad>"),
        bos_token_id=SPECIAL.index("<bos>"),
        eos_token_id=SPECIAL.index("<eos>"),
    )


def tiny_reader(characters: str = CHARACTERS) -> TextReader:
    """How the tiny model reads text."""
    config = tiny_config(characters)
    return TextReader(
        tiny_tokenizer(characters),
        context_length=context_length(config),
        end_ids=[],
        num_embeddings=config.vocab_size,
    )


def tiny_model(
    seed: int, *, context_length: int = 512, characters: str = CHARACTERS, layers: int = 4, width: int = 128
) -> TextPolicy:
    """An untrained policy that reads and writes these characters; equal seeds give equal weights.

    >>> policy = tiny_model(0)
    >>> policy.decode(policy.encode("2+3="))
    '2+3='
    """
    from transformers import LlamaForCausalLM

    tokenizer = tiny_tokenizer(characters)
    config = tiny_config(characters, context_length=context_length, layers=layers, width=width)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    return TextPolicy(model.float(), tokenizer)
