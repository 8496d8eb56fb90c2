// Where the seconds of each step went: a bar a step, a colour a phase, in the order in which they run.

import { by, element } from "./pages.js";
import { drawn, fill, short, ticks } from "./numbers.js";

const ORDER = ["sample", "reward", "learn", "evaluate", "save"];
const STEPS = 30;
const WIDTH = 720;
const LEFT = 52;
const BAR = 20;

let runs = [];
let drawnNow = "";

/** [["sample", 1.5], ...] of a row of timings; the sum and what is not a phase are left out. */
export function phasesOf(row) {
  const found = Object.entries(row)
    .filter(([name, value]) => name.startsWith("seconds/") && name !== "seconds/step" && value > 0)
    .map(([name, value]) => [name.slice("seconds/".length), value]);
  const place = (name) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
  return found.sort((a, b) => place(a[0]) - place(b[0]) || (a[0] < b[0] ? -1 : 1));
}

const colourOf = (name) => (ORDER.includes(name) ? `c${ORDER.indexOf(name)}` : "c5");

function draw() {
  const run = runs[Number(by("time-run").value || 0)];
  const rows = run ? run.timings.rows : [];
  if (!rows.length) {
    by("time-key").replaceChildren();
    return by("time-line").replaceChildren(element("p", "No timings yet.", { class: "soft" }));
  }
  const chosen = by("time-last").value;
  const end = chosen === "" ? rows.length : rows.findLastIndex((row) => row.step <= Number(chosen)) + 1;
  const shown = rows.slice(Math.max(0, end - STEPS), end).toReversed();
  const totals = new Map();
  for (const row of shown) for (const [name, seconds] of phasesOf(row)) totals.set(name, (totals.get(name) ?? 0) + seconds);
  const all = [...totals.values()].reduce((a, b) => a + b, 0);
  by("time-key").replaceChildren(...[...totals].map(([name, seconds]) => {
    const key = element("span", "", { class: "small number" });
    key.append(element("span", " ", { class: `patch fill ${colourOf(name)}` }), ` ${name} ${((seconds / all) * 100).toFixed(1)} %`);
    return key;
  }));
  by("time-line").replaceChildren(picture(shown));
}

function picture(rows) {
  const most = Math.max(...rows.map((row) => phasesOf(row).reduce((sum, [, seconds]) => sum + seconds, 0))) || 1;
  const height = rows.length * BAR + 24;
  const x = (seconds) => LEFT + ((WIDTH - LEFT - 20) * seconds) / most;
  const svg = drawn("svg", { viewBox: `0 0 ${WIDTH} ${height}`, tabindex: "0", role: "application", class: "time",
    "aria-label": `Phases of ${rows.length} steps; arrow keys move` });
  for (const tick of ticks(0, most, 6)) {
    svg.append(drawn("line", { x1: x(tick), x2: x(tick), y1: 0, y2: height - 18, class: "grid" }));
    svg.append(drawn("text", { x: x(tick), y: height - 5, "text-anchor": "middle" }, `${short(Number(tick.toPrecision(10)))} s`));
  }
  for (const [place, row] of rows.entries()) {
    svg.append(drawn("text", { x: LEFT - 6, y: place * BAR + 14, "text-anchor": "end" }, String(row.step)));
    let begin = 0;
    for (const [name, seconds] of phasesOf(row)) {
      svg.append(drawn("rect", { x: x(begin), y: place * BAR + 2, width: Math.max(0.5, x(begin + seconds) - x(begin)), height: BAR - 4,
        class: `phase fill ${colourOf(name)}`, "data-place": place }));
      begin += seconds;
    }
  }
  listen(svg, rows);
  return svg;
}

function listen(svg, rows) {
  let place = 0;
  const go = (next) => {
    place = Math.max(0, Math.min(rows.length - 1, next));
    const phases = phasesOf(rows[place]).map(([name, seconds]) => `${name} ${short(seconds)} s`);
    by("time-says").textContent = `step ${rows[place].step}: ${phases.join(", ") || "no phase was timed"}`;
  };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    go(Math.floor(((event.clientY - box.top) / box.width) * WIDTH / BAR));
  });
  svg.addEventListener("focus", () => go(place));
  svg.addEventListener("keydown", (event) => {
    const next = { ArrowUp: place - 1, ArrowDown: place + 1, Home: 0, End: rows.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    go(next);
  });
}

export function showTime(all) {
  runs = all;
  fill(by("time-run"), runs.filter((run) => run.shown).map((run) => [String(run.number), run.name]));
  const run = runs[Number(by("time-run").value || 0)];
  fill(by("time-last"), [["", "the newest"], ...(run ? run.timings.rows.map((row) => [String(row.step), String(row.step)]) : [])]);
  const now = `${run?.number} ${run?.timings.epoch} ${run?.timings.rows.length}`;
  if (now === drawnNow || by("time-line").contains(document.activeElement)) return;
  drawnNow = now;
  draw();
}

export function listenToTime() {
  by("time-run").addEventListener("input", () => showTime(runs));
  by("time-last").addEventListener("input", draw);
}
