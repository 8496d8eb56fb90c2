"""Writes docs/templates.md: which chat templates of packages can be continued turn by turn, and how.

    python docs/templates.py                 # those of the packages that are installed here
    python docs/templates.py FOLDER...       # and of these folders, each named by its package

It is run by hand, as the table tells of packages that rung does not install.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from rung.errors import DataError
from rung.models.language.between_turns import BetweenTurns
from rung.models.language.text_reader import TextReader

HERE = Path(__file__).parent
PACKAGES = ("transformers", "trl", "vllm")
MARKERS = re.compile(r"<[|｜][^<>\s]{1,40}?[|｜]>|</?s>|\[/?[A-Z]{3,}(?:_[A-Z]+)*\]|<(?:start|end)_of_\w+>|<eos>|<bos>")
"""What is one token in the tokenizers that these templates come with."""
ENDS = (
    "<|call|>",
    "<|user|>",
    "<|observation|>",
    "<|eom_id|>",
    "<|eot_id|>",
    "</s>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
)
"""What the generation configurations of their models end a turn with."""
INTRO = """# Chat templates and turns

A conversation is continued token by token: what the policy wrote stays, and what stands between two turns comes from
the chat template, which is asked for it and must say the same after every history. Not every template does.
Here are those that packages bring (`python docs/templates.py` writes this page), with a tokenizer in which
each marker of the template is one token: {counts}.

- **user**: an environment's words can follow a turn, as a user's. Where not, the template is refused by name, and the
  task must give its prompts as text.
- **calls**: the form that a rendered call was read back from (`rung.tool_calls.FORMS`), and so what calls are read by.
  With `-` the template takes no tools, or writes calls in none of these forms: tools are told of in words, and calls
  are read in the plain forms, as they are beside every other.
- **tool**: results stand as the template's tool role: how many in one turn. Where not, they follow as a user's words.

| template | user | calls | tool |
| --- | --- | --- | --- |
"""


def reader_of(template: str) -> TextReader:
    """A reader with this template and a tokenizer of bytes and the template's markers."""
    found = dict.fromkeys([*MARKERS.findall(template), *(one for one in ENDS if one in template)])
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(special_tokens=[*found, "<eos>"], initial_alphabet=alphabet, show_progress=False)
    bpe.train_from_iterator([], trainer)
    eos = next((one for one in ("<|endoftext|>", "</s>", "<|im_end|>", "<|end_of_text|>") if one in found), "<eos>")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=eos, bos_token="<s>" if "<s>" in found else eos)
    tokenizer.chat_template = template
    ends = [tokenizer.convert_tokens_to_ids(one) for one in ENDS if one in found]
    return TextReader(tokenizer, context_length=4096, end_ids=ends, num_embeddings=len(tokenizer))


def row(template: str) -> tuple[str, str, str]:
    """What holds of a template: (user, calls, tool)."""
    reader = reader_of(template)
    between = BetweenTurns(reader)
    try:
        user = "yes" if len(between.ids("7", chat=True, last=-1)) else "no"
    except DataError:
        user = "no"
    counts = [n for n in (1, 2, 3, 4) if reader.tool_form and between.takes_results(n)]
    tool = "no" if not counts else "one" if counts == [1] else "several"
    return user, reader.tool_form or "-", tool


def packages(folders: list[str]) -> Iterator[tuple[str, Path]]:
    """Names and versions of packages, and where they are."""
    for name in PACKAGES:
        spec = find_spec(name)
        if spec is not None and spec.origin is not None:
            yield f"{name} {version(name)}", Path(spec.origin).parent
    for folder in map(Path, folders):
        (said, *_) = (*(one.stem for one in folder.parent.glob(f"{folder.name}-*.dist-info")), folder.name)
        yield said.replace("-", " "), folder


def main() -> None:
    lines, counts = list[str](), list[str]()
    for name, folder in packages(sys.argv[1:]):
        files = sorted(one for one in folder.rglob("*.jinja") if "_training" not in one.name and "chat" in str(one))
        rows = [(one.stem, *row(one.read_text("utf-8"))) for one in files]
        lines += [f"| {name.split()[0]} {' | '.join(one)} |" for one in rows]
        if rows:
            yes = sum(one[1] == "yes" for one in rows), sum(one[3] != "no" for one in rows)
            counts.append(f"of {len(rows)} in {name}, {yes[0]} for a user's turn and {yes[1]} for a tool's")
    text = INTRO.format(counts="; ".join(counts)) + "\n".join(lines) + "\n"
    (HERE / "templates.md").write_text(text, "utf-8")
    print("; ".join(counts))


if __name__ == "__main__":
    main()
