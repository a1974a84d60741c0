// What several tabs know of one chat, joined: a turn is changed by the tab that asked it.

const MOST_GONE = 500;

// Returns the turns of both, and the ids of those that either removed. Of a turn that both know,
// `mine` counts if this tab is writing it.
export function merged(mine, other) {
  const gone = [...new Set([...(mine.gone || []), ...(other.gone || [])])].slice(-MOST_GONE);
  const known = [...mine.turns, ...other.turns, ...mine.turns.filter(({ own }) => own)];
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
