// The lanes of a run: when the draft wrote, and the target judged and wrote.

import { make } from "./dom.js";

const LANES = [["Draft writes", "draft"], ["Target judges", "judge"], ["Target writes", "target"]];
const LEGEND = [
  ["accepted", "accepted"], ["rejected", "rejected"], ["target", "target's step"],
  ["judging", "judge call"], ["unused", "discarded"],
];

export class Lanes {
  #bars = new Map();
  #rows = {};

  constructor() {
    this.root = make("div", "lanes");
    const board = make("div", "board");
    for (const [name, role] of LANES) {
      this.#rows[role] = make("div", "lane");
      board.append(make("span", "", name), this.#rows[role]);
    }
    this.end = make("span");
    const axis = make("div", "axis");
    axis.append(make("span", "", "0 s"), this.end);
    board.append(axis);
    const legend = make("div", "legend");
    for (const [kind, text] of LEGEND) legend.append(make("span", kind, text));
    this.root.append(board, legend);
  }

  draw({ bars, now }) {
    this.root.hidden = !bars.length;
    const span = Math.max(now, 0.05);
    for (const bar of bars) {
      let it = this.#bars.get(bar);
      if (!it) {
        it = make("i");
        it.title = bar.title;
        this.#rows[bar.role].append(it);
        this.#bars.set(bar, it);
      }
      it.className = bar.kind;
      it.style.left = `${(100 * bar.from) / span}%`;
      it.style.width = `${(100 * Math.max(0, (bar.to ?? now) - bar.from)) / span}%`;
    }
    this.end.textContent = `${span.toFixed(2)} s`;
  }
}
