// The tokens of one sample, coloured by one of their numbers; all numbers of the token one points at.

import { element } from "./pages.js";
import { fill, short } from "./numbers.js";
import { source } from "./source.js";

const MOST_AT_FIRST = 2000; // tokens put on the page before somebody asks for the rest

/** What tokens can be coloured by. `signed`: both sides of 0 have a colour; else from none to much. */
const COLOURS = [
  { key: "advantage", words: "advantage", signed: true, of: (v) => v },
  { key: "log_prob", words: "surprise: −log-prob when drawn", signed: false, of: (v) => -v },
  { key: "learner", words: "surprise: −log-prob of the learner", signed: false, of: (v) => -v },
  { key: "entropy", words: "entropy", signed: false, of: (v) => v },
  { key: "reference", words: "log ratio to the reference", signed: true, of: (v) => v },
  { key: "gap", words: "learner − sampler log-prob", signed: true, of: (v) => v },
  { key: "clipped", words: "clipped or not", signed: false, of: (v) => (v ? 1 : 0) },
];

const SAID = [
  ["advantage", "advantage", short], ["log_prob", "log-prob drawn", short], ["learner", "log-prob learner", short],
  ["entropy", "entropy", short], ["reference", "ratio to reference", (v) => (v === null ? "–" : short(Math.exp(v)))],
  ["gap", "learner − sampler", short], ["clipped", "clipped", (v) => (v === null ? "–" : v ? "yes" : "no")],
];

let chosen = "advantage"; // stays from sample to sample

/** A token's text, with what cannot be seen made visible. */
function textOf(tokens, at) {
  const piece = tokens.pieces?.[at] ?? `⟨${tokens.ids?.[at] ?? "?"}⟩`;
  return piece === "" ? "∅" : piece.replaceAll("\n", "↵\n");
}

/** The largest size of the numbers that are coloured, over the policy's own tokens; 0 where there are none. */
function largest(tokens, colour) {
  let most = 0;
  for (const [at, value] of (tokens[colour.key] ?? []).entries()) {
    if (tokens.own[at] && value !== null) most = Math.max(most, Math.abs(colour.of(value)));
  }
  return most;
}

/** The class of a token: `s0` to `s4` for a number without sign, `n1` to `n4` and `p1` to `p4` for one with it. */
function classOf(tokens, at, colour, most) {
  if (!tokens.own[at]) return "token other";
  const clipped = tokens.clipped?.[at] ? " clipped" : "";
  const value = tokens[colour.key]?.[at] ?? null;
  if (value === null || most === 0) return `token s0${clipped}`;
  const level = Math.round((Math.abs(colour.of(value)) / most) * 4);
  if (level === 0) return `token s0${clipped}`;
  return `token ${colour.signed ? (colour.of(value) < 0 ? "n" : "p") : "s"}${level}${clipped}`;
}

function scaleOf(colour, most) {
  const place = element("span", "", { class: "scale" });
  if (colour.key === "clipped") {
    place.append(element("span", "not clipped", { class: "token s0" }), element("span", "clipped", { class: "token s4 clipped" }));
    return place;
  }
  if (most === 0) return element("span", "all 0", { class: "soft" });
  const levels = colour.signed ? ["n4", "n3", "n2", "n1", "s0", "p1", "p2", "p3", "p4"] : ["s0", "s1", "s2", "s3", "s4"];
  place.append(element("span", colour.signed ? short(-most) : "0"));
  for (const level of levels) place.append(element("span", " ", { class: `patch ${level}` }));
  place.append(element("span", short(most)));
  return place;
}

function numbersOf(tokens, at) {
  const said = element("dl", "", { class: "numbers" });
  const add = (name, text) => {
    const both = said.appendChild(element("div"));
    both.append(element("dt", name), element("dd", text, { class: "number" }));
  };
  add("token", `${at + 1} of ${tokens.own.length}${tokens.ids ? `, id ${tokens.ids[at]}` : ""}`);
  add("text", JSON.stringify(tokens.pieces?.[at] ?? "not stored"));
  if (!tokens.own[at]) add("", "not the policy’s own");
  for (const [key, words, told] of SAID) if (tokens[key]) add(words, told(tokens[key][at]));
  return said;
}

