// A run at a glance: the numbers to believe, its warnings, its film, its method, and every metric in one table.

import { by, element } from "./pages.js";
import { inOrder, learn, meaningOf } from "./meanings.js";
import { isOutside, withUnit } from "./numbers.js";
import { showTable } from "./runs_table.js";
import { source } from "./source.js";

const part = (title, ...inside) => {
  const made = element("section", "", { class: "part" });
  made.append(element("h3", title), ...inside);
  return made;
};

function headline(figures) {
  const made = element("div", "", { class: "panel headline" });
  for (const [value, caption] of figures) {
    const figure = made.appendChild(element("div", "", { class: "figure" }));
    figure.append(element("b", value), element("span", caption));
  }
  return made;
}

function warnings(found) {
  if (!found.length) return [element("p", "None of the usual faults was seen.", { class: "soft" })];
  return found.map((warning) => {
    const made = element("div", "", { class: "notice" });
    const says = made.appendChild(element("p"));
    says.append(element("b", warning.says), " ", element("span", warning.when, { class: "soft small" }));
    made.append(element("p", warning.evidence), element("p", warning.advice, { class: "small" }));
    return made;
  });
}

function film(run, { bytes }) {
  const address = source.film(run.number);
  const panel = element("div", "", { class: "panel" });
  if (!address) {
    const words = panel.appendChild(element("p", `The film of an episode has ${(bytes / 1e6).toFixed(1)} MB, more than this page should: it lies beside it, in `));
    words.append(element("a", "episode.gif", { href: "episode.gif" }), ".");
    return panel;
  }
  panel.append(
    element("img", "", { class: "film", alt: "A film of the trained policy playing one episode", src: address }),
    element("p", "One episode of the trained policy, the best action by its own judgement each time (episode.gif). Beside it, where the policy judges states: its action, the value it expects on the scale it learnt on, and the return so far.", { class: "small soft" }),
  );
  return panel;
}

function method(card) {
  const panel = element("div", "", { class: "panel" });
  if (card.formula) panel.append(element("div", card.formula, { class: "theirs code" }));
  const slots = panel.appendChild(element("dl", "", { class: "slots" }));
  for (const [name, filling] of card.slots) slots.append(element("dt", name), element("dd", filling, { class: "code" }));
  if (card.deviations.length) {
    const list = element("ul", "", { class: "small" });
    list.append(...card.deviations.map((line) => element("li", line)));
    panel.append(element("p", "Beyond the paper:", { class: "small soft" }), list);
  }
  if (card.paper) {
    const paper = panel.appendChild(element("p", "Paper: ", { class: "small soft" }));
    paper.append(card.link ? element("a", card.paper, { href: card.link, rel: "noreferrer" }) : card.paper);
  }
  return panel;
}

async function metrics(run) {
  const [first, last] = [new Map(), new Map()];
  for (const row of [...run.metrics.rows, ...run.timings.rows]) {
    for (const [name, value] of Object.entries(row)) {
      if (value === null || name === "step") continue;
      if (!first.has(name)) first.set(name, value);
      last.set(name, value);
    }
  }
  await learn([...last.keys()]);
  const table = element("table");
  const head = table.createTHead().insertRow();
  for (const [words, kind] of [["Metric", ""], ["First", "number"], ["Last", "number"], ["Meaning", ""], ["Healthy", ""]]) {
    head.append(element("th", words, { class: kind, scope: "col" }));
  }
  const body = table.createTBody();
  for (const name of inOrder(last.keys())) body.append(metricRow(name, first.get(name), last.get(name)));
  const scroll = element("div", "", { class: "panel scroll", tabindex: "0", role: "region", "aria-label": "All metrics" });
  scroll.append(table);
  return body.rows.length ? part("Metrics", scroll) : element("p", "No step has been made yet.", { class: "soft" });
}

function metricRow(name, first, last) {
  const metric = meaningOf(name);
  const outside = isOutside(metric, last);
  const row = element("tr");
  row.append(
    element("td", name, { class: "code name" }),
    element("td", withUnit(first, metric.unit), { class: "number soft" }),
    element("td", withUnit(last, metric.unit), { class: outside ? "number wrong" : "number" }),
    element("td", metric.meaning + (metric.unit.startsWith("nats") ? ` In ${metric.unit}.` : "")),
  );
  const healthy = row.appendChild(element("td", metric.healthy));
  if (outside) healthy.append(element("p", metric.what_to_do, { class: "small" }));
  return row;
}

async function sectionOf(run) {
  const seen = await source.overview(run.number);
  const made = element("section", "", { class: "overview" });
  const name = seen.method?.name ? `${seen.method.name}: ` : "";
  made.append(element("h2", run.name), element("p", `${name}${seen.method?.summary ?? ""}`, { class: "soft" }), element("p", seen.state, { class: "soft" }));
  made.append(headline(seen.figures));
  if (seen.problems.length) made.append(part("Files", ...seen.problems.map((words) => element("p", words, { class: "notice" }))));
  made.append(part("Warnings", ...warnings(seen.warnings)));
  if (seen.film) made.append(part("Film", film(run, seen.film)));
  if (seen.method) made.append(part(`Method: ${seen.method.name || "unnamed"}`, method(seen.method)));
  made.append(await metrics(run));
  return made;
}

let asked = 0;
let drawnNow = "";

/** Draws anew what has new rows. */
export async function showOverview(runs, toggle) {
  if (runs.length > 1) await showTable(runs, toggle);
  const shown = runs.filter((run) => run.shown);
  const now = shown.map((run) => `${run.number}.${run.state.finished}.${[run.metrics, run.timings].map((of) => `${of.epoch}.${of.rows.length}`)}`).join(" ");
  if (now === drawnNow) return;
  const ticket = ++asked;
  const sections = await Promise.all(shown.map(sectionOf));
  if (ticket !== asked) return; // newer ones are on their way
  drawnNow = now;
  by("overview-list").replaceChildren(...sections);
}
