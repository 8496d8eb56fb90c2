"""Clips: GIF files in the folder of the pairs, and nothing else that a row may name."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from rung.errors import DataError
from rung.lab.labels.comparison import LARGEST_CLIP, read_clip
from rung.lab.labels.comparison_rows import read_comparisons


def gif(colour: int = 0, side: int = 8) -> bytes:
    out = io.BytesIO()
    frames = [Image.new("RGB", (side, side), (20 * colour, 40 * i, 90)) for i in range(3)]
    frames[0].save(out, "GIF", save_all=True, append_images=frames[1:], duration=50)
    return out.getvalue()


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    (tmp_path / "clips").mkdir()
    (tmp_path / "clips" / "a.gif").write_bytes(gif(1))
    (tmp_path / "clips" / "b.gif").write_bytes(gif(2))
    return tmp_path


def row(first: Any, second: Any = "clips/b.gif") -> dict[str, Any]:
    return {"prompt": "Which one runs better?", "completions": [{"clip": first}, {"clip": second}]}


def test_clips_are_read_and_known_by_what_they_show(clips: Path, pairs_file: Callable[..., Path]) -> None:
    path = pairs_file([row("clips/a.gif")])
    before = read_comparisons(path)
    assert before.pairs[0].completions == ({"clip": "clips/a.gif"}, {"clip": "clips/b.gif"})
    (clips / "clips" / "a.gif").write_bytes(gif(5))
    assert (
        read_comparisons(path).fingerprints != before.fingerprints
    )  # another clip under the same name is another pair


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("../a.gif", "expected a path inside the folder"),
        ("clips/../../a.gif", "expected a path inside the folder"),
        ("/etc/passwd", "expected a path inside the folder"),
        ("clips\\a.gif", "expected a path inside the folder"),
        ("a\0.gif", "expected a path inside the folder"),
        ("link.gif", "leads out of the folder"),
        ("clips/a.png", "expected a .gif file"),
        ("http://x.example/a.gif", "cannot be read"),
        ("clips/none.gif", "cannot be read: No such file"),
        ("folder.gif", "cannot be read"),
        ("html.gif", "is no GIF"),
        ("huge.gif", "larger than 16 MiB"),
        ("wide.gif", "is 60000 x 1 pixels"),
        (5, 'expected {"clip": "FILE.gif"}'),
    ],
)
def test_a_clip_that_cannot_be_shown_is_refused(
    clips: Path, pairs_file, tmp_path_factory, name: Any, words: str
) -> None:
    outside = tmp_path_factory.mktemp("outside") / "a.gif"
    outside.write_bytes(gif())
    (clips / "link.gif").symlink_to(outside)
    (clips / "folder.gif").mkdir()
    (clips / "html.gif").write_bytes(b"<script>alert(1)</script>")
    (clips / "huge.gif").write_bytes(gif() + bytes(LARGEST_CLIP))
    (clips / "wide.gif").write_bytes(b"GIF89a" + (60000).to_bytes(2, "little") + b"\x01\x00" + bytes(20))
    with pytest.raises(DataError) as error:
        read_comparisons(pairs_file([row(name)]))
    assert words in str(error.value) and "pairs.jsonl:1: completions[0]: " in str(error.value)


def test_a_clip_and_a_key_too_many(clips: Path, pairs_file: Callable[..., Path]) -> None:
    wrong = row("clips/a.gif")
    wrong["completions"][0]["kind"] = "gif"
    with pytest.raises(DataError, match="has 'clip', 'kind', expected"):
        read_comparisons(pairs_file([wrong]))


def test_a_link_put_there_later_is_not_followed(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "a.gif"
    outside.write_bytes(gif())
    assert read_clip("clips/a.gif", clips) == gif(1)
    (clips / "clips" / "a.gif").unlink()
    (clips / "clips" / "a.gif").symlink_to(outside)
    with pytest.raises(ValueError, match="leads out of the folder"):
        read_clip("clips/a.gif", clips)
