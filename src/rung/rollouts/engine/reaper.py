"""The keeper of an engine, between it and its run: started with the engine's folder and its command.

It starts the engine where there is no network but its own loopback, and waits on its standard input, which closes when
the run ends, however it ends. Then the engine is killed with all that it started, and its folder is removed. A run that
is killed can do neither itself, and a signal for the parent's death reaches the engine alone. Exits as the engine did.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from contextlib import suppress

from rung.processes import kill_marked, leave_network

MARK = "RUNG_ENGINE"
"""In the environment of an engine and all that it starts: whose they are."""
_SET_FLAGS, _UP_AND_RUNNING = 0x8914, 0x41
_TURN_S = 0.2


def main() -> None:
    """What the command line says."""
    ended = kept(*sys.argv[1:])
    os._exit(ended if ended >= 0 else 128 - ended)


def kept(folder: str, *command: str) -> int:
    """Runs the command until it ends or the run is gone; how it ended, as `Popen.returncode` says it."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the run decides when it is over
    leave_network()
    with suppress(OSError), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, _SET_FLAGS, struct.pack("16sh14x", b"lo", _UP_AND_RUNNING))
    mark = secrets.token_hex(16)
    engine = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, cwd=folder, env=os.environ | {MARK: mark}, start_new_session=True
    )
    gone = False
    while engine.poll() is None and not gone:
        gone = bool(select.select([0], [], [], _TURN_S)[0])
    with suppress(ProcessLookupError):
        os.killpg(engine.pid, signal.SIGKILL)
    while kill_marked(f"{MARK}={mark}".encode()):
        time.sleep(0.01)
    code = engine.wait()
    if gone:
        shutil.rmtree(folder, ignore_errors=True)
    return code
