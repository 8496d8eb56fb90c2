"""Inputs: what decides a run beside its settings. Each has a fingerprint, which a resumed run must find unchanged.

Taken where a run's trainer is built, of what was loaded: the task's rows, models with their tokenizers, code. What
they cannot see: weights between the sampled blocks of a tensor above 16 MiB, files that the user's code opens by
itself, and what a function from Python closes over.
"""

from __future__ import annotations

import hashlib
import inspect
import re
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, packages_distributions, version
from modulefinder import ModuleFinder
from pathlib import Path
from typing import Any

import numpy as np

from rung.models.language.load import fingerprint, sampled
from rung.rollouts.engine.process import version_of
from rung.settings import Settings
from rung.settings.objects import GIVEN, Objects
from rung.settings.sampler import VLLM
from rung.tasks.environment import EnvironmentTask
from rung.tasks.own_environment import is_file_name
from rung.tasks.pairs import PairTask
from rung.trainers.engine import python_of
from rung.trainers.fits import is_function
from rung.trainers.handed import Handed
from rung.trainers.preferences.reward_model import reward_folders

Inputs = Mapping[str, str]
"""Fingerprints by what they are of, as `{"task": "1f0c...", "model's weights": "77aa..."}`."""
_SAMPLED = 1024
"""Rows looked at of a sequence that makes its rows when asked."""
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")
_INSTALLED = tuple(sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib"))


def digest_of(texts: Iterable[str]) -> str:
    """SHA-256 of texts one after another."""
    digest = hashlib.sha256()
    for text in texts:
        data = text.encode("utf-8", "surrogatepass")
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def of_model(name: str, model: Any, tokenizer: Any) -> dict[str, str]:
    """A model's weights, and its tokenizer with the chat template."""
    inner = getattr(tokenizer, "backend_tokenizer", None)
    tokens = str(sorted(tokenizer.get_vocab().items())) if inner is None else inner.to_str()
    template = str(getattr(tokenizer, "chat_template", None))
    return {
        f"the weights of {name}": fingerprint(model),
        f"the tokenizer of {name}, or its chat template": digest_of([tokens, template]),
    }


def of_folder(name: str, folder: Path) -> dict[str, str]:
    """A model's folder that is loaded later: its files, of large ones some blocks."""
    digest = hashlib.sha256()
    for file in sorted(path for path in folder.iterdir() if path.is_file() and path.stat().st_size):
        content_N = np.memmap(file, mode="r")
        digest.update(f"{file.name} {len(content_N)}".encode())
        for block in sampled(content_N):
            digest.update(block.tobytes())
    return {name: digest.hexdigest()}


def of_rewards(settings: Settings, handed: Handed) -> dict[str, str]:
    """Files' functions, functions from Python and reward models; a task's own rewards are rung's."""
    found: dict[str, str] = {}
    for part in settings.rewards:
        if part.function.startswith(GIVEN):
            found |= of_object(handed.reward(part.function))
        elif is_function(part.function):
            found |= of_code(part.function.rpartition(":")[0])
        elif part.function != "task":
            for folder in reward_folders(part.function):
                found |= of_folder(f"the reward model in {folder}", folder)
    return found


def of_objects(objects: Objects, parts: Sequence[type[Any]]) -> dict[str, str]:
    """The code of a task, an environment and parts of the user's own."""
    given = (objects.task, objects.environment, objects.sampler, *objects.tools.values(), *objects.parts, *parts)
    own = [one for one in given if one is not None]
    return {name: digest for one in own for name, digest in of_object(one).items()}


def of_engine(settings: Settings) -> dict[str, str]:
    """The version of the engine that draws, where one does: another one rounds otherwise."""
    if settings.sampler.engine != VLLM:
        return {}
    return {"the engine that draws": version_of(python_of(settings))}


def of_files(names: Iterable[str]) -> dict[str, str]:
    """The code that names like `tools.py:times` are of; other names are of none."""
    files = dict.fromkeys(name.rpartition(":")[0] for name in names if is_file_name(name))
    return {name: digest for file in files for name, digest in of_code(file).items()}


def of_task(name: str, task: Any) -> dict[str, str]:
    """Rows of a task of text or pairs; of an environment its shape and the version of the package that it is from."""
    if isinstance(task, EnvironmentTask):
        shape = (task.observation_space, task.action_space, task.max_episode_steps)
        return {f"the environment {name}": digest_of(map(_told, shape)), "the environments' packages": _packages(task)}
    sides = [getattr(task, side, ()) for side in ("train", "held_out", "examples")]
    rest = _told([getattr(task, part, None) for part in ("stop", "characters")])
    found = (row.replace(name, "") for side in sides for row in _rows(side))  # where a row stands is not what it says
    rows = "pairs" if isinstance(task, PairTask) else "rows"
    return {f"the {rows} of {name}": digest_of([rest, *found])}


def _rows(side: Any) -> Iterable[str]:
    if not isinstance(side, Sequence):
        return
    yield str(len(side))
    step = 1 if isinstance(side, tuple | list) else max(1, len(side) // _SAMPLED)
    yield from (_told(side[index]) for index in range(0, len(side), step))


def _told(value: Any) -> str:
    return _ADDRESS.sub("", repr(value))


def _packages(task: EnvironmentTask) -> str:
    """`gymnasium 1.2.0, ale_py 0.11.2`: the packages that an environment's code comes from."""
    import gymnasium

    spec = gymnasium.registry.get(task.name)
    entry = spec.entry_point if spec is not None else None
    own = (entry if isinstance(entry, str) else getattr(entry, "__module__", "")).partition(".")[0]
    names = dict.fromkeys(
        ["gymnasium", *([own] if own else []), *([task.engine] if task.engine != "gymnasium" else [])]
    )
    return ", ".join(f"{name} {_version(name)}" for name in names)


def _version(package: str) -> str:
    try:
        return version(packages_distributions().get(package, [package])[0])
    except PackageNotFoundError:
        return "of your own"


def of_code(file: str | Path) -> dict[str, str]:
    """A Python file, and the files beside it that it imports; nothing is run."""
    path = Path(file).resolve()
    finder = ModuleFinder(path=[str(path.parent)])
    with suppress(SyntaxError, ValueError, ImportError, RecursionError):  # whoever loads the file says what is wrong
        finder.run_script(str(path))
    files = {Path(one.__file__) for one in finder.modules.values() if getattr(one, "__file__", None)} | {path}
    return {f"the code in {path.name}": digest_of(one.read_text("utf-8", "replace") for one in sorted(files))}


def of_object(thing: Any) -> dict[str, str]:
    """The code of a function, a class or an object from Python: its file, or in a script or a notebook itself alone."""
    known = thing if inspect.isroutine(thing) or isinstance(thing, type) else type(thing)
    try:
        file = Path(inspect.getfile(known)).resolve()
        if str(file).startswith(_INSTALLED):
            return {}
        if known.__module__ != "__main__" and file.suffix == ".py":
            return of_code(file)
        return {f"the code of {known.__qualname__}": digest_of([inspect.getsource(known)])}
    except (OSError, TypeError, AttributeError):
        return {}  # made in C, or typed into an interpreter that keeps no text


def changed(before: Inputs, now: Inputs) -> list[str]:
    """What is not as it was, in words."""
    found = [f"{name} changed since" for name in before if before[name] != now.get(name, before[name])]
    found += [f"{name}: not there any more" for name in before if name not in now]
    return found + [f"{name}: not there before" for name in now if name not in before]
