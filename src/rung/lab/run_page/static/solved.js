// Which prompts were solved when: a map, a row a prompt and a column a step or a stretch of steps; or a table, where most
// prompts were asked once and a map would show nothing.

import { by, element } from "./pages.js";
import { drawn, fill, short } from "./numbers.js";

const MOST_COLUMNS = 100;
const ROWS_AT_ONCE = 60;
const CELL = 14;
const NAMES = 150;

let runs = [];
let open = () => {};
let room = 1;
let drawnNow = "";

/** {items: [{name, cells: Map(column -> {sum, scored, count, steps})}], columns: [[first, last], ...]}. */
export function gathered(rows) {
  const each = Math.max(1, Math.ceil(rows.length / MOST_COLUMNS));
  const columns = [];
  const [items, texts] = [new Map(), new Map()];
  for (const [place, row] of rows.entries()) {
    const column = Math.floor(place / each);
    if (place % each === 0) columns.push([row.step, row.step]); else columns[column][1] = row.step;
    for (const [name, text] of Object.entries(row.prompts ?? {})) texts.set(name, text);
    for (const [name, share, count] of row.items) {
      if (!items.has(name)) items.set(name, { name, first: items.size, cells: new Map(), shares: [], answers: 0, seen: 0, sum: 0, scored: 0, step: 0 });
      const item = items.get(name);
      const cell = item.cells.get(column) ?? { sum: 0, scored: 0, count: 0, step: row.step };
      if (share !== null) { cell.sum += share; cell.scored += 1; item.sum += share; item.scored += 1; item.shares.push(share); }
      cell.count += count;
      cell.step = row.step;
      item.seen += 1;
      item.answers += count;
      item.step = row.step;
      item.cells.set(column, cell);
    }
  }
  return { items: [...items.values()], columns, texts };
}

const share = (one) => (one.scored ? one.sum / one.scored : null);

const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;

/** The share solved in the later half of the times a prompt was asked, less that in the earlier; null where it was once. */
function drift({ shares }) {
  const half = Math.floor(shares.length / 2);
  return half ? mean(shares.slice(-half)) - mean(shares.slice(0, half)) : null;
}

const ORDERS = {
  fallen: (a, b) => (drift(a) ?? 2) - (drift(b) ?? 2) || a.first - b.first,
  seen: (a, b) => b.seen - a.seen || a.first - b.first,
  hard: (a, b) => (share(a) ?? 2) - (share(b) ?? 2) || a.first - b.first,
  first: (a, b) => a.first - b.first,
};

function classOf(cell) {
  const value = share(cell);
  return value === null ? "cell none" : `cell m${Math.round(value * 4)}`;
}

function draw() {
  const run = runs[Number(by("map-run").value || 0)];
  const { items, columns, texts } = gathered(run ? run.solved.rows : []);
  const text = by("find-item").value.toLowerCase();
  const kept = items.filter((item) => `${item.name} ${texts.get(item.name) ?? ""}`.toLowerCase().includes(text)).sort(ORDERS[by("map-sort").value]);
  const shown = kept.slice(0, room * ROWS_AT_ONCE);
  by("map-more").hidden = kept.length <= shown.length;
  if (!shown.length) {
    return by("map").replaceChildren(element("p", items.length ? "No prompt has this in its name." : "No samples are stored, so there is nothing to map. A run on an environment stores none.", { class: "soft" }));
  }
  const again = items.filter((item) => item.seen > 1).length;
  const asTable = by("map-kind").value === "table" || (by("map-kind").value === "" && again * 10 < items.length);
  by("map-help").hidden = asTable;
  by("map-says").hidden = asTable;
  if (asTable) return by("map").replaceChildren(tableOf(run, shown, texts));
  const width = NAMES + columns.length * CELL + 8;
  const height = shown.length * CELL + 26;
  const svg = drawn("svg", { width, height, viewBox: `0 0 ${width} ${height}`, tabindex: "0", role: "application",
    "aria-roledescription": "map", "aria-label": `Solve rates of ${shown.length} prompts over ${columns.length} columns; arrow keys move` });
  for (const [row, item] of shown.entries()) {
    svg.append(drawn("text", { x: NAMES - 6, y: row * CELL + 11, "text-anchor": "end" }, item.name.length > 22 ? `${item.name.slice(0, 21)}…` : item.name));
    for (const [column, cell] of item.cells) {
      svg.append(drawn("rect", { x: NAMES + column * CELL, y: row * CELL, width: CELL - 1, height: CELL - 1, rx: 2,
        class: classOf(cell), "data-row": row, "data-column": column }));
    }
  }
  const every = Math.max(1, Math.ceil(columns.length / Math.max(2, Math.floor(columns.length * CELL / 60))));
  for (let column = 0; column < columns.length; column += every) {
    svg.append(drawn("text", { x: NAMES + column * CELL, y: height - 8 }, String(columns[column][0])));
  }
  listen(svg, run, shown, columns);
  by("map").replaceChildren(svg);
}

