// The live page: asks the gateway and draws runs while they happen.

import { release } from "./attachments.js";
import { Composer } from "./composer.js";
import { $, announce, composes, newId } from "./dom.js";
import { GatewayError, removeUpload, stream } from "./gateway.js";
import { areMuted, began, counts, countSounds, filesOf, heardInVideos, messagesOf } from "./messages.js";
import { chosenModel, greet, greetAgain } from "./models.js";
import { claim, interrupted, merged } from "./merge.js";
import { Recorder } from "./recorder.js";
import { RunReader, newRun } from "./run.js";
import { Sidebar } from "./sidebar.js";
import { Store } from "./store.js";
import { readTools } from "./tools.js";
import { View, titleOf } from "./view.js";

const TITLE = 80; // characters of a title
const NEAR = 120; // pixels from the end at which new text is followed

const store = new Store((id) => { adopted = adopted.finally(() => adopt(id)); });
const composer = new Composer();
const recorder = new Recorder({
  trouble: (text) => composer.trouble(text),
  recorded: async (file) => { await composer.add([file]); $("question").focus(); },
});
const running = new Map(); // AbortController of each chat that waits for an answer
const leaving = new Set(); // ids of turns that are hidden, and replaced once their question's new run has begun
let chats = [];
let chat = null;
let opening = null; // the chat that is shown once the contents of its files are read
const views = new Map(); // View of each turn that is shown
let following = true;
let replaced = null; // the turn that the question in the composer replaces
let ready; // called once the chats are read
let adopted = new Promise((done) => { ready = done; }); // changes of other tabs, one after the other

// Chats

const newChat = () => ({ id: newId(), title: "", updated: Date.now(), turns: [], gone: [] });

const sidebar = new Sidebar({
  open: async (id) => { sidebar.toggle(false); await openChat(id); },
  remove: async (id) => {
    const found = chats.find((one) => one.id === id);
    running.get(id)?.abort();
    chats = chats.filter((one) => one !== found);
    if (chat === found) startChat();
    drawList();
    $("list").querySelector("button")?.focus();
    await discard(found);
  },
  removeAll: async () => {
    const all = chats;
    chats = [];
    for (const one of all) running.get(one.id)?.abort();
    startChat();
    await Promise.all(all.map(discard));
  },
});

async function discard(old) {
  for (const file of old.turns.flatMap(({ files }) => files)) {
    release(file);
    if (file.remote && file.remote.expires > Date.now()) removeUpload(file.remote.id);
  }
  old.removed = true;
  await store.remove(old);
}

const drawList = () => sidebar.draw(chats, chat.id, running);

function show(next) {
  chat = next;
  opening = null;
  history.replaceState(null, "", chat.turns.length ? `#${chat.id}` : location.pathname + location.search);
  document.title = chat.title ? `${chat.title} · dreamr` : "dreamr";
  replaced = null;
  composer.trouble("");
  drawTurns();
  drawList();
  follow(true);
}

// Views of turns that stay are not moved: they may have the focus, a field that is being filled in, or play.
function drawTurns() {
  for (const [turn, view] of views) if (!chat.turns.includes(turn)) drop(turn, view);
  chat.turns.forEach((turn, place) => {
    const { root } = views.get(turn) || viewOf(turn);
    const there = $("runs").children[place];
    if (there !== root) $("runs").insertBefore(root, there || null);
  });
  $("hello").hidden = chat.turns.length > 0;
  replaced = chat.turns.find(({ id }) => id === replaced?.id) || null;
  for (const [turn, { root }] of views) root.classList.toggle("replaced", turn === replaced);
  settle();
}

function drop(turn, view) {
  view.stop();
  view.root.remove();
  views.delete(turn);
}

function startChat() {
  show(newChat());
  sidebar.toggle(false);
  $("question").focus();
}

async function openChat(id) {
  const found = chats.find((one) => one.id === id);
  if (!found) { startChat(); return; }
  opening = found;
  if (!running.has(id)) await store.fill(found);
  if (opening !== found || !chats.includes(found)) return; // meanwhile another one was opened, or it was removed
  show(found);
  $("question").focus();
}

async function save(saved) {
  if (saved.removed) return;
  saved.updated = Date.now();
  chats = [saved, ...chats.filter((one) => one !== saved)];
  drawList();
  try {
    const dropped = await store.save(saved);
    for (const old of dropped) chats = chats.filter(({ id }) => id !== old.id);
    if (dropped.length) drawList();
  } catch { composer.trouble("The browser has no room to keep this chat."); }
}