/** What stands above the first own token of each turn: {index: words}; nothing without turns. */
function turnsOf(sample, tokens) {
  const words = new Map();
  let [begin, number] = [0, 0];
  for (const turn of sample.turns) {
    if (turn.end === undefined) continue;
    words.set(tokens.own.indexOf(true, begin), `turn ${++number}: reward ${short(turn.reward)}, advantage ${short(turn.advantage)}`);
    begin = turn.end + 1;
  }
  return words;
}

/** Fills `place` with the tokens of a sample. */
export async function showTokens(place, run, step, sample) {
  place.replaceChildren(element("p", "Reading …", { class: "soft small" }));
  const tokens = await source.tokens(run, step, sample.row);
  if (!tokens.own.length) return place.replaceChildren(element("p", "No tokens: the completion is empty.", { class: "soft" }));
  const tools = element("p", "", { class: "tools" });
  const label = tools.appendChild(element("label", "Colour by "));
  const select = label.appendChild(element("select"));
  const has = COLOURS.filter((colour) => tokens[colour.key]);
  fill(select, has.map((colour) => [colour.key, colour.words]));
  if (has.some((colour) => colour.key === chosen)) select.value = chosen;
  const scale = tools.appendChild(element("span"));
  const text = element("div", "", { class: "theirs tokens", role: "group", "aria-label": "Tokens; arrow keys move" });
  const said = element("div", "", { class: "token-says", role: "status" });
  const missing = COLOURS.filter((colour) => !tokens[colour.key]).map((colour) => colour.words);
  place.replaceChildren(tools, text, said);
  if (missing.length) place.append(element("p", `Not stored for this sample: ${missing.join(", ")}.`, { class: "soft small" }));

  const paint = () => {
    const colour = COLOURS.find((one) => one.key === select.value);
    if (!colour) return;
    const most = largest(tokens, colour);
    scale.replaceChildren(scaleOf(colour, most));
    for (const [at, span] of [...text.children].entries()) span.className = classOf(tokens, at, colour, most);
  };
  const turns = turnsOf(sample, tokens);
  const put = (count) => {
    text.replaceChildren(...tokens.own.slice(0, count).map((_, at) =>
      element("span", textOf(tokens, at), { tabindex: at ? "-1" : "0", "data-at": at, ...(turns.has(at) ? { "data-turn": turns.get(at) } : {}) })));
    paint();
  };
  select.addEventListener("input", () => { chosen = select.value; paint(); });
  listen(text, (at) => said.replaceChildren(numbersOf(tokens, at)));
  put(MOST_AT_FIRST);
  said.replaceChildren(element("p", "Point at a token, or move with the arrow keys, for its numbers.", { class: "soft small" }));
  if (tokens.own.length > MOST_AT_FIRST) {
    const more = element("button", `Show all ${tokens.own.length} tokens`, { type: "button" });
    more.addEventListener("click", () => { put(tokens.own.length); more.remove(); });
    said.after(more);
  }
  if (tokens.left_out) place.append(element("p", `${tokens.left_out} more tokens are in the file and not shown.`, { class: "soft small" }));
}

/** One token can be reached with Tab, the others from it with the arrow keys. */
function listen(text, show) {
  const go = (span) => {
    if (!span?.dataset?.at) return;
    text.querySelector("[tabindex='0']")?.setAttribute("tabindex", "-1");
    span.setAttribute("tabindex", "0");
    show(Number(span.dataset.at));
  };
  text.addEventListener("pointerover", (event) => go(event.target.closest(".token")));
  text.addEventListener("focusin", (event) => go(event.target.closest(".token")));
  text.addEventListener("click", (event) => event.target.closest(".token")?.focus());
  text.addEventListener("keydown", (event) => {
    const now = event.target.closest(".token");
    const next = {
      ArrowLeft: now?.previousElementSibling, ArrowRight: now?.nextElementSibling,
      Home: text.firstElementChild, End: text.lastElementChild,
    }[event.key];
    if (!next) return;
    event.preventDefault();
    next.focus();
  });
}
