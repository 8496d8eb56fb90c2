"""An MCP server in plain Python, as anybody could write one: JSON lines, four requests, a memory of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

KIND = sys.argv[1] if len(sys.argv) > 1 else ""
NUMBER = {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}, "required": ["a", "b"]}
WORD = {"type": "object", "properties": {"word": {"type": "string"}}, "required": ["word"]}
NONE = {"type": "object", "properties": {}}
TOOLS = {"times": NUMBER, "keep": WORD, "fails": NONE, "hangs": NONE, "ends": NONE, "starts": WORD}
kept: list[str] = []


def called(name: str, given: dict[str, object]) -> dict[str, object]:
    if name == "hangs":
        time.sleep(600)
    if name == "ends":
        os._exit(3)
    if name == "starts":
        one = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
        with open(str(given["word"]), "w") as file:  # noqa: PTH123
            file.write(f"{os.getpid()} {one.pid}")
    if name == "keep":
        kept.append(str(given["word"]))
    said = str(given["a"] * given["b"]) if name == "times" else " ".join(kept)  # type: ignore[operator]
    return {"content": [{"type": "text", "text": "broken" if name == "fails" else said}], "isError": name == "fails"}


def answer(method: str, given: dict[str, object]) -> dict[str, object] | None:
    if method == "initialize":
        about = {"protocolVersion": given["protocolVersion"], "capabilities": {"tools": {}}}
        return {**about, "serverInfo": {"name": "fake", "version": "1"}}
    if method == "tools/list":  # a page a tool
        names = list(TOOLS) if KIND != "none" else []
        place = int(str(given.get("cursor") or 0))
        hints = {"annotations": {"readOnlyHint": True}} if KIND == "reads" else {}
        page = [
            {"name": n, "description": f"It {n}.", "inputSchema": TOOLS[n], **hints} for n in names[place : place + 1]
        ]
        return {"tools": page, **({"nextCursor": str(place + 1)} if place + 1 < len(names) else {})}
    if method == "tools/call":
        return called(str(given["name"]), given.get("arguments") or {})  # type: ignore[arg-type]
    return None


print("not a message", file=sys.stderr)
for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked:
        continue
    found = answer(asked["method"], asked.get("params") or {})
    reply = {"error": {"code": -32601, "message": "no such method"}} if found is None else {"result": found}
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], **reply}), flush=True)
