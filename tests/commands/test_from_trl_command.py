"""`rung from-trl`: what it prints is a settings file."""

from __future__ import annotations

import json

import yaml


def test_hostile_text_stays_in_its_comment(rung, tmp_path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(
        'loss_type: dapo\nmax_steps: 5\nmodel_revision: "x\\nmodel: evil\\e[31m"\nmodel_name_or_path: "a\\nb"'
    )
    out = rung("from-trl", file).out
    assert "\x1b" not in out and not [line for line in out.splitlines() if line.startswith("model: evil")]
    assert yaml.safe_load(out)["model"] == "a\nb"


def test_the_printed_settings_are_taken_by_check(rung, tmp_path, model) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps({"prompt": f"{n}+1=", "answer": str(n + 1)}) + "\n" for n in range(40)))
    file = tmp_path / "grpo.json"
    given = {"model_name_or_path": str(model), "dataset_name": "rows.jsonl", "max_steps": 1, "num_generations": 4}
    given |= {"max_completion_length": 8}
    file.write_text(json.dumps(given))
    answer = rung("from-trl", file)
    assert answer.code == 0
    (tmp_path / "run.yaml").write_text(answer.out)
    found = rung("check", "--config", tmp_path / "run.yaml", "--json")
    assert found.code == 0, found.err
    assert found.json["settings"]["prompts_per_step"] == 2
    assert rung("from-trl", file, "--json").json["settings"]["steps"] == 1
    assert "cannot be read" in rung("from-trl", tmp_path / "none.yaml").err