// Takes over what another tab has saved or removed.
async function adopt(id) {
  const found = await store.read(id);
  const known = chats.find((one) => one.id === id);
  if (!found) {
    if (!known) return;
    known.removed = true;
    running.get(id)?.abort();
    chats = chats.filter((one) => one !== known);
    if (chat === known) show(newChat());
    else drawList();
    return;
  }
  interrupted(found);
  if (known) Object.assign(known, { title: found.title, updated: found.updated, ...merged(known, found) });
  chats = [known || found, ...chats.filter((one) => one !== known)].sort((one, other) => other.updated - one.updated);
  if (chat === known) {
    await store.fill(known);
    if (chat === known) { drawTurns(); follow(); }
  }
  drawList();
}

// Views

const actions = {
  correct: (turn, name, text) => repeat(turn, { ...turn, said: { ...heardInVideos(turn, name), ...turn.said, [name]: text } }),
  again: (turn) => repeat(turn, turn),
  edit: (turn) => {
    if (busy()) return;
    if (!composer.empty) { composer.trouble("Send or remove the question below first."); return; }
    composer.trouble("");
    replaced = turn;
    composer.put(turn);
    views.get(turn).root.classList.add("replaced");
  },
  continueWith: (turn, results) => {
    if (busy()) return;
    const tools = enteredTools();
    if (!tools) return;
    claim(turn, true);
    turn.run.tools.filter(({ result }) => result === undefined).forEach((call, place) => { call.result = results[place]; });
    ask({ question: "", files: [], said: {}, continues: true }, tools);
  },
};

function viewOf(turn) {
  const view = new View(turn, actions);
  views.set(turn, view);
  if (turn.reader) view.start(() => turn.reader.tick());
  return view;
}

const busy = () => running.has(chat.id) || recorder.busy;

function settle() {
  const waits = running.has(chat.id);
  for (const [turn, view] of views) {
    view.root.hidden = leaving.has(turn.id);
    if (!turn.reader) view.settle(turn === chat.turns.at(-1));
  }
  $("send").textContent = waits ? "Stop" : "Ask";
  $("send").classList.toggle("stop", waits);
  composer.draw(filesOf(chat.turns));
}

function remove(from, { id }) {
  for (const [turn, view] of views) if (turn.id === id) drop(turn, view);
  from.turns = from.turns.filter((turn) => turn.id !== id);
  from.gone = [...(from.gone || []), id];
  settle();
}

function repeat(turn, { question, files, said, continues }) {
  if (busy()) return;
  const tools = enteredTools();
  if (!tools) return;
  if (replaced === turn) { composer.take(); replaced = null; }
  ask({ question, files, said, continues }, tools, turn);
}

// New text is followed unless the reader has scrolled away from the end.
function follow(always = false) {
  following ||= always;
  if (following) $("talk").scrollTop = $("talk").scrollHeight;
}

// Asking

function send() {
  if (busy()) return;
  if (!composer.question && !composer.speaks) {
    composer.trouble(composer.files.length ? "Type a question about the files, or record it." : "");
    return;
  }
  const tools = enteredTools();
  if (!tools) return;
  const last = chat.turns.at(-1);
  const old = replaced || (last && isRefused(last) ? last : null);
  replaced = null;
  ask(composer.take(), tools, old);
}

// Returns the tools of a request; null, and says why, if they or another field cannot be read.
function enteredTools() {
  const wrong = [...$("form").querySelectorAll("input")].find(({ validity }) => validity.badInput);
  if (wrong && !wrong.closest("[hidden]")) {
    $("options").open ||= $("options").contains(wrong);
    composer.trouble(`The value of ${wrong.labels[0].textContent.trim()} is not a number.`);
    wrong.focus();
    return null;
  }
  try { return readTools($("tools").value); } catch (error) { composer.trouble(error.message); return null; }
}

const isRefused = ({ run }) => run.state === "failed" && !began(run);

