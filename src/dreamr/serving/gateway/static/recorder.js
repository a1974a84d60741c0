// The microphone, which browsers allow on this machine and over HTTPS only.

import { $ } from "./dom.js";

const LONGEST = 300; // seconds of a recording
const TYPES = ["audio/webm;codecs=opus", "audio/mp4"];

export class Recorder {
  #recorder = null;
  #starting = false; // while the browser asks whether the page may use the microphone

  // `actions` has `recorded`, which takes a file, and `trouble`, which takes a message.
  constructor(actions) {
    this.actions = actions;
    $("record").hidden = !(navigator.mediaDevices && window.MediaRecorder);
    $("record").onclick = () => (this.#recorder ? this.#recorder.stop() : this.#begin());
  }

  get busy() { return this.#starting || this.#recorder !== null; }

  async #begin() {
    if (this.#starting) return;
    this.#starting = true;
    try { await this.#start(); } finally { this.#starting = false; }
  }

  async #start() {
    this.actions.trouble("");
    let stream;
    try { stream = await navigator.mediaDevices.getUserMedia({ audio: true }); } catch (error) {
      const refused = error.name === "NotAllowedError";
      this.actions.trouble(refused ? "The browser does not allow this page to use the microphone." : "There is no microphone that can be used.");
      return;
    }
    const type = TYPES.find((one) => MediaRecorder.isTypeSupported(one));
    const recorder = new MediaRecorder(stream, type ? { mimeType: type } : {});
    const pieces = [];
    let seconds = 0;
    const timer = setInterval(() => {
      seconds += 1;
      this.#show(seconds);
      if (seconds >= LONGEST) recorder.stop();
    }, 1000);
    recorder.ondataavailable = (event) => pieces.push(event.data);
    recorder.onstop = async () => {
      clearInterval(timer);
      stream.getTracks().forEach((track) => track.stop());
      this.#recorder = null;
      this.#show(0);
      const kind = recorder.mimeType.split(";")[0] || "audio/webm";
      await this.actions.recorded(new File(pieces, `recording.${kind.split("/")[1]}`, { type: kind }));
    };
    this.#recorder = recorder;
    recorder.start();
    this.#show(0);
  }

  #show(seconds) {
    $("record").textContent = this.#recorder ? `Stop · ${seconds} s` : "Record";
    $("record").setAttribute("aria-pressed", this.#recorder ? "true" : "false");
  }
}
