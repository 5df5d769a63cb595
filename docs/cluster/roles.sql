-- Once, as a superuser: psql -d postgres -f roles.sql
-- Give each of them a password with psql's \password, which sends no password, and so leaves none in a log.
CREATE ROLE batchmod_owner LOGIN;     -- has the tables; only used to make them, and after an upgrade
CREATE ROLE batchmod_worker LOGIN;    -- of `batchmod worker`
CREATE ROLE batchmod_operator LOGIN;  -- of who submits, controls, resumes and abandons runs
CREATE ROLE batchmod_reader LOGIN;    -- of who only looks
CREATE DATABASE batchmod OWNER batchmod_owner;
REVOKE ALL ON DATABASE batchmod FROM PUBLIC;
GRANT CONNECT ON DATABASE batchmod TO batchmod_worker, batchmod_operator, batchmod_reader;
