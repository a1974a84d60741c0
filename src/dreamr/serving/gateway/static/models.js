// The models of the gateway, and the key that it may require.

import { $, meta } from "./dom.js";
import { listModels } from "./gateway.js";

const KEY = "dreamr-key";
let models = [];
let missed = false; // whether the last request for the models failed

// Browsers that block the data of sites refuse the storage: the key then stays in its field only.
function keptKey() {
  try { return sessionStorage.getItem(KEY) || ""; } catch { return ""; }
}

function keepKey(key) {
  try { sessionStorage.setItem(KEY, key); } catch { /* lost when the page is closed */ }
}

export const chosenModel = () => $("model").value || meta("dreamr-model");

function describe() {
  const { dreamr } = models.find(({ id }) => id === chosenModel()) || {};
  $("about").textContent = dreamr ? aboutPair(dreamr) : chosenModel();
}

function aboutPair(dreamr) {
  const named = (role) => {
    const name = dreamr[role]?.split("/").slice(-2).join("/");
    return name && (name === role ? role : `${role} ${name}`);
  };
  const alarm = dreamr.drift && "drift alarm: the target disagrees with too many accepted steps";
  return [named("draft"), named("target"), dreamr.method, dreamr.version, alarm].filter(Boolean).join(" · ");
}

// Asks the gateway which models it serves, and shows them.
export async function greet() {
  try {
    models = await listModels();
    missed = false;
    $("keyed").hidden = !$("key").value;
    const chosen = chosenModel();
    $("model").replaceChildren(...models.map(({ id }) => new Option(id, id, false, id === chosen)));
    $("model-field").hidden = models.length < 2;
    describe();
  } catch (error) {
    missed = true;
    $("keyed").hidden = error.status !== 401 && !$("key").value;
    $("about").textContent = error.status === 401 ? "This gateway requires an API key: enter it below." : error.message;
  }
}

// Asks again if the gateway could not say.
export const greetAgain = () => { if (missed) greet(); };

addEventListener("online", greetAgain);
document.addEventListener("visibilitychange", () => { if (!document.hidden) greetAgain(); });
$("key").value = keptKey();
$("key").onchange = () => { keepKey($("key").value); greet(); };
$("model").onchange = describe;
