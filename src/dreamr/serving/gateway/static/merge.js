// What several tabs know of one chat, joined: a turn is changed by the tab that asked it.

const MOST_GONE = 500;

// Returns a turn as it is kept, without the contents of its files.
export const plainTurn = (turn) => ({ ...turn, files: turn.files.map(({ blob, inline, ...file }) => file) });

// Returns the turns of both, and the ids of those that either removed. Of a turn that both know,
// `mine` counts if this tab is writing it or both are equal: what shows it can then stay.
export function merged(mine, other) {
  const gone = [...new Set([...(mine.gone || []), ...(other.gone || [])])].slice(-MOST_GONE);
  const texts = new Map(other.turns.map((turn) => [turn.id, JSON.stringify(plainTurn(turn))]));
  const staying = mine.turns.filter((turn) => turn.own || JSON.stringify(plainTurn(turn)) === texts.get(turn.id));
  const known = [...mine.turns, ...other.turns, ...staying];
  const turns = [...new Map(known.map((turn) => [turn.id, turn])).values()]
    .filter(({ id }) => !gone.includes(id))
    .sort((one, another) => one.asked - another.asked);
  return { turns, gone };
}

// Marks a turn as written by this tab, or not; the mark is not kept.
export function claim(turn, own) {
  Object.defineProperty(turn, "own", { value: own, writable: true, configurable: true });
}

// Gives turns of earlier versions of the page an id and a place.
export function numbered(chat) {
  chat.turns.forEach((turn, place) => { turn.id ??= `${chat.id}-${place}`; turn.asked ??= place; });
  return chat;
}

// Says of an answer that another tab writes, or wrote, that it is not complete here.
export function interrupted(chat) {
  for (const turn of chat.turns) {
    if (turn.run.state !== "running" || turn.own) continue;
    Object.assign(turn.run, { state: "stopped", problem: "Not complete: another tab writes it, or its page was closed." });
  }
  return chat;
}
