// One picture of curves: steps to the right, several runs over each other, numbers where one points.

import { element } from "./pages.js";
import { drawn, isOutside, scaled, short, ticks, withUnit } from "./numbers.js";

const WIDTH = 360;
const HEIGHT = 170;
const LEFT = 52;
const RIGHT = 8;
const TOP = 8;
const BOTTOM = 22;
const SMOOTHED_FROM = 50; // points; a longer curve is faint behind its running mean, unless somebody chose otherwise
const COLOURS = 6; // of one kind of line; the next ones are drawn thinner
const MOST_POINTS = 500; // of one curve; of a longer one each stretch's lowest and highest are drawn

/** The curve thinned: of every stretch the lowest and the highest point, in their order. */
export function thinned(points) {
  if (points.length <= MOST_POINTS) return points;
  const stretch = Math.ceil(points.length / (MOST_POINTS / 2));
  const kept = [];
  for (let begin = 0; begin < points.length; begin += stretch) {
    const some = points.slice(begin, begin + stretch);
    const low = some.reduce((a, b) => (b[1] < a[1] ? b : a));
    const high = some.reduce((a, b) => (b[1] > a[1] ? b : a));
    kept.push(...(low === high ? [low] : low[0] < high[0] ? [low, high] : [high, low]));
  }
  return kept;
}

/** Along what a chart of a run's steps goes; another chart may go along what was spent. */
export const STEPS = { said: (at) => `step ${at}`, tick: String, whole: true };

const linked = new Map(); // by place; charts along the same axis have one cursor

/** How a chart is looked at: from where to where, how smooth, and whom to tell when somebody chose a stretch. */
const WHOLE = { from: -Infinity, to: Infinity, smooth: undefined, zoomed: null };

export const classOf = (colour) => `c${colour % COLOURS}${colour >= COLOURS ? " more" : ""}`;

/** The mean of each point and its neighbours, such a share of the curve on either side; null where nothing is smoothed. */
export function smoothed(points, share = points.length < SMOOTHED_FROM ? 0 : 1 / 50) {
  const window = share && Math.max(1, Math.floor(points.length * share));
  if (!window || points.length < 3 || points.some((point) => point.length !== 2)) return null;
  let [sum, begin, end] = [0, 0, 0];
  return points.map(([step], at) => {
    while (end < Math.min(points.length, at + window + 1)) sum += points[end++][1];
    while (begin < at - window) sum -= points[begin++][1];
    return [step, sum / (end - begin)];
  });
}

/** Lowest and highest value shown; a healthy bound that is near belongs into the picture. */
function range(curves, low, high) {
  const values = curves.flatMap((curve) => [curve.points, ...(curve.behind ?? [])].flat().flatMap((point) => point.slice(1)));
  let [least, most] = [Infinity, -Infinity];
  for (const value of values) { least = Math.min(least, value); most = Math.max(most, value); }
  const span = most - least || Math.abs(most) || 1;
  if (low !== null && low < least && least - low < span / 2) least = low;
  if (high !== null && high > most && high - most < span / 2) most = high;
  const room = (most - least || Math.abs(most) || 1) * 0.06;
  return [least - room, most + room];
}

function nearest(points, step) {
  let [low, high] = [0, points.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (points[middle][0] <= step) low = middle; else high = middle;
  }
  return Math.abs(points[low][0] - step) <= Math.abs(points[high][0] - step) ? points[low] : points[high];
}

/**
 * Draws into `place`. `curves` are {name, colour, points: [[step, value] or [step, value, low, high], ...]}; `metric`
 * has name, unit, low, high. Points carry an interval where they have four numbers. `behind` of a curve, where it has
 * them, are the courses that it is the mean of.
 */
