"""The tables of the journal and of what processes share, version by version.

A migration is never changed once it was released; add another. The types are SQLite's; the driver for PostgreSQL translates
them.
"""

from __future__ import annotations

from typing import Final

from orchestrator.journal.database import Layout, Transaction
from orchestrator.journal.moments import Moment

# the weight of a slot that stands for more calls than any limit
_CLOSING_WEIGHT: Final = 1_000_000_000

_FIRST: Final = """
-- one row for each start of the program; runs that continue another share its root, which has the plan and the steps
CREATE TABLE runs (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    root TEXT NOT NULL,
    origin TEXT,
    trigger TEXT NOT NULL,
    manifest_path TEXT NOT NULL,
    manifest_file TEXT NOT NULL,
    manifest_sha256 TEXT NOT NULL,
    lock TEXT NOT NULL,
    began_at TEXT NOT NULL,
    orders BLOB,
    ended_at TEXT,
    unfinished INTEGER NOT NULL DEFAULT 1,
    exit_code INTEGER,
    counts TEXT,
    document BLOB
);
CREATE INDEX runs_by_root ON runs (root);
CREATE INDEX runs_by_manifest ON runs (manifest_file, number);
-- targets have their place in a run's selection; `outcome` is the report's row, null until the target is settled; `narrowed` is
-- what a change left of the entry, null where it stands as it is
CREATE TABLE targets (
    root TEXT NOT NULL,
    place INTEGER NOT NULL,
    name TEXT NOT NULL,
    model_id TEXT,
    branch_id TEXT,
    connection TEXT,
    lane TEXT,
    warnings TEXT NOT NULL DEFAULT '[]',
    narrowed TEXT,
    status TEXT,
    settled_by TEXT,
    outcome TEXT,
    PRIMARY KEY (root, place)
) WITHOUT ROWID;
-- one row for each refresh call, made before it leaves
CREATE TABLE calls (
    id INTEGER PRIMARY KEY,
    root TEXT NOT NULL,
    run TEXT NOT NULL,
    sender INTEGER NOT NULL,
    part INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    base_url TEXT NOT NULL,
    lane TEXT NOT NULL,
    refresh TEXT NOT NULL,
    timeout_s REAL NOT NULL,
    fate TEXT NOT NULL,
    left_at TEXT NOT NULL,
    boot TEXT NOT NULL,
    left_s REAL NOT NULL,
    queued_s REAL NOT NULL,
    accepted_at TEXT,
    accepted_s REAL,
    job_id TEXT,
    word TEXT,
    polled_at TEXT,
    failure TEXT
);
CREATE INDEX calls_of_run ON calls (root, id);
CREATE INDEX open_calls ON calls (base_url, lane, accepted_at) WHERE fate = 'accepted';
-- how long jobs took, the last few of each kind of refresh of each model
CREATE TABLE durations (
    id INTEGER PRIMARY KEY,
    base_url TEXT NOT NULL,
    model_id TEXT NOT NULL,
    branch_id TEXT NOT NULL,
    kind TEXT NOT NULL,
    seconds REAL NOT NULL,
    at TEXT NOT NULL
);
CREATE INDEX durations_of_model ON durations (base_url, model_id, branch_id, kind, id);
CREATE VIEW run_records AS
    SELECT id, root, origin, trigger, manifest_path, manifest_file, manifest_sha256, lock, began_at, ended_at, unfinished,
        exit_code, counts, (SELECT count(*) FROM targets WHERE targets.root = runs.root) AS target_count, number
    FROM runs
"""

_WHOSE: Final = """
-- which manifest a run belongs to, and the working directory it was started from; runs of the first version were known by
-- their manifest's real path, and their directory is unknown
ALTER TABLE runs ADD COLUMN manifest_identity TEXT NOT NULL DEFAULT '';
ALTER TABLE runs ADD COLUMN directory TEXT;
UPDATE runs SET manifest_identity = manifest_file;
DROP INDEX runs_by_manifest;
CREATE INDEX runs_by_manifest ON runs (manifest_identity, number);
DROP VIEW run_records;
CREATE VIEW run_records AS
    SELECT id, root, origin, trigger, manifest_path, manifest_file, manifest_identity, manifest_sha256, directory, lock,
        began_at, ended_at, unfinished, exit_code, counts,
        (SELECT count(*) FROM targets WHERE targets.root = runs.root) AS target_count, number
    FROM runs
"""

_LEFT: Final = """
-- the names of the connection that a call's refresh works on (a JSON list; null in calls of the first format), and whether
-- that refresh may still run as far as is known
ALTER TABLE calls ADD COLUMN names TEXT;
ALTER TABLE calls ADD COLUMN may_run INTEGER NOT NULL DEFAULT 1;
UPDATE calls SET may_run = 0 WHERE fate NOT IN ('intended', 'accepted');
DROP INDEX open_calls;
CREATE INDEX calls_that_may_run ON calls (id) WHERE may_run = 1;
-- which names mean the same connection: a model or a label, and the connection's id or a label
CREATE TABLE connection_names (
    address TEXT NOT NULL,
    name TEXT NOT NULL,
    means TEXT NOT NULL,
    seen_at TEXT NOT NULL,
    PRIMARY KEY (address, name, means)
) WITHOUT ROWID
"""

