"""Secrets that come in an address: behind its #, which a browser sends to no server.

    https://time.example.com/shared/#SECRET

No log, no proxy and no Referer has it then. The page at that address knows nothing; its script
(config/static/fragment.js) takes the secret out of the address and sends it in the body of a form. Without a script a
person pastes the link there.
"""

from __future__ import annotations

import re

from django import forms

LONGEST = 300  # characters of a secret; ours have some 90


class PastedLink(forms.Form):
    """What the page of such an address asks for where no script answers."""

    key = forms.CharField(
        label="Link",
        help_text="The whole of it, or only what comes after the #.",
        widget=forms.TextInput(
            # Nothing of it is for a browser to keep, or for a service that looks at how words are spelt.
            attrs={"autocomplete": "off", "autocapitalize": "none", "spellcheck": "false"}
        ),
    )


def key_in(text: str) -> str:
    """The secret of a link, or the secret alone, however it was pasted: broken into lines, in brackets, its # escaped.

    Secrets are of letters, digits, `_`, `-`, `.` and `:`, and end with none of the last two. What cannot be one is "".
    """
    found = re.sub(r"[^A-Za-z0-9_.:-]", "", re.split("#|%23", text)[-1]).rstrip(".:")
    return found if len(found) <= LONGEST else ""
