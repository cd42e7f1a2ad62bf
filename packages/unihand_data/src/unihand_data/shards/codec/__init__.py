"""Rows to Arrow records and back, without loss: NaN, empty lists and None keep what they mean.

A record is a dict whose keys are the columns of a schema in ``schema.py``; a module here for each table. Every check
names the row and the field: a malformed row is found in the worker that made it, not at the commit.
"""

from unihand_data.shards.codec.arrow import records, table
from unihand_data.shards.codec.checks import WORDS
from unihand_data.shards.codec.conversations import conversation_from_record, conversation_to_record
from unihand_data.shards.codec.episodes import VIEW, episode_from_record, episode_to_record
from unihand_data.shards.codec.media import media_from_record, media_to_record
from unihand_data.shards.codec.rejects import reject_to_record
from unihand_data.shards.codec.samples import sample_from_record, sample_to_record

__all__ = [
    "VIEW",
    "WORDS",
    "conversation_from_record",
    "conversation_to_record",
    "episode_from_record",
    "episode_to_record",
    "media_from_record",
    "media_to_record",
    "records",
    "reject_to_record",
    "sample_from_record",
    "sample_to_record",
    "table",
]
