"""Every table that is ours, version by version. A version that was released is never edited: a new one comes after it."""

from typing import Final

JOURNAL: Final = """
CREATE TABLE run (
  n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  id text NOT NULL UNIQUE, name text NOT NULL, rows integer NOT NULL, body text NOT NULL
);
CREATE TABLE planned (
  run text NOT NULL REFERENCES run (id), seq integer NOT NULL, verdict text NOT NULL,
  account_id text NOT NULL, region text NOT NULL, instance_id text NOT NULL, kind text NOT NULL,
  body text NOT NULL, PRIMARY KEY (run, seq)
);
CREATE TABLE step (
  n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  run text NOT NULL, seq integer NOT NULL, phase text NOT NULL, epoch bigint, body text NOT NULL,
  FOREIGN KEY (run, seq) REFERENCES planned (run, seq)
);
CREATE TABLE mark (
  n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  run text NOT NULL REFERENCES run (id), epoch bigint, body text NOT NULL
);
CREATE INDEX run_of_name ON run (name, n);
CREATE INDEX planned_of_instance ON planned (account_id, region, instance_id);
CREATE INDEX step_of_row ON step (run, seq, n) INCLUDE (phase);
CREATE INDEX step_of_run ON step (run, n);
CREATE INDEX mark_of_run ON mark (run, n);
CREATE INDEX mark_of_pace ON mark (n) WHERE strpos(body, '"type":"paced"') > 0;
CREATE VIEW last AS SELECT run, seq, account_id, region, instance_id, kind, body, coalesce(
  (SELECT phase FROM step WHERE step.run = planned.run AND step.seq = planned.seq ORDER BY n DESC LIMIT 1), verdict
) AS phase FROM planned;
CREATE TABLE doubt (  -- an index, not a record: the rows of which something may land
  run text NOT NULL, seq integer NOT NULL, changed boolean NOT NULL, PRIMARY KEY (run, seq)
);
CREATE TABLE changed (  -- another one: the steps that ended a change of each kind
  kind text NOT NULL, n bigint NOT NULL, run text NOT NULL, seq integer NOT NULL, PRIMARY KEY (kind, n)
);
CREATE INDEX planned_in_doubt ON planned (run, seq)
  WHERE verdict IN ('unresolved', 'armed', 'rearmed', 'in doubt', 'watching', 'settling', 'proving', 'proved');
CREATE FUNCTION was_doubted(of text, place integer) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT EXISTS (
    SELECT FROM (SELECT phase, lag(phase) OVER (ORDER BY n) AS before FROM step WHERE run = of AND seq = place) AS walk
    WHERE before IN ('armed', 'rearmed') AND phase NOT IN ('armed', 'waiting', 'settling', 'failed', 'not_started')
  )
$$;
CREATE FUNCTION follow_steps() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  WITH final AS (
    SELECT DISTINCT ON (run, seq) run, seq, phase FROM added ORDER BY run, seq, n DESC
  ), judged AS (
    SELECT run, seq, phase = 'changed' AS changed, CASE WHEN phase = 'changed' THEN was_doubted(run, seq) ELSE phase IN
      ('unresolved', 'armed', 'rearmed', 'in doubt', 'watching', 'settling', 'proving', 'proved') END AS kept
    FROM final
  ), gone AS (
    DELETE FROM doubt USING judged WHERE NOT judged.kept AND doubt.run = judged.run AND doubt.seq = judged.seq
  )
  INSERT INTO doubt SELECT run, seq, changed FROM judged WHERE judged.kept
    ON CONFLICT (run, seq) DO UPDATE SET changed = excluded.changed WHERE doubt.changed <> excluded.changed;
  INSERT INTO changed SELECT kind, n, run, seq FROM added JOIN planned USING (run, seq) WHERE phase = 'changed';
  RETURN NULL;
END $$;
CREATE TRIGGER step_followed AFTER INSERT ON step REFERENCING NEW TABLE AS added
  FOR EACH STATEMENT EXECUTE FUNCTION follow_steps();
CREATE FUNCTION only_added_to() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN RAISE EXCEPTION 'the journal is only added to'; END $$;
"""
ONLY_ADDED_TO: Final = "".join(
    f"CREATE TRIGGER {table}_only_added_to BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
    "FOR EACH STATEMENT EXECUTE FUNCTION only_added_to();\n"
    for table in ("run", "planned", "step", "mark")
)

