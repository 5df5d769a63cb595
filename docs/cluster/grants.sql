-- As batchmod_owner, once the tables are there, and again after each upgrade: psql -f grants.sql
-- Nobody but the owner can drop or alter anything; the journal (run, planned, step, mark) is only added to.
SET search_path = batchmod;
BEGIN;

REVOKE ALL ON ALL TABLES IN SCHEMA batchmod FROM batchmod_worker, batchmod_operator, batchmod_reader;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA batchmod FROM batchmod_worker, batchmod_operator, batchmod_reader;
GRANT USAGE ON SCHEMA batchmod TO batchmod_worker, batchmod_operator, batchmod_reader;

-- Whoever looks: journal, campaigns and schedules; no password, not even encrypted.
GRANT SELECT ON version, run, planned, step, mark, last, doubt, changed, campaign, chunk, request, heard, schedule,
  procrastinate_jobs, procrastinate_workers TO batchmod_reader, batchmod_operator, batchmod_worker;

-- Whoever gives runs to the workers, and the workers, which begin those of the clock.
GRANT INSERT ON run, planned, mark, campaign, chunk, request TO batchmod_operator, batchmod_worker;
GRANT UPDATE ON campaign, chunk TO batchmod_operator, batchmod_worker;
GRANT DELETE ON chunk, heard TO batchmod_operator, batchmod_worker;
GRANT SELECT, DELETE ON slot TO batchmod_operator, batchmod_worker;
GRANT INSERT, UPDATE, DELETE ON schedule TO batchmod_operator;
-- Of a password an operator sees its age and its stage, not even the ciphertext; the first to need a store seals it.
GRANT SELECT (account_id, region, instance_id, generation, stage, login, run_id, created_at, updated_at) ON secret
  TO batchmod_operator;
GRANT SELECT, INSERT ON seal TO batchmod_operator, batchmod_worker;
GRANT UPDATE ON seal TO batchmod_worker;                          -- new recipients; whoever writes a password locks it
GRANT INSERT ON procrastinate_jobs, procrastinate_events TO batchmod_operator, batchmod_worker;
GRANT USAGE ON SEQUENCE procrastinate_jobs_id_seq, procrastinate_events_id_seq TO batchmod_operator, batchmod_worker;

-- Workers: what happened, who may write of it, passwords, and their jobs.
GRANT INSERT ON step, changed TO batchmod_worker;
GRANT INSERT, UPDATE, DELETE ON doubt TO batchmod_worker;         -- follows the steps
GRANT SELECT, INSERT, UPDATE, DELETE ON lease TO batchmod_worker;
GRANT INSERT, UPDATE ON slot, heard TO batchmod_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON waiter TO batchmod_worker;
GRANT UPDATE ON request, schedule TO batchmod_worker;             -- noted; what came of it
GRANT SELECT, INSERT, UPDATE, DELETE ON secret TO batchmod_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON procrastinate_jobs, procrastinate_events, procrastinate_workers,
  procrastinate_periodic_defers TO batchmod_worker;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA batchmod TO batchmod_worker;
COMMIT;
