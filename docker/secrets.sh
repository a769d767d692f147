#!/bin/sh
# The secrets of docker compose, each in a file: random ones where there are none yet, and empty ones to be filled in.
#   sh docker/secrets.sh [DIRECTORY]
# The directory is yours alone; the files in it are mounted into the containers that need them, whose account reads them.
set -eu
umask 077
place=${1:-secrets}
mkdir -p "$place"
chmod 0700 "$place"
keep() {
	if [ ! -e "$place/$1" ]; then
		cat >"$place/$1.new"
		chmod 0444 "$place/$1.new"
		mv "$place/$1.new" "$place/$1"
	fi
}
head -c 48 /dev/urandom | od -An -tx1 | tr -d ' \n' | keep secret_key
head -c 32 /dev/urandom | base64 | tr '+/' '-_' | tr -d '\n' | keep field_keys
keep email_url </dev/null             # smtp+tls://USER:PASSWORD@mail.example.com:587
keep harvest_client_secret </dev/null # of an OAuth application of Harvest's
