// The samples of a step: found, sorted, in groups side by side, compared with the same prompt elsewhere.

import { by, element } from "./pages.js";
import { fill, short } from "./numbers.js";
import { source } from "./source.js";
import { showTokens } from "./tokens.js";
import { difference } from "./words.js";

const GROUPS_AT_ONCE = 12;
const SAMPLES_AT_ONCE = 48;
const MOST_FOUND = 200; // samples that a search over all steps shows

let runs = [];
let here = null; // {run, step, groups, samples, left_out} as it is shown
let room = 1; // how many times "more" was asked for
let asked = 0;

const number = (id) => (by(id).value === "" ? null : Number(by(id).value));
const partOf = (sample, name) => sample.parts.find(([part]) => part === name)?.[1] ?? null;

/** Whether the sample passes every filter. */
function wanted(sample, prompt) {
  const text = by("find-text").value.toLowerCase();
  if (text && !sample.completion.toLowerCase().includes(text) && !prompt.toLowerCase().includes(text)) return false;
  const [status, ended, part, right] = ["find-status", "find-ended", "find-part", "find-right"].map((id) => by(id).value);
  if (status && sample.status !== status.slice(1)) return false;
  if (right && rightOf(sample) !== right) return false;
  if ((ended === "cut" && !sample.truncated) || (ended === "own" && sample.truncated)) return false;
  const [low, high] = [number("part-low"), number("part-high")];
  if (low === null && high === null) return true;
  const value = part ? partOf(sample, part.slice(1)) : sample.reward;
  return value !== null && (low === null || value >= low) && (high === null || value <= high);
}

/** The comparison that the select names; what has no number comes last. */
function order(choice) {
  if (!choice) return null;
  const [sign, key] = choice.startsWith("-") ? [-1, choice.slice(1)] : [1, choice];
  return (a, b) => {
    if (a[key] === null || b[key] === null) return (a[key] === null) - (b[key] === null);
    return sign * (a[key] - b[key]) || a.row - b.row;
  };
}

function show() {
  if (!here) return;
  const prompts = new Map(here.groups.map((group) => [group.group, group]));
  const compare = order(by("sample-sort").value);
  const found = here.samples.filter((sample) => wanted(sample, prompts.get(sample.group)?.prompt ?? ""));
  if (compare) found.sort(compare);
  const left = here.left_out ? `; ${here.left_out} more are in the file and not shown` : "";
  by("sample-count").textContent = `${found.length} of ${here.samples.length} samples${left}`;
  const grouped = by("grouped").checked;
  let more = false;
  if (grouped) {
    const groups = [...Map.groupBy(found, (sample) => sample.group)];
    more = groups.length > room * GROUPS_AT_ONCE;
    by("sample-list").replaceChildren(...groups.slice(0, room * GROUPS_AT_ONCE).map(([group, samples]) => groupOf(prompts.get(group), samples)));
  } else {
    more = found.length > room * SAMPLES_AT_ONCE;
    const cards = found.slice(0, room * SAMPLES_AT_ONCE).map((sample) => cardOf(sample, prompts.get(sample.group)));
    const list = element("div", "", { class: "side" });
    list.append(...cards);
    by("sample-list").replaceChildren(list);
  }
  by("sample-more").hidden = !more;
}

function groupOf(group, samples) {
  const panel = element("section", "", { class: "panel group" });
  const rewards = samples.map((sample) => sample.reward).filter((reward) => reward !== null);
  const mean = rewards.length ? `, mean reward ${short(rewards.reduce((a, b) => a + b, 0) / rewards.length)}` : "";
  const head = panel.appendChild(element("div", "", { class: "head" }));
  head.append(element("h2", group.item), element("span", `group ${group.group}, ${samples.length} shown${mean}`, { class: "small soft" }));
  if (samples[0].answer !== null) head.append(answerOf(samples[0]));
  panel.append(element("div", group.prompt || "(no prompt text)", { class: "theirs prompt", dir: "auto" }));
  const side = element("div", "", { class: "side" });
  side.append(...samples.map((sample) => cardOf(sample, null)));
  panel.append(side);
  head.append(compareOf(group, samples, panel));
  return panel;
}

function answerOf(sample) {
  const made = element("span", "right answer ", { class: "small" });
  made.append(element("b", sample.answer, { class: "theirs inline" }));
  return made;
}

/** Whether an answer is right, in a word: the colour alone would not be seen by everybody. */
const RIGHT = { right: (accuracy) => accuracy >= 1, wrong: (accuracy) => accuracy <= 0, "partly right": () => true };
const rightOf = ({ accuracy }) => (accuracy === null ? "" : Object.keys(RIGHT).find((word) => RIGHT[word](accuracy)));

function figuresOf(pairs) {
  const figures = element("dl", "", { class: "numbers" });
  for (const [name, text, kind = ""] of pairs) {
    const both = figures.appendChild(element("div", "", { class: kind }));
    both.append(element("dt", name), element("dd", text, { class: "number" }));
  }
  return figures;
}

