// Numbers as a reader wants them, and small things that several views need.

const SVG = "http://www.w3.org/2000/svg";

/** An SVG element with attributes; a text goes through textContent. */
export function drawn(tag, attributes = {}, text = "") {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text) made.textContent = text;
  return made;
}

/** Four significant digits, no more: `0.1235`, `12,400`, `1.2e-7`; a dash for what is not there. */
export function short(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e7)) return value.toExponential(2);
  return value.toLocaleString("en", size >= 1000 ? { maximumFractionDigits: 0 } : { maximumSignificantDigits: 4 });
}

/** With the metric's unit: shares in percent, seconds with an s. */
export function withUnit(value, unit) {
  if (value === null || value === undefined) return "–";
  if (unit === "share of 1" && value >= 0 && value <= 1) return `${(value * 100).toFixed(1)} %`;
  return unit === "seconds" ? `${short(value)} s` : short(value);
}

/** A number in a few letters: `1.5M`, `20K`, `7`, `1e-4`. */
export function large(value) {
  const size = Math.abs(value);
  for (const [scale, mark] of [[1e15, "P"], [1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "K"]]) {
    if (size >= scale) return `${Number((value / scale).toPrecision(3))}${mark}`;
  }
  const rounded = Number(value.toPrecision(3));
  return size !== 0 && size < 1e-3 ? rounded.toExponential() : String(rounded);
}

/** A number at an axis: shares in percent. */
export function scaled(tick, unit) {
  const value = Number(tick.toPrecision(10));
  if (unit === "share of 1") return `${short(value * 100)} %`;
  return Math.abs(value) < 1e-3 || Math.abs(value) >= 1e4 ? large(value) : short(value);
}

/** Whether a value lies outside a metric's healthy range. */
export const isOutside = ({ low, high }, value) => (low !== null && value < low) || (high !== null && value > high);

/** Round numbers between two ends, about so many. */
export function ticks(low, high, count) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((k) => k >= rough);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) found.push(k * step);
  return found;
}

/** Fills a select with [value, words]; what was chosen stays chosen where it still can be. */
export function fill(select, options) {
  const now = JSON.stringify(options);
  if (select.dataset.options === now) return;
  const chosen = select.value;
  select.dataset.options = now;
  select.replaceChildren(...options.map(([value, words]) => {
    const option = document.createElement("option");
    option.value = value;
    option.textContent = words;
    return option;
  }));
  if (options.some(([value]) => String(value) === chosen)) select.value = chosen;
}
