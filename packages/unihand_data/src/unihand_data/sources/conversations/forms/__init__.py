"""Row forms: from a corpus' own row to a :class:`~unihand_data.sources.conversations.talk.Talk`."""
