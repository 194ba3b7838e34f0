#!/usr/bin/env bash
# Creates mailmart's login and its database, as a managed PostgreSQL would: no superuser, but it may create roles.
# The official image runs this once, on an empty data folder.
set -euo pipefail

psql --no-psqlrc --set ON_ERROR_STOP=1 --set "password=$DATABASE_PASSWORD" --username "${POSTGRES_USER:-postgres}" --dbname postgres <<'SQL'
create role mailmart login createrole password :'password';
create database mailmart owner mailmart;
SQL
