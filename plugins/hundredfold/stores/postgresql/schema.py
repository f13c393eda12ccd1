"""The schema `hundredfold`: its tables, and the functions that make a commit one round trip.

A function has a digest of its source in its name, so that coordinators of two versions can share a database while one
takes over from the other.
"""

from hashlib import sha256
from typing import Final

from psycopg.sql import SQL, Identifier

LAYOUT: Final = 1
"""Version of the tables."""

TABLES: Final = """
CREATE SCHEMA IF NOT EXISTS hundredfold;
CREATE TABLE IF NOT EXISTS hundredfold.layout (version integer NOT NULL);
CREATE TABLE IF NOT EXISTS hundredfold.record
    (key bytea PRIMARY KEY, value bytea NOT NULL, version bigint NOT NULL) WITH (fillfactor = 90);
CREATE TABLE IF NOT EXISTS hundredfold.clock (version bigint NOT NULL);
INSERT INTO hundredfold.clock SELECT 0 WHERE NOT EXISTS (SELECT FROM hundredfold.clock);
CREATE TABLE IF NOT EXISTS hundredfold.opener (
    id text PRIMARY KEY, number bigint NOT NULL, versions bigint[] NOT NULL, conflicts bytea[] NOT NULL,
    used timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
"""

# Cosines are dot products of vectors of length 1, and a vector of zeros then is as far from all as the contract says.
# STORAGE MAIN: a search that reads everything finds the vectors in the table itself.
VECTOR_TABLES: Final = """
CREATE TABLE IF NOT EXISTS hundredfold.collection (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name bytea NOT NULL, distance text NOT NULL,
    dimension integer NOT NULL, UNIQUE (name, distance, dimension)
);
CREATE TABLE IF NOT EXISTS hundredfold.embedding (
    key bytea PRIMARY KEY, version bigint NOT NULL, collection bigint NOT NULL, vector vector STORAGE MAIN NOT NULL,
    metadata bigint[] NOT NULL
) WITH (fillfactor = 90);
CREATE INDEX IF NOT EXISTS embedding_collection ON hundredfold.embedding (collection);
CREATE INDEX IF NOT EXISTS embedding_metadata ON hundredfold.embedding USING gin (metadata);
"""

# The clock's row is the lock: everything behind its first statement sees what the commit before has done, as every
# statement of a function has a snapshot of its own (https://www.postgresql.org/docs/current/xfunc-volatility.html).
_COMMIT: Final = """
CREATE FUNCTION hundredfold.{name}(
    opener_id text, commit_number bigint, guard_key bytea, guard_version bigint, batch_count integer,
    last_batches integer[], last_writes integer[],
    batches integer[], keys bytea[], new_values bytea[], expected bigint[], actions integer[],
    OUT fenced boolean, OUT repeated boolean, OUT versions bigint[], OUT conflicts bytea[]
) LANGUAGE plpgsql AS $body$
#variable_conflict use_column
DECLARE
    now_at bigint;
    done hundredfold.opener;
    wrong record;
    low integer := 1;
    high integer;
    batch_number integer := 0;
BEGIN
    fenced := false;
    repeated := false;
    SELECT version INTO now_at FROM hundredfold.clock FOR UPDATE;
    SELECT * INTO done FROM hundredfold.opener WHERE id = opener_id;
    IF done.number >= commit_number THEN
        IF done.number > commit_number THEN
            RAISE EXCEPTION 'commit % came late', commit_number;
        END IF;
        repeated := true;
        versions := done.versions;
        conflicts := done.conflicts;
        RETURN;
    END IF;
    IF guard_key IS NOT NULL AND guard_version <>
            coalesce((SELECT version FROM hundredfold.record WHERE key = guard_key), 0) THEN
        fenced := true;
        RETURN;
    END IF;
    versions := array_fill(NULL::bigint, ARRAY[batch_count]);
    conflicts := array_fill(NULL::bytea, ARRAY[batch_count]);
    FOR round IN 1 .. cardinality(last_batches) LOOP
        high := last_writes[round];
        FOR wrong IN
            SELECT DISTINCT ON (w.batch) w.batch, w.key
            FROM unnest(batches[low:high], keys[low:high], expected[low:high]) WITH ORDINALITY
                AS w (batch, key, expects, place)
            WHERE w.expects <> -1
                AND w.expects <> coalesce((SELECT r.version FROM hundredfold.record r WHERE r.key = w.key), 0)
            ORDER BY w.batch, w.place
        LOOP
            conflicts[wrong.batch] := wrong.key;
        END LOOP;
        WHILE batch_number < last_batches[round] LOOP
            batch_number := batch_number + 1;
            IF conflicts[batch_number] IS NULL THEN
                now_at := now_at + 1;
                versions[batch_number] := now_at;
            END IF;
        END LOOP;
        INSERT INTO hundredfold.record
        SELECT w.key, w.value, versions[w.batch]
        FROM unnest(batches[low:high], keys[low:high], new_values[low:high], actions[low:high])
            AS w (batch, key, value, action)
        WHERE w.action = 1 AND versions[w.batch] IS NOT NULL
        ON CONFLICT (key) DO UPDATE SET value = excluded.value, version = excluded.version;
        IF 2 = ANY (actions[low:high]) THEN
            DELETE FROM hundredfold.record WHERE key = ANY (ARRAY(
                SELECT w.key FROM unnest(batches[low:high], keys[low:high], actions[low:high]) AS w (batch, key, action)
                WHERE w.action = 2 AND versions[w.batch] IS NOT NULL
            ));
        END IF;
        low := high + 1;
    END LOOP;
    UPDATE hundredfold.clock SET version = now_at;
    INSERT INTO hundredfold.opener VALUES (opener_id, commit_number, versions, conflicts, now())
    ON CONFLICT (id) DO UPDATE SET number = excluded.number, versions = excluded.versions,
        conflicts = excluded.conflicts, used = excluded.used;
END
$body$
"""

