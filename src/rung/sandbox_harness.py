"""Inside the sandbox: `python -I -c THIS`, started by `sandbox.py`. Imports nothing of rung.

Standard input holds ten digits, so many bytes of JSON, and the nonce, which is read only once the code has ended. The
answer, with the nonce, goes to a pipe of its own.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import traceback

LIMITS = {"memory": "AS", "seconds": "CPU", "file": "FSIZE", "files": "NOFILE", "processes": "NPROC", "core": "CORE"}


def main(answers: int) -> None:
    os.write(answers, b"begun\n")
    asked = os.dup(0)
    request = json.loads(os.read(asked, int(os.read(asked, 10))))
    stdin = os.memfd_create("stdin")
    os.write(stdin, request["stdin"].encode())
    os.lseek(stdin, 0, os.SEEK_SET)
    os.dup2(stdin, 0)
    os.close(stdin)
    for name, value in request["limits"].items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{LIMITS[name]}"), (value, value))
    me = os.getpid()
    answer = ended(request["code"], request["asks"])
    if os.getpid() != me:
        os._exit(0)  # the code forked, and the copy came back too
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # the code closed it
            stream.flush()
    answer["nonce"] = os.read(asked, 64).decode()
    os.write(answers, json.dumps(answer).encode())


def ended(code, asks):  # type: ignore[no-untyped-def]
    """How the code ended, and the values of what was asked after it."""
    try:
        space = {"__name__": "__main__"}
        exec(compile(code, "<code>", "exec"), space)
        values = [eval(compile(ask, "<ask>", "eval"), space) for ask in asks]
        return {"status": "ok", "values": json.loads(json.dumps(values)), "error": ""}
    except SystemExit as error:
        return {"status": "left", "values": [], "error": f"SystemExit: {error.code}"}
    except BaseException as error:  # noqa: BLE001
        return {"status": "raised", "values": [], "error": told(error)}


def told(error: BaseException) -> str:
    """What was raised and in which line, in at most 1,000 characters."""
    text = "".join(traceback.format_exception_only(type(error), error)).strip()[:1000]
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<code>"]
    return f"line {lines[-1]}: {text}" if lines else text


main(int(sys.argv[1]))
