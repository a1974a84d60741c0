// Requests to the gateway, the only host that the page connects to.

import { $ } from "./dom.js";

export class GatewayError extends Error {
  constructor(message, { status = 0, code = null, param = null } = {}) {
    super(message);
    Object.assign(this, { status, code, param });
  }
}

function authorization() {
  const key = $("key").value.trim();
  if (/[^ -~]/.test(key)) { // fetch would fail as if there were no gateway
    throw new GatewayError("The API key contains characters other than printable ASCII. Enter only the key.", { code: "invalid_api_key" });
  }
  return key ? { Authorization: `Bearer ${key}` } : {};
}

async function call(path, options = {}) {
  const headers = { ...options.headers, ...authorization() };
  let response;
  try {
    response = await fetch(path, { ...options, headers });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new GatewayError("The gateway cannot be reached.");
  }
  if (response.ok) return response;
  const { error } = await response.json().catch(() => ({}));
  const message = error?.message || `The gateway returned status ${response.status}.`;
  throw new GatewayError(message, { status: response.status, code: error?.code, param: error?.param });
}

export const listModels = async () => (await (await call("v1/models")).json()).data;

// Returns the id of a stored file, and when it is deleted.
export async function upload(blob, name, signal) {
  const form = new FormData();
  form.append("purpose", "user_data");
  form.append("file", blob, name);
  const file = await (await call("v1/files", { method: "POST", body: form, signal })).json();
  return { id: file.id, expires: file.expires_at * 1000 };
}

export const removeUpload = (id) => call(`v1/files/${id}`, { method: "DELETE" }).catch(() => {});

// Yields the chunks of an answer.
export async function* stream(body, signal) {
  const response = await call("v1/chat/completions", {
    method: "POST", signal, headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
  });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read().catch((error) => {
      if (error.name === "AbortError") throw error;
      throw new GatewayError("The connection to the gateway was lost.");
    });
    if (done) return;
    held += value;
    const events = held.split("\n\n");
    held = events.pop();
    for (const event of events) {
      if (!event.startsWith("data: ") || event === "data: [DONE]") continue;
      const chunk = JSON.parse(event.slice(6));
      if (chunk.error) throw new GatewayError(chunk.error.message, chunk.error);
      yield chunk;
    }
  }
}
