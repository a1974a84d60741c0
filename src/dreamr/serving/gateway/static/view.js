// One question and its run, drawn from plain data.

import { preview } from "./attachments.js";
import { clock, composes, make, makeButton, plural } from "./dom.js";
import { Lanes } from "./lanes.js";
import { toolCall } from "./tools.js";

const DRAWN = 100; // milliseconds between two drawings of a running clock
const written = (usage) => Object.values(usage).reduce((sum, count) => sum + count, 0);

export function titleOf({ question, files, said, continues }) {
  if (question) return question;
  if (continues) return "Results of tools";
  return Object.values(said).at(-1) || (files.length ? "Spoken question" : "Question");
}

function ranges(numbers) {
  const found = [];
  for (const number of numbers) {
    if (found.length && found.at(-1)[1] === number - 1) found.at(-1)[1] = number;
    else found.push([number, number]);
  }
  return found.map(([from, to]) => (from === to ? from : `${from}–${to}`)).join(", ");
}

// Says what was read of a file; nothing of an image, which is shown.
export function readText({ kind, name, pages, count, texts, frames, seconds, sound }) {
  const about = {
    document: () => {
      const which = pages.length === count ? plural(count, "page") : `${pages.length === 1 ? "page" : "pages"} ${ranges(pages)} of ${count}`;
      return `${which}${texts ? ", with text" : ""}`;
    },
    video: () => `${plural(frames, "frame")} of ${clock(seconds)}${sound ? ", with sound" : ""}`,
    sound: () => `sound of ${clock(seconds)}`,
  }[kind];
  return about ? `${name || "file"}: ${about()}` : "";
}

export class View {
  #items = new Map();

  // `actions` has `correct`, `edit`, `again` and `continueWith`, offered on the last turn only.
  constructor(turn, actions) {
    this.turn = turn;
    this.actions = actions;
    this.root = make("article", "run");
    const asked = make("div", "asked");
    const title = make("h2", "", titleOf(turn));
    const thumbs = make("div", "thumbs");
    for (const file of turn.files) thumbs.append(preview(file, true));
    asked.append(title, thumbs);
    this.root.setAttribute("aria-label", title.textContent);
    this.media = make("div", "media");
    this.steps = make("ol", "steps", undefined, { "aria-label": "Steps" });
    this.tools = make("div", "tools");
    this.answer = make("div", "answer");
    this.problem = make("p", "wrong");
    this.notes = make("div", "notes");
    this.figures = make("dl", "figures");
    this.lanes = new Lanes();
    this.buttons = make("div", "actions");
    this.root.append(asked, this.media, this.steps, this.tools, this.answer, this.problem, this.notes, this.buttons, this.figures, this.lanes.root);
    this.draw();
  }