export function chart(place, curves, metric, axis = STEPS, view = WHOLE) {
  const seen = (points) => points.filter(([at]) => at >= view.from && at <= view.to);
  const filled = curves
    .map((curve) => ({ ...curve, points: seen(curve.points), smooth: curve.behind ? null : seen(smoothed(curve.points, view.smooth) ?? []) }))
    .filter((curve) => curve.points.length);
  const readout = element("p", "", { class: "readout number" });
  if (!filled.length) return place.replaceChildren(element("p", curves.some((curve) => curve.points.length) ? "Not measured in this stretch." : "Not measured yet.", { class: "soft small" }));
  const [least, most] = range(filled, metric.low, metric.high);
  const courses = filled.flatMap((curve) => [curve.points, ...(curve.behind ?? [])]);
  const first = Math.min(...courses.map((points) => points[0][0]));
  const last = Math.max(...courses.map((points) => points.at(-1)[0]));
  const x = (step) => LEFT + (WIDTH - LEFT - RIGHT) * (last > first ? (step - first) / (last - first) : 0.5);
  const y = (value) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - (value - least) / (most - least));
  const svg = drawn("svg", {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`, tabindex: "0", role: "img", class: "chart",
    "aria-label": `${metric.name}: ${filled.map((c) => `${c.name} ${short(c.points.at(-1)[1])}`).join(", ")}`,
  });
  drawOutside(svg, metric, least, most, y);
  for (const tick of ticks(least, most, 4)) {
    svg.append(drawn("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick), class: "grid" }));
    svg.append(drawn("text", { x: LEFT - 5, y: y(tick) + 3.5, "text-anchor": "end" }, scaled(tick, most > 1.3 ? "" : metric.unit))); // a mean return is no share
  }
  for (const tick of ticks(first, last, 5).filter((at) => !axis.whole || Number.isInteger(at))) {
    svg.append(drawn("text", { x: x(tick), y: HEIGHT - 6, "text-anchor": "middle" }, axis.tick(tick)));
  }
  for (const curve of filled) drawCurve(svg, curve, x, y);
  const mark = svg.appendChild(drawn("g", { class: "mark" }));
  follow(place, svg, mark, { filled, metric, axis, readout, x, y, first, last, zoomed: view.zoomed, begin: view.at });
  place.replaceChildren(svg, readout);
}

function drawOutside(svg, metric, least, most, y) {
  const part = (from, to) => {
    if (to > from) {
      svg.append(drawn("rect", { x: LEFT, width: WIDTH - LEFT - RIGHT, y: y(to), height: y(from) - y(to), class: "outside" }));
    }
  };
  if (metric.low !== null) part(least, Math.min(metric.low, most));
  if (metric.high !== null) part(Math.max(metric.high, least), most);
}

function drawCurve(svg, curve, x, y) {
  const points = thinned(curve.points);
  const between = points.filter((point) => point.length === 4);
  if (between.length > 1) {
    const there = between.map((p) => `${x(p[0])},${y(p[3])}`);
    const back = between.toReversed().map((p) => `${x(p[0])},${y(p[2])}`);
    svg.append(drawn("polygon", { points: [...there, ...back].join(" "), class: `between ${classOf(curve.colour)}` }));
  }
  const smooth = curve.smooth?.length ? curve.smooth : null; // a mean is smooth enough
  const line = (course, kind) => {
    const path = course.map((p) => `${x(p[0]).toFixed(1)},${y(p[1]).toFixed(1)}`).join(" ");
    if (course.length > 1) svg.append(drawn("polyline", { points: path, class: `${kind} ${classOf(curve.colour)}` }));
  };
  for (const course of curve.behind ?? []) line(course, "faint");
  line(points, smooth ? "faint" : "curve");
  if (smooth) line(thinned(smooth), "curve");
  if (points.length < 20) for (const p of points) svg.append(drawn("circle", { cx: x(p[0]), cy: y(p[1]), r: 2.2, class: `dot ${classOf(curve.colour)}` }));
}

/** The mark under the pointer, moved by keys too, and the numbers there; the same in every chart along this axis. */
function follow(place, svg, mark, { filled, metric, axis, readout, x, y, first, last, zoomed, begin }) {
  let [at, begun] = [last, null];
  const show = (step, exact = false) => {
    const stops = filled.map((curve) => [curve, nearest(curve.points, step)]);
    at = exact ? step : stops.reduce((a, b) => (Math.abs(b[1][0] - step) < Math.abs(a[1][0] - step) ? b : a))[1][0];
    if (at < first || at > last) return rest();
    mark.replaceChildren(drawn("line", { x1: x(at), x2: x(at), y1: TOP, y2: HEIGHT - BOTTOM, class: "cursor" }));
    if (begun !== null) mark.append(drawn("rect", { x: Math.min(x(begun), x(at)), width: Math.abs(x(at) - x(begun)), y: TOP, height: HEIGHT - TOP - BOTTOM, class: "stretch" }));
    const said = stops.filter(([, point]) => point[0] === at);
    for (const [curve, point] of said) mark.append(drawn("circle", { cx: x(at), cy: y(point[1]), r: 3.5, class: `dot ${classOf(curve.colour)}` }));
    readout.replaceChildren(element("span", axis.said(at), { class: "soft" }), ...said.map(([curve, point]) => value(curve, point, metric)));
  };
  const rest = () => {
    [at, begun] = [last, null];
    mark.replaceChildren();
    readout.replaceChildren(...filled.map((curve) => value(curve, curve.points.at(-1), metric)));
  };
  linked.set(place, { axis, show, rest });
  const others = (act) => {
    for (const [where, one] of linked) {
      if (!where.isConnected) linked.delete(where);
      else if (where !== place && one.axis === axis) act(one);
    }
  };
  const showAll = (step) => { show(step); others((one) => one.show(at, true)); };
  const restAll = () => { rest(); others((one) => one.rest()); };
  const pointed = (event) => {
    const box = svg.getBoundingClientRect();
    const across = ((event.clientX - box.left) / box.width) * WIDTH;
    return first + ((across - LEFT) / (WIDTH - LEFT - RIGHT)) * (last - first);
  };
  svg.addEventListener("pointermove", (event) => showAll(pointed(event)));
  svg.addEventListener("pointerleave", restAll);
  svg.addEventListener("blur", restAll);
  svg.addEventListener("focus", () => showAll(at));
  if (zoomed) {
    svg.addEventListener("pointerdown", (event) => {
      if (event.pointerType !== "mouse") return; // a finger scrolls and points
      begun = nearest(filled.flatMap((curve) => curve.points).sort((a, b) => a[0] - b[0]), pointed(event))[0];
      event.preventDefault();
    });
    svg.addEventListener("pointerup", () => {
      const [from, to] = [begun, at];
      begun = null;
      if (from !== null && from !== to) zoomed(Math.min(from, to), Math.max(from, to));
    });
    svg.addEventListener("dblclick", () => zoomed(-Infinity, Infinity));
  }
  svg.addEventListener("keydown", (event) => {
    const steps = [...new Set(filled.flatMap((curve) => curve.points.map((point) => point[0])))].sort((a, b) => a - b);
    const now = steps.indexOf(at);
    const half = Math.max(1, Math.floor(steps.length / 4));
    if (zoomed && event.key === "+") zoomed(steps[Math.max(0, now - half)], steps[Math.min(steps.length - 1, now + half)], { place, at });
    if (zoomed && (event.key === "-" || event.key === "Escape")) zoomed(-Infinity, Infinity, { place, at });
    const next = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: steps.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    showAll(steps[Math.max(0, Math.min(steps.length - 1, next))]);
  });
  rest();
  if (begin >= first && begin <= last) at = begin;
}

function value(curve, point, metric) {
  const made = element("span", "", { class: `said ${classOf(curve.colour)}` });
  const wrong = isOutside(metric, point[1]);
  const between = point.length === 4 ? ` (${withUnit(point[2], metric.unit)} to ${withUnit(point[3], metric.unit)})` : "";
  made.append(element("b", withUnit(point[1], metric.unit) + between, wrong ? { class: "wrong" } : {}));
  made.append(element("span", ` ${curve.name}${wrong ? ", outside" : ""}`, { class: "soft" }));
  return made;
}
