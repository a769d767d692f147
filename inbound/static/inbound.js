// Deciding in Inbound without a reload, by click and by key. Every decision is a plain form that works without this.
"use strict";

const SWITCH = "inbound-keys"; // in the browser's storage: "off" where somebody turned the keys off
const decided = []; // ids of rows, the last decision last
let current = null; // the row that keys mean, once one was there
let queue = Promise.resolve(); // keys typed ahead wait for the decisions before them
const soon = (deed) => (queue = queue.then(deed).catch((error) => say(`That did not work: ${error}`)));

const pipeline = () => document.getElementById("pipeline");
const rows = () => all("#pipeline > li");
const row = (id) => document.querySelector(`#pipeline > li[data-row="${id}"]`);
const waits = (li) => li.dataset.state === "pending";
const keysOn = () => localStorage.getItem(SWITCH) !== "off";

function say(text) {
  const said = document.getElementById("said");
  if (said) said.textContent = text;
}

function dress() {
  for (const one of all("[data-scripted]")) one.hidden = one.id === "pipeline-end" || (one.matches("kbd") && !keysOn());
  const end = document.getElementById("pipeline-end");
  if (end && decided.length) end.hidden = rows().some(waits);
  const button = document.querySelector("[data-keys-switch]");
  if (button) {
    button.textContent = keysOn() ? "Turn keys off" : "Turn keys on";
    button.setAttribute("aria-pressed", String(keysOn()));
  }
}

function go(li) {
  if (!li) return;
  current = li.dataset.row;
  li.tabIndex = -1;
  li.focus({ preventScroll: true });
  li.scrollIntoView({ block: "nearest" });
}

function here() {
  const focused = document.activeElement?.closest?.("#pipeline > li");
  return focused ?? (current && row(current)) ?? null;
}

function step(by) {
  const found = rows();
  const at = found.indexOf(here());
  go(at < 0 ? found[by > 0 ? 0 : found.length - 1] : found[at + by]);
}

// The next one that waits: after a row, else before it, else the row itself.
function onward(li) {
  const found = rows();
  const at = found.indexOf(li);
  go(found.slice(at + 1).find(waits) ?? found.slice(0, at).reverse().find(waits) ?? li);
}

async function decide(button) {
  const li = button.closest("li");
  if (!li?.isConnected) return;
  const { row: id } = li.dataset;
  const undoing = button.dataset.decide === "undo";
  const was = li.dataset.state;
  await htmx.ajax("POST", button.getAttribute("formaction"), {
    source: button, target: li, swap: "outerHTML", values: button.name ? { [button.name]: button.value } : {},
  });
  const now = row(id);
  if (!now || now.dataset.state === was) return; // refused: a toast says why
  if (undoing) {
    decided.splice(0, decided.length, ...decided.filter((one) => one !== id));
    go(now);
  } else {
    decided.push(id);
    onward(now);
  }
  dress();
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("#pipeline [data-decide]");
  if (button && window.htmx) {
    event.preventDefault();
    soon(() => decide(button));
  }
  if (event.target.closest("[data-keys-switch]")) {
    localStorage.setItem(SWITCH, keysOn() ? "off" : "on");
    dress();
  }
});

document.addEventListener("inbound-decided", (event) => say(event.detail.text));
document.addEventListener("focusin", (event) => {
  const li = event.target.closest?.("#pipeline > li");
  if (li) current = li.dataset.row;
});
document.addEventListener("DOMContentLoaded", dress);
document.addEventListener("htmx:afterSettle", (event) => {
  if (event.target.id === "inbound") {
    decided.length = 0;
    current = null;
  }
  dress();
});

// --- Keys. They can be turned off (WCAG 2.1.4), and are never taken from a field, a dialog or the browser.
const deeds = {
  j: () => step(1),
  k: () => step(-1),
  ArrowDown: () => step(1),
  ArrowUp: () => step(-1),
  a: () => press("accept"),
  Enter: () => press("accept"),
  1: () => press("accept", 0),
  2: () => press("accept", 1),
  3: () => press("accept", 2),
  d: () => press("dismiss"),
  u: undo,
  x: choose,
  o: () => {
    choose(true);
    document.getElementById("place")?.focus();
  },
  "?": () => document.getElementById("keys")?.showModal(),
};

function press(deed, which = 0) {
  const li = here();
  if (!li) return step(1);
  const button = all(`[data-decide="${deed}"]`, li)[which];
  if (button) return decide(button);
  if (!waits(li)) say("This one is decided already.");
  else say(which ? `There is no suggestion ${which + 1}.` : "No work item is suggested. Press o to say where it goes.");
}

function undo() {
  const id = decided.at(-1);
  const button = id && row(id)?.querySelector('[data-decide="undo"]');
  if (button) return decide(button);
  say("There is nothing to undo on this page.");
}

function choose(on) {
  const box = here()?.querySelector('input[type="checkbox"]');
  if (!box) return;
  box.checked = on === true || !box.checked;
  const count = all("#pipeline input:checked").length;
  say(`${box.checked ? "Chosen" : "Not chosen"}: ${count} in all.`);
}

document.addEventListener("keydown", (event) => {
  const { key, target } = event;
  const deed = deeds[key];
  if (!deed || !pipeline() || !window.htmx || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (key !== "?" && !keysOn()) return;
  if (target.closest("input:not([type=checkbox]), select, textarea, dialog, [contenteditable]")) return;
  // Keys that scroll or press are the row's own only where the row itself has the focus.
  if (key === "Enter" && !target.matches("#pipeline > li")) return;
  if (key.startsWith("Arrow") && !target.matches("body, #main, #pipeline *")) return;
  event.preventDefault();
  soon(deed);
});
