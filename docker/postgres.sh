#!/bin/sh
# PostgreSQL as its image starts it, by TLS alone and by certificates (pg_hba.conf). It wants its key to be its own.
set -eu
install -m 0600 /tls/key.pem /tmp/key.pem
# The superuser comes by the socket of this container alone; the image insists on a password, which nobody keeps.
POSTGRES_PASSWORD=$(head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n')
export POSTGRES_PASSWORD
exec docker-entrypoint.sh postgres \
	-c ssl=on -c ssl_min_protocol_version=TLSv1.2 \
	-c ssl_cert_file=/tls/certificate.pem -c ssl_key_file=/tmp/key.pem -c ssl_ca_file=/tls/authority.pem \
	-c hba_file=/docker/pg_hba.conf -c ident_file=/docker/pg_ident.conf
