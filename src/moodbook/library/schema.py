"""The tables of a catalogue, and how an old catalogue becomes a new one.

A file is a name in the tree; a payload is the music in it, known by the hash of its audio alone; an analysis is what
one model, known by its hash, makes of a payload. So a renamed, copied or retagged file keeps its analyses, and several
models stand side by side.
"""

from __future__ import annotations

import sqlite3

MIGRATIONS: tuple[str, ...] = (
    # Version 1: files, payloads, scores by model, remembered failures.
    """
    CREATE TABLE payload (
        id INTEGER PRIMARY KEY,
        sha256 TEXT NOT NULL UNIQUE,
        duration_seconds REAL
    );
    CREATE TABLE file (
        id INTEGER PRIMARY KEY,
        path BLOB NOT NULL UNIQUE,           -- the exact bytes of the absolute name
        payload_id INTEGER NOT NULL REFERENCES payload (id),
        size INTEGER NOT NULL,
        mtime_ns INTEGER NOT NULL,
        inode TEXT NOT NULL,                 -- text: it can have 64 bits and no sign
        artist TEXT NOT NULL DEFAULT '',
        title TEXT NOT NULL DEFAULT '',
        album TEXT NOT NULL DEFAULT '',
        moods TEXT NOT NULL DEFAULT '[]',    -- a JSON list: what the file itself says
        missing_since TEXT                   -- a time in UTC; NULL while the file is there
    );
    CREATE INDEX file_payload ON file (payload_id);
    CREATE TABLE model (
        id INTEGER PRIMARY KEY,
        sha256 TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        tags TEXT NOT NULL,                  -- a JSON list: the columns of probabilities
        thresholds TEXT NOT NULL,            -- a JSON list in the same order
        last_scan INTEGER NOT NULL           -- 1, 2, 3 ...: the highest is the model that was used last
    );
    CREATE TABLE analysis (
        payload_id INTEGER NOT NULL REFERENCES payload (id),
        model_id INTEGER NOT NULL REFERENCES model (id),
        probabilities BLOB NOT NULL,         -- float32, little-endian
        note TEXT NOT NULL,
        PRIMARY KEY (payload_id, model_id)
    ) WITHOUT ROWID;
    CREATE TABLE failure (
        payload_id INTEGER NOT NULL REFERENCES payload (id),
        model_id INTEGER NOT NULL REFERENCES model (id),
        reason TEXT NOT NULL,
        PRIMARY KEY (payload_id, model_id)
    ) WITHOUT ROWID;
    """,
    # Version 2: the embedding of the whole track, for `similar`.
    """
    ALTER TABLE analysis ADD COLUMN embedding BLOB;  -- float32, little-endian; NULL where the model gives none
    """,
    # Version 3: whether it is music at all.
    """
    ALTER TABLE analysis ADD COLUMN music REAL;  -- a probability; NULL where the model cannot tell
    """,
    # Version 4: the owner's own words, told from what a model hears.
    """
    ALTER TABLE model ADD COLUMN base TEXT;  -- sha256 of the model that hears for it; NULL where it hears itself
    """,
    # Version 5: when anything of a file last changed, and the disk that it lies on.
    """
    ALTER TABLE file ADD COLUMN ctime_ns INTEGER;  -- NULL until the next scan
    ALTER TABLE file ADD COLUMN mount BLOB;        -- the exact bytes of the mount's absolute name; NULL likewise
    """,
    # Version 6: how finely the network was computed.
    """
    ALTER TABLE analysis ADD COLUMN precision TEXT;  -- f32, bf16 or int8; of the owner's words, of their base
    """,
)
"""What leads from each version to the next; a new catalogue goes through all of them."""

VERSION = len(MIGRATIONS)
"""The version that this Moodbook reads and writes."""


def read_version(connection: sqlite3.Connection) -> int:
    """Give the version of a catalogue; 0 for an empty one."""
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a catalogue to `VERSION`, all of the way or not at all; an empty one is made anew.

    Args:
        connection: In autocommit mode; its catalogue is of `VERSION` or older.

    Raises:
        sqlite3.Error: It cannot be written; it is as it was.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Read again inside the transaction: another process may have been quicker.
        for version in range(read_version(connection), VERSION):
            for statement in _statements(MIGRATIONS[version]):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {version + 1}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _statements(script: str) -> list[str]:
    """Cut a script into its statements; `executescript` would commit before each."""
    statements, held = [], ""
    for line in script.splitlines(keepends=True):
        held += line
        if sqlite3.complete_statement(held):
            statements.append(held)
            held = ""
    return statements