_KEYS: Final = """
-- the name that a scheduler gave a run, so that starting it again continues it; a run that continues another has its key
ALTER TABLE runs ADD COLUMN key TEXT;
CREATE INDEX runs_by_key ON runs (key, number) WHERE key IS NOT NULL;
DROP VIEW run_records;
CREATE VIEW run_records AS
    SELECT id, root, origin, trigger, manifest_path, manifest_file, manifest_identity, manifest_sha256, directory, key, lock,
        began_at, ended_at, unfinished, exit_code, counts,
        (SELECT count(*) FROM targets WHERE targets.root = runs.root) AS target_count, number
    FROM runs
"""

_STEPS: Final = """
-- how many transactions a run has posted: a store that lost one is noticed (PostgreSQL after a failover)
ALTER TABLE runs ADD COLUMN steps INTEGER NOT NULL DEFAULT 0
"""

_BY_MEANING: Final = """
-- which lanes may meet is looked up before each refresh: without this, in a time that grows with the models of the address
CREATE INDEX connection_names_by_meaning ON connection_names (address, means)
"""

JOURNAL: Final = Layout(
    name="journal",
    application_id=0x6F6D6E69,
    migrations=(_FIRST, _WHOSE, _LEFT, _KEYS, _STEPS, _BY_MEANING),
    durable=True,
)

_OWNERS: Final = """
CREATE TABLE owners (
    token TEXT PRIMARY KEY,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    since TEXT NOT NULL,
    run TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE locks (
    name TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    since TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX locks_of ON locks (owner)
"""

_WAITING: Final = """
CREATE TABLE waiting (
    key TEXT NOT NULL,
    owner TEXT NOT NULL,
    until_s REAL NOT NULL,
    PRIMARY KEY (key, owner)
) WITHOUT ROWID
"""

_CALLS: Final = f"""{_OWNERS};
CREATE TABLE keys (
    key TEXT PRIMARY KEY,
    longest_s REAL NOT NULL
) WITHOUT ROWID;
-- state 1: the call has left; 2: it was answered, at the monotonic moment answered_s of that boot
CREATE TABLE calls (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL,
    owner TEXT NOT NULL,
    state INTEGER NOT NULL,
    answered_s REAL,
    boot TEXT NOT NULL
);
CREATE INDEX calls_of_key ON calls (key, state, answered_s);
CREATE INDEX calls_of_owner ON calls (owner, state);
{_WAITING}
"""

_OTHERS: Final = "CREATE INDEX calls_of_others ON calls (key, owner, state, answered_s)"

_HOLDS: Final = """
-- a key pauses until until_s, which is wait_s after the hold began; what was sent before a gap's at_s is not known in full
CREATE TABLE holds (
    key TEXT PRIMARY KEY,
    until_s REAL NOT NULL,
    wait_s REAL NOT NULL,
    boot TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE gaps (
    at_s REAL NOT NULL,
    boot TEXT NOT NULL
)
"""

_NEW_SLOTS: Final = """
-- a key: how long it pauses (hold_s) since when, what its limit was seen to be, and how often that was taught
CREATE TABLE keys (
    key TEXT PRIMARY KEY,
    hold_s REAL NOT NULL DEFAULT 0,
    held_s REAL,
    held_mark TEXT,
    learned TEXT,
    taught INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
-- a call that counts, or (with a large weight and no key) a time in which no key may send. Its owner takes it out; without an
-- owner it counts for counts_s (null: one window) after its end. A moment is a number of seconds, and the mark of its clock.
CREATE TABLE slots (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL,
    owner TEXT,
    weight INTEGER NOT NULL DEFAULT 1,
    counts_s REAL,
    ended_s REAL,
    ended_mark TEXT
);
CREATE INDEX slots_of_key ON slots (key, id);
CREATE INDEX slots_of_owner ON slots (owner)
"""

_BEATS: Final = """
-- how often an owner has shown that it is alive, and when it last did; unused by processes of one machine
ALTER TABLE owners ADD COLUMN beats INTEGER NOT NULL DEFAULT 0;
ALTER TABLE owners ADD COLUMN beat_s REAL;
ALTER TABLE owners ADD COLUMN beat_mark TEXT
"""

_CONVERT: Final = """
INSERT INTO keys (key, hold_s, held_s, held_mark) SELECT key, wait_s, until_s - wait_s, boot FROM holds;
INSERT INTO slots (key, owner, ended_s, ended_mark)
    SELECT key, CASE state WHEN 1 THEN owner END, answered_s, CASE state WHEN 2 THEN boot END FROM calls;
INSERT INTO slots (key, weight, ended_s, ended_mark) SELECT '', 1000000000, at_s, boot FROM gaps;
DROP TABLE calls;
DROP TABLE holds;
DROP TABLE gaps
"""

SHARED: Final = Layout(
    name="shared",
    application_id=0x6F6D6E73,
    migrations=(_CALLS, _OTHERS, _HOLDS, f"DROP TABLE keys;{_NEW_SLOTS};{_CONVERT};{_BEATS}"),
    durable=False,
    new_store=(4, f"{_OWNERS};{_WAITING};{_NEW_SLOTS};{_BEATS}"),
)


def close_keys(transaction: Transaction, moment: Moment, *, key: str = "", counts_s: float | None = None) -> None:
    """Let no call with a key (empty: with any key) leave for `counts_s` seconds from `moment` on; None: for one window."""
    transaction.execute(
        "INSERT INTO slots (key, weight, counts_s, ended_s, ended_mark) VALUES (?, ?, ?, ?, ?)",
        (key, _CLOSING_WEIGHT, counts_s, moment.at_s, moment.mark),
    )
