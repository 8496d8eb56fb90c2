// What each metric means, asked for once, and the order in which a reader wants them.

import { source } from "./source.js";

const known = new Map();
let order = [];

/** After this `meaningOf` knows them. */
export async function learn(names) {
  const missing = names.filter((name) => !known.has(name));
  if (!missing.length) return;
  const answer = await source.meanings(missing);
  order = answer.order;
  for (const meaning of answer.meanings) known.set(meaning.name, meaning);
}

export const meaningOf = (name) => known.get(name) ?? { name, unit: "", meaning: "", healthy: "", low: null, high: null, what_to_do: "", section: "" };

function place(name) {
  const rank = order.indexOf(name);
  if (rank >= 0) return rank;
  return name.startsWith("reward/") ? order.indexOf("reward/mean") + 0.5 : order.length;
}

export const inOrder = (names) => [...names].sort((a, b) => place(a) - place(b) || (a < b ? -1 : 1));
