"""Tokenizers of the two families that are in use, trained on a few sentences, and readers and models with them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from rung.models.language.text_reader import TextReader

END, TURN, TURN_END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
CHAT = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
    "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEXT = [f"{a} + {b} = {a + b}\nthe answer is {a * b}. What is {a} plus {b}?" for a in range(30) for b in range(9)]


@functools.cache
def _byte_level() -> str:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=[END, TURN, TURN_END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(TEXT, trainer)
    return bpe.to_str()


@functools.cache
def _metaspace() -> str:
    unigram = Tokenizer(models.Unigram())
    unigram.normalizer = normalizers.NFKC()
    unigram.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always")
    unigram.decoder = decoders.Metaspace(prepend_scheme="always")
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=["<unk>", "</s>"], unk_token="<unk>", show_progress=False
    )
    unigram.train_from_iterator(TEXT, trainer)
    return unigram.to_str()


def byte_level(*, end: str | None = END, chat: str | None = CHAT) -> Any:
    """Byte-level BPE, as GPT-2's and Llama 3's; its end token is not the one that ends a turn of its template."""
    made = PreTrainedTokenizerFast(tokenizer_object=Tokenizer.from_str(_byte_level()), eos_token=end)
    made.chat_template = chat
    return made


def metaspace() -> Any:
    """As SentencePiece's: a space stands before each word, and before the first one too."""
    return PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(_metaspace()), eos_token="</s>", unk_token="<unk>"
    )


def reader(tokenizer: Any, *, context: int = 128, ends: tuple[int, ...] = (), rows: int | None = None) -> TextReader:
    return TextReader(tokenizer, context_length=context, end_ids=ends, num_embeddings=rows or len(tokenizer))


def saved(folder: Path, tokenizer: Any, *, context: int = 128, rows: int | None = None) -> Path:
    """The folder of a random model of two layers with this tokenizer."""
    config = LlamaConfig(
        vocab_size=rows or len(tokenizer),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        eos_token_id=tokenizer.eos_token_id,
        bos_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
