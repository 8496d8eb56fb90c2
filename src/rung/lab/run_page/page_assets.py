"""The report page's own style and script. Inline, so that the page is one file and asks the network for nothing."""

from __future__ import annotations

import base64
import hashlib

STYLE = """
:root { color-scheme: light dark;
  --paper: #f6f8fa; --panel: #ffffff; --ink: #24292f; --soft: #59636e; --grid: #d8dee4; --mark: #ddf4ff;
  --good: #1a7f37; --bad: #b35900; --badpaper: #fff5e8;
  --c0: #0969da; --c1: #d4622a; --c2: #1a7f5a; --c3: #8250df; --c4: #b08800; --c5: #bf3989; --c6: #57606a; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #0d1117; --panel: #161b22; --ink: #e6edf3; --soft: #9aa4af; --grid: #30363d; --mark: #16304d;
  --good: #4ac26b; --bad: #e5a04b; --badpaper: #2b2113;
  --c0: #58a6ff; --c1: #f0883e; --c2: #3fb68b; --c3: #b48aff; --c4: #d4b13f; --c5: #f778ba; --c6: #9aa4af; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 1120px; margin: 0 auto; padding: 2.5rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0; letter-spacing: -0.01em; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.75rem 0 0.75rem; }
h3 { font-size: 0.95rem; margin: 0 0 0.35rem; }
p { margin: 0.4rem 0; max-width: 46rem; }
.soft { color: var(--soft); } .small { font-size: 0.875rem; }
.card { background: var(--panel); border: 1px solid var(--grid); border-radius: 10px; padding: 1rem 1.15rem; }
.grid { display: grid; gap: 0.9rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 320px), 1fr)); }
.headline { display: grid; gap: 0.3rem 2.5rem; grid-template-columns: repeat(auto-fit, minmax(200px, max-content));
  margin-top: 1.4rem; }
.figure b { display: block; font-size: 2rem; line-height: 1.25; letter-spacing: -0.02em;
  font-variant-numeric: tabular-nums; }
.figure span { color: var(--soft); font-size: 0.875rem; }
.warning { background: var(--badpaper); border: 1px solid var(--grid); border-left: 4px solid var(--bad);
  border-radius: 8px; padding: 0.7rem 1rem; margin: 0.6rem 0; }
.warning p { margin: 0.15rem 0; }
.curve svg { width: 100%; height: auto; display: block; }
.film { display: block; max-width: 100%; height: auto; border-radius: 6px; }
.curve svg * { stroke-linejoin: round; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem; }
th, td { text-align: left; vertical-align: top; padding: 0.5rem 0.7rem; border-bottom: 1px solid var(--grid); }
th { font-weight: 600; color: var(--soft); font-size: 0.8rem; white-space: nowrap; }
tr:last-child > td { border-bottom: 0; }
.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
.name { white-space: nowrap; }
code, pre, .text { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: 0.85rem; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
.text { white-space: pre-wrap; overflow-wrap: anywhere; unicode-bidi: isolate; min-width: 11rem; max-width: 26rem; }
.text > div { max-height: 14rem; overflow: auto; }
.outside { color: var(--bad); font-weight: 600; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0.35rem 1.2rem; margin: 0.8rem 0 0;
  font-size: 0.9rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.tools { display: flex; flex-wrap: wrap; gap: 0.5rem 1rem; align-items: center; margin: 0 0 0.8rem; }
select, input { font: inherit; font-size: 0.9rem; color: inherit; background: var(--panel);
  border: 1px solid var(--grid); border-radius: 6px; padding: 0.25rem 0.5rem; }
.right td:first-child { box-shadow: inset 3px 0 var(--good); }
.failed td:first-child { box-shadow: inset 3px 0 var(--bad); }
.window { max-height: 85vh; overflow: auto; padding-top: 0; }
.window th { position: sticky; top: 0; background: var(--panel); box-shadow: 0 1px var(--grid); }
.newgroup td { border-top: 2px solid var(--grid); }
summary { cursor: pointer; }
@media (max-width: 620px) { dl { grid-template-columns: 1fr; gap: 0.1rem; } dd { margin-bottom: 0.5rem; } }
@media print { body { background: none; } .card { break-inside: avoid; } }
"""

SCRIPT = """
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("samples-data").textContent);
  const body = document.querySelector("#samples tbody");
  const step = document.getElementById("step");
  const kind = document.getElementById("kind");
  const find = document.getElementById("find");
  const count = document.getElementById("count");
  const cell = (row, text, name) => {
    const td = document.createElement("td");
    td.className = name;
    const inner = name === "text" ? td.appendChild(document.createElement("div")) : td;
    inner.textContent = text;
    row.append(td);
  };
  const wanted = (row) =>
    String(row.step) === step.value &&
    (kind.value === "all" || row.kind === kind.value || (kind.value === "truncated" && row.truncated)) &&
    (row.prompt + row.completion).toLowerCase().includes(find.value.toLowerCase());
  const show = () => {
    const rows = data.rows.filter(wanted);
    let group = null;
    body.replaceChildren(...rows.map((row) => {
      const tr = document.createElement("tr");
      const again = group === row.group;
      tr.className = row.kind + (group === null || again ? "" : " newgroup");
      group = row.group;
      cell(tr, again ? "" : row.prompt, "text");
      cell(tr, row.completion || "(nothing)", row.completion ? "text" : "soft");
      cell(tr, row.reward, "number");
      for (const part of data.parts) cell(tr, row.parts[part] ?? "–", "number");
      cell(tr, row.advantage, "number");
      cell(tr, String(row.tokens), "number");
      cell(tr, row.status + (row.truncated ? ", cut off" : ""), row.kind === "failed" ? "outside" : "small");
      return tr;
    }));
    count.textContent = rows.length + (rows.length === 1 ? " completion" : " completions");
  };
  for (const control of [step, kind, find]) control.addEventListener("input", show);
  show();
})();
"""


def content_policy() -> str:
    """Nothing is loaded from anywhere, and the only script that may run is ours, by its hash."""
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode("utf-8")).digest()).decode("ascii")
    return (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
