// The labelling page: shows a pair, sends an answer until the server has said that it is saved, shows the next.

import { ask, by, element, Refused, Unanswered } from "./pages.js";

const SHOWN_AT_FIRST = 20000; // characters of one text; the rest comes on demand
const TOO_SOON = 300; // milliseconds in which a second press would answer a pair that nobody has seen
const TRY_AGAIN = 1000;
const LOOK_AGAIN = 2500;
const KEYS = {
  ArrowLeft: "left", 1: "left", t: "tie", 2: "tie", c: "unsure", 3: "unsure", ArrowRight: "right", 4: "right",
};
const WORDS = { left: "left", right: "right", tie: "tie", unsure: "can’t tell" };

let pair = null;
let labeller = "";
let shownAt = 0;
let waiting = false;
let timer = 0;

const pause = (milliseconds) => new Promise((go) => setTimeout(go, milliseconds));
const say = (words) => { by("said").textContent = words; };

function warn(words) {
  by("notice").textContent = words;
  by("notice").hidden = !words;
}

function wait(on) {
  waiting = on;
  document.body.classList.toggle("waiting", on);
}

/** A text, the beginning of it when it is very long, with a button for the rest. */
function showText(place, text) {
  const shown = element("div", text.slice(0, SHOWN_AT_FIRST), { class: "theirs", dir: "auto" });
  place.append(shown);
  if (text.length <= SHOWN_AT_FIRST) return;
  const more = element("button", `Show all ${text.length.toLocaleString("en")} characters`, { type: "button" });
  more.addEventListener("click", () => { shown.textContent = text; more.remove(); });
  place.append(more);
}

function showMessages(place, messages) {
  place.replaceChildren();
  for (const message of messages) {
    if (message.role) place.append(element("p", message.role, { class: "role" }));
    showText(place, message.text);
  }
}

function showCompletion(side, completion) {
  if (!completion.clip) return showMessages(by(side), completion.messages);
  by(side).replaceChildren(element("img", "", { class: "clip", alt: `The clip on the ${side}`, src: completion.clip }));
}

/** Both clips from their first frame, together: the server's answers are not cached, so a new address plays anew. */
function replay() {
  for (const clip of document.querySelectorAll(".clip")) {
    const address = new URL(clip.src);
    address.searchParams.set("again", String(Date.now()));
    clip.src = address.href;
  }
}

function showPair() {
  by("question").textContent = pair.question;
  showMessages(by("prompt"), pair.prompt);
  showCompletion("left", pair.left);
  showCompletion("right", pair.right);
  by("replay").hidden = !(pair.left.clip || pair.right.clip);
  by("two").classList.toggle("clips", Boolean(pair.left.clip && pair.right.clip)); // both in view, on a phone too
  window.scrollTo(0, 0);
  by("prompt").scrollTop = pair.prompt.length > 1 ? by("prompt").scrollHeight : 0; // a talk is answered at its end
  shownAt = performance.now();
}

function showRest(state) {
  const held = state.held_by_others;
  by("resting-title").textContent = held ? "Almost done" : "All done, thank you";
  by("resting-text").textContent = held
    ? `Others have the last ${held === 1 ? "pair" : `${held} pairs`} before them. This page looks again by itself.`
    : `You have labelled ${state.mine} ${state.mine === 1 ? "pair" : "pairs"}. ` +
      "You can close this page; undo still works. In the terminal, Ctrl-C stops the server.";
  by("replay").hidden = true;
  if (held) timer = setTimeout(load, LOOK_AGAIN);
}

function show(state) {
  clearTimeout(timer);
  labeller = state.labeller;
  by("labeller").textContent = labeller;
  by("bar").max = state.answers_wanted;
  by("bar").value = state.answers;
  by("count").textContent =
    `${state.answers} of ${state.answers_wanted} ${state.people_a_pair > 1 ? "answers" : "labelled"}`;
  by("mine").textContent = String(state.mine);
  by("left-share").textContent = state.left_share;
  by("agreement").textContent = state.agreement;
  const same = pair && state.pair && pair.id === state.pair.id;
  pair = state.pair && { ...state.pair, question: state.question };
  by("asking").hidden = !pair;
  by("resting").hidden = Boolean(pair);
  document.body.classList.toggle("resting", !pair);
  if (pair && !same) showPair();
  if (!pair) showRest(state);
}

/** Sends until there is an answer. The message has an id, so the server takes it once however often it comes. */
async function deliver(address, message) {
  sessionStorage.setItem("unsent", JSON.stringify({ address, message, labeller }));
  for (;;) {
    try {
      const state = await ask(address, message);
      sessionStorage.removeItem("unsent");
      warn("");
      return state;
    } catch (error) {
      const comesBack = error instanceof Unanswered || (error instanceof Refused && [401, 503].includes(error.status));
      if (!comesBack) {
        sessionStorage.removeItem("unsent");
        throw error;
      }
      const words = error instanceof Refused ? error.message : "The server does not answer.";
      warn(`Not saved yet. ${words} Your answer is kept here, and sent again until it is saved.`);
    }
    await pause(TRY_AGAIN);
  }
}

/** One thing at a time: what is pressed meanwhile is not taken. */
async function alone(work) {
  if (waiting) return;
  wait(true);
  try {
    await work();
  } catch (error) {
    warn(error.message);
    if (error instanceof Refused && error.status === 409) await load();
  } finally {
    wait(false);
  }
}

function answer(what) {
  if (!pair || performance.now() - shownAt < TOO_SOON) return;
  alone(async () => {
    const milliseconds = Math.round(performance.now() - shownAt);
    const said = { submit: crypto.randomUUID(), pair: pair.id, left_is: pair.left_is, answer: what, milliseconds };
    const state = await deliver("vote", said);
    say(`Saved: ${WORDS[what]}.`);
    show(state);
  });
}

function undo() {
  alone(async () => {
    const state = await deliver("undo", { submit: crypto.randomUUID() });
    say("Your last answer is taken back.");
    pair = null; // the same pair comes anew
    show(state);
  });
}

async function load() {
  try {
    show(await ask("next"));
  } catch (error) {
    warn(error instanceof Refused ? error.message : "The server does not answer. This page looks again by itself.");
    timer = setTimeout(load, LOOK_AGAIN);
  }
}

/** What a closed or reloaded page had not got through goes first, if it is the same person's. */
async function start() {
  await load();
  const unsent = JSON.parse(sessionStorage.getItem("unsent") ?? "null");
  if (unsent && unsent.labeller === labeller) {
    await alone(async () => show(await deliver(unsent.address, unsent.message)));
  }
}

function keysOn() { return by("keys").getAttribute("aria-pressed") === "true"; }

function switchKeys() {
  by("keys").setAttribute("aria-pressed", String(!keysOn()));
  by("keys-state").textContent = keysOn() ? "on" : "off";
}

function pressed(event) {
  if (event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
  const key = event.key.length === 1 ? event.key.toLowerCase() : event.key;
  if (key === "k") return switchKeys();
  if (!keysOn()) return;
  if (key in KEYS) { event.preventDefault(); answer(KEYS[key]); }
  if (key === "u") undo();
  if (key === "r" && !by("replay").hidden) replay();
}

for (const what of ["left", "right", "tie", "unsure"]) by(`say-${what}`).addEventListener("click", () => answer(what));
by("undo").addEventListener("click", undo);
by("replay").addEventListener("click", replay);
by("keys").addEventListener("click", switchKeys);
document.addEventListener("keydown", pressed);
start();
