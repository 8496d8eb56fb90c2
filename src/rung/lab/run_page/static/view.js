// The page of runs: which there are, which view is open, and, where there is a server, a look at what is new every two
// seconds.

import { by, element, Refused } from "./pages.js";
import { listenToCurves, showCurves } from "./curves.js";
import { MOST_SHOWN, Run } from "./follow.js";
import { drawn } from "./numbers.js";
import { showOverview } from "./overview.js";
import { listenToSamples, openStep, showSamples } from "./samples.js";
import { listenToSolved, showSolved } from "./solved.js";
import { source } from "./source.js";
import { listenToTime, showTime } from "./time.js";

const LOOK_AGAIN = 2000; // milliseconds
const LOOK_AT_FINISHED = 10000; // a finished run may be resumed
const TABS = ["overview", "curves", "samples", "prompts", "time", "settings"];

let runs = [];

function warn(words) {
  by("notice").textContent = words;
  by("notice").hidden = !words;
}

/** A button for each run; where there are many, for those that are shown: the table has the others. */
function showLegend() {
  by("legend").replaceChildren(...runs.filter((run) => run.shown || runs.length <= MOST_SHOWN).map((run) => {
    const button = element("button", "", { type: "button", "aria-pressed": String(run.shown), class: "run" });
    const swatch = drawn("svg", { viewBox: "0 0 28 8", width: 28, height: 8, "aria-hidden": "true" });
    swatch.append(drawn("line", { x1: 1, x2: 27, y1: 4, y2: 4, class: `curve c${run.colour}` }));
    button.append(swatch, element("bdi", run.name));
    button.addEventListener("click", () => toggle(run));
    return button;
  }));
}

/** Shows or hides a run in every view. */
async function toggle(run) {
  if (run.shown) run.shown = false;
  else if (!run.show(runs)) return warn(`${MOST_SHOWN} runs are shown, as many as colours can be told apart. Hide one first.`);
  warn("");
  showLegend();
  if (run.shown) await look();
  await show();
}

function settingsOf(run, others) {
  const panel = element("section", "", { class: "panel" });
  panel.append(element("h2", run.name));
  if (!run.state.settings) panel.append(element("p", "There is no settings.yaml in this folder.", { class: "soft" }));
  const text = panel.appendChild(element("div", "", { class: "theirs code" }));
  const onlyNew = by("only-different").checked && others.length > 0;
  const parents = []; // the keys above a line, so that a line that differs is read with them
  for (const line of run.state.settings.split("\n")) {
    const depth = line.length - line.trimStart().length;
    while (parents.length && parents.at(-1).depth >= depth) parents.pop();
    const everywhere = others.every((lines) => lines.has([...parents.map((one) => one.line), line].join("\n")));
    if (!everywhere && onlyNew) for (const one of parents.filter((parent) => !parent.put)) { text.append(element("div", one.line)); one.put = true; }
    if (!everywhere || !onlyNew) text.append(element(everywhere ? "div" : "mark", line || " "));
    parents.push({ depth, line, put: !everywhere || !onlyNew });
  }
  if (onlyNew && !text.childElementCount) text.append(element("p", "Nothing: the others have all of these lines.", { class: "soft" }));
  if (run.state.method) {
    const more = panel.appendChild(element("details"));
    more.append(element("summary", "The method as data"), element("div", run.state.method, { class: "theirs code" }));
  }
  return panel;
}

/** Every line of settings with the keys above it: `method:\n  name: grpo` is another line than `task:\n  name: grpo`. */
function linesOf(run) {
  const [lines, parents] = [new Set(), []];
  for (const line of run.state.settings.split("\n")) {
    const depth = line.length - line.trimStart().length;
    while (parents.length && parents.at(-1).depth >= depth) parents.pop();
    lines.add([...parents.map((one) => one.line), line].join("\n"));
    parents.push({ depth, line });
  }
  return lines;
}

function showSettings() {
  const shown = runs.filter((run) => run.shown);
  const lines = new Map(shown.map((run) => [run, linesOf(run)]));
  by("settings-tools").hidden = shown.length < 2;
  by("settings-list").replaceChildren(...shown.map((run) => settingsOf(run, shown.filter((other) => other !== run).map((other) => lines.get(other)))));
}

