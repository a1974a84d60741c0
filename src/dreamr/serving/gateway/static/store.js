// Chats, kept in the browser's database: texts in one store, the contents of files in another.

import { merged, numbered, plainTurn } from "./merge.js";

const NAME = "dreamr";
const MOST_CHATS = 100;
const MOST_BYTES = 200 * 2 ** 20;

const done = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

const committed = (transaction) => new Promise((resolve, reject) => {
  transaction.oncomplete = () => resolve();
  transaction.onabort = () => reject(transaction.error);
});

function open() {
  const request = indexedDB.open(NAME, 1);
  request.onupgradeneeded = () => {
    request.result.createObjectStore("chats", { keyPath: "id" });
    request.result.createObjectStore("files", { keyPath: "id" });
  };
  return done(request);
}

// Returns the chats to delete, the oldest first, so that the others stay within the bounds.
export function excess(chats, current, { most = MOST_CHATS, bytes = MOST_BYTES } = {}) {
  const oldest = chats.filter(({ id }) => id !== current).sort((one, other) => one.updated - other.updated);
  let count = chats.length;
  let size = chats.reduce((sum, chat) => sum + chat.bytes, 0);
  return oldest.filter((chat) => {
    if (count <= most && size <= bytes) return false;
    count -= 1;
    size -= chat.bytes;
    return true;
  });
}

// Returns a chat as it is kept: with the turns that other tabs have stored, without contents.
function plain(chat, stored) {
  const { turns: all, gone } = merged(chat, stored);
  const turns = all.map(plainTurn);
  const files = all.flatMap((turn) => turn.files).filter(({ id, blob }) => blob || stored.files.includes(id));
  const bytes = files.reduce((sum, { size }) => sum + size, 0) + JSON.stringify(turns).length;
  return { chat: { ...chat, turns, gone, bytes, files: files.map(({ id }) => id) }, files, bytes };
}

export class Store {
  #database = null;
  #index = new Map(); // chats without their turns
  #others = null; // channel to other tabs
  #changed;

  // `changed` gets the id of each chat that another tab saves or removes.
  constructor(changed) { this.#changed = changed; }

  // Without a database (in some private windows), chats last as long as the page.
  async open() {
    try { this.#database = await open(); } catch { this.#database = null; return; }
    this.#others = new BroadcastChannel(NAME);
    this.#others.onmessage = ({ data: id }) => this.#changed(id);
  }

  get works() { return this.#database !== null; }

  // Returns all chats without the contents of their files, the latest first.
  async list() {
    if (!this.works) return [];
    const chats = await done(this.#stores("readonly").chats.getAll());
    for (const chat of chats) this.#remember(numbered(chat));
    return chats.sort((one, other) => other.updated - one.updated);
  }

  // Returns a chat as it is stored, without the contents of its files; undefined if it was removed.
  async read(id) {
    const chat = await done(this.#stores("readonly").chats.get(id));
    if (chat) this.#remember(numbered(chat));
    else this.#index.delete(id);
    return chat;
  }

  // Adds the contents of its files to a chat.
  async fill(chat) {
    if (!this.works) return chat;
    const { files } = this.#stores("readonly");
    const wanted = chat.turns.flatMap((turn) => turn.files).filter(({ blob }) => !blob);
    await Promise.all(wanted.map(async (file) => { file.blob = (await done(files.get(file.id)))?.blob; }));
    return chat;
  }

  // Saves a chat and returns the chats that were deleted for it.
  async save(chat) {
    if (!this.works) return [];
    const { chats, files, transaction } = this.#stores("readwrite");
    const stored = await done(chats.get(chat.id));
    if (chat.removed || (!stored && this.#index.has(chat.id))) return []; // meanwhile
    const before = stored ? numbered(stored) : { turns: [], files: [] };
    const kept = plain(chat, before);
    const whole = kept.bytes <= MOST_BYTES;
    if (!whole) Object.assign(kept.chat, { files: [], bytes: 0 });
    const others = [...this.#index.values()].filter(({ id }) => id !== chat.id);
    const dropped = excess([...others, kept.chat], chat.id);
    for (const { id } of dropped) chats.delete(id);
    const unused = before.files.filter((id) => !kept.chat.files.includes(id));
    for (const id of [...unused, ...dropped.flatMap((old) => old.files)]) files.delete(id);
    chats.put(kept.chat);
    const fresh = whole ? kept.files.filter(({ id }) => !before.files.includes(id)) : [];
    for (const { id, blob } of fresh) files.put({ id, blob });
    await committed(transaction);
    this.#remember(kept.chat);
    for (const { id } of dropped) this.#index.delete(id);
    for (const { id } of [kept.chat, ...dropped]) this.#tell(id);
    return dropped;
  }

  async remove(chat) {
    if (!this.works) return;
    const { chats, files, transaction } = this.#stores("readwrite");
    const stored = await done(chats.get(chat.id));
    chats.delete(chat.id);
    for (const id of stored?.files || []) files.delete(id);
    await committed(transaction);
    this.#index.delete(chat.id);
    this.#tell(chat.id);
  }

  #remember({ turns, ...chat }) { this.#index.set(chat.id, chat); }

  #tell(id) { this.#others.postMessage(id); }

  #stores(mode) {
    const transaction = this.#database.transaction(["chats", "files"], mode);
    return { chats: transaction.objectStore("chats"), files: transaction.objectStore("files"), transaction };
  }
}
