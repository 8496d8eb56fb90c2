// The pictures of a comparison: every method's score with its interval, and curves against what was spent.

import { by } from "./pages.js";
import { chart, classOf } from "./chart.js";
import { drawn, large, scaled, ticks } from "./numbers.js";

const WIDTH = 760;
const ROW = 34;
const LEFT = 170;

/** A row a method: diamond, bar and dots; the start as a dashed line. */
function scores({ scores: rows, start, shares }) {
  const values = rows.flatMap((row) => [row.score, ...row.interval, ...row.seeds]).concat(start ?? []);
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const room = (most - least || Math.abs(most) || 1) * 0.06;
  const x = (value) => LEFT + ((WIDTH - LEFT - 20) * (value - least + room)) / (most - least + 2 * room);
  const height = rows.length * ROW + 24;
  const unit = shares ? "share of 1" : "";
  const said = rows.map((row) => `${row.name} ${scaled(row.score, unit)}`).join(", ");
  const svg = drawn("svg", { viewBox: `0 0 ${WIDTH} ${height}`, role: "img", class: "scores", "aria-label": `Scores with intervals: ${said}` });
  for (const tick of ticks(least - room, most + room, 6)) {
    svg.append(drawn("line", { x1: x(tick), x2: x(tick), y1: 0, y2: height - 20, class: "grid" }));
    svg.append(drawn("text", { x: x(tick), y: height - 5, "text-anchor": "middle" }, scaled(tick, unit)));
  }
  if (start !== null) svg.append(drawn("line", { x1: x(start), x2: x(start), y1: 0, y2: height - 20, class: "start" }));
  for (const [place, row] of rows.entries()) {
    const y = place * ROW + 12;
    const colour = classOf(row.colour);
    svg.append(drawn("text", { x: LEFT - 12, y: y + 4, "text-anchor": "end" }, row.name));
    svg.append(drawn("line", { x1: x(row.interval[0]), x2: x(row.interval[1]), y1: y, y2: y, class: `interval ${colour}` }));
    for (const seed of row.seeds) svg.append(drawn("circle", { cx: x(seed), cy: y + 11, r: 2.6, class: `dot ${colour}` }));
    const [across, size] = [x(row.score), 6];
    svg.append(drawn("path", { d: `M${across} ${y - size}l${size} ${size}l${-size} ${size}l${-size} ${-size}z`, class: `fill ${colour}` }));
  }
  by("scores").replaceChildren(svg);
}

const data = JSON.parse(by("charts-data").textContent);
if (data.scores.length) scores(data);
for (const one of data.charts) {
  const axis = { said: (at) => `${large(at)} ${one.axis}`, tick: large, whole: false };
  chart(by(one.id), one.curves, { name: one.title, unit: one.unit, low: null, high: null }, axis);
}
