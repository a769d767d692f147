// What pages do beyond links, forms and htmx. Every page works without it.
"use strict";

const all = (selector, root = document) => [...root.querySelectorAll(selector)];

// --- Theme: a cookie, so that the server draws the next page in it from the start.
document.addEventListener("click", (event) => {
  const chosen = event.target.closest("[data-theme-choice]");
  if (!chosen) return;
  event.preventDefault();
  const theme = chosen.value;
  const name = chosen.closest("[data-theme-cookie]").dataset.themeCookie;
  document.cookie = `${name}=${theme}; path=/; max-age=31536000; samesite=lax${name.startsWith("__Host-") ? "; secure" : ""}`;
  if (theme === "system") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.dataset.theme = theme;
  for (const one of all("[data-theme-choice]")) one.setAttribute("aria-pressed", String(one === chosen));
});

// --- Dialogs: <a href="/a/confirm/page/" data-dialog="id"> opens <dialog id="id">; [data-close] closes it.
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-dialog]");
  const dialog = opener && document.getElementById(opener.dataset.dialog);
  if (dialog) {
    event.preventDefault();
    dialog.showModal();
  }
  if (event.target.closest("[data-close]")) {
    event.preventDefault();
    event.target.closest("dialog, .notice").matches("dialog")
      ? event.target.closest("dialog").close()
      : event.target.closest(".notice").remove();
  }
});

// --- Rows: a button of [data-rows] that belongs to a form elsewhere sends its address by htmx, and the answer takes the
// row's place. Written so, a long table needs one form and one token.
document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-rows] button[formaction]");
  if (!button || !window.htmx) return;
  event.preventDefault();
  htmx.ajax("POST", button.getAttribute("formaction"), { source: button, target: button.closest("tr"), swap: "outerHTML" });
});

// --- Presses: what is drawn anew between press and release swallows the click, so an answer waits for the release. A
// press of more than a second is no click, and is not waited for.
let pressed = null;
let release = () => {};
document.addEventListener("pointerdown", (event) => {
  if (!event.isPrimary || event.button !== 0) return;
  pressed = new Promise((over) => (release = over));
  setTimeout(release, 1000);
}, true);
for (const name of ["click", "pointercancel"]) document.addEventListener(name, () => setTimeout(release), true);
document.addEventListener("pointerup", () => setTimeout(release, 50), true); // a tap's click comes a moment after it
document.addEventListener("htmx:beforeSend", ({ detail: { xhr } }) => {
  const answered = xhr.onload;
  xhr.onload = () => (pressed ? pressed.then(answered) : answered());
});

// --- Searches as one types: <input data-live> asks at `input`; its `change`, on leaving it, would only ask the same again.
document.addEventListener("change", (event) => event.target.matches("[data-live]") && event.stopPropagation(), true);

// --- Copying: <button data-copy="#id"> copies that element's text.
document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  try {
    await navigator.clipboard.writeText(document.querySelector(button.dataset.copy).textContent.trim());
    toast("Copied.", "good");
  } catch {
    toast("The browser does not allow copying here. Select the text and copy it yourself.", "warn");
  }
});

// --- Filter boxes: <input data-filter="#rows"> keeps those children of #rows that hold every word typed. A child's
// data-words, where it has one, is searched instead of its text. #rows' next sibling .filter-none shows when none is left.
const plain = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

function filter(input) {
  const rows = document.querySelector(input.dataset.filter);
  if (!rows) return;
  const words = plain(input.value).split(/\s+/).filter(Boolean);
  let left = 0;
  for (const row of rows.children) {
    row.plain ??= plain(row.dataset.words ?? row.textContent);
    const keep = words.every((word) => row.plain.includes(word));
    row.hidden = !keep;
    left += keep;
  }
  const none = document.querySelector(`${input.dataset.filter}-none`);
  if (none) none.hidden = left > 0;
}

// --- Durations as they are typed: 1:30, 1.5, 90m, 1h 30m. The server reads them by the same rules (timelogs/durations.py).
function seconds(text) {
  text = text.trim().toLowerCase().replace(/\s+/g, " ");
  let match = /^(\d{0,3}):([0-5]?\d)(?::([0-5]\d))?$/.exec(text);
  if (match) return +match[1] * 3600 + +match[2] * 60 + +(match[3] ?? 0);
  match = /^(\d{1,3}(?:[.,]\d{1,4})?|[.,]\d{1,4}) ?(h|hours?|m|min|minutes?)?$/.exec(text);
  if (match) return Math.floor(+match[1].replace(",", ".") * (match[2]?.startsWith("m") ? 60 : 3600) + 0.5);
  match = /^(\d{1,3}) ?h(?:ours?)? ?([0-5]?\d) ?(?:m|min|minutes?)?$/.exec(text);
  return match ? +match[1] * 3600 + +match[2] * 60 : null;
}

function preview(input) {
  const output = document.getElementById(`${input.id}_preview`);
  if (!output) return;
  const value = seconds(input.value);
  if (value === null) {
    output.textContent = input.value.trim() ? "Type 1:30, 1.5 or 90m" : output.dataset.help;
    return;
  }
  const minutes = Math.floor((value + 30) / 60);
  const [hours, rest] = [Math.floor(minutes / 60), minutes % 60];
  output.textContent = hours ? `${hours} h ${String(rest).padStart(2, "0")} m` : `${rest} m`;
}

document.addEventListener("input", (event) => {
  if (event.target.matches("[data-filter]")) filter(event.target);
  if (event.target.matches("[data-duration]")) preview(event.target);
});
document.addEventListener("search", (event) => event.target.matches("[data-filter]") && filter(event.target), true);
document.addEventListener("DOMContentLoaded", () => all("[data-filter]").forEach((one) => one.value && filter(one)));

// --- Toasts: the server sends the event `notice` ({text, tone}) with an htmx answer.
function toast(text, tone = "info") {
  const box = document.createElement("div");
  box.className = `notice ${tone}`;
  const words = document.createElement("div");
  words.textContent = text;
  const close = document.createElement("button");
  close.className = "button quiet small";
  close.type = "button";
  close.dataset.close = "";
  close.textContent = "Dismiss";
  box.append(words, close);
  document.getElementById("toasts")?.append(box);
  if (tone !== "bad") setTimeout(() => box.matches(":hover, :focus-within") || box.remove(), 10000);
}

document.addEventListener("notice", (event) => toast(event.detail.text, event.detail.tone));
document.addEventListener("htmx:responseError", (event) => {
  const { xhr } = event.detail;
  if (xhr.getResponseHeader("HX-Trigger")?.includes('"notice"')) return;
  toast(
    { 403: "You may not do this, or the page was open too long. Reload it and try again.",
      404: "This is not there any more. Reload the page." }[xhr.status]
      ?? "That did not work. Nothing was changed; try again in a moment.",
    "bad",
  );
});
document.addEventListener("htmx:sendError", () =>
  toast("The server cannot be reached. Check your connection and try again.", "bad"));
