// The question that is being written: its text, its files, and options of the run.

import { copyOf, preview, readAttachment } from "./attachments.js";
import { $, makeButton } from "./dom.js";

const TALLEST = 0.3; // of the window

// Whether a text was copied. Office programs add an image of it. A copied image has only markup or a file name.
const holdsText = (copied) => copied.types.includes("text/html") && copied.getData("text/plain").trim() !== "";

export class Composer {
  files = [];
  said = {}; // what was said in sounds, corrected, of a question that is asked again
  #earlier = []; // files of the chat so far

  constructor() {
    $("attach").onclick = () => $("file").click();
    $("file").onchange = () => { this.add([...$("file").files]); $("file").value = ""; };
    $("question").addEventListener("input", () => this.resize());
    const holdsFiles = (event) => event.dataTransfer.types.includes("Files"); // text is dropped into the question
    addEventListener("dragover", (event) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      document.body.classList.add("over");
    });
    addEventListener("dragleave", (event) => { if (!event.relatedTarget) document.body.classList.remove("over"); });
    addEventListener("drop", (event) => {
      if (!holdsFiles(event)) return;
      event.preventDefault();
      document.body.classList.remove("over");
      this.add([...event.dataTransfer.files]);
    });
    addEventListener("paste", (event) => {
      const { files } = event.clipboardData;
      if (!files.length || holdsText(event.clipboardData)) return;
      event.preventDefault(); // else its name is pasted too
      this.add([...files]);
    });
  }

  get question() { return $("question").value.trim(); }

  get empty() { return !this.question && !this.files.length; }

  get speaks() { return this.files.some(({ kind }) => kind === "sound" || kind === "file" || kind === "video"); }

  trouble(text) {
    $("trouble").textContent = text;
    $("trouble").hidden = !text;
  }

  async add(given) {
    this.trouble("");
    for (const file of given) {
      try { this.files.push(await readAttachment(file, this.files.map(({ name }) => name))); } catch { this.trouble(`${file.name} cannot be read.`); }
    }
    this.draw();
  }

  // Puts a question back, to be changed and sent.
  put({ question, files, said }) {
    $("question").value = question;
    this.files = files.map(copyOf); // they may be sent in another chat, and are deleted with their own
    this.said = { ...said };
    this.draw();
    this.resize();
    $("question").focus();
  }

  // Returns the question and empties the fields.
  take() {
    const { question, files, said } = this;
    $("question").value = "";
    this.files = [];
    this.said = {};
    this.trouble("");
    this.draw();
    this.resize();
    return { question, files, said };
  }

  // `earlier`: files of the chat, of which pages and frames can be chosen too.
  draw(earlier = this.#earlier) {
    this.#earlier = earlier;
    $("waiting").replaceChildren(...this.files.map((file, place) => this.#button(file, place)));
    const kinds = new Set([...earlier, ...this.files].map(({ kind }) => kind));
    $("pages-field").hidden = !kinds.has("pdf");
    $("frames-field").hidden = !kinds.has("video");
    $("selection").hidden = $("pages-field").hidden && $("frames-field").hidden;
  }

  #button(file, place) {
    const button = makeButton("", () => {
      this.files.splice(place, 1);
      delete this.said[file.name]; // else it is sent for another file of that name
      this.draw();
      $("question").focus();
    }, { label: `Remove ${file.name}` });
    button.append(preview(file, false));
    return button;
  }

  resize() {
    const field = $("question");
    field.style.height = "auto";
    field.style.height = `${Math.min(field.scrollHeight + 2, innerHeight * TALLEST)}px`;
  }

  // Returns the object `dreamr` of a request; `muted`: without the sound of videos.
  options(muted) {
    const options = { events: true };
    if (muted) options.sound = false;
    const chosen = (id) => $(id).value.trim();
    if (chosen("method")) options.method = chosen("method");
    for (const name of ["window", "threshold", "deadline"]) if (chosen(name)) options[name] = Number(chosen(name));
    if (!$("pages-field").hidden && chosen("pages")) options.pages = chosen("pages");
    if (!$("frames-field").hidden && chosen("frames")) options.frames = Number(chosen("frames"));
    return options;
  }

  // Leads to the field of pages or frames that an error is about.
  showField({ message, param }) {
    const shown = ["pages", "frames"].filter((name) => !$(`${name}-field`).hidden);
    const named = shown.find((name) => param === `dreamr.${name}`) || shown.find((name) => message.includes(name.slice(0, -1)));
    if (named) { $(named).focus(); $(named).select(); }
  }
}
