"""What goes wrong with a shard directory. Each message names the directory, row, field or media it is about."""

from __future__ import annotations


class ShardError(Exception):
    """A shard directory cannot be read or written as asked."""


class RowError(ShardError, ValueError):
    """A row does not fit the schema; the message names the row and the field."""


class CommitRefused(ShardError):
    """The commit would break a promise of the directory. Commands print the sentence and exit with code 2."""


class MediaDamaged(ShardError):
    """Stored video or image bytes do not decode to the frames their row announces; names the media id."""


class TableDamaged(ShardError):
    """A file of a Lance table cannot be read; ``table`` and ``file`` say which, the message the mend too."""

    def __init__(self, table: str, file: str, message: str):
        super().__init__(message)
        self.table, self.file, self.message = table, file, message

    def __reduce__(self):  # three arguments do not pickle by themselves; worker processes need it
        return (TableDamaged, (self.table, self.file, self.message))
