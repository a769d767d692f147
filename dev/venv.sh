#!/bin/sh
# Make .venv hold exactly the packages of requirements/dev.txt. Quick when it does already.
set -eu
cd "$(dirname "$0")/.."

lock=requirements/dev.txt
stamp=.venv/installed.txt # a copy of the lock that was installed
supported='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))'

if [ -x .venv/bin/python ] && .venv/bin/python -c "$supported" && cmp -s "$lock" "$stamp"; then
    exit 0
fi

if ! { [ -x .venv/bin/python ] && .venv/bin/python -c "$supported" && .venv/bin/python -m pip --version; } >/dev/null 2>&1; then
    found=
    for python in ${PYTHON:-} python3.12 python3.11 python3 python; do
        if "$python" -c "$supported" 2>/dev/null; then
            found=$python
            break
        fi
    done
    if [ -z "$found" ]; then
        echo "Timebridge needs Python 3.11 or 3.12, and neither was found on the path." >&2
        echo "Install one of them, or name it: make PYTHON=/path/to/python3.12" >&2
        exit 1
    fi
    if ! "$found" -c 'import ensurepip, venv' 2>/dev/null; then
        echo "$found cannot make virtual environments; on Debian and Ubuntu: apt install python3-venv" >&2
        exit 1
    fi
    echo "Making .venv with $("$found" --version)."
    "$found" -m venv --clear .venv
fi

echo "Installing the packages of $lock."
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-input \
    --require-hashes --only-binary :all: -r "$lock"
cp "$lock" "$stamp"
