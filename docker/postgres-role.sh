#!/bin/sh
# Runs once, when PostgreSQL's volume is new: the application's role, which is neither superuser nor exempt from
# row-level security, and its database.
set -eu
psql --set ON_ERROR_STOP=1 --set password="$DATABASE_PASSWORD" --username "$POSTGRES_USER" --dbname postgres <<'SQL'
CREATE ROLE timebridge LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE PASSWORD :'password';
CREATE DATABASE timebridge OWNER timebridge;
SQL
