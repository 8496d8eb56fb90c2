// Where the page's data comes from: the server of `rung view`, or what was put inside the page (report.html).

import { ask, by } from "./pages.js";

const LONGEST_ADDRESS = 2000; // what is more is asked in another

/** The server reads the runs' folders whenever it is asked. */
const server = {
  live: true,
  title: "rung view",
  leftOut: "",
  runs: async () => (await ask("runs")).runs,
  state: (run) => ask(`state?run=${run}`),
  table: async () => (await ask("table")).rows,
  overview: (run) => ask(`overview?run=${run}`),
  film: (run) => `film?run=${run}`,
  grown: (what, run, epoch, from) => ask(`grown?what=${what}&run=${run}&epoch=${epoch}&from=${from}`),
  step: (run, step) => ask(`step?run=${run}&step=${step}`),
  tokens: (run, step, row) => ask(`tokens?run=${run}&step=${step}&row=${row}`),
  meanings: async (names) => {
    const missing = names.map((name) => `name=${encodeURIComponent(name)}`);
    const found = { order: [], meanings: [] };
    while (missing.length) {
      let address = `meanings?${missing.shift()}`;
      while (missing.length && address.length + missing[0].length < LONGEST_ADDRESS) address += `&${missing.shift()}`;
      const answer = await ask(address);
      found.order = answer.order;
      found.meanings.push(...answer.meanings);
    }
    return found;
  },
};

/** One finished answer to each question, for one run. */
function inside(data) {
  const rows = ({ names, rows }) => (names ? rows.map((row) => Object.fromEntries(names.map((name, at) => [name, row[at]]))) : rows);
  const stepOf = (step) => {
    const island = by(`step-${step}`);
    if (!island) throw new Error(`The samples of step ${step} are not in this page; rung view shows them.`);
    return JSON.parse(island.textContent);
  };
  return {
    live: false,
    title: "rung report",
    leftOut: data.left_out,
    runs: async () => [data.name],
    state: async () => data.state,
    table: async () => [{ name: data.name, ...data.overview.row }],
    overview: async () => data.overview,
    film: () => data.film,
    grown: async (what) => ({ epoch: 0, from: 0, rows: rows(data.grown[what]), more: false, problem: data.grown[what].problem }),
    step: async (_, step) => ({ step: Number(step), ...stepOf(step).shown }),
    tokens: async (_, step, row) => stepOf(step).tokens[row],
    meanings: async () => data.meanings,
  };
}

const island = by("run-data");

export const source = island ? inside(JSON.parse(island.textContent)) : server;
