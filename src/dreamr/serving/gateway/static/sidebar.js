// The list of earlier chats: beside the chat on wide screens, over it on narrow ones.

import { $, make, makeButton } from "./dom.js";

const when = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

export class Sidebar {
  // `actions` has `open`, `remove` and `removeAll`.
  constructor(actions) {
    this.actions = actions;
    $("chats").onclick = () => this.toggle(!this.opened);
    $("shade").onclick = () => this.toggle(false);
    $("forget").onclick = () => this.#confirm($("forget"), "Delete all chats?", () => this.actions.removeAll());
  }

  get opened() { return document.body.classList.contains("listing"); }

  toggle(opened) {
    document.body.classList.toggle("listing", opened);
    $("chats").setAttribute("aria-expanded", opened ? "true" : "false");
    if (opened) $("history").querySelector("button")?.focus();
    else if ($("history").contains(document.activeElement)) $("chats").focus();
  }

  draw(chats, current, running) {
    const focused = document.activeElement?.dataset.key;
    const asked = [...$("list").querySelectorAll("[data-asked]")].map(({ dataset }) => dataset.key);
    $("list").replaceChildren(...chats.map((chat) => this.#item(chat, chat.id === current, running.has(chat.id))));
    $("nothing").hidden = chats.length > 0;
    $("forget").hidden = chats.length === 0;
    for (const button of $("list").querySelectorAll("button")) {
      if (asked.includes(button.dataset.key)) this.#ask(button, "Delete?");
      if (button.dataset.key === focused) button.focus();
    }
  }

  #item(chat, current, running) {
    const it = make("li");
    const open = makeButton("", () => this.actions.open(chat.id), { kind: "title" });
    open.append(make("span", "", chat.title), make("small", "", running ? "running …" : when.format(chat.updated)));
    open.dataset.key = `open-${chat.id}`;
    if (current) open.setAttribute("aria-current", "true");
    const remove = makeButton("×", () => this.#confirm(remove, "Delete?", () => this.actions.remove(chat.id)), { label: `Delete chat ${chat.title}`, kind: "remove" });
    remove.dataset.key = `remove-${chat.id}`;
    it.append(open, remove);
    return it;
  }

  // A second press confirms; leaving the button does not.
  #confirm(button, question, act) {
    if (button.dataset.asked) act();
    else this.#ask(button, question);
  }

  #ask(button, question) {
    const text = button.textContent;
    button.dataset.asked = "yes";
    button.textContent = question;
    const forget = () => { delete button.dataset.asked; button.textContent = text; };
    button.onblur = forget;
  }
}
