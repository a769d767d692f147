#!/bin/sh
# Runs once, when PostgreSQL's volume is new: the application's role, which is neither superuser nor exempt from
# row-level security, has no password, and comes by certificate (pg_hba.conf); and its database.
set -eu
psql --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" --dbname postgres <<'SQL'
CREATE ROLE timebridge LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE;
CREATE DATABASE timebridge OWNER timebridge;
SQL
