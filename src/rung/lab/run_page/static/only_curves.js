// The curves of one run and nothing else, as a notebook shows them.

import { listenToCurves, showCurves } from "./curves.js";
import { Run } from "./follow.js";
import { source } from "./source.js";

async function start() {
  const [name] = await source.runs();
  const run = new Run(0, name);
  run.show([]);
  await run.metrics.look();
  listenToCurves(() => showCurves([run]));
  await showCurves([run]);
}

start();