SECRETS: Final = """
CREATE TABLE seal (
  id integer PRIMARY KEY CHECK (id = 1), canary bytea NOT NULL, recipients text NOT NULL,
  mac bytea NOT NULL  -- under the age key that sealed it
);
CREATE TABLE secret (
  account_id text NOT NULL, region text NOT NULL, instance_id text NOT NULL,
  generation integer NOT NULL CHECK (generation > 0),
  stage text NOT NULL CHECK (stage IN ('pending', 'current', 'previous', 'candidate')),
  login text NOT NULL, run_id text NOT NULL,
  created_at double precision NOT NULL, updated_at double precision NOT NULL, value bytea NOT NULL,
  PRIMARY KEY (account_id, region, instance_id, generation)
);
CREATE UNIQUE INDEX one_a_stage ON secret (account_id, region, instance_id, stage) WHERE stage <> 'candidate';
"""

CLUSTER: Final = """
CREATE TABLE lease (  -- who may write for a lane ("lane:<account id>/<region>") or a run ("run:<id>"): who took it last;
  -- and who takes up work, for which endpoint ("worker:<endpoint> <holder>")
  key text PRIMARY KEY, epoch bigint NOT NULL DEFAULT 0, holder text, renewed_at timestamptz
);
CREATE TABLE campaign (  -- a run that workers are to bring to its end, and what was said to it
  run text PRIMARY KEY REFERENCES run (id),
  state text NOT NULL CHECK (state IN ('open', 'ended')), attempts integer NOT NULL DEFAULT 0,
  ends integer NOT NULL DEFAULT 0,  -- how often the run had ended when it was given to workers
  closing boolean NOT NULL DEFAULT false,
  endpoint text, submitted text NOT NULL,
  max_failures integer, wave_failures integer,  -- of the run, and of the wave that is worked on
  stopping text, paused boolean NOT NULL DEFAULT false, rate text, changing text, said bigint NOT NULL DEFAULT 0,
  job bigint, not_before timestamptz NOT NULL DEFAULT now(), troubles integer NOT NULL DEFAULT 0, trouble text,
  refused text[] NOT NULL DEFAULT '{}'  -- the workers that could not conduct it
);
CREATE TABLE chunk (  -- some rows of one lane in one wave
  run text NOT NULL REFERENCES campaign (run), n integer NOT NULL,
  account text NOT NULL, account_id text NOT NULL, region text NOT NULL, wave integer NOT NULL, rows integer[] NOT NULL,
  state text NOT NULL CHECK (state IN ('waiting', 'ready', 'done', 'left')), attempts integer NOT NULL DEFAULT 0,
  job bigint, not_before timestamptz NOT NULL DEFAULT now(), troubles integer NOT NULL DEFAULT 0, trouble text,
  troubled_at timestamptz, refused text[] NOT NULL DEFAULT '{}',  -- since when, and by whom, it was tried in vain
  PRIMARY KEY (run, n)
);
CREATE INDEX chunk_ready ON chunk (not_before) WHERE state = 'ready';
CREATE TABLE slot (  -- a reservation: of the failure budget, of the instances in change, or a group's turn
  run text NOT NULL REFERENCES run (id), pool text NOT NULL, seq integer NOT NULL,
  wave integer NOT NULL, spent boolean NOT NULL DEFAULT false, PRIMARY KEY (run, pool, seq)
);
CREATE TABLE request (  -- what `control` said
  n bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  run text NOT NULL REFERENCES campaign (run), action text NOT NULL, at timestamptz NOT NULL DEFAULT now(),
  noted boolean NOT NULL DEFAULT false  -- in the journal
);
CREATE TABLE heard (  -- how much of it each of those who work on the run goes by
  run text NOT NULL REFERENCES campaign (run), key text NOT NULL, epoch bigint NOT NULL, said bigint NOT NULL,
  PRIMARY KEY (run, key)
);
CREATE TABLE schedule (  -- campaigns that begin by the clock
  name text PRIMARY KEY, cron text NOT NULL, directory text NOT NULL, files jsonb NOT NULL, options jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(), last_run text, last_at timestamptz, last_error text,
  state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'due')),
  due_at timestamptz, due_run text,  -- the time that came last, and the id of the run that is to begin then
  job bigint, not_before timestamptz NOT NULL DEFAULT now(), troubles integer NOT NULL DEFAULT 0
);
"""

FAIR: Final = """
CREATE TABLE waiter (  -- who asked for more places than there were: how many more, since when, and when last
  run text NOT NULL REFERENCES run (id), pool text NOT NULL, wave integer NOT NULL, who text NOT NULL,
  wants integer NOT NULL, since timestamptz NOT NULL, asked_at timestamptz NOT NULL,
  PRIMARY KEY (run, pool, wave, who)
);
ALTER TABLE lease ADD COLUMN written_at timestamptz;  -- when who released it had last written to the cloud, at the latest
"""

VERSIONS: Final = (JOURNAL + ONLY_ADDED_TO + SECRETS + CLUSTER, FAIR)
"""The first statement list makes version 1 of an empty schema, each of the others the next version of the one before."""