const SHOW = {
  overview: () => showOverview(runs, toggle),
  curves: () => showCurves(runs),
  samples: () => showSamples(runs),
  prompts: () => showSolved(runs),
  time: () => showTime(runs),
  settings: showSettings,
};

const openTab = () => TABS.find((tab) => !by(tab).hidden) ?? TABS[0];

async function show() {
  try {
    await SHOW[openTab()]();
  } catch (error) {
    warn(error.message);
  }
}

function choose(tab) {
  for (const one of TABS) {
    by(one).hidden = one !== tab;
    by(`tab-${one}`).setAttribute("aria-selected", String(one === tab));
    by(`tab-${one}`).setAttribute("tabindex", one === tab ? "0" : "-1");
  }
  history.replaceState(null, "", `#${tab}`);
  return show();
}

function moved(event) {
  const now = TABS.indexOf(openTab());
  const next = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: TABS.length - 1 }[event.key];
  if (next === undefined) return;
  event.preventDefault();
  const tab = TABS[(next + TABS.length) % TABS.length];
  choose(tab);
  by(`tab-${tab}`).focus();
}

/** Keys that work everywhere but where somebody writes: 1 to 6 open a view, / goes to its search, [ and ] go a step. */
function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
  const view = openTab();
  const acts = { "/": () => by(view).querySelector("input[type=search]")?.focus() };
  if (view === "samples") Object.assign(acts, { "[": () => by("step-before").click(), "]": () => by("step-after").click() });
  for (const [at, tab] of TABS.entries()) acts[at + 1] = () => choose(tab).then(() => by(`tab-${tab}`).focus());
  if (!acts[event.key]) return;
  event.preventDefault();
  acts[event.key]();
}

/** What is new in all runs that are shown; what cannot be had is said, and the next look tries again. */
async function look() {
  try {
    const followed = runs.filter((run) => run.shown);
    const changed = await Promise.all(followed.map((run) => run.look()));
    warn(followed.flatMap((run) => run.problems().map((problem) => `${run.name}: ${problem}`)).join("\n"));
    const going = followed.filter((run) => !run.state.finished).length;
    by("following").textContent = !source.live ? "" : going ? `following ${going === 1 ? "a run" : `${going} runs`} without a final model yet` : "finished";
    if (changed.some((parts) => parts.size)) await show();
  } catch (error) {
    warn(error instanceof Refused ? error.message : "The server does not answer. This page looks again by itself.");
  }
}

async function start() {
  for (;;) {
    try {
      runs = (await source.runs()).map((name, number) => new Run(number, name));
      for (const run of runs.slice(0, MOST_SHOWN)) run.show(runs);
      break;
    } catch (error) {
      warn(error instanceof Refused ? error.message : "The server does not answer. This page looks again by itself.");
      await new Promise((go) => setTimeout(go, LOOK_AGAIN));
    }
  }
  document.title = `${runs.slice(0, MOST_SHOWN).map((run) => run.name).join(", ")}${runs.length > MOST_SHOWN ? ", …" : ""} – ${source.title}`;
  by("title").textContent = source.title;
  by("left-out").textContent = source.leftOut;
  by("left-out").hidden = !source.leftOut;
  showLegend();
  await choose(TABS.includes(location.hash.slice(1)) ? location.hash.slice(1) : TABS[0]);
  for (;;) {
    if (!document.hidden || !source.live) await look();
    document.body.dataset.looked = String(Number(document.body.dataset.looked ?? 0) + 1);
    if (!source.live) return;
    await new Promise((go) => setTimeout(go, runs.every((run) => !run.shown || run.state.finished) ? LOOK_AT_FINISHED : LOOK_AGAIN));
  }
}

for (const tab of TABS) by(`tab-${tab}`).addEventListener("click", () => choose(tab));
by("tabs").addEventListener("keydown", moved);
document.addEventListener("keydown", pressed);
by("only-different").addEventListener("input", show);
listenToCurves(show);
listenToSamples();
listenToSolved(async (run, step) => {
  await choose("samples");
  openStep(run, step, "");
});
listenToTime();
start();
