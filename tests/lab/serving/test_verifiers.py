"""Verifiers' own evaluator asks a served model, and scores what its sampler draws."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from functools import partial
from pathlib import Path

import pytest

from rung.lab.pages import PageServer
from rung.lab.serving import KeyGuard, Serving
from rung.models.language.tiny import tiny_model

OTHERS = Path(os.environ.get("RUNG_CACHE") or Path.home() / ".cache" / "rung") / "others"
TASKSET = """
import verifiers.v1 as vf

class SumsTask(vf.Task[vf.TaskData]):
    @vf.reward(weight=1.0)
    async def length(self, trace: vf.Trace) -> float:
        return float(len(trace.last_reply))

class SumsTaskset(vf.Taskset[SumsTask, vf.TasksetConfig]):
    def load(self):
        return [SumsTask(vf.TaskData(prompt=f"{n}+{n}"), self.config.task) for n in range(2)]
"""


@pytest.mark.peers
def test_verifiers_evaluates_a_served_model(tmp_path: Path) -> None:
    found = OTHERS / "verifiers" / "bin" / "vf-eval"
    assert found.exists(), "verifiers is installed by `make others`"
    (tmp_path / "rung_sums").mkdir()
    (tmp_path / "rung_sums" / "__init__.py").write_text(f"{TASKSET}\n__all__ = ['SumsTaskset']\n")
    policy = tiny_model(0, context_length=512)
    policy.tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}="
    key, refused = "k" * 20, list[str]()
    guard = partial(KeyGuard, key=key)
    with PageServer(Serving(policy, "mine").routes(), guard=guard, refused=refused.append) as server:
        thread = threading.Thread(target=server.run)
        thread.start()
        asked = ["rung_sums", "-m", "mine", "-r", "2", "--no-push", "-o", str(tmp_path / "out")]
        asked += ["--client.base-url", f"http://127.0.0.1:{server.port}/v1", "--client.api-key-var", "RUNG_KEY"]
        asked += [
            "--sampling.max-tokens",
            "8",
            "--env.agent.harness.id",
            "null",
            "--env.agent.runtime.type",
            "subprocess",
        ]
        own = {
            "RUNG_KEY": key,
            "PYTHONPATH": str(tmp_path),
            "HOME": str(tmp_path),
            "PATH": f"{found.parent}:{os.environ['PATH']}",
        }
        done = subprocess.run(
            [str(found), *asked],
            env={**os.environ, **own},
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        server.stop()
        thread.join(20)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    (file,) = (tmp_path / "out").rglob("traces.jsonl")
    episodes = [json.loads(line) for line in file.read_text().splitlines()]
    traces = [trace for episode in episodes for trace in episode["traces"]]
    assert len(traces) == 4 and not refused and not any(episode["errors"] for episode in episodes)
    replies = [node["message"]["content"] for trace in traces for node in trace["nodes"] if node["sampled"]]
    assert [trace["rewards"]["length"]["score"] for trace in traces] == [len(reply.strip()) for reply in replies]
    assert len(set(replies)) == 4, "each was drawn anew"
