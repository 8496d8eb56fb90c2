"""Model folders of strangers: each loads, or rung says in its own words why not, within seconds; no pickle is read.

A small model's folder is damaged in every way that its files allow: hundreds of folders, made by kind.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from rung.errors import DataError, RungError
from rung.models.language.folder import is_reward_model, opened
from rung.models.language.load import load_policy
from rung.models.language.reward_model import RewardModel, load_reward_model
from rung.models.language.size import shape_of
from rung.models.language.tiny import tiny_model

Damage = Callable[[Path], Any]
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
MOST_S = 20


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("small") / "model"
    tiny_model(0, layers=1, width=16, context_length=64).save(folder)
    return folder


@pytest.fixture
def folder(small: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(small, tmp_path / "model"))


@contextmanager
def within(seconds: int) -> Iterator[None]:
    """TimeoutError, which is none of rung's, when what is inside takes longer."""

    def late(*_: object) -> None:
        raise TimeoutError(f"took more than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class Bomb:
    """Unpickled, it leaves a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.trace),)


def bomb(folder: Path, name: str) -> Path:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).write_bytes(pickle.dumps(Bomb(folder.parent / "it_ran")))
    return folder / name


def edit(name: str, **changes: Any) -> Damage:
    """Keys of a JSON file changed."""

    def damage(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        (folder / name).write_text(json.dumps({**content, **changes}))

    return damage


def holds(name: str, data: bytes) -> Damage:
    return lambda folder: (folder / name).write_bytes(data)


def replaced(name: str, make: Callable[[Path], Any]) -> Damage:
    """A file that is something else than a file."""

    def damage(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        make(folder / name)

    return damage


def listen(path: Path) -> None:
    # A socket's own path may be short only: it is bound where it stands.
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(before)


def outside(path: Path) -> None:
    """A link to a file beside the folder, which is what is expected otherwise."""
    (path.parent.parent / "outside").write_text("{}")
    path.symlink_to(path.parent.parent / "outside")


NO_FILES: dict[str, Callable[[Path], Any]] = {
    "fifo": os.mkfifo,
    "socket": listen,
    "folder": Path.mkdir,
    "device": lambda path: path.symlink_to("/dev/zero"),
    "terminal": lambda path: path.symlink_to("/dev/tty"),
    "link outside": outside,
    "link to nothing": lambda path: path.symlink_to("nothing"),
    "link to itself": lambda path: path.symlink_to(path.name),
}
CONTENTS: dict[str, bytes] = {
    "empty": b"",
    "null": b"null",
    "list": b"[]",
    "number": b"7",
    "text": b'"x"',
    "cut": b'{"a": ',
    "no utf-8": b"\xff\xfe{}",
    "deep list": b"[" * 100_000,
    "deep object": b'{"a":' * 100_000,
    "huge number": b'{"num_hidden_layers": ' + b"9" * 5000 + b"}",
    "object": b"{}",
    "NaN": b'{"model_type": "llama", "hidden_size": NaN}',
}
SIZES = ("num_hidden_layers", "hidden_size", "vocab_size", "num_attention_heads", "num_key_value_heads", "head_dim")
SIZES = (*SIZES, "intermediate_size", "max_position_embeddings")
VALUES = (10**9, -1, "3", None, [1, 2], 1.5)
MORE_VALUES = (10**6, 10**30, 0, [], {}, True, 1e400)
ODD_CONFIG: list[dict[str, Any]] = [
    *({"model_type": value} for value in (None, 5, "", "nope", "t5", "bert", "clip", "../x", ["llama"], {})),
    *({"architectures": value} for value in (None, 5, "Llama", ["Nope"], [5], {})),
    *(
        {"rope_parameters": value}
        for value in (5, [], {"rope_type": "nope"}, {"rope_type": "yarn"}, {"rope_theta": "x"})
    ),
    *({"dtype": value} for value in ("evil", 5, "load", [], "float64", "int8")),
    *({"eos_token_id": value} for value in ("a", [[1]], -1, 10**9, 10**30, True, 1.5, {}, [])),
    *({"pad_token_id": value} for value in (10**9, -5, "x", [1])),
    *({"bos_token_id": value} for value in (10**9, "x", [1])),
    *({"hidden_act": value} for value in ("nope", 5, None, "__class__")),
    *({"quantization_config": value} for value in (5, {}, {"quant_method": "nope"}, {"quant_method": "gptq"}, [])),
    *({"layer_types": value} for value in (5, "x", ["nope"], [], ["full_attention"] * 9)),
    *({"auto_map": value} for value in (5, {}, {"AutoConfig": "evil.Config"}, {"AutoConfig": "../evil--x.Config"})),
    *({"transformers_weights": name} for name in ("adapter_model.bin", "../x.safetensors", "/etc/passwd", 5)),
    *({"_attn_implementation": name} for name in ("evil/kernel", "evil/kernel@main:x", "nope", 5)),
    *({"attn_implementation": name} for name in ("evil/kernel", "nope", {"": "evil/kernel"})),
    {"num_labels": 10**9},
    {"num_labels": -1},
    {"id2label": 5},
    {"id2label": {"x": 5}},
    {"text_config": 5},
    {"text_config": {"num_hidden_layers": 10**9}},
    {"rms_norm_eps": "x"},
    {"initializer_range": "x"},
    {"tie_word_embeddings": "maybe"},
    {"attention_bias": "x"},
    {"is_encoder_decoder": True},
    {"use_cache": "x"},
    {"pruned_heads": {"0": [0]}},
    {"torchscript": True},
    {"_name_or_path": "/etc/passwd"},
    {"transformers_version": 5},
    {"model_type": "mixtral", "num_local_experts": 10**9},
    {"model_type": "mixtral", "num_local_experts": 50_000},
    {"model_type": "gpt2", "n_layer": 10**9},
    {"model_type": "gpt2", "n_positions": 10**9},
    {"model_type": "gpt_neo", "max_position_embeddings": 10**5},
    {"model_type": "xlm", "max_position_embeddings": 10**9},
    {"model_type": "ctrl", "n_positions": 10**9},
    {"model_type": "mamba", "num_hidden_layers": 10**9},
    {"model_type": "openelm"},
    {"model_type": "gemma3", "text_config": {"num_hidden_layers": 10**9}},
]
ODD_TOKENIZER: list[dict[str, Any]] = [
    *({"tokenizer_class": value} for value in (5, "Nope", "LlamaTokenizer", "GPT2Tokenizer", "os.system", None)),
    *({"model_max_length": value} for value in ("x", -1, 0, None, 1e400)),
    *({"eos_token": value} for value in (5, None, "not in the vocabulary", [], {}, {"content": 5})),
    *({"added_tokens_decoder": value} for value in (5, {"x": {}}, {"1": 5}, {"999999999": {"content": "z"}}, [])),
    *({"extra_special_tokens": value} for value in (5, [5], {"a": 5}, "x")),
    *({"chat_template": value} for value in (5, [], {}, [{}], [{"name": "default"}], {"default": 5}, "{% if %}")),
    *({key: "/etc/passwd"} for key in ("tokenizer_file", "vocab_file", "merges_file", "name_or_path")),
    {"auto_map": {"AutoTokenizer": ["evil.Tokenizer", None]}},
    {"fast_tokenizer_files": ["tokenizer.0.0.0.json", "../../x.json"]},
    {"fast_tokenizer_files": 5},
    {"init_inputs": ["/etc/passwd"]},
    {"padding_side": "up"},
    {"backend": "nope"},
]
ODD_GENERATION: list[dict[str, Any]] = [
    *({"eos_token_id": value} for value in ("a", [[1]], -1, 10**30, 1.5, {})),
    {"temperature": "hot"},
    {"temperature": -1},
    {"do_sample": False, "temperature": 0.3},
    {"max_length": "x"},
    {"num_beams": 10**9},
    {"cache_implementation": "nope"},
    {"watermarking_config": 5},
    {"stop_strings": 5},
]


def header(content: Any, data: bytes = b"", length: int | None = None) -> Damage:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    return holds(WEIGHTS, struct.pack("<Q", len(text) if length is None else length) + text + data)


def tensor(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


def cut(share: float) -> Damage:
    def damage(folder: Path) -> None:
        data = (folder / WEIGHTS).read_bytes()
        (folder / WEIGHTS).write_bytes(data[: int(share * len(data))])

    return damage


def tensors(change: Callable[[dict[str, torch.Tensor]], Any]) -> Damage:
    def damage(folder: Path) -> None:
        held = load_file(folder / WEIGHTS)
        change(held)
        save_file(held, folder / WEIGHTS, metadata={"format": "pt"})

    return damage


def index(content: Any) -> Damage:
    def damage(folder: Path) -> None:
        (folder / WEIGHTS).rename(folder / "part.safetensors")
        (folder / INDEX).write_text(json.dumps(content))

    return damage


def named(file: Any) -> Damage:
    """An index that names this file for every tensor."""

    def damage(folder: Path) -> None:
        names = list(load_file(folder / WEIGHTS))
        index({"metadata": {}, "weight_map": dict.fromkeys(names, file)})(folder)
        shutil.copy(folder / "part.safetensors", folder.parent / "outside.safetensors")
        bomb(folder, "part.bin")

    return damage


FIRST = "model.embed_tokens.weight"
ODD_WEIGHTS: dict[str, Damage] = {
    **{f"cut at {share}": cut(share) for share in (0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.9999)},
    "longer": lambda folder: (folder / WEIGHTS).open("ab").write(b"x" * 99),
    "empty": holds(WEIGHTS, b""),
    "a pickle": lambda folder: bomb(folder, WEIGHTS),
    "header of 2^63": header({}, length=2**63),
    "header of 2^64-1": header({}, length=2**64 - 1),
    "header of 10^9": header({}, length=10**9),
    "header is a list": header([]),
    "header is deep": header(b"[" * 10_000),
    "header is no utf-8": header(b"\xff\xfe"),
    "no tensors": header({}),
    "overlapping": header({"a": tensor(), "b": tensor()}, bytes(8)),
    "a hole": header({"a": tensor(), "b": tensor(offsets=(16, 24))}, bytes(24)),
    "beyond the end": header({"a": tensor(offsets=(0, 10**12), shape=(10**12 // 4,))}, bytes(8)),
    "backwards": header({"a": tensor(offsets=(8, 0))}, bytes(8)),
    "negative shape": header({"a": tensor(shape=(-2,))}, bytes(8)),
    "huge shape": header({"a": tensor(shape=(2**62, 2**62))}, bytes(8)),
    "text as shape": header({"a": tensor(shape="x")}, bytes(8)),
    "unknown type": header({"a": tensor("F7")}, bytes(8)),
    "shape is none of the bytes": header({"a": tensor(shape=(3,))}, bytes(8)),
    "missing": tensors(lambda held: held.pop(FIRST)),
    "another shape": tensors(lambda held: held.update({FIRST: torch.zeros(3, 3)})),
    "a scalar": tensors(lambda held: held.update({FIRST: torch.zeros(())})),
    "whole numbers": tensors(lambda held: held.update({name: one.long() for name, one in held.items()})),
    "complex": tensors(lambda held: held.update({FIRST: held[FIRST].to(torch.complex64)})),
    "NaN": tensors(lambda held: held[FIRST].view(-1)[7:9].fill_(torch.nan)),
    "infinity": tensors(lambda held: held["model.norm.weight"][0].fill_(torch.inf)),
    "none": lambda folder: (folder / WEIGHTS).unlink(),
    "an index alone": index({"metadata": {}, "weight_map": {FIRST: "part.safetensors"}}),
    **{
        f"index {n}": index(content)
        for n, content in enumerate(
            (
                *([], None, {}, {"weight_map": {}}, {"weight_map": []}, {"weight_map": {FIRST: 5}, "metadata": {}}),
                {"weight_map": {FIRST: "part.safetensors"}},
                {"weight_map": {FIRST: "part.safetensors"}, "metadata": 5},
            )
        )
    },
    **{
        f"names {file}": named(file)
        for file in (
            "part.bin",
            "../outside.safetensors",
            "/etc/passwd",
            "nothing.safetensors",
            ".",
            "",
            "a/../part.bin",
        )
    },
}
FOREIGN: dict[str, Damage] = {
    "empty json": holds("training_args.json", b""),
    "foreign json": holds("trainer_state.json", b"[1, 2, oops"),
    "nulls": holds("zeros.json", bytes(99)),
    "a folder named json": lambda folder: (folder / "notes.json").mkdir(),
    "a fifo named json": lambda folder: os.mkfifo(folder / "pipe.json"),
    "a fifo named safetensors": lambda folder: os.mkfifo(folder / "other.safetensors"),
    "a fifo named txt": lambda folder: os.mkfifo(folder / "notes.txt"),
    "a long text": lambda folder: ((folder / "data.txt").touch(), os.truncate(folder / "data.txt", 1 << 30)),
    "an adapter's weights alone": lambda folder: bomb(folder, "adapter_model.bin"),
    "foreign weights": holds("consolidated.safetensors", b"\xff" * 99),
    "a pickle beside": lambda folder: bomb(folder, "pytorch_model.bin"),
    "more pickles": lambda folder: [bomb(folder, name) for name in ("training_args.bin", "optimizer.pt", "a.ckpt")],
    "code": holds("modeling_evil.py", b"raise SystemExit"),
    "link outside": lambda folder: (folder / "README.md").symlink_to("/etc/passwd"),
    "an index too": holds(INDEX, b'{"metadata": {}, "weight_map": {"a": "../x.bin"}}'),
}
READ = ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json", "chat_template.jinja")
LEGACY = ("special_tokens_map.json", "added_tokens.json", "vocab.json")
STRANGE: dict[str, Damage] = {
    **{f"{name}: {what}": holds(name, data) for name in READ for what, data in CONTENTS.items()},
    **{
        f"{name}: {what}": holds(name, CONTENTS[what]) for name in LEGACY for what in ("empty", "list", "cut", "object")
    },
    **{f"{name}: {what}": replaced(name, make) for name in (*READ, WEIGHTS) for what, make in NO_FILES.items()},
    **{f"{name}: {what}": replaced(name, NO_FILES[what]) for name in LEGACY for what in ("fifo", "folder")},
    **{f"{key} = {value!r}": edit("config.json", **{key: value}) for key in SIZES for value in VALUES},
    **{f"layers = {value!r}": edit("config.json", num_hidden_layers=value) for value in MORE_VALUES},
    **{f"config {change}": edit("config.json", **change) for change in ODD_CONFIG},
    **{f"tokenizer {change}": edit("tokenizer_config.json", **change) for change in ODD_TOKENIZER},
    **{f"generation {change}": edit("generation_config.json", **change) for change in ODD_GENERATION},
    **{f"weights: {what}": damage for what, damage in ODD_WEIGHTS.items()},
    **{f"foreign: {what}": damage for what, damage in FOREIGN.items()},
    "no tokenizer": lambda folder: [(folder / name).unlink() for name in ("tokenizer.json", "tokenizer_config.json")],
    "no config": lambda folder: (folder / "config.json").unlink(),
    "templates: fifo": lambda folder: (
        (folder / "additional_chat_templates").mkdir(),
        os.mkfifo(folder / "additional_chat_templates" / "x.jinja"),
    ),
    "config: 17 MB": lambda folder: os.truncate(folder / "config.json", 17 * 2**20),
    "tokenizer: 300 MB": lambda folder: os.truncate(folder / "tokenizer.json", 300 * 2**20),
    "adapter beside": lambda folder: (holds("adapter_config.json", b"{}")(folder), bomb(folder, "adapter_model.bin")),
}


def test_there_are_hundreds_of_them_and_the_pickles_would_be_noticed(tmp_path: Path) -> None:
    assert len(STRANGE) > 300
    (tmp_path / "model").mkdir()
    with bomb(tmp_path / "model", "pytorch_model.bin").open("rb") as file:
        pickle.load(file)
    assert (tmp_path / "it_ran").exists()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("what", STRANGE, ids=[name[:50] for name in STRANGE])
def test_a_strange_folder_loads_or_is_refused_in_words(what: str, folder: Path) -> None:
    STRANGE[what](folder)
    for use in (shape_of, load_policy):
        with within(MOST_S):
            try:
                use(str(folder))
            except RungError as error:
                if os.environ.get("SHOW"):
                    print("\n", what, use.__name__, error)
                assert str(error).startswith(("model: ", str(folder))) and str(folder) in str(error), error
    assert not (folder.parent / "it_ran").exists()


def test_a_tokenizer_that_loops_over_a_text_or_knows_none_is_said(folder: Path) -> None:
    content = json.loads((folder / "tokenizer.json").read_text())
    loops = {"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
    holds("tokenizer.json", json.dumps({**content, "pre_tokenizer": loops}).encode())(folder)
    policy = load_policy(str(folder))
    with within(MOST_S), pytest.raises(DataError, match=r"the model's tokenizer cannot read the text: .*retry-limit"):
        policy.encode("a" * 200 + "b")


@pytest.mark.parametrize("what", FOREIGN)
def test_what_lies_beside_a_model_is_nobodys_business(what: str, folder: Path) -> None:
    FOREIGN[what](folder)
    with within(MOST_S):
        assert load_policy(str(folder)).encode("2+3").tolist() == tiny_model(0).encode("2+3").tolist()
    assert not (folder.parent / "it_ran").exists()


def _pickled(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    bomb(folder, "pytorch_model.bin")


def _sharded(folder: Path) -> None:
    """Weights in two files under an index, as larger models have them."""
    held = list(load_file(folder / WEIGHTS).items())
    parts = {"one.safetensors": dict(held[:3]), "two.safetensors": dict(held[3:])}
    for name, part in parts.items():
        save_file(part, folder / name, metadata={"format": "pt"})
    (folder / WEIGHTS).unlink()
    names = {tensor: file for file, part in parts.items() for tensor in part}
    (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": names}))


def _linked_shard(folder: Path) -> None:
    _sharded(folder)
    (folder / "two.safetensors").rename(folder.parent / "two.safetensors")
    (folder / "two.safetensors").symlink_to(folder.parent / "two.safetensors")


SENTENCES: dict[str, tuple[Damage, str]] = {
    "10^6 layers": (
        edit("config.json", num_hidden_layers=10**6),
        "{M}/config.json: num_hidden_layers = 1,000,000, expected at most 1,000",
    ),
    "10^9 wide": (edit("config.json", hidden_size=10**9), "describes a model of over 100,000,000,000 numbers, and its"),
    "a list": (holds("config.json", b"[1]"), "{M}/config.json holds a list, expected an object"),
    "negative": (
        edit("config.json", vocab_size=-3),
        "config.json: vocab_size = -3, expected a whole number above 0",
    ),
    "cut short": (cut(0.9), "{M}/model.safetensors is no safetensors file, or not all of it"),
    "a fifo": (replaced(WEIGHTS, os.mkfifo), "{M}/model.safetensors is no plain file but a pipe"),
    "pickled": (_pickled, "{M} has no model.safetensors; its pytorch_model.bin is a pickle, which can hold code"),
    "pickle in the index": (named("part.bin"), "names 'part.bin', expected a .safetensors file in the folder"),
    "index leads out": (named("../outside.safetensors"), "names '../outside.safetensors', expected a .safetensors"),
    "shard leads out": (_linked_shard, "{M}/two.safetensors leads out of its folder"),
    "another shape": (
        tensors(lambda held: held.update({FIRST: torch.zeros(3, 3)})),
        "embed_tokens.weight has the shape (3, 3), expected (100, 16) by config.json",
    ),
    "NaN": (
        tensors(lambda held: held[FIRST].view(-1)[7:9].fill_(torch.nan)),
        "2 of 4,720 numbers, the first in model.embed_tokens.weight (2 of 1,600), expected finite numbers",
    ),
    "generation": (
        edit("generation_config.json", eos_token_id="a"),
        "eos_token_id = 'a', expected a token's number",
    ),
    "adapter": (holds("adapter_config.json", b"{}"), "{M} holds a LoRA adapter, expected a whole model: merge it"),
    "kernel": (edit("config.json", _attn_implementation="evil/kernel"), "asks for code from the hub"),
    "other weights": (edit("config.json", transformers_weights="adapter_model.bin"), "names another file of weights"),
}


@pytest.mark.parametrize("what", SENTENCES)
def test_the_sentence_names_file_what_was_got_and_expected(what: str, folder: Path) -> None:
    damage, expected = SENTENCES[what]
    damage(folder)
    with within(MOST_S), pytest.raises(DataError) as error:
        load_policy(str(folder))
    assert expected.replace("{M}", str(folder)) in str(error.value)
    assert not (folder.parent / "it_ran").exists()


def test_shards_are_read_and_a_hub_caches_links_are_its_own(folder: Path, tmp_path: Path) -> None:
    _sharded(folder)
    assert opened(folder).numbers == 4720
    first = load_policy(str(folder)).state()
    snapshot = tmp_path / "models--a--b" / "snapshots" / "0123"
    (tmp_path / "models--a--b" / "blobs").mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, file in enumerate(sorted(folder.iterdir())):
        file.rename(tmp_path / "models--a--b" / "blobs" / str(number))
        (snapshot / file.name).symlink_to(Path("..", "..", "blobs", str(number)))
    again = load_policy(str(snapshot)).state()
    assert all(torch.equal(tensor, again[name]) for name, tensor in first.items())


def test_an_adapter_alone_and_a_runs_checkpoint_say_what_to_give(tmp_path: Path) -> None:
    (tmp_path / "adapter").mkdir()
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    bomb(tmp_path / "adapter", "adapter_model.bin")
    checkpoint = tmp_path / "run" / "checkpoints" / "step_000010"
    checkpoint.mkdir(parents=True)
    for name in ("manifest.json", "policy.safetensors"):
        (checkpoint / name).touch()
    (tmp_path / "run" / "settings.yaml").touch()
    for use in (shape_of, load_policy):
        with pytest.raises(DataError, match="adapter holds a LoRA adapter, expected a whole model"):
            use(str(tmp_path / "adapter"))
        with pytest.raises(DataError, match=r"is a checkpoint of .*/run: give the run's folder to rung eval"):
            use(str(checkpoint))
        with pytest.raises(DataError, match=r"has no config.json.*; it is a run that has no final model yet"):
            use(str(tmp_path / "run"))
    (tmp_path / "run" / "final").mkdir()
    (tmp_path / "run" / "final" / "config.json").touch()
    with pytest.raises(DataError, match=r"did you mean '.*/run/final'"):
        load_policy(str(tmp_path / "run"))


@pytest.mark.parametrize(
    ("what", "damage"),
    {
        "cut": cut(0.5),
        "fifo": replaced("config.json", os.mkfifo),
        "tokenizer": holds("tokenizer.json", b"[]"),
        "labels": edit("config.json", num_labels=10**9),
        "NaN": tensors(lambda held: held["score.weight"].fill_(torch.nan)),
        "head": tensors(lambda held: held.pop("score.weight")),
    }.items(),
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_a_reward_models_folder_is_as_strange(what: str, damage: Damage, tmp_path: Path) -> None:
    folder = tmp_path / "reward"
    RewardModel(tiny_model(0, layers=1, width=16)).save(folder)
    load_reward_model(folder)
    damage(folder)
    with within(MOST_S), pytest.raises(DataError, match=str(folder)):
        load_reward_model(folder)
    assert is_reward_model(folder) == (what in ("cut", "tokenizer", "NaN", "head"))
