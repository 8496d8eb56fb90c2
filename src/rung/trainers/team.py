"""A team: several processes that learn together on this machine, and what the one that leads starts and watches.

Rank 0 is the process that the user started. It starts the others (`rung.rank`), tells them over a pipe which work to do
next, and does it with them; tensors go by torch.distributed over the loopback interface. Every wait has a deadline. A
process that dies or hangs ends the run by name; the others end when the one that leads does, however it ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

import torch
import torch.distributed as dist
from torch import Tensor

from rung.child import environment_for
from rung.errors import RankError, SettingsError
from rung.models.language.sharded import local, share_of
from rung.processes import last_lines
from rung.settings import LearnerSettings, Settings
from rung.trainers.ranks import Ranks, W, on_gpu
from rung.trainers.wire import bytes_of, empty, header_of, packed, unpacked
from rung.waiting import turns

START_S = 300.0
"""A process that starts imports torch, perhaps from a cold disk."""
ALIVE_S = 5.0
"""So often the one that leads tells the others that it lives."""
END_S = 5.0
LAST_LINES = 3


class Team(Ranks):
    """One of several processes, after all have met."""

    def __init__(self, rank: int, size: int, folder: Path, learner: LearnerSettings) -> None:
        """`folder`: private to the team; there they find each other."""
        self.rank, self.size, self.deadline_s = rank, size, learner.deadline_s
        cuda = on_gpu(learner)
        self.device = f"cuda:{rank}" if cuda else "cpu"
        if cuda:
            torch.cuda.set_device(rank)
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
        dist.init_process_group(
            "cpu:gloo,cuda:nccl" if cuda else "gloo",
            store=dist.FileStore(str(folder / "store"), size),
            rank=rank,
            world_size=size,
            timeout=timedelta(seconds=self.deadline_s),
        )
        from torch.distributed.device_mesh import init_device_mesh

        self.mesh = init_device_mesh("cuda" if cuda else "cpu", (size,))
        self.works: list[Callable[..., Any]] = []
        self.sent: Counter[str] = Counter()
        """Bytes that this process sent on, by what they were of."""
        self.came: Counter[str] = Counter()
        """Bytes that the others sent to the one that leads."""

    def total(self, values: Tensor) -> Tensor:
        summed = values.detach().cpu().clone()
        self.sent["results"] += 2 * (self.size - 1) * summed.numel() * summed.element_size() // self.size
        dist.all_reduce(summed)
        return summed.to(values.device)

    def shared(self, work: W, what: str) -> W:
        self.works.append(work)
        return work

    def shard(self, model: Any) -> None:
        tried = tuple(model.tried()) if self.leads and model.trainable() else ()
        model.shard(self.mesh, self.sent)
        model.tried = lambda: iter(tried)

    def whole(self, tensors: Mapping[str, Tensor], what: str = "saved") -> dict[str, Tensor]:
        found = {name: self._gathered(tensor, what) for name, tensor in tensors.items()}
        return {name: tensor for name, tensor in found.items() if tensor is not None and self.leads}

    def _gathered(self, tensor: Tensor, what: str) -> Tensor | None:
        mine = local(tensor)
        if not hasattr(tensor, "full_tensor"):
            return mine
        rows = -(-tensor.shape[0] // self.size)
        padded = mine.new_zeros((rows, *tensor.shape[1:]))
        padded[: len(mine)] = mine
        parts = [torch.empty_like(padded) for _ in range(self.size)] if self.leads else None
        size = padded.numel() * padded.element_size()
        self.sent[what] += 0 if self.leads else size
        self.came[what] += size * (self.size - 1) if self.leads else 0
        dist.gather(padded, parts, dst=0)
        return None if parts is None else torch.cat([part.cpu() for part in parts])[: tensor.shape[0]]

    def _broadcast(self, tensor: Tensor) -> Tensor:
        tensor = tensor.contiguous()
        self.sent["told"] += tensor.numel() * tensor.element_size() * (self.size - 1 if self.leads else 0)
        if tensor.numel():
            dist.broadcast(bytes_of(tensor), src=0)
        return tensor

    def close(self) -> None:
        if dist.is_initialized():
            dist.destroy_process_group()


class Lead(Team):
    """Rank 0, which has started the others."""

    def __init__(self, settings: Settings, *, model: str) -> None:
        """Starts and meets the others; `model`: its place on this machine. Raises RankError where one does not come."""
        if dist.is_initialized():
            raise SettingsError(
                [
                    "learner.processes: torch.distributed runs in this process already; start one process, which "
                    "starts the others itself"
                ]
            )
        size = settings.learner.processes
        self._folder = Path(tempfile.mkdtemp(prefix="rung-ranks-"))  # 0700
        self._followers: list[_Follower] = []
        self._talk, self._ended = threading.Lock(), threading.Event()
        self.deadline_s = settings.learner.deadline_s
        try:
            first = {"size": size, "folder": str(self._folder), "settings": settings.as_data() | {"model": model}}
            with self.waiting("to start"):
                self._followers += [_Follower.start(rank, self._folder) for rank in range(1, size)]
                for follower in self._followers:
                    follower.send({**first, "rank": follower.rank}, START_S)
                for follower in self._followers:
                    follower.meet()
                super().__init__(0, size, self._folder, settings.learner)
        except BaseException:
            self.close()
            raise
        threading.Thread(target=self._live, daemon=True, name="rung-ranks").start()

    @property
    def pids(self) -> list[int]:
        """Of the processes that were started."""
        return [follower.process.pid for follower in self._followers]

    def shared(self, work: W, what: str) -> W:
        number = len(self.works)
        super().shared(work, what)

        def together(*given: Any) -> Any:
            data, tensors = packed(given)
            with self.waiting(what):
                self._tell({"work": number, "what": what, "given": data, "tensors": header_of(tensors)})
                for tensor in tensors:
                    self._broadcast(tensor)
                return work(*given)

        return together  # pyright: ignore[reportReturnType]

    def spread(self, tensors: Mapping[str, Tensor], like: Callable[[str], Tensor | None]) -> dict[str, Tensor]:
        self._tell({"names": list(tensors), "tensors": header_of(list(tensors.values()))})
        return {name: _as(self._broadcast(tensor.cpu()), like(name)) for name, tensor in tensors.items()}

    def _tell(self, line: Mapping[str, Any]) -> None:
        with self._talk:
            for follower in self._followers:
                follower.send(line, self.deadline_s)

    def _live(self) -> None:
        while not self._ended.wait(ALIVE_S):
            with self._talk, contextlib.suppress(ConnectionError):  # who does the next work says it
                for follower in self._followers:
                    follower.send(None, ALIVE_S)

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """While inside, a lost process is named: what it was waited for in, how it ended, its last lines."""
        began = time.monotonic()
        try:
            yield
        except (RuntimeError, ConnectionError) as error:
            ours = isinstance(error, dist.DistError | ConnectionError)
            if not ours and "gloo" not in str(error) and "Timed out" not in str(error):
                raise
            waited = f"{time.monotonic() - began:.0f} s"
            raise RankError(
                f"processes: rank 0 waited for the others {what}, {waited} of it, at most {self.deadline_s:g} s "
                f"(learner.deadline_s): {'; '.join(one.in_words() for one in self._followers)}. Nothing that was saved "
                "is lost: rung resume goes on from the last checkpoint"
            ) from error

    def close(self) -> None:
        self._ended.set()
        with self._talk:
            for follower in self._followers:
                follower.end()
        super().close()
        shutil.rmtree(self._folder, ignore_errors=True)


class Following(Team):
    """A process that another one leads: it does what it is told until that one ends."""

    def __init__(self, told: Told, rank: int, size: int, folder: Path, learner: LearnerSettings) -> None:
        super().__init__(rank, size, folder, learner)
        self._told = told

    def follow(self) -> None:
        """Do the works that are told, in turn."""
        while (line := self._told.next(self.deadline_s)) is not None:
            sys.stdout.write(f"rank {self.rank} was told {line['what']}\n")  # the last line says what it was at
            sys.stdout.flush()
            self.works[line["work"]](*unpacked(line["given"], self._received(line)))

    def spread(self, tensors: Mapping[str, Tensor], like: Callable[[str], Tensor | None]) -> dict[str, Tensor]:
        line = self._told.next(self.deadline_s)
        if line is None:
            raise SystemExit(0)
        held = zip(line["names"], line["tensors"], strict=True)
        return {name: _as(self._broadcast(empty(*header)), like(name)) for name, header in held}

    def _received(self, line: Mapping[str, Any]) -> list[Tensor]:
        return [self._broadcast(empty(*header)) for header in line["tensors"]]


def _as(whole: Tensor, like: Tensor | None) -> Tensor:
    return whole if like is None or like.shape != whole.shape else share_of(whole, like)


class Told:
    """The lines that a process is told on a pipe; None when the one that leads is gone."""

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe, self._read = pipe.fileno(), bytearray()

    def next(self, deadline_s: float) -> dict[str, Any] | None:
        while True:
            line, end, rest = self._read.partition(b"\n")
            if end:
                self._read = rest
                if line:
                    return json.loads(line)
                continue
            if not self._more(deadline_s):
                return None

    def _more(self, deadline_s: float) -> bool:
        for seconds in turns(max(deadline_s, 4 * ALIVE_S)):
            if select.select([self._pipe], [], [], seconds)[0]:
                found = os.read(self._pipe, 2**16)
                self._read += found
                return bool(found)
        raise RankError(f"rank 0 has said nothing for {deadline_s:g} s; it says every {ALIVE_S:g} s that it lives")


@dataclass
class _Follower:
    """A process that was started, as the one that leads sees it."""

    rank: int
    process: subprocess.Popen[bytes]
    said: Path
    """The file that all it prints goes to."""

    @staticmethod
    def start(rank: int, folder: Path) -> _Follower:
        said = folder / f"rank_{rank}.log"
        with said.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "rung.rank", str(os.getpid())],
                stdin=subprocess.PIPE,
                stdout=file,
                stderr=subprocess.STDOUT,
                bufsize=0,
                start_new_session=True,  # a Ctrl-C is for the one that leads
                env=environment_for(None),
            )
        assert process.stdin is not None
        os.set_blocking(process.stdin.fileno(), False)
        return _Follower(rank, process, said)

    def meet(self) -> None:
        """Wait until it is ready to meet the others. ConnectionError where it is not in time, or ended."""
        ready = self.said.with_suffix(".ready")
        for seconds in turns(START_S):
            if ready.exists():
                return
            if self.process.poll() is not None:
                break
            time.sleep(min(seconds, 0.02))
        raise ConnectionError

    def send(self, line: Mapping[str, Any] | None, deadline_s: float) -> None:
        """A line; None: a sign of life. ConnectionError where it does not take it in time."""
        assert self.process.stdin is not None
        pipe, unsent = self.process.stdin.fileno(), memoryview(json.dumps(line or "").encode() + b"\n")
        unsent = unsent if line is not None else memoryview(b"\n")
        try:
            for seconds in turns(deadline_s):
                if select.select([], [pipe], [], seconds)[1]:
                    unsent = unsent[os.write(pipe, unsent[: 2**16]) :]
                if not unsent:
                    return
        except ValueError:  # the pipe was closed here
            pass
        raise ConnectionError

    def in_words(self) -> str:
        """How it is, and the last that it said."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(1.0)
        code = self.process.returncode
        how = "is still there" if code is None else f"ended with code {code}"
        if code is not None and code < 0:
            how = f"was killed by {signal.Signals(-code).name}"
        lines = last_lines(self.said, LAST_LINES)
        words = f"; its last lines: {' | '.join(ascii(line[-300:])[1:-1] for line in lines)}" if lines else ""
        return f"rank {self.rank} (process {self.process.pid}) {how}{words}"

    def end(self) -> None:
        """Nothing more is to do; killed where it does not end by itself."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(END_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
