"""UniHand-2.0 data: the unified space, the shard contract and the pipelines that fill it.

Import the room you need (``unihand_data.space``, ``unihand_data.shards``, ...); this package imports none of them,
so that ``import unihand_data.space`` works with numpy, scipy and pyyaml alone.
"""

__version__ = "0.1.0"
