"""The 200-slot unified state-action space: slots, rotations, displacements, mirroring, embodiments.

Needs numpy, scipy and pyyaml, nothing else.
"""

from unihand_data.space import displacement, mirror, rotations, slots
from unihand_data.space.embodiment import Embodiment, available, load_embodiment
from unihand_data.space.slots import GROUPS, N_SLOTS, SLOTS, from_dense, group_slice, slot_index, to_dense
from unihand_data.space.yaml_at import EmbodimentError

__all__ = [
    "GROUPS",
    "N_SLOTS",
    "SLOTS",
    "Embodiment",
    "EmbodimentError",
    "available",
    "displacement",
    "from_dense",
    "group_slice",
    "load_embodiment",
    "mirror",
    "rotations",
    "slot_index",
    "slots",
    "to_dense",
]