/** A conversation: who said what; of the policy's own turns what they earned; what a tool answered is folded. */
function conversationOf(sample) {
  const list = element("ol", "", { class: "turns" });
  let own = 0;
  for (const turn of sample.turns) {
    const mine = turn.who === "assistant";
    const made = list.appendChild(element("li", "", { class: mine ? "own" : "told" }));
    const text = element("div", turn.text || "(nothing)", { class: "theirs", dir: "auto" });
    if (turn.who === "tool") {
      const folded = made.appendChild(element("details"));
      folded.append(element("summary", `tool: ${turn.text.split("\n")[0].slice(0, 60) || "(nothing)"}`, { class: "small" }), text);
      continue;
    }
    const head = made.appendChild(element("p", mine ? `policy, turn ${++own}` : turn.who, { class: "small soft number" }));
    if (turn.reward !== undefined) head.append(`: reward ${short(turn.reward)}, advantage ${short(turn.advantage)}`);
    for (const status of turn.calls ?? []) head.append(element("span", `call ${status}`, { class: status === "ok" ? "call" : "call wrong" }));
    made.append(text);
  }
  return list;
}

/** A sample with its rewards; its tokens on demand. */
function cardOf(sample, group, { run, step } = here, where = "") {
  const right = rightOf(sample);
  const card = element("article", "", { class: `sample ${sample.ok ? right.replace(" ", "-") : "failed"}`, "data-row": sample.row });
  if (where) card.append(element("p", where, { class: "small soft" }));
  if (group) card.append(element("div", group.prompt, { class: "theirs prompt", dir: "auto" }));
  if (group && sample.answer !== null) card.append(answerOf(sample));
  card.append(figuresOf([
    ...(right ? [["", right, "verdict"]] : []),
    ["reward", short(sample.reward), "total"],
    ...sample.parts.map(([name, value]) => [name, short(value)]),
    ["advantage", short(sample.advantage)],
    ["tokens", String(sample.tokens)],
    ...(sample.truncated ? [["", "cut off", "wrong"]] : []),
    ...(sample.ok ? [] : [["status", sample.status, "wrong"]]),
  ]));
  if (sample.turns.length) card.append(conversationOf(sample));
  else card.append(element("div", sample.completion || "(nothing)", { class: `theirs${sample.completion ? "" : " soft"}`, dir: "auto" }));
  const open = element("button", "Tokens", { type: "button", class: "little", "aria-expanded": "false" });
  const place = element("div", "", { class: "token-panel", hidden: "" });
  open.addEventListener("click", async () => {
    place.hidden = !place.hidden;
    card.classList.toggle("wide", !place.hidden);
    open.setAttribute("aria-expanded", String(!place.hidden));
    if (place.hidden || place.childElementCount) return;
    try {
      await showTokens(place, run, step, sample);
    } catch (error) {
      place.replaceChildren(element("p", error.message, { class: "notice" }));
    }
  });
  card.append(open, place);
  return card;
}

/** What the filters let through at every step, the newest first, until it is enough or something else is asked for. */
async function searchAll() {
  const run = runs[Number(by("sample-run").value)];
  if (!run) return;
  const ticket = ++asked;
  const list = element("div", "", { class: "side" });
  by("sample-list").replaceChildren(list);
  by("sample-more").hidden = true;
  let [found, looked] = [0, 0];
  for (const step of run.state.steps.toReversed()) {
    const there = { run: run.number, ...(await source.step(run.number, step).catch(() => ({ step, groups: [], samples: [] }))) };
    if (ticket !== asked) return;
    looked += 1;
    const groups = new Map(there.groups.map((group) => [group.group, group]));
    for (const sample of there.samples) {
      const group = groups.get(sample.group);
      if (found < MOST_FOUND && wanted(sample, group.prompt)) {
        found += 1;
        list.append(cardOf(sample, group, there, `step ${step}, ${group.item}`));
      }
    }
    by("sample-count").textContent = `${found}${found < MOST_FOUND ? "" : " or more"} samples found, ${looked} of ${run.state.steps.length} steps looked through`;
    if (found >= MOST_FOUND) return;
  }
}

/** Where else this prompt was answered, newest last: [value, words]. */
function elsewhere(item) {
  const places = [["", "compare with …"]];
  for (const run of runs) {
    for (const row of run.solved.rows) {
      const another = run.number !== here.run || row.step !== here.step;
      if (another && run.state.steps.includes(row.step) && row.items.some(([name]) => name === item)) {
        places.push([`${run.number} ${row.step}`, runs.length > 1 ? `${run.name}, step ${row.step}` : `step ${row.step}`]);
      }
    }
  }
  return places;
}

function compareOf(group, samples, panel) {
  const places = elsewhere(group.item);
  if (places.length < 2) return element("span", "this prompt was answered at no other step", { class: "small soft" });
  const select = element("select", "", { "aria-label": "Compare this prompt’s answers with those of another step or run" });
  fill(select, places);
  const shown = element("div", "", { class: "compared" });
  select.addEventListener("input", async () => {
    shown.replaceChildren();
    panel.append(shown);
    if (!select.value) return;
    const [run, step] = select.value.split(" ").map(Number);
    try {
      const there = await source.step(run, step);
      compared(shown, group, samples, there, places.find(([value]) => value === select.value)[1]);
    } catch (error) {
      shown.replaceChildren(element("p", error.message, { class: "notice" }));
    }
  });
  return select;
}

