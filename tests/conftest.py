"""What holds for every test: no hub is asked, and property tests try the same examples in every `make test`.

`make test-all` draws new ones.
"""

from __future__ import annotations

import os
from collections import Counter

from hypothesis import settings
from pytest import TerminalReporter

pytest_plugins = ["made_up_reports"]
os.environ["RUNG_COMPUTE"] = "float32"  # the same numbers on a processor with bfloat16 units as on one without
os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when the hub's library is imported

settings.register_profile("steady", derandomize=True)
if not os.environ.get("RUNG_NEW_EXAMPLES"):
    settings.load_profile("steady")


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """How golden results were compared: exactly, or to a tolerance because the machine is another one."""
    reports = [report for found in terminalreporter.stats.values() for report in found if hasattr(report, "when")]
    said = {report.nodeid: dict(report.user_properties).get("golden") for report in reports if report.when == "call"}
    how = Counter(words for words in said.values() if words)
    for words, count in how.items():
        terminalreporter.write_line(f"golden results: {count} kinds compared {words}")
