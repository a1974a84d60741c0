// Chats, kept in the browser's database: texts in one store, the contents of files in another.

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

const withoutContent = ({ blob, inline, ...file }) => file;

function plain(chat) {
  const turns = chat.turns.map((turn) => ({ ...turn, files: turn.files.map(withoutContent) }));
  const files = chat.turns.flatMap((turn) => turn.files).filter(({ blob }) => blob);
  const bytes = files.reduce((sum, { size }) => sum + size, 0) + JSON.stringify(turns).length;
  return { chat: { ...chat, turns, bytes, files: files.map(({ id }) => id) }, files, bytes };
}

export class Store {
  #database = null;
  #index = new Map(); // chats without their turns
  #kept = new Set(); // ids of files whose contents are in the database

  // Without a database (in some private windows), chats last as long as the page.
  async open() {
    try { this.#database = await open(); } catch { this.#database = null; }
  }

  get works() { return this.#database !== null; }

  // Returns all chats without the contents of their files, the latest first.
  async list() {
    if (!this.works) return [];
    const chats = await done(this.#stores("readonly").chats.getAll());
    for (const { turns, ...chat } of chats) this.#index.set(chat.id, chat);
    return chats.sort((one, other) => other.updated - one.updated);
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
    const kept = plain(chat);
    const whole = kept.bytes <= MOST_BYTES;
    if (!whole) Object.assign(kept.chat, { files: [], bytes: 0 });
    const before = this.#index.get(chat.id)?.files || [];
    const { turns, ...indexed } = kept.chat;
    this.#index.set(chat.id, indexed);
    const dropped = excess([...this.#index.values()], chat.id);
    for (const old of dropped) await this.remove(old);
    if (chat.removed) return dropped; // meanwhile
    const { chats, files, transaction } = this.#stores("readwrite");
    chats.put(kept.chat);
    for (const id of before) if (!kept.chat.files.includes(id)) { files.delete(id); this.#kept.delete(id); }
    const fresh = whole ? kept.files.filter(({ id }) => !this.#kept.has(id)) : [];
    for (const { id, blob } of fresh) files.put({ id, blob });
    await committed(transaction);
    for (const { id } of fresh) this.#kept.add(id);
    return dropped;
  }

  async remove(chat) {
    if (!this.works) return;
    const kept = this.#index.get(chat.id);
    this.#index.delete(chat.id);
    const { chats, files, transaction } = this.#stores("readwrite");
    chats.delete(chat.id);
    for (const id of kept?.files || []) { files.delete(id); this.#kept.delete(id); }
    await committed(transaction);
  }

  #stores(mode) {
    const transaction = this.#database.transaction(["chats", "files"], mode);
    return { chats: transaction.objectStore("chats"), files: transaction.objectStore("files"), transaction };
  }
}
