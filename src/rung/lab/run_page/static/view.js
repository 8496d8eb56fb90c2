// The page of runs: which there are, which view is open, and, where there is a server, a look at what is new every two
// seconds.

import { by, element, Refused } from "./pages.js";
import { listenToCurves, showCurves } from "./curves.js";
import { Run } from "./follow.js";
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

function showLegend() {
  by("legend").replaceChildren(...runs.map((run) => {
    const button = element("button", "", { type: "button", "aria-pressed": String(run.shown), class: "run" });
    const swatch = drawn("svg", { viewBox: "0 0 28 8", width: 28, height: 8, "aria-hidden": "true" });
    swatch.append(drawn("line", { x1: 1, x2: 27, y1: 4, y2: 4, class: `curve c${run.number}` }));
    button.append(swatch, element("bdi", run.name));
    button.addEventListener("click", () => {
      run.shown = !run.shown;
      button.setAttribute("aria-pressed", String(run.shown));
      show();
    });
    return button;
  }));
}

function showSettings() {
  const lines = runs.map((run) => run.state.settings.split("\n"));
  by("settings-list").replaceChildren(...runs.map((run, at) => {
    const panel = element("section", "", { class: "panel" });
    panel.append(element("h2", run.name));
    if (!run.state.settings) panel.append(element("p", "There is no settings.yaml in this folder.", { class: "soft" }));
    const text = panel.appendChild(element("div", "", { class: "theirs code" }));
    for (const line of lines[at]) {
      const everywhere = lines.every((others) => others.includes(line));
      text.append(element(everywhere ? "div" : "mark", line || " "));
    }
    if (run.state.method) {
      const more = panel.appendChild(element("details"));
      more.append(element("summary", "The method as data"), element("div", run.state.method, { class: "theirs code" }));
    }
    return panel;
  }));
  if (runs.length > 1) by("settings-list").prepend(element("p", "Marked: lines that not all of these runs have.", { class: "small soft whole" }));
}

const SHOW = {
  overview: () => showOverview(runs),
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

/** What is new in all runs; what cannot be had is said, and the next look tries again. */
async function look() {
  try {
    const changed = await Promise.all(runs.map((run) => run.look()));
    warn(runs.flatMap((run) => run.problems().map((problem) => `${run.name}: ${problem}`)).join("\n"));
    const going = runs.filter((run) => !run.state.finished).length;
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
      break;
    } catch (error) {
      warn(error instanceof Refused ? error.message : "The server does not answer. This page looks again by itself.");
      await new Promise((go) => setTimeout(go, LOOK_AGAIN));
    }
  }
  document.title = `${runs.map((run) => run.name).join(", ")} – ${source.title}`;
  by("title").textContent = source.title;
  by("left-out").textContent = source.leftOut;
  by("left-out").hidden = !source.leftOut;
  showLegend();
  await choose(TABS.includes(location.hash.slice(1)) ? location.hash.slice(1) : TABS[0]);
  for (;;) {
    if (!document.hidden || !source.live) await look();
    document.body.dataset.looked = String(Number(document.body.dataset.looked ?? 0) + 1);
    if (!source.live) return;
    await new Promise((go) => setTimeout(go, runs.every((run) => run.state.finished) ? LOOK_AT_FINISHED : LOOK_AGAIN));
  }
}

for (const tab of TABS) by(`tab-${tab}`).addEventListener("click", () => choose(tab));
by("tabs").addEventListener("keydown", moved);
listenToCurves(show);
listenToSamples();
listenToSolved(async (run, step) => {
  await choose("samples");
  openStep(run, step, "");
});
listenToTime();
start();
