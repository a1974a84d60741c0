// What a run has done so far, from the chunks of its stream. The state is plain data that can be kept.

import { meta } from "./dom.js";

// Kinds of scores, see ScoreKind in dreamr.gate.
const SCORES = JSON.parse(meta("dreamr-scores"));
const word = (verdict) => (verdict.unanswered ? "missing" : verdict.score ? "positive" : "negative");

function scoreText(verdict) {
  if (!verdict) return "";
  if (verdict.kind === "none") return "no score";
  if (verdict.kind === "word") return `${SCORES.word} ${word(verdict)}`;
  return `${SCORES[verdict.kind] || verdict.kind} ${verdict.score.toFixed(2)}`;
}

// What is given up where speculation would cost time.
const LEVELS = {
  no_fallback: "To save time under load, the target wrote no steps while it judged.",
  small_window: "To save time under load, the draft wrote fewer steps ahead.",
  target_alone: "The target answered alone: at present, the draft would cost more time than it saves.",
};

// Stages of a run whose deadline is near, see DeadlineStage in dreamr.schedules.
const NEAR = "The deadline is near:";
const STAGES = {
  window: "the draft writes fewer steps ahead.",
  confidence: "steps that the draft is confident of are accepted without the target.",
  answer: "the thought is closed, and the target answers.",
  best: "this is the best answer so far.",
};

// `state` is running, done, stopped or failed.
export const newRun = () => ({
  state: "running", problem: "", steps: [], bars: [], now: 0, heard: [], read: [], notes: [], tools: [],
  answer: "", accepted: 0, judged: 0, summary: null,
});

const open = (step) => step.kind === "drafted" || step.kind === "judging";

export class RunReader {
  #lanes = new Map();
  #calls = new Map();
  #drafted = new Map();
  #own = new Map();
  #began = performance.now();
  #sounds = 0;
  #place = 0; // position of the step that the target writes

  // `sounds` and `files`: how many earlier turns have.
  constructor(run, { sounds = 0, files = 0 } = {}) {
    this.run = run;
    this.earlier = { sounds, files };
  }

  read(chunk) {
    const { event, attachments, usage } = chunk.dreamr || {};
    if (attachments) this.run.read = attachments.slice(this.earlier.files);
    if (event) this.#event(event);
    const delta = chunk.choices?.[0]?.delta;
    if (delta?.content) this.run.answer += delta.content;
    for (const call of delta?.tool_calls || []) this.#tool(call);
    // A model without a draft has no events.
    if (delta?.reasoning_content && !this.run.bars.length) this.#thought(delta.reasoning_content);
    if (usage) this.#summary(chunk.dreamr);
    if (chunk.choices?.[0]?.finish_reason) this.run.finished = true;
  }

  end(state, problem = "") {
    const run = this.run;
    this.tick();
    Object.assign(run, { state, problem });
    for (const bar of run.bars) bar.to ??= run.now;
    run.steps = run.steps.filter((step) => !open(step));
  }

  tick() {
    if (!this.run.summary) this.run.now = Math.max(this.run.now, (performance.now() - this.#began) / 1000);
  }

  #tool({ index = 0, id, function: called = {} }) {
    const call = (this.run.tools[index] ??= { id: "", name: "", text: "" });
    if (id) call.id = id;
    call.name += called.name || "";
    call.text += called.arguments || "";
  }

  // Adds to a thought that comes in pieces. The step that is committed at its position replaces it.
  #thought(text) {
    const step = this.run.steps.at(-1);
    if (step?.who === "thought") step.text += text;
    else this.run.steps.push({ position: this.#place, kind: "target", who: "thought", text, score: "" });
  }

  #summary({ seconds, target_alone_seconds, usage, level, pass_through }) {
    if (pass_through) this.run.notes.push(`The target answered alone: ${pass_through}`);
    this.run.summary = { seconds, alone: target_alone_seconds, usage };
    if (LEVELS[level]) this.run.notes.push(LEVELS[level]);
    this.run.now = seconds;
  }

  #step(position, kind, who, text, verdict) {
    const { steps } = this.run;
    let step = steps.find((one) => one.position === position && one.kind !== "rejected");
    if (!step) {
      step = { position };
      const next = steps.findIndex((one) => one.position > position);
      steps.splice(next < 0 ? steps.length : next, 0, step);
    }
    Object.assign(step, { kind, who, text: text.trim(), score: scoreText(verdict) });
  }

