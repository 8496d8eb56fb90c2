// One run, followed: what is new comes on every look; what a resumed run took back goes.

import { source } from "./source.js";

const MOST_ANSWERS = 200; // in one look

export const MOST_SHOWN = 6; // as many colours can be told apart

class Followed {
  constructor(what, run) {
    [this.what, this.run] = [what, run];
    this.epoch = 0;
    this.rows = [];
    this.problem = "";
  }

  /** True when something changed. */
  async look() {
    let changed = false;
    for (let answers = 0; answers < MOST_ANSWERS; answers++) {
      const answer = await source.grown(this.what, this.run, this.epoch, this.rows.length);
      changed ||= answer.epoch !== this.epoch || answer.rows.length > 0 || answer.problem !== this.problem;
      if (answer.epoch !== this.epoch) this.rows = [];
      this.epoch = answer.epoch;
      this.problem = answer.problem;
      this.rows.length = answer.from;
      for (const row of answer.rows) this.rows.push(row);
      if (!answer.more) break;
    }
    return changed;
  }
}

export class Run {
  constructor(number, name) {
    this.number = number;
    this.name = name;
    this.shown = false;
    this.colour = 0;
    this.metrics = new Followed("metrics", number);
    this.timings = new Followed("timings", number);
    this.solved = new Followed("solved", number);
    this.state = { finished: false, steps: [], settings: "", method: "", problem: "" };
  }

  /** Shows it in a colour that no other has; false when all colours are taken. */
  show(runs) {
    const free = [...Array(MOST_SHOWN).keys()].find((colour) => !runs.some((run) => run.shown && run.colour === colour));
    if (free === undefined) return false;
    [this.shown, this.colour] = [true, free];
    return true;
  }

  /** Which of its parts changed. */
  async look() {
    const state = await source.state(this.number);
    const changed = new Set();
    if (JSON.stringify(state) !== JSON.stringify(this.state)) changed.add("state");
    this.state = state;
    for (const part of ["metrics", "timings", "solved"]) if (await this[part].look()) changed.add(part);
    return changed;
  }

  problems() {
    return [this.state.problem, this.metrics.problem, this.timings.problem, this.solved.problem].filter(Boolean);
  }

  /** [[step, value], ...] of a metric or a timing, where it was measured. */
  points(name) {
    const found = [];
    const measured = this.metrics.rows.some((row) => Object.hasOwn(row, name)) ? this.metrics.rows : this.timings.rows;
    for (const row of measured) {
      if (Object.hasOwn(row, name) && row[name] !== null) found.push([row.step, row[name]]);
    }
    return found;
  }
}
