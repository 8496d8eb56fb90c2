// All runs, a row each, sorted by any column; which of them the views show is chosen here.

import { by, element } from "./pages.js";
import { short, withUnit } from "./numbers.js";
import { source } from "./source.js";

const score = (value) => (value === null ? "–" : value >= 0 && value <= 1 ? withUnit(value, "share of 1") : short(value));
const between = (low, high) => (low === null || high === null ? "" : ` (${score(low)} to ${score(high)})`);
const signed = (value) => `${value < 0 ? "" : "+"}${value.toFixed(1)}`;
const points = (row, value) => signed(row.score >= 0 && row.score <= 1 ? value * 100 : value);

/** [key by which it is sorted, heading, what a cell says, whether it is a number]. */
const COLUMNS = [
  ["name", "Run", (row) => row.name, false],
  ["method", "Method", (row) => row.method || "–", false],
  ["task", "Task", (row) => row.task || "–", false],
  ["state", "State", (row) => row.state, false],
  ["step", "Steps", (row) => short(row.step), true],
  ["score", "Held-out score (95 %)", (row) => score(row.score) + between(row.low, row.high), true],
  ["gain", "Gain (95 %)", (row) => (row.gain === null ? "–" : `${points(row, row.gain)} (${points(row, row.gain_low)} to ${points(row, row.gain_high)})`), true],
  ["reward", "Last reward", (row) => short(row.reward), true],
  ["seconds", "Seconds", (row) => short(row.seconds), true],
  ["warnings", "Warnings", (row) => String(row.warnings), true],
];

let sorted = { key: "", down: false };
let drawnNow = "";

/** What has no value comes last, either way. */
function compare(a, b) {
  const [one, other] = [a[sorted.key], b[sorted.key]];
  if (one === null || other === null) return (one === null) - (other === null);
  return (typeof one === "number" ? one - other : one < other ? -1 : Number(one > other)) * (sorted.down ? -1 : 1);
}

function headOf(again) {
  const head = element("tr");
  head.append(element("th", "Shown", { scope: "col" }));
  for (const [key, words, , isNumber] of COLUMNS) {
    const here = sorted.key === key;
    const cell = head.appendChild(element("th", "", { scope: "col", class: isNumber ? "number" : "", "aria-sort": here ? (sorted.down ? "descending" : "ascending") : "none" }));
    const button = cell.appendChild(element("button", words + (here ? (sorted.down ? " ↓" : " ↑") : ""), { type: "button", class: "little plain" }));
    button.addEventListener("click", () => {
      sorted = { key, down: here ? !sorted.down : isNumber }; // of numbers the highest first
      again(key);
    });
  }
  return head;
}

/** `toggle(run)` shows or hides a run in every view. */
export async function showTable(runs, toggle) {
  const rows = (await source.table()).map((row, number) => ({ ...row, run: runs[number] }));
  const now = JSON.stringify([sorted, rows.map(({ run, ...row }) => [row, run.shown])]);
  if (now === drawnNow) return;
  drawnNow = now;
  if (sorted.key) rows.sort(compare);
  const table = element("table");
  table.createTHead().append(headOf(async (key) => {
    await showTable(runs, toggle);
    by("run-table").querySelectorAll("th button")[COLUMNS.findIndex((column) => column[0] === key)].focus();
  }));
  const body = table.createTBody();
  for (const row of rows) {
    const line = body.insertRow();
    const box = line.insertCell().appendChild(element("input", "", { type: "checkbox", "aria-label": `Show ${row.name}` }));
    box.checked = row.run.shown;
    box.addEventListener("click", async () => { await toggle(row.run); box.checked = row.run.shown; });
    for (const [, , said, isNumber] of COLUMNS) line.append(element("td", said(row), { class: isNumber ? "number" : "" }));
  }
  const scroll = element("div", "", { class: "panel scroll", tabindex: "0", role: "region", "aria-label": "All runs" });
  scroll.append(table);
  by("run-table").replaceChildren(scroll);
}
