"""Environments behind an OpenEnv server: `openenv/http://127.0.0.1:8000`.

Its messages are JSON over a websocket; the package itself, which brings a web interface, is not needed. A session is an
episode, so the server must allow as many at once (`max_concurrent_envs`) as a step has episodes. What a policy can
cause, an action that does not fit, comes back to it as text; what it cannot is a failure.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any
from urllib.request import urlopen

from rung.tasks.others import opening
from rung.tasks.turns import Step

_ITS_OWN = ("metadata", "done", "reward")
_FROM_THE_POLICY = ("VALIDATION_ERROR", "INVALID_JSON")
_SECONDS = 10


class OpenEnv:
    """A session.

    Args:
        name: the server's address.
        action: the field of an action that holds the reply. Without it: the only text that an action has, else the
            reply is a JSON object.
        observation: the field that is read. Without it: the only text of an observation, else all of it as JSON.
        first: what stands before the first observation, as the task's words.
        chat: begin with a message; else with a text, in which a reply ends with its line.
    """

    def __init__(self, name: str, action: str = "", observation: str = "", first: str = "", chat: bool = False) -> None:
        if not name.startswith(("http://", "https://")):
            raise ValueError(f"{name}: expected the address of a server, http://...")
        self.address, self.first, self.chat, self.session = name.rstrip("/"), first, chat, None
        with urlopen(f"{self.address}/schema", timeout=_SECONDS) as answer:
            schemas = json.load(answer)
        self.action = _field(schemas["action"], action, "action")
        self.observation = _field(schemas["observation"], observation, "observation")

    def reset(self, item: Any, seed: int) -> Any:
        from websockets.sync.client import connect

        self.close()
        self.session: Any = connect(f"ws{self.address.removeprefix('http')}/ws", open_timeout=_SECONDS, proxy=None)
        return opening(self.first + self._read(self._asked("reset", {"seed": seed})), self.chat)

    def step(self, reply: str) -> Step:
        try:
            action = {self.action: reply.strip()} if self.action else json.loads(reply)
        except ValueError as error:
            return Step(f"error: expected a JSON object: {error}\n")
        if not isinstance(action, dict):
            return Step("error: expected a JSON object\n")
        found = self._asked("step", action)
        if "code" in found:
            return Step(f"error: {found['message']}\n")
        if found["done"]:
            self.close()
        return Step(self._read(found), float(found.get("reward") or 0), bool(found["done"]))

    def close(self) -> None:
        if self.session is not None:
            self.session.close()

    def _asked(self, kind: str, data: dict[str, Any]) -> dict[str, Any]:
        from websockets.exceptions import ConnectionClosed

        with suppress(ConnectionClosed):  # why it was closed may stand in what was sent before
            self.session.send(json.dumps({"type": kind, "data": data}))
        answer = json.loads(self.session.recv())
        found = answer["data"]
        if answer["type"] == "error" and (kind != "step" or found.get("code") not in _FROM_THE_POLICY):
            raise RuntimeError(f"{found.get('code')}: {found.get('message')}")
        return found

    def _read(self, found: dict[str, Any]) -> str:
        shown = found["observation"]
        return f"{shown[self.observation] if self.observation else json.dumps(shown)}\n"


def _field(schema: dict[str, Any], asked: str, what: str) -> str:
    """The field that was asked for, or the only text; empty where there are several."""
    fields = {name: one for name, one in schema.get("properties", {}).items() if name not in _ITS_OWN}
    if asked and asked not in fields:
        raise ValueError(f"{what}: there is no field '{asked}'; it has {', '.join(fields)}")
    only = list(fields) if len(fields) == 1 and all(one.get("type") == "string" for one in fields.values()) else [""]
    return asked or only[0]
