// The curves of one run and nothing else, as a notebook shows them.

import { by } from "./pages.js";
import { showCurves } from "./curves.js";
import { Run } from "./follow.js";
import { source } from "./source.js";

async function start() {
  const [name] = await source.runs();
  const run = new Run(0, name);
  await run.metrics.look();
  by("find-metric").addEventListener("input", () => showCurves([run]));
  await showCurves([run]);
}

start();