  start(tick) {
    this.timer = setInterval(() => { tick(); this.#drawClock(); }, DRAWN);
  }

  stop() {
    clearInterval(this.timer);
    cancelAnimationFrame(this.frame);
    this.frame = 0;
  }

  // Draws with the next frame of the browser, once, and calls `drawn` then.
  drawSoon(drawn) {
    this.frame ||= requestAnimationFrame(() => {
      this.frame = 0;
      this.draw();
      drawn();
    });
  }

  // The last turn of a chat can be corrected and asked again.
  settle(last) {
    this.stop();
    this.last = last;
    this.draw();
  }

  draw() {
    const { run } = this.turn;
    this.root.setAttribute("aria-busy", run.state === "running" ? "true" : "false");
    this.#drawMedia();
    this.#drawSteps();
    this.#drawTools();
    this.answer.textContent = run.answer;
    this.problem.textContent = run.problem;
    this.problem.hidden = !run.problem;
    this.problem.classList.toggle("stopped", run.state === "stopped");
    this.notes.replaceChildren(...run.notes.map((note) => make("p", "", note)));
    this.#drawButtons();
    this.#drawClock();
  }

  #drawClock() {
    this.#drawFigures();
    this.lanes.draw(this.turn.run);
  }

  #drawMedia() {
    const { run, said } = this.turn;
    const key = JSON.stringify([run.read, run.heard, this.last, run.state]);
    if (key === this.shown) return;
    // A correction that is being written stays, though another tab has continued the chat. It goes with the
    // turn once it is sent.
    if (this.media.querySelector(".correction") && !this.root.hidden) return;
    this.shown = key;
    const lines = run.read.map(readText).filter(Boolean).map((text) => make("p", "read", text));
    for (const [name, text] of Object.entries(said)) lines.push(this.#heard({ name, text }, "Corrected in"));
    for (const heard of run.heard) lines.push(this.#heard(heard));
    this.media.replaceChildren(...lines);
  }

  #heard({ name, text }, how = "Heard in") {
    const it = make("p", "heard", text ? `${how} ${name}: “${text}”` : `No speech in ${name}.`);
    const file = this.turn.files.find((one) => one.name === name);
    if (!this.last || !file || this.turn.run.state === "running") return it;
    it.append(makeButton("Correct", () => it.replaceWith(this.#correction(name, text)), { label: `Correct what was heard in ${name}` }));
    return it;
  }

  #correction(name, text) {
    const it = make("form", "correction");
    const field = make("textarea", "", undefined, { "aria-label": `What was said in ${name}`, rows: "2" });
    field.value = text;
    const cancel = () => { it.remove(); this.shown = ""; this.draw(); this.media.querySelector("button")?.focus(); };
    const send = () => { if (field.value.trim()) this.actions.correct(this.turn, name, field.value.trim()); };
    field.onkeydown = (event) => {
      if (composes(event)) return;
      if (event.key === "Enter" && !event.shiftKey) { event.preventDefault(); send(); }
      if (event.key === "Escape") { event.stopPropagation(); cancel(); }
    };
    it.onsubmit = (event) => { event.preventDefault(); send(); };
    const ask = make("button", "main", "Ask again");
    it.append(field, ask, makeButton("Cancel", cancel));
    setTimeout(() => field.focus());
    return it;
  }

  #drawSteps() {
    const { steps } = this.turn.run;
    this.steps.hidden = !steps.length;
    for (const [step, it] of this.#items) if (!steps.includes(step)) { it.remove(); this.#items.delete(step); }
    steps.forEach((step, place) => {
      let it = this.#items.get(step);
      if (!it) {
        it = make("li");
        it.append(make("span", "who"), make("span", "text"), make("span", "score"));
        this.#items.set(step, it);
      }
      if (this.steps.children[place] !== it) this.steps.insertBefore(it, this.steps.children[place] || null);
      it.className = step.kind;
      [step.who, step.text, step.score].forEach((text, number) => {
        const cell = it.children[number];
        if (cell.textContent !== text) cell.textContent = text;
      });
    });
  }

  #drawTools() {
    const { run, continued } = this.turn;
    const key = JSON.stringify([run.tools, run.state, this.last, continued]);
    if (key === this.calls) return;
    this.calls = key;
    const ask = this.last && run.state === "done" && ((results) => this.actions.continueWith(this.turn, results));
    this.tools.replaceChildren(...toolCall(run.tools, ask));
  }

  #drawButtons() {
    const { run } = this.turn;
    const offered = this.last && run.state !== "running";
    if (offered === this.offered) return;
    this.offered = offered;
    const buttons = [];
    if (offered && !this.turn.continues) buttons.push(makeButton("Edit", () => this.actions.edit(this.turn), { label: "Edit the question" }));
    if (offered) buttons.push(makeButton("Ask again", () => this.actions.again(this.turn)));
    if (offered && run.answer && navigator.clipboard) {
      const copy = makeButton("Copy", async () => { await navigator.clipboard.writeText(run.answer); copy.textContent = "Copied"; }, { label: "Copy the answer" });
      buttons.push(copy);
    }
    this.buttons.replaceChildren(...buttons);
  }

  #drawFigures() {
    const { summary, now, accepted, judged, bars } = this.turn.run;
    this.figures.hidden = !bars.length && !summary;
    const share = judged ? `${accepted} of ${judged}` : "–";
    const pairs = [["Time", `${(summary ? summary.seconds : now).toFixed(2)} s`]];
    if (summary?.alone) {
      const { alone, seconds } = summary;
      pairs.push([alone >= seconds ? "Time saved (estimate)" : "Time lost (estimate)", `${Math.abs(alone - seconds).toFixed(2)} s`]);
      pairs.push(["Speed-up (estimate)", `${(alone / seconds).toFixed(1)} ×`]);
    }
    pairs.push(["Steps accepted", share]);
    if (summary) {
      const { draft, target } = summary.usage;
      pairs.push(["Draft tokens used", `${draft.accepted} of ${written(draft)}`], ["Target tokens used", `${target.kept} of ${written(target)}`]);
    }
    const key = JSON.stringify(pairs);
    if (key === this.figured) return;
    this.figured = key;
    this.figures.replaceChildren(...pairs.map(([name, value]) => {
      const it = make("div");
      it.append(make("dt", "", name), make("dd", "", value));
      return it;
    }));
  }
}
