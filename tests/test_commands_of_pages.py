"""Every `rung` line of README and docs: each is a command of today, and each runs, in its page's order.

What a page leaves open is filled in: MODEL is a small Llama with a byte-level BPE tokenizer and a chat template, TASK a
task. Runs are made short, since a page's own take minutes: few steps, few prompts, few held-out items.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import psutil
import pytest
from real_tokenizers import byte_level, saved
from typer.main import get_command
from typer.testing import CliRunner

from rung.cli import app
from rung.lab.labels.comparison import Vote
from rung.lab.labels.comparison_rows import read_comparisons
from rung.lab.labels.store import LabelStore
from rung.settings.listing import found, listed

ROOT = Path(__file__).parent.parent
PAGES = sorted(str(page.relative_to(ROOT)) for page in (*ROOT.glob("README*.md"), *ROOT.glob("docs/**/*.md")))
WORDS = {"MODEL": "my_model", "M": "my_model", "TASK": "arithmetic", "T": "arithmetic", "RUN": "runs/first"}
FEW = ("evaluation.num_items=4", "prompts_per_step=2", "max_new_tokens=8", "saving.every=1", "learner.threads=1")
STEPS = {
    "train": ("steps=2", *FEW),
    "compare": (*FEW, "reporting.page=false"),
    "pairs": ("prompts=4",),
    "resume": ("evaluation.num_items=4",),
}
SHORT = {
    **{command: [word for one in sets for word in ("--set", one)] for command, sets in STEPS.items()},
    "eval": ["--items", "4"],
    "rlhf": [word for stage in ("sft", "reward_model", "policy") for word in ("--set", f"{stage}.steps=2")],
}
ENDLESS = ("view", "label", "serve")
ELSEWHERE = {
    "sampler.engine=vllm": "needs vLLM: tests/runs/test_engine_runs.py, make test-engine",
    "preferences.labeller=people": "waits for people: tests/lab/labels/test_people.py",
    "labels/pairs.jsonl": "the other terminal of that run",
    **dict.fromkeys(
        ("gymnasium/", "textarena/", "textworld/", "openenv/", "mcp:"), "tests/tasks/test_others.py, test_mcp"
    ),
    **dict.fromkeys(("from-trl", "run.yaml"), "tests/settings/test_from_trl.py"),
    "verify": "needs libraries that clash: tests/lab/test_referee_fit.py",
}

SETTINGS = listed()


def commands(page: str) -> Iterator[list[str]]:
    """The words of each line that begins with `rung` in the page's blocks, without its comment."""
    text = (ROOT / page).read_text(encoding="utf-8").replace("\\\n", " ")
    blocks = re.findall(r"^```(?:\w*)\n(.*?)^```$|((?:^    [^\n]*\n)+)", text, re.MULTILINE | re.DOTALL)
    for block in ("".join(parts) for parts in blocks):
        for line in block.splitlines():
            if match := re.match(r"\s*(?:\$ )?rung (\w+.*|compare)$", re.split(r"\s+#\s|\s{5,}", line.strip())[0]):
                yield shlex.split(match[1].partition(" > ")[0])


WITH_COMMANDS = [page for page in PAGES if list(commands(page))]


def test_pages_have_commands() -> None:
    assert {"README.md", "README.ja.md", "docs/compare.md", "docs/labelling.md"} <= set(WITH_COMMANDS)


@pytest.mark.parametrize("page", WITH_COMMANDS)
def test_a_pages_commands_are_those_of_today(page: str) -> None:
    group = get_command(app)
    for name, *words in commands(page):
        command = group.get_command(None, name)  # pyright: ignore
        assert command is not None, f"{page}: rung {name}"
        command.make_context(name, list(words))
        for flag, value in pairwise(words):
            if flag == "--set" and name != "rlhf":
                key = value.partition("=")[0]
                assert key.startswith("task.") or found(key, SETTINGS)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("page", {str(list(commands(page))): page for page in reversed(WITH_COMMANDS)}.values())
def test_a_pages_commands_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    fill(tmp_path, (ROOT / page).read_text(encoding="utf-8"))
    for words in commands(page):
        line = " ".join(words)
        if any(part in line for part in ELSEWHERE):
            continue
        told = [re.sub(r"^((?:steps|tokens)=)\d+[KM]?", r"\g<1>3", WORDS.get(word, word)) for word in words]
        if told[0] in ENDLESS and not {"--export", "--votes"} & set(told):
            threading.Thread(target=stop_when_it_listens, daemon=True).start()
        elif "labelled.jsonl" in told or "votes.jsonl" in told:
            vote(Path("pairs.jsonl"))
        elif told[0] == "compare":
            told = [word for flag, word in zip(["", *told], told, strict=False) if "--seeds" not in (flag, word)]
            told += ["--seeds", "1", *([] if "--budget" in told else ["--budget", "tokens=3"])]
        done = CliRunner().invoke(app, [*told, *SHORT.get(told[0], [])], input="7\n8\n9\n3\n")
        assert done.exit_code == 0, f"{page}: rung {line}\n{done.output[-3000:]}"


def fill(folder: Path, page: str) -> None:
    """What a page takes for granted: a model, files, runs, and what another page has made."""
    saved(folder / "my_model", byte_level(), context=1024)
    (folder / "rows.jsonl").write_text("".join(f'{{"prompt": "What is {n} plus 1?"}}\n' for n in range(40)))
    (folder / "my_reward.py").write_text(
        "def score(prompts, completions, **columns):\n    return [len(text) / 9 for text in completions]\n"
    )
    (folder / "turns.txt").write_text("8\n4\n2\n1\n")
    guess = re.search(r"^class Guess.*?(?=^```)", page, re.DOTALL | re.MULTILINE)
    (folder / "guess.py").write_text("from rung import Step\n\n\n" + (guess[0] if guess else ""))
    for run in re.findall(r"rung (?:view|play|eval|list)[^\n]* (runs/[a-z]+)", page):
        if f"--out {run}" not in page and not (folder / run).exists():
            begin = ["train", "grpo", "--model", "tiny", "--task", "arithmetic", "--out", run, "--quiet"]
            assert CliRunner().invoke(app, [*begin, *SHORT["train"]]).exit_code == 0
    if "rung label pairs.jsonl" in page and "rung pairs" not in page:
        pairs = ["pairs", "--model", "my_model", "--task", "arithmetic", "--out", "pairs.jsonl", "--unlabelled"]
        assert CliRunner().invoke(app, [*pairs, *SHORT["pairs"]]).exit_code == 0


def stop_when_it_listens() -> None:
    """Ctrl-C, as soon as the command serves its page."""
    here = psutil.Process()
    before = {link.laddr for link in here.net_connections() if link.status == psutil.CONN_LISTEN}
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if {link.laddr for link in here.net_connections() if link.status == psutil.CONN_LISTEN} - before:
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGINT)
            return
        time.sleep(0.1)


def vote(pairs: Path) -> None:
    """Every pair gets anna's vote for its first answer."""
    with LabelStore(pairs.with_name(f"{pairs.name}.labels")) as store:
        store.take_in(read_comparisons(pairs))
        while asked := store.ask("anna", wanted=1):
            (pair, left), submit = asked, str(uuid.uuid4())
            store.record(Vote(submit=submit, pair=pair.id, labeller="anna", answer="first", left=left, at=0.0))