  #drop(test) {
    this.run.steps = this.run.steps.filter((step) => !(open(step) && test(step.position)));
  }

  #bar(role, from, to, kind, title = "") {
    const bar = { role, from, to, kind, title };
    this.run.bars.push(bar);
    return bar;
  }

  #event(event) {
    const { time } = event;
    this.run.now = Math.max(this.run.now, time);
    const lane = this.#lanes.get(event.lane);
    switch (event.event) {
      case "RunStarted":
        this.#began = performance.now() - time * 1000;
        break;
      case "SpeechTranscribed":
        this.#sounds += 1;
        if (this.#sounds > this.earlier.sounds) this.run.heard.push({ name: event.name, text: event.text.trim() });
        break;
      case "LaneOpened":
        this.#lanes.set(event.lane, { role: event.role, since: time, bar: this.#bar(event.role, time, null, "write unused") });
        if (event.role === "target") this.#place = event.position;
        break;
      case "LanePaused":
        if (lane) lane.bar.to = time;
        break;
      case "LaneResumed":
        if (lane) Object.assign(lane, { since: time, bar: this.#bar(lane.role, time, null, "write unused") });
        break;
      case "LaneClosed":
        if (lane) { lane.bar.to ??= time; this.#lanes.delete(event.lane); }
        break;
      case "AnswerExtended":
        if (event.reasoning) this.#thought(event.reasoning);
        break;
      case "StepReady": this.#ready(event, lane); break;
      case "JudgeStarted": this.#judge(event); break;
      case "JudgeEnded":
        if (this.#calls.has(event.call)) this.#calls.get(event.call).to = time;
        break;
      case "StepCommitted": this.#commit(event); break;
      case "StepRejected": this.#reject(event); break;
      case "StepDiscarded":
        if (event.source === "draft") this.#drop((place) => place === event.position);
        break;
      case "Note": this.run.notes.push(event.message); break;
      case "DeadlineNear":
        this.run.notes = [...this.run.notes.filter((note) => !note.startsWith(NEAR)), `${NEAR} ${STAGES[event.stage] || event.stage}`];
        break;
      default:
    }
  }

  #ready({ time, role, position, step }, lane) {
    const bar = this.#bar(role, lane ? lane.since : time, time, "unused", step.text.trim());
    if (lane) lane.since = time;
    (role === "draft" ? this.#drafted : this.#own).set(position, bar);
    if (role === "draft") this.#step(position, "drafted", "drafted", step.text);
  }

  #judge({ time, call, positions }) {
    const title = `judge call of ${positions.length} step${positions.length === 1 ? "" : "s"}`;
    this.#calls.set(call, this.#bar("judge", time, null, "judging", title));
    for (const step of this.run.steps) {
      if (step.kind === "drafted" && positions.includes(step.position)) Object.assign(step, { kind: "judging", who: "judging" });
    }
  }

  #commit({ position, source, step, verdict, last }) {
    const drafted = source === "draft";
    const kind = drafted ? "accepted" : "target";
    const bar = (drafted ? this.#drafted : this.#own).get(position);
    if (bar) bar.kind = kind;
    if (!verdict) this.#drop((place) => place === position);
    if (verdict) { this.run.accepted += 1; this.run.judged += 1; }
    if (last || step.ending === "answer") this.#drop((place) => place === position);
    else this.#step(position, kind, verdict ? "accepted" : source, step.text, verdict);
  }

  #reject({ position, step, verdict }) {
    const bar = this.#drafted.get(position);
    if (bar) bar.kind = "rejected";
    this.run.judged += 1;
    this.#step(position, "rejected", "rejected", step.text, verdict);
    this.#drop((place) => place > position);
  }
}
