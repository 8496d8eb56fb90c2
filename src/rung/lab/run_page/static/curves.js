// Every metric of the runs that are shown, with what it means and where it is healthy.

import { ask, by, element } from "./pages.js";
import { chart } from "./chart.js";

const LONGEST_ADDRESS = 2000; // what is more is asked in another
const PARTS_OF_ANOTHER = new Set(["step", "held_out/low", "held_out/high"]);

const meanings = new Map();
const panels = new Map();
let order = [];

function namesOf(runs) {
  const names = new Set();
  for (const run of runs) for (const row of run.metrics.rows) for (const name of Object.keys(row)) names.add(name);
  return [...names].filter((name) => !PARTS_OF_ANOTHER.has(name));
}

async function learnMeanings(names) {
  const missing = names.filter((name) => !meanings.has(name)).map((name) => `name=${encodeURIComponent(name)}`);
  while (missing.length) {
    let address = `meanings?${missing.shift()}`;
    while (missing.length && address.length + missing[0].length < LONGEST_ADDRESS) address += `&${missing.shift()}`;
    const answer = await ask(address);
    order = answer.order;
    for (const meaning of answer.meanings) meanings.set(meaning.name, meaning);
  }
}

function place(name) {
  const rank = order.indexOf(name);
  if (rank >= 0) return rank;
  return name.startsWith("reward/") ? order.indexOf("reward/mean") + 0.5 : order.length;
}

function panelOf(name) {
  if (!panels.has(name)) {
    const meaning = meanings.get(name);
    const panel = element("section", "", { class: "panel metric" });
    panel.append(element("h2", name));
    const picture = panel.appendChild(element("div"));
    if (meaning?.meaning) panel.append(element("p", meaning.meaning, { class: "small" }));
    if (meaning?.healthy) panel.append(element("p", `Healthy: ${meaning.healthy}.`, { class: "small soft" }));
    if (meaning?.what_to_do) {
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
  await learnMeanings(names);
  names.sort((a, b) => place(a) - place(b) || (a < b ? -1 : 1));
  const wanted = by("find-metric").value.trim().toLowerCase();
  const kept = names.filter((name) => name.toLowerCase().includes(wanted));
  const grid = by("curve-grid");
  const wish = kept.map((name) => panelOf(name).panel);
  if (wish.length !== grid.children.length || wish.some((panel, i) => grid.children[i] !== panel)) {
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
  chart(picture, curves, meanings.get(name) ?? { name, unit: "", low: null, high: null });
}
