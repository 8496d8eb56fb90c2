"""Tools of an MCP server, through the official client: `mcp:COMMAND`, or `mcp:http://127.0.0.1:8000/mcp`.

It runs in a child (`hosted.py`), so a server dies with the run and with a call that is late. An episode has a server of
its own, started at its first call, for a server may remember what it was told; where every tool says that it only reads
(`readOnlyHint`), one server answers all episodes.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from contextlib import ExitStack
from functools import cached_property, partial
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

from pydantic_core import ArgsKwargs

from rung.child import DIED, RAISED
from rung.errors import MissingExtra, RewardError, SettingsError
from rung.tasks.tools import BAD_ARGUMENTS, OK

_HERE = ("127.0.0.1", "localhost", "::1")


class Server:
    """A session with a server.

    Raises SettingsError: it cannot be started or reached, or has no tools.
    """

    def __init__(self, target: str) -> None:
        try:
            from anyio.from_thread import start_blocking_portal
            from mcp.client.client import Client
            from mcp.shared.exceptions import MCPError
        except ImportError as error:
            raise MissingExtra("an MCP server as tools", "mcp") from error
        self.refused, self._tools = MCPError, dict[str, Any]()
        try:
            with ExitStack() as stack:
                portal = stack.enter_context(start_blocking_portal())
                client: Any = Client(_reached(target))
                stack.enter_context(portal.wrap_async_context_manager(client))
                self._ask, cursor = portal.call, ""
                while cursor is not None:
                    page = self._ask(partial(client.list_tools, cursor=cursor or None))
                    self._tools |= {tool.name: tool for tool in page.tools}
                    cursor = page.next_cursor
                self._client, self._stack = client, stack.pop_all()
        except (OSError, MCPError, ExceptionGroup, TimeoutError) as error:
            while isinstance(error, ExceptionGroup):
                error = error.exceptions[0]
            said = f"{type(error).__name__}: {error}"
            raise SettingsError([f"tools: mcp:{target}: no MCP server answers: {said}"]) from error
        if not self._tools:
            raise SettingsError([f"tools: mcp:{target}: the server has no tools"])

    @cached_property
    def schemas(self) -> dict[str, Any]:
        """By the tools' names, as chat templates take them."""
        return {
            name: {
                "type": "function",
                "function": {"name": name, "description": tool.description or "", "parameters": tool.input_schema},
            }
            for name, tool in self._tools.items()
        }

    @property
    def only_reads(self) -> bool:
        return all(tool.annotations is not None and tool.annotations.read_only_hint for tool in self._tools.values())

    def call(self, name: str, arguments: Mapping[str, Any]) -> tuple[str, str]:
        """(what the policy reads, the status) of a call. RewardError: the server has ended."""
        from mcp.types import CONNECTION_CLOSED, INVALID_PARAMS

        try:
            result = self._ask(partial(self._client.call_tool, name, dict(arguments)))
        except self.refused as error:
            if error.error.code == CONNECTION_CLOSED:
                raise RewardError(name, DIED, "the server has ended") from error
            wrong = BAD_ARGUMENTS if error.error.code == INVALID_PARAMS else RAISED
            return f"error: {name}: {error.error.message}", wrong
        text = "\n".join(getattr(part, "text", f"[{part.type}]") for part in result.content)
        if not text and result.structured_content is not None:
            text = json.dumps(result.structured_content)
        return (f"error: {name}: {text}", RAISED) if result.is_error else (text, OK)

    def close(self) -> None:
        """Ends it; who asks does not wait, for a server may take its time."""
        Thread(target=self._stack.close, daemon=True).start()


class McpTools:
    """The tools of one episode. A server that was shared with it answers; else one of its own."""

    def __init__(self, target: str, schemas: Mapping[str, Any], shared: list[Server] | None) -> None:
        self.target, self.schemas, self.alone = target, schemas, shared is None
        self._servers = list[Server]() if shared is None else shared
        """One, or none that lives."""

    def call(self, name: str, arguments: Any) -> tuple[str, str]:
        """(what the policy reads, the status) of a call."""
        parameters = self.schemas[name]["function"]["parameters"]
        try:
            given = _named(arguments, list(parameters.get("properties", {})))
        except ValueError as error:
            return f"error: {name}: {error}", BAD_ARGUMENTS
        from jsonschema import Draft202012Validator

        for error in Draft202012Validator(parameters).iter_errors(given):
            place = ".".join(map(str, error.path))
            return f"error: {name}: {place}{': ' if place else ''}{error.message}", BAD_ARGUMENTS
        if not self._servers:
            self._servers.append(Server(self.target))
        try:
            return self._servers[0].call(name, given)
        except RewardError:
            self._servers.pop().close()
            raise

    def close(self) -> None:
        """Ends the server of this episode."""
        while self.alone and self._servers:
            self._servers.pop().close()


def _named(arguments: Any, names: list[str]) -> dict[str, Any]:
    """Arguments by name. ValueError: there are too many, or one is given twice."""
    if isinstance(arguments, str):
        return json.loads(arguments)
    assert isinstance(arguments, ArgsKwargs)
    named = dict(arguments.kwargs or {})
    placed = dict(zip(names, arguments.args, strict=False))
    if len(arguments.args) > len(names) or placed.keys() & named.keys():
        raise ValueError(f"takes {', '.join(names) or 'no arguments'}, each once")
    return placed | named


def _reached(target: str) -> Any:
    """What the client connects to. SettingsError: the command is none, or the address is of another machine."""
    from mcp.client.stdio import StdioServerParameters

    if target.startswith(("http://", "https://")):
        if urlsplit(target).hostname not in _HERE:
            raise SettingsError([f"tools: mcp:{target}: expected this machine, one of {', '.join(_HERE)}"])
        return target
    try:
        command, *arguments = shlex.split(target)
    except ValueError as error:
        raise SettingsError([f"tools: mcp:{target}: expected a command or an address: {error}"]) from error
    # all of our environment: in it stands the mark by which what a child started is ended with it
    return StdioServerParameters(command=command, args=arguments, env=dict(os.environ))
