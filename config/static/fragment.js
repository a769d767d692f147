// A secret that came behind the # of the address, where browsers keep it to themselves: it is taken out of the address bar and
// sent in the body of <form method="post" data-fragment>, as its field `key`. Without this a person pastes it there.
"use strict";

function handOver() {
  const key = location.hash.slice(1);
  const form = document.querySelector("form[data-fragment]");
  if (!key || !form) return;
  history.replaceState(null, "", location.pathname);
  form.elements.key.value = key;
  form.submit();
}

// Another link, put into the address bar of this very page, loads nothing.
window.addEventListener("hashchange", handOver);
handOver();
