// Elements are made here, with texts as text content only: no answer can be markup.

export const $ = (id) => document.getElementById(id);

export function make(tag, kind = "", text = undefined, attributes = {}) {
  const it = document.createElement(tag);
  if (kind) it.className = kind;
  if (text !== undefined) it.textContent = text;
  for (const [name, value] of Object.entries(attributes)) it.setAttribute(name, value);
  return it;
}

export function makeButton(text, onclick, { label, kind = "" } = {}) {
  const it = make("button", kind, text, { type: "button" });
  if (label) { it.setAttribute("aria-label", label); it.title = label; }
  it.onclick = onclick;
  return it;
}

// Whether a key belongs to the input method with which a word is composed. Safari ends the composition
// before the key that ends it: in Safari only keyCode 229 shows it.
export const composes = (event) => event.isComposing || event.keyCode === 229;

// Says something to screen readers.
export const announce = (text) => { $("said").textContent = text; };

export const meta = (name) => document.querySelector(`meta[name="${name}"]`).content;

// crypto.randomUUID is not available over plain HTTP.
export const newId = () => [...crypto.getRandomValues(new Uint8Array(9))]
  .map((byte) => byte.toString(16).padStart(2, "0")).join("");

export const clock = (seconds) => (seconds < 60 ? `${seconds.toFixed(1)} s` : `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`);

export const plural = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;