function tableOf(run, items, texts) {
  const table = element("table", "", { class: "panel" });
  const head = table.createTHead().insertRow();
  for (const [words, kind] of [["Prompt", ""], ["Name", ""], ["Asked", "number"], ["Answers", "number"], ["Solved", "number"], ["First", "number"], ["Last", "number"], ["Drift", "number"]]) {
    head.append(element("th", words, { class: kind, scope: "col" }));
  }
  const percent = (value) => (value === null || value === undefined ? "–" : `${(value * 100).toFixed(0)} %`);
  const body = table.createTBody();
  for (const item of items) {
    const line = body.insertRow();
    const moved = drift(item);
    line.append(element("td", texts.get(item.name) ?? "(not stored)", { class: "theirs", dir: "auto" }));
    const name = line.insertCell().appendChild(element("button", item.name, { type: "button", class: "little" }));
    name.addEventListener("click", () => open(run.number, item.step, "", item.name));
    for (const said of [String(item.seen), String(item.answers)]) line.append(element("td", said, { class: "number" }));
    const level = share(item) === null ? "" : ` m${Math.round(share(item) * 4)}`;
    const solved = line.appendChild(element("td", `${percent(share(item))} `, { class: "number" }));
    solved.append(element("span", " ", { class: `patch${level}`, "aria-hidden": "true" }));
    line.append(element("td", percent(item.shares[0]), { class: "number" }), element("td", percent(item.shares.at(-1)), { class: "number" }));
    line.append(element("td", moved === null ? "–" : `${moved > 0 ? "+" : ""}${(moved * 100).toFixed(0)} points`, { class: moved < 0 ? "number wrong" : "number" }));
  }
  return table;
}

function listen(svg, run, items, columns) {
  const mark = svg.appendChild(drawn("rect", { width: CELL + 1, height: CELL + 1, x: -99, y: -99, rx: 3, class: "here" }));
  let [row, column] = [0, columns.length - 1];
  const go = (r, c) => {
    row = Math.max(0, Math.min(items.length - 1, r));
    column = Math.max(0, Math.min(columns.length - 1, c));
    mark.setAttribute("x", NAMES + column * CELL - 1);
    mark.setAttribute("y", row * CELL - 1);
    const cell = items[row].cells.get(column);
    const [first, last] = columns[column];
    const when = first === last ? `step ${first}` : `steps ${first} to ${last}`;
    const what = !cell ? "not asked" : share(cell) === null ? "without a score" : `${(share(cell) * 100).toFixed(0)} % solved of ${cell.count} answers`;
    by("map-says").textContent = `${items[row].name}, ${when}: ${what}`;
  };
  const look = () => {
    const cell = items[row].cells.get(column);
    if (cell) open(run.number, cell.step, "", items[row].name);
  };
  svg.addEventListener("pointermove", (event) => {
    const box = svg.getBoundingClientRect();
    const [across, down] = [event.clientX - box.left - NAMES, event.clientY - box.top];
    if (across >= 0 && down < items.length * CELL) go(Math.floor(down / CELL), Math.floor(across / CELL));
  });
  svg.addEventListener("focus", () => go(row, column));
  svg.addEventListener("click", look);
  svg.addEventListener("keydown", (event) => {
    const [down, across] = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1], Home: [0, -1e6], End: [0, 1e6] }[event.key] ?? [];
    if (down === undefined && event.key !== "Enter") return;
    event.preventDefault();
    if (event.key === "Enter") look(); else go(row + down, column + across);
  });
}

export function showSolved(all) {
  runs = all;
  fill(by("map-run"), runs.filter((run) => run.shown).map((run) => [String(run.number), run.name]));
  const run = runs[Number(by("map-run").value || 0)];
  const now = `${run?.number} ${run?.solved.epoch} ${run?.solved.rows.length}`;
  if (now === drawnNow || by("map").contains(document.activeElement)) return;
  drawnNow = now;
  draw();
}

/** `opened(run, step, text, item)` shows a step's samples. */
export function listenToSolved(opened) {
  open = opened;
  const scale = by("map-scale");
  scale.append(element("span", "none solved"), ...[0, 1, 2, 3, 4].map((k) => element("span", " ", { class: `patch m${k}` })), element("span", "all solved"));
  for (const id of ["map-run", "map-kind", "map-sort", "find-item"]) by(id).addEventListener("input", () => { room = 1; draw(); });
  by("map-more").addEventListener("click", () => { room += 1; draw(); });
}
