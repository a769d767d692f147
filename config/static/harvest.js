// The mapping tables: tabs that keep what is typed, a count of what is changed, and only that is sent.
"use strict";

const mappings = () => document.getElementById("mappings");
const boxes = () => all("#mapping-form [list]");
// What is saved: the box's first value, unless the server drew it with something typed or suggested.
const saved = (box) => box.dataset.was ?? box.defaultValue;
const tidy = (text) => text.trim().replace(/\s+/g, " ");
const changed = (box) => tidy(box.value) !== saved(box);

function count() {
  const bar = mappings()?.querySelector("[data-bar]");
  if (!bar) return;
  const rows = new Set(boxes().filter(changed).map((box) => box.closest("li")));
  const words = bar.querySelector("[data-count]");
  bar.toggleAttribute("data-idle", !rows.size);
  words.textContent = `${rows.size} change${rows.size === 1 ? "" : "s"}`;
}

function show(tab) {
  for (const one of all("#mappings [data-tab]")) {
    if (one.dataset.tab === tab) one.setAttribute("aria-current", "true");
    else one.removeAttribute("aria-current");
  }
  for (const one of all("#mappings [data-sheet]")) one.hidden = one.dataset.sheet !== tab;
  const input = document.querySelector('#mapping-form [name="tab"]');
  if (input) input.value = tab;
  history.replaceState(history.state, "", `?tab=${tab}#mappings`);
}

document.addEventListener("click", (event) => {
  const tab = event.target.closest("#mappings [data-tab]");
  if (tab && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    show(tab.dataset.tab);
  }
  const order = event.target.closest("[data-unmapped]");
  if (order) {
    event.preventDefault();
    const list = document.querySelector(order.dataset.unmapped);
    const first = order.getAttribute("aria-current") !== "true";
    if (first) order.setAttribute("aria-current", "true");
    else order.removeAttribute("aria-current");
    const rows = [...list.children];
    rows.forEach((row, place) => (row.place ??= place));
    const mapped = (row) => (first ? Number(saved(row.querySelector("[list]") ?? row.querySelector("b")) !== "") : 0);
    list.append(...rows.sort((a, b) => mapped(a) - mapped(b) || a.place - b.place));
  }
});

document.addEventListener("input", (event) => {
  const box = event.target.closest?.("#mapping-form [list]");
  if (!box) return;
  box.classList.remove("suggested");
  const row = box.closest("li");
  row.classList.toggle("changed", all("[list]", row).some(changed));
  count();
});

// A list of options shows those that match what is in the box: selected, the first key replaces it.
document.addEventListener("focusin", (event) => event.target.matches?.("#mapping-form [list]") && event.target.select());

document.addEventListener("formdata", (event) => {
  if (event.target.id !== "mapping-form") return;
  for (const box of boxes()) if (!changed(box)) event.formData.delete(box.name);
  const marked = boxes().filter((box) => box.classList.contains("suggested"));
  event.formData.set("suggested", marked.map((box) => box.name).join(" "));
});

// What is drawn anew keeps its filters and where it was scrolled to.
let kept = [];
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.target.id !== "mappings") return;
  // Lists that the page read again by itself do not come between somebody and the row they are in.
  const quiet = event.detail.requestConfig.elt.querySelector?.('[name="quietly"]');
  if (quiet && document.activeElement?.closest("#mapping-form")) {
    event.detail.shouldSwap = false;
    return;
  }
  kept = all("#mappings [data-sheet]").map((sheet) => ({
    sheet: sheet.dataset.sheet,
    words: sheet.querySelector("[data-filter]").value,
    top: sheet.querySelector("ul")?.scrollTop ?? 0,
  }));
});
document.addEventListener("htmx:afterSettle", () => {
  for (const one of kept) {
    const sheet = document.querySelector(`[data-sheet="${one.sheet}"]`);
    if (!sheet) continue;
    const box = sheet.querySelector("[data-filter]");
    if (box.value !== one.words) box.value = one.words;
    if (box.value) filter(box);
    if (sheet.querySelector("ul")) sheet.querySelector("ul").scrollTop = one.top;
  }
  kept = [];
  count();
});
document.addEventListener("DOMContentLoaded", count);
