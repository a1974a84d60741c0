// The messages of a request, from the turns of a chat.

import { dataUri } from "./attachments.js";
import { GatewayError, upload } from "./gateway.js";

const MARGIN = 60_000; // milliseconds before a stored file is deleted in which it is not used

// A turn whose answer was stopped counts with what was written. One that failed does not count.
export const textOf = (run) => run.answer || run.steps.filter(({ kind }) => kind === "accepted" || kind === "target")
  .map(({ text }) => text).join("\n\n");

export const counts = ({ run }) => run.state !== "failed" && (textOf(run) !== "" || run.tools.length > 0);

async function filePart(file, signal) {
  if (file.remote && file.remote.expires < Date.now() + MARGIN) file.remote = null;
  if (!file.remote && !file.inline) {
    try { file.remote = await upload(file.blob, file.name, signal); }
    catch (error) {
      if (!(error instanceof GatewayError) || !error.status || error.status === 401) throw error;
      file.inline = true; // this gateway stores no files, or has no room: the file goes with the question
    }
  }
  const content = file.remote ? { file_id: file.remote.id } : { file_data: await dataUri(file.blob) };
  return { type: "file", file: { filename: file.name, ...content } };
}

async function userContent({ question, files, said }, signal) {
  const parts = [];
  const texts = question ? [question] : [];
  for (const file of files) {
    const corrected = said[file.name];
    if (corrected === undefined && file.blob) parts.push(await filePart(file, signal));
    else if (corrected === undefined) parts.push({ type: "text", text: `The file ${file.name} is no longer available.\n` });
    else if (question || file !== files.at(-1)) parts.push({ type: "text", text: `Speech in ${file.name}: ${corrected}\n` });
    else texts.push(corrected); // the sound was the question
  }
  if (!parts.length) return texts.join("\n");
  return [...parts, ...texts.map((text) => ({ type: "text", text }))];
}

function answerMessages({ run }) {
  const message = { role: "assistant", content: textOf(run) };
  const calls = run.tools.filter(({ result }) => result !== undefined);
  if (!calls.length) return [message];
  message.tool_calls = calls.map(({ id, name, text }) => ({ id, type: "function", function: { name, arguments: text } }));
  message.content = run.answer;
  return [message, ...calls.map(({ id, result }) => ({ role: "tool", tool_call_id: id, content: result }))];
}

// Returns the messages that ask the last turn. Files are uploaded once and named by their ids.
export async function messagesOf(turns, signal) {
  const messages = [];
  for (const turn of turns) {
    if (!turn.continues) messages.push({ role: "user", content: await userContent(turn, signal) });
    if (turn !== turns.at(-1)) messages.push(...answerMessages(turn));
  }
  return messages;
}

export const filesOf = (turns) => turns.flatMap(({ files, said }) => files.filter(({ name, blob }) => blob && said[name] === undefined));
