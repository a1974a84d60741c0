// Calls of tools in an answer, and their results, which people enter.

import { make } from "./dom.js";

function pretty(text) {
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return text; } // incomplete, or not JSON
}

// Returns the fields of a request for tools as entered: a list in OpenAI's format, or nothing.
export function readTools(text) {
  if (!text.trim()) return {};
  let tools;
  try { tools = JSON.parse(text); } catch { tools = null; }
  if (!Array.isArray(tools)) throw new Error("The tools are not a JSON list: correct or clear them under Options.");
  return { tools };
}

// Returns the elements that show calls; `send` takes their results, and is false if they cannot be sent.
export function toolCall(calls, send) {
  const fields = [];
  const shown = calls.map((call) => {
    const it = make("section", "call", undefined, { "aria-label": `Call of ${call.name}` });
    const head = make("p", "name", "Calls ");
    head.append(make("code", "", call.name));
    it.append(head);
    if (call.text) it.append(make("pre", "", pretty(call.text), { tabindex: "0", "aria-label": "Arguments" }));
    if (call.result !== undefined) it.append(make("p", "result", `Result: ${call.result}`));
    else if (send) {
      const field = make("textarea", "", undefined, { rows: "1", placeholder: "Result of the call", "aria-label": `Result of ${call.name}` });
      fields.push(field);
      it.append(field);
    }
    return it;
  });
  if (!fields.length) return shown;
  const form = make("form", "results");
  const button = make("button", "main", fields.length === 1 ? "Send result" : "Send results");
  form.append(...shown, button);
  form.onsubmit = (event) => { event.preventDefault(); send(fields.map(({ value }) => value)); };
  return [form];
}