// `old`: the turn that this one replaces. It is removed when the answer begins, and stays if that fails.
async function ask({ question, files, said, continues = false }, tools, old = null) {
  const asked = chat;
  const context = asked.turns.filter((turn) => turn.id !== old?.id && counts(turn));
  const turn = { id: newId(), asked: Date.now(), question, files, said, continues, run: newRun() };
  claim(turn, true);
  const muted = areMuted([...context, turn]);
  const earlier = {
    files: filesOf(context).length,
    sounds: countSounds(context, muted),
  };
  Object.defineProperty(turn, "reader", { value: new RunReader(turn.run, earlier), writable: true }); // not kept
  const replace = () => { if (old && leaving.delete(old.id)) remove(asked, old); };
  if (old) leaving.add(old.id);
  if (old && isRefused(old)) replace(); // there is no answer to keep
  asked.turns.push(turn);
  asked.title ||= titleOf(turn).slice(0, TITLE);
  const stopper = new AbortController();
  running.set(asked.id, stopper);
  $("hello").hidden = true;
  $("runs").append(viewOf(turn).root);
  history.replaceState(null, "", `#${asked.id}`);
  composer.trouble("");
  settle();
  follow(true);
  save(asked);
  const body = { model: chosenModel(), stream: true, dreamr: composer.options(muted), ...tools };
  const error = await run(turn, [...context, turn], body, stopper.signal, replace);
  turn.reader = null;
  running.delete(asked.id);
  if (turn.run.state === "done") { replace(); greetAgain(); }
  const kept = old && leaving.delete(old.id) ? asked.turns.find(({ id }) => id === old.id) : null;
  if (chat === asked) {
    settle();
    follow();
    if (error || kept) failed(turn, error, kept);
  }
  drawList();
  await save(asked);
  claim(turn, false);
}

// Runs a request to its end and returns the error, if any; the run holds how it ended. Calls `replace`
// when the answer has begun.
async function run(turn, turns, body, signal, replace) {
  const { reader } = turn;
  try {
    for (let attempt = 1; ; attempt += 1) {
      try { await receive(turn, { ...body, messages: await messagesOf(turns, areMuted(turns), signal) }, signal, replace); break; } catch (error) {
        if (!["file_not_found", "store_lost"].includes(error.code) || attempt > 1) throw error;
        for (const file of filesOf(turns)) file.remote = null; // the gateway does not have it: upload again
      }
    }
    reader.end("done");
    announce(turn.run.answer ? `Answer: ${turn.run.answer}` : "The answer is complete.");
    return null;
  } catch (error) {
    const stopped = error.name === "AbortError";
    reader.end(stopped ? "stopped" : "failed", stopped ? "Stopped." : error.message);
    announce(turn.run.problem);
    return stopped ? null : error;
  }
}

async function receive(turn, body, signal, replace) {
  for await (const chunk of stream(body, signal)) {
    turn.reader.read(chunk);
    if (began(turn.run)) replace();
    views.get(turn)?.drawSoon(follow);
  }
  if (!turn.run.finished) throw new GatewayError("The gateway closed the connection before the answer was complete.");
}

// A question that was refused is put back, to be changed and sent again. `kept`: the turn that it was to
// replace, which is shown again.
function failed(turn, error, kept) {
  putBack(turn, error, kept);
  if (error?.status === 401 || error?.code === "invalid_api_key") { $("keyed").hidden = false; $("key").focus(); }
}

function putBack(turn, error, kept) {
  const again = kept && turn.said === kept.said; // unchanged: its button is still there
  const fits = !turn.continues && composer.empty;
  if (began(turn.run) || !(again || fits)) return;
  if (kept) { remove(chat, turn); composer.trouble(turn.run.problem); }
  if (again) return;
  replaced = kept || turn;
  if (kept) views.get(kept).root.classList.add("replaced");
  composer.put(turn);
  if (error) composer.showField(error);
}

function endEditing() {
  views.get(replaced)?.root.classList.remove("replaced");
  replaced = null;
  composer.take();
}

// Keys and buttons

$("talk").addEventListener("scroll", () => {
  const { scrollHeight, scrollTop, clientHeight } = $("talk");
  following = scrollHeight - scrollTop - clientHeight < NEAR;
});
$("fresh").onclick = startChat;
$("form").onsubmit = (event) => {
  event.preventDefault();
  if (running.has(chat.id)) running.get(chat.id).abort();
  else send();
};
// Enter in a field presses the button of the form, which asks, but must not stop an answer.
$("form").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.tagName === "INPUT" && running.has(chat.id)) event.preventDefault();
});
$("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !composes(event)) { event.preventDefault(); send(); }
});
addEventListener("keydown", (event) => {
  if (composes(event)) return;
  if (event.key === "Escape" && sidebar.opened) sidebar.toggle(false);
  else if (event.key === "Escape" && running.has(chat.id)) running.get(chat.id).abort();
  else if (event.key === "Escape" && replaced && !event.repeat) endEditing();
  if (event.key.toLowerCase() === "o" && event.shiftKey && (event.ctrlKey || event.metaKey)) { event.preventDefault(); startChat(); }
});

greet();
await store.open();
chats = await store.list();
chats.forEach(interrupted);
$("kept").hidden = store.works;
await openChat(location.hash.slice(1));
ready();
document.body.dataset.ready = "yes";
