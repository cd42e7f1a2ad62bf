"""Numbers that the paper prints for its ablations: LIBERO with 5 demonstrations a task, a 2B backbone, 10 k steps.

They are set beside ours to compare shapes (which arm is above which), not values: other tasks, another size.
"""

from __future__ import annotations

SUITES = ("L-Spatial", "L-Object", "L-Goal", "L-Long", "Avg.")
#: success in per cent by frozen parts and start, in the order of SUITES
TABLE_6: dict[tuple[str, str], tuple[float, ...]] = {
    ("Und + Proj + ViT", "native"): (67.8, 76.8, 57.2, 29.8, 57.9),
    ("Und + Proj + ViT", "human"): (78.6, 78.9, 72.6, 46.2, 69.0),
    ("Und + ViT", "native"): (70.6, 50.0, 67.0, 17.4, 51.3),
    ("Und + ViT", "human"): (85.0, 84.2, 80.0, 59.0, 77.1),
    ("Und Only", "native"): (78.4, 84.8, 62.0, 49.2, 68.6),
    ("Und Only", "human"): (83.2, 79.6, 74.0, 63.6, 75.1),
    ("Proj + ViT", "native"): (87.2, 86.6, 80.8, 58.0, 78.2),
    ("Proj + ViT", "human"): (86.2, 86.2, 84.6, 66.8, 81.0),
    ("None (Full FT)", "native"): (84.2, 83.6, 75.0, 65.8, 77.2),
    ("None (Full FT)", "human"): (87.2, 91.4, 81.6, 66.8, 81.8),
}
TABLE_7: dict[tuple[str, str], tuple[float, ...]] = {
    ("Und + Proj + ViT", "native"): (61.6, 77.0, 68.0, 36.0, 60.7),
    ("Und + Proj + ViT", "human"): (80.8, 81.8, 74.4, 52.4, 72.4),
    ("Und + ViT", "native"): (78.4, 84.8, 71.4, 38.6, 68.3),
    ("Und + ViT", "human"): (83.6, 82.6, 80.8, 59.2, 76.6),
    ("Und Only", "native"): (75.8, 84.2, 71.2, 59.8, 72.8),
    ("Und Only", "human"): (85.2, 90.6, 84.2, 68.4, 82.1),
    ("Proj + ViT", "native"): (87.6, 91.0, 82.2, 62.6, 80.9),
    ("Proj + ViT", "human"): (89.6, 88.8, 89.6, 65.8, 83.5),
    ("None (Full FT)", "native"): (87.8, 94.6, 82.6, 71.4, 84.1),
    ("None (Full FT)", "human"): (88.8, 90.2, 85.4, 76.0, 85.1),
}
#: MWDS by objective, lab and wild; by the text, removing the objective lowers both, by these numbers it raises them
TABLE_8: dict[str, tuple[float, float]] = {"hybrid": (0.33, 0.20), "without mask loss": (0.35, 0.28)}
#: of Figures 11 and 12 the text gives words alone
FIGURE_11 = (
    "0 to 7 of 28 action layers frozen: above 80 % in most suites; above 14 a sharp fall; below 20 % with all frozen"
)
