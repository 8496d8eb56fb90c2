// Every metric of the runs that are shown, with what it means and where it is healthy.

import { by, element } from "./pages.js";
import { chart, STEPS } from "./chart.js";
import { inOrder, learn, meaningOf } from "./meanings.js";
import { large } from "./numbers.js";

const PARTS_OF_ANOTHER = new Set(["step", "held_out/low", "held_out/high"]);

const panels = new Map();

/** What the curves may go along: what a row of metrics `adds` to it, or has `reached`. */
const AXES = {
  step: STEPS,
  tokens: { said: (at) => `${large(at)} tokens`, tick: large, adds: (row) => row["tokens/generated"] },
  environment: { said: (at) => `${large(at)} environment steps`, tick: large, reached: (row) => row["environment/steps"] },
  seconds: { said: (at) => `${large(at)} s of training`, tick: large, adds: (row, seconds) => seconds.get(row.step) ?? row["seconds/step"] },
};

const view = { along: "step", from: -Infinity, to: Infinity, smooth: undefined };

/** Where each step of a run lies on the axis: {step: place}. */
function placesOf(run, { adds, reached }) {
  const seconds = new Map(run.timings.rows.map((row) => [row.step, row["seconds/step"]]));
  let at = 0;
  return new Map(run.metrics.rows.map((row) => [row.step, (at = reached?.(row) ?? at + (adds?.(row, seconds) ?? 0))]));
}

function namesOf(runs) {
  const names = new Set();
  for (const run of runs) for (const row of [...run.metrics.rows, ...run.timings.rows]) for (const name of Object.keys(row)) names.add(name);
  return [...names].filter((name) => !PARTS_OF_ANOTHER.has(name));
}

function panelOf(name) {
  if (!panels.has(name)) {
    const meaning = meaningOf(name);
    const panel = element("section", "", { class: "panel metric" });
    panel.append(element("h2", name));
    if (!["", "number", "share of 1"].includes(meaning.unit)) panel.append(element("p", `in ${meaning.unit}`, { class: "small soft unit" }));
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
  const inside = names.includes("environment/steps");
  by("x-along").querySelector("[value=tokens]").disabled = inside; // there a token is a step
  by("x-along").querySelector("[value=environment]").disabled = !inside;
  const grid = by("curve-grid");
  const sections = Map.groupBy(kept, sectionOf);
  const wish = [...sections].flatMap(([title, some]) => [...(sections.size > 1 ? [headingOf(title)] : []), ...some.map((name) => panelOf(name).panel)]);
  if (!wish.length || wish.length !== grid.children.length || wish.some((panel, i) => grid.children[i] !== panel)) {
    grid.replaceChildren(...(wish.length ? wish : [element("p", names.length ? "No metric has this in its name." : "No metrics yet.", { class: "soft" })]));
  }
  for (const name of [...sections.values()].flat()) draw(name, shown);
}

const headings = new Map();

/** The parts of a reward stand beside the whole. */
const sectionOf = (name) => meaningOf(name.startsWith("reward/") ? "reward/mean" : name).section || "Of this run alone";

function headingOf(title) {
  if (!headings.has(title)) headings.set(title, element("h3", title, { class: "whole" }));
  return headings.get(title);
}

function draw(name, runs) {
  const { picture, drawn } = panelOf(name);
  const now = JSON.stringify([view.along, view.from, view.to, view.smooth, ...runs.map((run) => [run.number, run.colour, run.metrics.epoch, run.metrics.rows.length, run.timings.rows.length])]);
  if (drawn === now || (picture.contains(document.activeElement) && !view.changed)) return; // whoever is reading it is not disturbed
  panelOf(name).drawn = now;
  const axis = AXES[view.along];
  const curves = runs.map((run) => {
    const points = pointsOf(run, name);
    if (axis === STEPS) return { name: run.name, colour: run.colour, points };
    const places = placesOf(run, axis);
    return { name: run.name, colour: run.colour, points: points.map(([step, ...values]) => [places.get(step), ...values]) };
  });
  chart(picture, curves, meaningOf(name), axis, { ...view, zoomed });
}

let redraw = () => {};

/** Draws anew; who looked closer by keys stays at the place where they were. */
async function changed({ place, at } = {}) {
  [view.changed, view.at] = [true, at];
  await redraw();
  [view.changed, view.at] = [false, undefined];
  place?.querySelector("svg")?.focus();
}

function zoomed(from, to, by_keys) {
  [view.from, view.to] = [from, to];
  by("x-from").value = Number.isFinite(from) ? from : "";
  by("x-to").value = Number.isFinite(to) ? to : "";
  return changed(by_keys);
}

/** `again` draws the curves of the runs there are now. */
export function listenToCurves(again) {
  redraw = again;
  const end = (id, none) => (by(id).value === "" ? none : Number(by(id).value));
  by("find-metric").addEventListener("input", again);
  by("x-along").addEventListener("input", () => { view.along = by("x-along").value; zoomed(-Infinity, Infinity); });
  by("smooth").addEventListener("input", () => { view.smooth = by("smooth").value === "" ? undefined : Number(by("smooth").value); changed(); });
  for (const id of ["x-from", "x-to"]) by(id).addEventListener("change", () => zoomed(end("x-from", -Infinity), end("x-to", Infinity)));
  by("x-all").addEventListener("click", () => zoomed(-Infinity, Infinity));
}
