// Forms that are sent with what a passkey answers (config/templates/mfa/assets.html says how one is written).
"use strict";

if (window.PublicKeyCredential && window.webauthnJSON) {
  for (const form of document.querySelectorAll("form[data-passkey]")) {
    form.hidden = false;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      answer(form);
    });
  }
}

async function answer(form) {
  try {
    const options = form.dataset.options ? JSON.parse(form.dataset.options) : await asked(form.action);
    const credential = form.dataset.passkey === "create" ? await made(form, options) : await webauthnJSON.get(options);
    form.elements.credential.value = JSON.stringify(credential);
    form.submit();
  } catch (error) {
    toast(
      { InvalidStateError: "This device has a passkey for your account already.",
        SecurityError: "Passkeys work only at the address that they were made for. On this machine: http://localhost.",
      }[error.name] ?? "No passkey was given. Try again, or choose another way.",
      "warn",
    );
  }
}

async function asked(address) {
  const response = await fetch(address, { headers: { Accept: "application/json" } });
  if (!response.ok) throw new Error(`The server answered ${response.status}.`);
  return (await response.json()).request_options;
}

// One that is to sign in by itself is kept on the device, and asks who is there.
function made(form, options) {
  const alone = form.elements.passwordless.checked;
  const wanted = options.publicKey.authenticatorSelection;
  wanted.residentKey = alone ? "required" : "discouraged";
  wanted.requireResidentKey = alone;
  if (alone) wanted.userVerification = "required";
  return webauthnJSON.create(options);
}
