#!/bin/sh
# The vault of docker compose's secrets (config/vault.py), in the application's own image and without a network.
#   sh docker/vault.sh init | open | close | list | record | put NAME | rotate NAME | retire NAME | destroy NAME | rekey
# Sealed it is in vault/; `open` writes what the containers mount into SECRETS_DIR, a directory in memory (/run/timebridge
# unless .env names another). The unseal key is asked for, or read from the file that VAULT_KEY_FILE names.
set -eu
umask 077
here=$(cd "$(dirname "$0")/.." && pwd)
if [ -z "${SECRETS_DIR:-}" ] && [ -f "$here/.env" ]; then
	SECRETS_DIR=$(sed -n 's/^SECRETS_DIR=//p' "$here/.env")
fi
opened=${SECRETS_DIR:-/run/timebridge}
mkdir -p "$here/vault" "$opened"
chmod 0700 "$here/vault" "$opened"
[ -z "${VAULT_KEY_FILE:-}" ] || VAULT_KEY_FILE=$(realpath "$VAULT_KEY_FILE")
given= # what there was before there was a vault
if [ "${1:-}" = init ] && [ -d "$here/secrets" ]; then
	given=$here/secrets
	set -- "$@" --given /given
fi
set -- python -m config.vault --by "$(id -un)@$(uname -n)" ${VAULT_KEY_FILE:+--key /key} "$@"
tty=
if [ -t 0 ] && [ -t 1 ]; then tty=--tty; fi
exec docker run --rm --interactive $tty --network none --read-only --cap-drop ALL --security-opt no-new-privileges \
	--user "$(id -u):$(id -g)" --volume "$here/vault:/vault" --volume "$opened:/opened" \
	${VAULT_KEY_FILE:+--volume "$VAULT_KEY_FILE:/key:ro"} ${given:+--volume "$given:/given:ro"} timebridge "$@"
