// The messages of a request, from the turns of a chat.

import { dataUri } from "./attachments.js";
import { GatewayError, upload } from "./gateway.js";

const MARGIN = 60_000; // milliseconds before a stored file is deleted in which it is not used

// A turn whose answer was stopped counts with what was written. One that failed does not count.
export const textOf = (run) => run.answer || run.steps.filter(({ kind }) => kind === "accepted" || kind === "target")
  .map(({ text }) => text).join("\n\n");

// Whether anything of an answer has arrived. Lanes are opened before a model is asked, and drafted steps
// are part of an answer only once they are accepted.
export const began = (run) => textOf(run) !== "" || run.tools.length > 0;

export const counts = ({ run }) => run.state !== "failed" && began(run);

// A file that was chosen is read from the disk when it is sent, and cannot be read if it changed since.
async function checkContent({ name, blob }) {
  try { await blob.slice(0, 1).arrayBuffer(); } catch {
    throw new GatewayError(`${name} was changed or removed after it was added. Remove it here and add it again; if it belongs to an earlier question, begin a new chat.`);
  }
}

async function filePart(file, signal) {
  if (file.remote && file.remote.expires < Date.now() + MARGIN) file.remote = null;
  if (!file.remote) await checkContent(file);
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

// A sound is not sent once it is corrected. A video is, but then without sound, as all videos of the chat.
const isSent = (file, said) => file.kind === "video" || said[file.name] === undefined;

export const filesOf = (turns) => turns.flatMap(({ files, said }) => files.filter((file) => file.blob && isSent(file, said)));

const isVideo = ({ files }, name) => files.some((file) => file.kind === "video" && file.name === name);

// Whether what was heard in a video is corrected, so that videos are sent without sound.
export const areMuted = (turns) => turns.some((turn) => Object.keys(turn.said).some((name) => isVideo(turn, name)));

// Returns what was heard in the videos of a turn if that in one of them is corrected: all are sent without sound.
export const heardInVideos = (turn, corrected) => (isVideo(turn, corrected)
  ? Object.fromEntries(turn.run.heard.filter(({ name, text }) => text && isVideo(turn, name)).map(({ name, text }) => [name, text]))
  : {});

// Returns the number of sounds that the gateway transcribes: of those in which it heard something, the ones that are sent.
export const countSounds = (turns, muted) => turns.flatMap((turn) => {
  const sent = filesOf([turn]).filter(({ kind }) => !muted || kind !== "video");
  return turn.run.heard.filter(({ name }) => sent.some((file) => file.name === name));
}).length;

async function userContent({ question, files, said, run }, muted, signal) {
  const parts = [];
  const texts = question ? [question] : [];
  for (const file of files) {
    const silent = !file.blob || (muted && file.kind === "video");
    const heard = silent ? run.heard.find(({ name }) => name === file.name)?.text : undefined;
    const text = said[file.name] ?? heard;
    if (file.blob && isSent(file, said)) parts.push(await filePart(file, signal));
    else if (!text) parts.push({ type: "text", text: `The file ${file.name} is no longer available.\n` });
    if (text && !question && file === files.at(-1)) texts.push(text); // the sound was the question
    else if (text) parts.push({ type: "text", text: `Speech in ${file.name}: ${text}\n` });
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
export async function messagesOf(turns, muted, signal) {
  const messages = [];
  for (const turn of turns) {
    if (!turn.continues) messages.push({ role: "user", content: await userContent(turn, muted, signal) });
    if (turn !== turns.at(-1)) messages.push(...answerMessages(turn));
  }
  return messages;
}