# What was extracted of a record counts only as long as the record is at that version.
_EMBED: Final = """
CREATE FUNCTION hundredfold.{name}(
    gone bytea[], keys bytea[], at_versions bigint[], names bytea[], distances text[], vectors vector[], metadata text[]
) RETURNS void LANGUAGE plpgsql AS $body$
#variable_conflict use_column
BEGIN
    PERFORM FROM hundredfold.clock FOR UPDATE;
    DELETE FROM hundredfold.embedding e WHERE e.key = ANY (gone)
        AND NOT EXISTS (SELECT FROM hundredfold.record r WHERE r.key = e.key AND r.version = e.version);
    INSERT INTO hundredfold.collection (name, distance, dimension)
    SELECT DISTINCT w.name, w.distance, vector_dims(w.vector)
    FROM unnest(names, distances, vectors) AS w (name, distance, vector)
    WHERE NOT EXISTS (
        SELECT FROM hundredfold.collection c
        WHERE c.name = w.name AND c.distance = w.distance AND c.dimension = vector_dims(w.vector)
    );
    INSERT INTO hundredfold.embedding
    SELECT w.key, w.version, c.id, CASE w.distance WHEN 'cosine' THEN l2_normalize(w.vector) ELSE w.vector END,
        w.metadata::bigint[]
    FROM unnest(keys, at_versions, names, distances, vectors, metadata)
        AS w (key, version, name, distance, vector, metadata)
    JOIN hundredfold.collection c ON c.name = w.name AND c.distance = w.distance AND c.dimension = vector_dims(w.vector)
    JOIN hundredfold.record r ON r.key = w.key AND r.version = w.version
    ON CONFLICT (key) DO UPDATE SET version = excluded.version, collection = excluded.collection,
        vector = excluded.vector, metadata = excluded.metadata;
END
$body$
"""

_COMMIT_AND_EMBED: Final = """
CREATE FUNCTION hundredfold.{name}(
    opener_id text, commit_number bigint, guard_key bytea, guard_version bigint, batch_count integer,
    last_batches integer[], last_writes integer[],
    batches integer[], keys bytea[], new_values bytea[], expected bigint[], actions integer[],
    gone bytea[], found_batches integer[], found_keys bytea[], names bytea[], distances text[], vectors vector[],
    metadata text[],
    OUT fenced boolean, OUT repeated boolean, OUT versions bigint[], OUT conflicts bytea[]
) LANGUAGE plpgsql AS $body$
BEGIN
    SELECT c.fenced, c.repeated, c.versions, c.conflicts INTO fenced, repeated, versions, conflicts
    FROM hundredfold.{commit}(
        opener_id, commit_number, guard_key, guard_version, batch_count,
        last_batches, last_writes, batches, keys, new_values, expected, actions
    ) AS c;
    IF NOT (fenced OR repeated) THEN
        PERFORM hundredfold.{embed}(
            gone, found_keys,
            ARRAY(
                SELECT versions[w.batch] FROM unnest(found_batches) WITH ORDINALITY AS w (batch, place) ORDER BY w.place
            ),
            names, distances, vectors, metadata
        );
    END IF;
END
$body$
"""


def _named(noun: str, source: str) -> str:
    return f"{noun}_{sha256(source.encode()).hexdigest()[:12]}"


COMMIT: Final = _named("commit", _COMMIT)
EMBED: Final = _named("embed", _EMBED)
COMMIT_AND_EMBED: Final = _named("commit_and_embed", _COMMIT_AND_EMBED + COMMIT + EMBED)

EMBEDDING: Final = SQL(
    "SELECT hundredfold.{}(%b::bytea[], %b::bytea[], %s::bigint[], %b::bytea[], %b::text[], %b::vector[], %b::text[])"
).format(Identifier(EMBED))
"""The statement that writes embeddings of records that are at these versions, and removes others."""

FUNCTIONS: Final = {COMMIT: _COMMIT.format(name=COMMIT)}
"""What makes each function, by its name."""

VECTOR_FUNCTIONS: Final = {
    EMBED: _EMBED.format(name=EMBED),
    COMMIT_AND_EMBED: _COMMIT_AND_EMBED.format(name=COMMIT_AND_EMBED, commit=COMMIT, embed=EMBED),
}
"""The same, of those that need pgvector."""
