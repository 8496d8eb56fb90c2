// Every metric of the runs that are shown, with what it means and where it is healthy.

import { by, element } from "./pages.js";
import { chart } from "./chart.js";
import { inOrder, learn, meaningOf } from "./meanings.js";

const PARTS_OF_ANOTHER = new Set(["step", "held_out/low", "held_out/high"]);

const panels = new Map();

function namesOf(runs) {
  const names = new Set();
  for (const run of runs) for (const row of run.metrics.rows) for (const name of Object.keys(row)) names.add(name);
  return [...names].filter((name) => !PARTS_OF_ANOTHER.has(name));
}

function panelOf(name) {
  if (!panels.has(name)) {
    const meaning = meaningOf(name);
    const panel = element("section", "", { class: "panel metric" });
    panel.append(element("h2", name));
    const picture = panel.appendChild(element("div"));
    if (meaning.meaning) panel.append(element("p", meaning.meaning, { class: "small" }));
    if (meaning.healthy) panel.append(element("p", `Healthy: ${meaning.healthy}.`, { class: "small soft" }));
    if (meaning.what_to_do) {
      const more = panel.appendChild(element("details"));
      more.append(element("summary", "What to do", { class: "small" }), element("p", meaning.what_to_do, { class: "small" }));
    }
    panels.set(name, { panel, picture, drawn: "" });
  }
  return panels.get(name);
}

function pointsOf(run, name) {
  if (name !== "held_out/score") return run.points(name);
  const whole = (row) => ["held_out/score", "held_out/low", "held_out/high"].map((key) => row[key] ?? null);
  return run.metrics.rows
    .map((row) => [row.step, ...whole(row)])
    .filter((point) => point[1] !== null)
    .map((point) => (point.includes(null) ? point.slice(0, 2) : point));
}

/** Draws what changed. */
export async function showCurves(runs) {
  const shown = runs.filter((run) => run.shown);
  const names = namesOf(shown);
  await learn(names);
  const wanted = by("find-metric").value.trim().toLowerCase();
  const kept = inOrder(names).filter((name) => name.toLowerCase().includes(wanted));
  const grid = by("curve-grid");
  const wish = kept.map((name) => panelOf(name).panel);
  if (!wish.length || wish.length !== grid.children.length || wish.some((panel, i) => grid.children[i] !== panel)) {
    grid.replaceChildren(...(wish.length ? wish : [element("p", names.length ? "No metric has this in its name." : "No metrics yet.", { class: "soft" })]));
  }
  for (const name of kept) draw(name, shown);
}

function draw(name, runs) {
  const { picture, drawn } = panelOf(name);
  const now = runs.map((run) => `${run.number}.${run.metrics.epoch}.${run.metrics.rows.length}`).join(" ");
  if (drawn === now || picture.contains(document.activeElement)) return; // whoever is reading it is not disturbed
  panelOf(name).drawn = now;
  const curves = runs.map((run) => ({ name: run.name, colour: run.number, points: pointsOf(run, name) }));
  chart(picture, curves, meaningOf(name));
}
