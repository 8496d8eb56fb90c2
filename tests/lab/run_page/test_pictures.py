from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rung.lab.run_page import pictures
from rung.lab.run_page.pictures import draw_curves, panels_of
from rung.runs.record.visible import visible


def size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG")
    return struct.unpack(">II", png[16:24])


def test_a_whole_run_has_nine_panels_and_the_same_bytes_each_time(tmp_path: Path, made_up_rows: Any) -> None:
    metrics, timings = made_up_rows(60)
    assert [panel.title for panel in panels_of(metrics, timings)] == [
        "Held-out score and reward",
        "Reward by part",
        "KL to the start, nats a token",
        "Entropy, nats a token",
        "Completion length, tokens",
        "Groups, and completions cut off",
        "Gradient norm",
        "Sampler–learner gap, nats",
        "Seconds a step",
    ]
    for name in ("a.png", "b.png"):
        draw_curves(metrics, tmp_path / name, timings=timings, title="a run")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    width, height = size((tmp_path / "a.png").read_bytes())
    assert 1200 < width < 1500 and 900 < height < 1100  # readable at a README's width


@pytest.mark.parametrize(
    ("rows", "panels"),
    [
        ([], 0),
        ([{"step": 0}], 0),
        ([{"step": 0, "held_out/score": 0.5}], 1),
        ([{"step": 1, "reward/mean": 0.5, "grad/norm": 0.0}], 2),
        ([{"step": s, "reward/mean": None, "sampler_gap/mean": 0.0} for s in (1, 2)], 1),
        ([{"step": 1, "sampler_gap/mean": 1e-9, "sampler_gap/max": 0.5}], 1),
        ([{"step": 1, "length/mean": 0.0, "length/truncated": 1.0}, {"step": 9, "length/mean": 3.0}], 2),
        ([{"step": 0, "held_out/score": 0.5}, {"step": 1, "reward/mean": -300.0}], 2),  # each on a scale of its own
    ],
)
def test_a_short_or_odd_run_is_drawn_with_what_it_has(tmp_path: Path, rows: Any, panels: int) -> None:
    assert len(panels_of(rows)) == panels
    draw_curves(rows, tmp_path / "curves.png")
    assert size((tmp_path / "curves.png").read_bytes())[0] > 300


def test_timings_of_one_step_or_of_step_0_alone(tmp_path: Path) -> None:
    assert panels_of([], [{"step": 0, "seconds/evaluate": 3.0}]) == []
    draw_curves([], tmp_path / "one.png", timings=[{"step": 1, "seconds/sample": 3.0, "seconds/learn": None}])
    assert size((tmp_path / "one.png").read_bytes())[0] > 300


def test_hostile_part_names_are_only_text(tmp_path: Path, hostile: list[str]) -> None:
    for names in (hostile[:6], hostile[6:]):
        rows = [{"step": step} | {f"reward/{name}": 0.5 for name in names} for step in (1, 2)]
        (panel,) = panels_of(rows)
        assert visible(names[1], limit=24) in panel.lines.values()
        assert all(label.isprintable() for label in panel.lines.values())
        draw_curves(rows, tmp_path / "parts.png", title=names[0])


def test_many_parts_are_cut_with_a_count() -> None:
    (panel,) = panels_of([{"step": 1} | {f"reward/p{i:02}": 0.1 * i for i in range(12)}])
    assert panel.title == "Reward by part, and 5 more" and len(panel.lines) == 7


def test_the_running_mean_is_the_mean_of_what_is_there() -> None:
    values = np.array([1.0, math.nan, 3.0, 5.0, math.nan, math.nan, math.nan, 7.0])
    smooth = pictures._running_mean(values, 1)
    assert smooth[:5].tolist() == [1.0, 2.0, 4.0, 4.0, 5.0]
    assert math.isnan(smooth[5]) and smooth[6:].tolist() == [7.0, 7.0]


def test_the_users_own_matplotlib_settings_change_nothing(tmp_path: Path, made_up_rows: Any) -> None:
    import matplotlib as mpl

    metrics, timings = made_up_rows(2)[0][-1:], []
    draw_curves(metrics, tmp_path / "a.png", timings=timings)
    with mpl.rc_context({"axes.facecolor": "red", "font.size": 30}):
        draw_curves(metrics, tmp_path / "b.png", timings=timings)
        assert mpl.rcParams["font.size"] == 30
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