function compared(shown, group, samples, there, words) {
  const other = there.groups.find((one) => one.item === group.item);
  if (!other) return shown.replaceChildren(element("p", "This prompt is not there any more.", { class: "notice" }));
  const others = there.samples.filter((sample) => sample.group === other.group);
  const key = element("p", "", { class: "small" });
  key.append(element("del", "only here"), " ", element("ins", `only in ${words}`));
  const side = element("div", "", { class: "side" });
  for (const sample of samples) {
    const match = others.find((one) => one.sample === sample.sample);
    const card = side.appendChild(element("article", "", { class: "sample" }));
    const rewards = `sample ${sample.sample}: reward ${short(sample.reward)} here, ${match ? short(match.reward) : "–"} there`;
    card.append(element("p", rewards, { class: "small soft number" }));
    card.append(match ? textOf(sample.completion, match.completion) : element("p", "no such sample there", { class: "soft" }));
  }
  shown.replaceChildren(key, side);
  if (other.prompt !== group.prompt) shown.prepend(element("p", "The prompts are not the same: the runs call different prompts by this name.", { class: "notice" }));
}

function textOf(before, after) {
  const place = element("div", "", { class: "theirs", dir: "auto" });
  const found = difference(before, after);
  if (!found) {
    place.append(element("p", "Too long to be compared word by word; there it was:", { class: "soft small" }), element("div", after));
    return place;
  }
  for (const [kind, text] of found) place.append(element({ same: "span", gone: "del", new: "ins" }[kind], text));
  return place;
}

async function load() {
  const run = runs[Number(by("sample-run").value)];
  const step = by("sample-step").value;
  const ticket = ++asked;
  if (!run || step === "") {
    here = null;
    by("sample-count").textContent = "";
    return by("sample-list").replaceChildren(element("p",
      "No samples are stored yet. A run on an environment stores none: its episodes are no text, and its returns are among the curves (reward/mean).", { class: "soft" }));
  }
  try {
    const found = await source.step(run.number, step);
    if (ticket !== asked) return; // another step was asked for meanwhile
    here = { run: run.number, ...found };
  } catch (error) {
    if (ticket !== asked) return;
    here = null;
    return by("sample-list").replaceChildren(element("p", error.message, { class: "notice" }));
  }
  const statuses = [...new Set(here.samples.map((sample) => sample.status))];
  const parts = [...new Set(here.samples.flatMap((sample) => sample.parts.map(([name]) => name)))];
  fill(by("find-status"), [["", "all"], ...statuses.map((status) => [`=${status}`, status])]);
  fill(by("find-part"), [["", "whole reward"], ...parts.map((part) => [`=${part}`, part])]);
  room = 1;
  show();
}

/** Steps in the select; true when the step that was shown is not there any more, or there was none. */
function offerSteps(newest) {
  const run = runs[Number(by("sample-run").value || 0)];
  const before = by("sample-step").value;
  const steps = run ? run.state.steps : [];
  fill(by("sample-step"), steps.map((step) => [String(step), String(step)]));
  if (steps.length && (newest || !steps.includes(Number(before)) || before === "")) by("sample-step").value = String(steps.at(-1));
  return by("sample-step").value !== before;
}

/** What changed in the runs; the step that is being read stays. */
export function showSamples(all) {
  runs = all;
  fill(by("sample-run"), runs.filter((run) => run.shown).map((run) => [String(run.number), run.name]));
  if (offerSteps(false) || !here) load();
}

/** Opens one run's step, with a text to look for. */
export function openStep(run, step, text) {
  by("sample-run").value = String(run);
  offerSteps(true);
  by("sample-step").value = String(step);
  by("find-text").value = text;
  if (!runs[run].state.steps.includes(step)) { // a report holds some steps only
    by("sample-step").value = "";
    return by("sample-list").replaceChildren(element("p", `The samples of step ${step} are not in this page; rung view shows them.`, { class: "notice" }));
  }
  load();
}

function move(by_) {
  const select = by("sample-step");
  const next = select.selectedIndex + by_;
  if (next < 0 || next >= select.options.length) return;
  select.selectedIndex = next;
  load();
}

export function listenToSamples() {
  by("more-filters").open = window.innerWidth > 620; // on a phone the samples come first
  by("sample-run").addEventListener("input", () => { offerSteps(true); load(); });
  by("sample-step").addEventListener("input", load);
  by("step-before").addEventListener("click", () => move(-1));
  by("step-after").addEventListener("click", () => move(1));
  for (const id of ["find-text", "find-right", "find-status", "find-ended", "find-part", "part-low", "part-high", "sample-sort", "grouped"]) {
    by(id).addEventListener("input", () => { room = 1; asked += 1; show(); });
  }
  by("find-everywhere").addEventListener("click", searchAll);
  by("sample-more").addEventListener("click", () => { room += 1; show(); });
}
