"""Data of the ablations, made by the pipelines as a user makes them. What is complete is not made again.

DATA/demonstrations      recording, where none is given (widened range)
DATA/robot/TASK-N        few demonstrations of one task: their recording and shards
DATA/clips, DATA/human   rendered clips and the sample clip; those with `judged` in their names train no arm
DATA/corpora, DATA/text  vision-text: generated rows in the published formats, not the corpora themselves
DATA/recipes             one for each set of tasks, people, vision-text
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from pydantic import Field

from beingh05_model.evaluation import metaworld as mw
from beingh05_model.evaluation.held_out import HeldOutSettings
from beingh05_model.evaluation.mwds import MwdsSettings
from beingh05_model.experiments import few_shot, shards
from beingh05_model.experiments.arms import HUMAN_CHUNK, Choice, Places
from beingh05_model.motion_tokens import hands, layout
from beingh05_model.motion_tokens import tokenizer as motion_tokens
from beingh05_model.motion_tokens.settings import TokenTrainSettings
from beingh05_model.motion_tokens.train import train as train_tokens
from beingh05_model.sequence import tokenizer as tk
from unihand_data.config import Settings, SettingsError
from unihand_data.language.templates import TEMPLATES
from unihand_data.recipe.reader import RecipeReader
from unihand_data.record.tasks import SENTENCES
from unihand_data.shards.reader import ShardReader

#: corpora whose rows can be generated and that show no picture of COCO
CORPORA = ("roborefit", "refspatial", "a0_maniskill", "sharerobot", "robovqa", "eo1_5m_qa")
#: of weighted hours, where people and vision-text are trained on together
SHARES = "floors.domains={human: 0.6, vision_text: 0.2}"
#: of weighted hours, where people are trained on beside robots
BESIDE = "floors.domains={human: 0.2}"
#: bounds of the full recipe that a study of simulated rows cannot keep
OPEN = ("caps.simulated=null", "robot_frame_share=null")
FAMILIES = {"lab": "rendered_clips", "wild": str(Path(__file__).with_name("rendered_wild.yaml"))}
#: seed of the first clip of each family that is trained on; so many seeds later those begin that are judged, which are
#: therefore the same however many are trained on
FIRST_CLIP = {"lab": 1000, "wild": 2000}
FIRST_JUDGED = 500


class Sources(Settings):
    """Where the data comes from.

    ``recording``: a folder of the recorder at the arms' picture size; recorded where None. ``human``: shard directories
    of people with held-out rows of their own; else the sample clip and ``clips`` rendered ones of each family are
    trained on, and ``judged`` more of each family are judged where people are judged: with fewer than three there is no
    interval by episode. ``text_rows``: generated rows of each corpus.
    """

    recording: str | None = None
    human: tuple[str, ...] = ()
    clips: int = Field(default=3, ge=0, le=FIRST_JUDGED)
    judged: int = Field(default=8, ge=1, le=FIRST_JUDGED)
    text_rows: int = 64
    pipelines: str = "pipelines"
    workers: int = 2
    token_steps: int = 1000


class Data:
    """Makes what a study needs."""

    def __init__(self, sources: Sources, choice: Choice, folder: Path) -> None:
        self.sources, self.choice, self.folder = sources, choice, folder
        self.pipelines = Path(sources.pipelines)

    def places(self) -> Places:
        """Everything that the study's arms read.

        Raises:
            SettingsError: something that is given does not hold what is needed.
        """
        text, people = self.text(), self.people()
        both = self.recipe(self._named("human"), [*people, text], *OPEN, SHARES)
        found = Places(
            tokenizer=str(self.words()), text=self.recipe("text", [text], *OPEN, "mirrored=false"), human=both
        )
        study = self.choice.study
        if study == "mask":
            tokens = self.motion_tokenizer(both)
            sizes = layout.motion_config(motion_tokens.load(tokens).tokenizer.settings)
            update = {"motion_tokenizer": str(tokens), "motion_sizes": sizes, "judged": self.judged(both)}
            return found.model_copy(update=update)
        robots = {task: self.robot(task) for task in self.choice.tasks}
        sets = [(task,) for task in robots] if study == "freeze" and self.choice.single else [tuple(robots)]
        recipes = {"+".join(tasks): self.few(tasks, [robots[t] for t in tasks]) for tasks in sets}
        together = [*robots, self._named("people")]
        joint = self.few(together, [*robots.values(), *people], BESIDE) if study == "mof" else None
        return found.model_copy(update={"robot": recipes, "joint": joint})

    # ---- robots -----------------------------------------------------------------------------------------------------

    def robot(self, task: str) -> Path:
        """Shards of the wanted demonstrations of a task."""
        recording, wanted = self.sources.recording, self.choice.demonstrations
        if recording is None:
            recording = str(self.folder / "demonstrations" / f"{task}-{wanted}")
            if not (Path(recording) / few_shot.INFO).is_file():
                # a few more than are wanted: four of a hundred are held out of training
                shards.record(Path(recording), self.choice.size, wanted + 3, 1, tasks=(task,), ranges=("widened",))
        size = mw.pixels(Path(recording))
        if size != self.choice.size:
            raise SettingsError(
                f"{recording}: pictures of {size} pixels, the arms see {self.choice.size}; record with --size "
                f"{self.choice.size}"
            )
        return few_shot.demonstrations(Path(recording), task, wanted, self.folder / "robot", self.pipelines)

    def few(self, names: Sequence[str], inputs: Sequence[Path], *changes: str) -> str:
        return self.recipe(f"{self.choice.demonstrations}-of-{'+'.join(names)}", list(inputs), *OPEN, *changes)

    # ---- people and words -------------------------------------------------------------------------------------------

    def people(self) -> list[Path]:
        """Shard directories of people to train on."""
        if self.sources.human:
            return [Path(directory) for directory in self.sources.human]
        sample = Path(str(files("unihand_data") / "demo" / "assets" / "ego_pick.mp4"))
        found = [self._clip("sample", sample, FAMILIES["lab"])]
        return found + [self._rendered(family, judged=False) for family in FAMILIES if self.sources.clips]

    def _named(self, name: str) -> str:
        """Recipes of other clips are other recipes."""
        return name if self.sources.human else f"{name}-{self.sources.clips}-clips"

    def _rendered(self, family: str, judged: bool) -> Path:
        """Clips of a family that are trained on, or those that are judged."""
        seeds = clips(self.sources, family, judged)
        name = f"{family}-{'judged' if judged else 'trained'}-{len(seeds)}"
        folder = self.folder / "clips" / name
        finished = folder / "finished"
        if not finished.is_file():
            options = ("--scene-family", family, "--no-shadows", "--size", "640x480")
            counted = ("--seed", seeds.start, "--recordings", len(seeds))
            shards.call("-m", "unihand_data.demo.render", folder, *counted, *options)
            finished.touch()
        return self._clip(name, folder, FAMILIES[family])

    def _clip(self, name: str, source: Path, dataset: str) -> Path:
        output = self.folder / "human" / name
        return shards.ingest(self.pipelines, "human_video", source, output, "--dataset", dataset)

    def judged(self, recipe: str) -> MwdsSettings:
        """Rows of people that no arm is trained on."""
        if self.sources.human:
            return MwdsSettings(rows=HeldOutSettings(recipe=recipe, split="test"), draws=4)
        made = [self._rendered(family, judged=True) for family in FAMILIES]
        # whole directories are held out here; their own splits are by hash, four of a hundred
        apart = self.recipe(f"judged-{self.sources.judged}-clips", made, *OPEN)
        return MwdsSettings(rows=HeldOutSettings(recipe=apart, split="train", starts=16), draws=4)

    def text(self) -> Path:
        """Shards of generated vision-text."""
        corpora = self.folder / "corpora"
        for name in CORPORA:
            if not (corpora / f"{name}.finished").is_file():
                options = ("--rows", self.sources.text_rows)
                shards.call("-m", "unihand_data.sources.conversations.generate", name, corpora / "all" / name, *options)
                (corpora / f"{name}.finished").touch()
        return shards.ingest(self.pipelines, "vision_text", corpora / "all", self.folder / "text")

    def words(self) -> Path:
        """One small tokenizer for all arms, learned from the questions and the tasks' sentences."""
        folder = self.folder / "tokenizer"
        if not (folder / "tokenizer.json").is_file():
            folder.mkdir(parents=True, exist_ok=True)
            asked = [template.question for template in TEMPLATES.values()]
            roles = [f"{role}\n" for role in ("system", "user", "assistant")]
            made = tk.small([*asked, *SENTENCES.values(), *roles], 1024)
            part = folder / ".tokenizer.json.part"
            made.save(part)
            part.rename(folder / "tokenizer.json")
        return folder

    def motion_tokenizer(self, recipe: str) -> Path:
        """Small tokenizers of wrists and fingers, learned from the people that the arms are trained on."""
        folder = self.folder / "motion_tokenizer"
        if not (folder / "config.json").is_file():
            settings = TokenTrainSettings.model_validate(
                {
                    "recipe": recipe, "output": str(folder), "steps": self.sources.token_steps, "batch": 128,
                    "save_every": 100_000, "warmup": 50, "device": "cpu",
                    "tokenizer": {"chunk": HUMAN_CHUNK, "width": 64, "code_width": 32, "levels": 2, "codes": 64},
                    **held_out(recipe),
                }
            )  # fmt: skip
            train_tokens(settings)
        return folder

    def recipe(self, name: str, inputs: list[Path], *changes: str) -> str:
        folder = self.folder / "recipes" / name
        if not (folder / "recipe.yaml").is_file():
            shards.recipe(self.pipelines, inputs, folder, *changes)
        return str(folder)


def clips(sources: Sources, family: str, judged: bool) -> range:
    """Seeds of the rendered clips of a family; none is both trained on and judged."""
    first = FIRST_CLIP[family] + (FIRST_JUDGED if judged else 0)
    return range(first, first + (sources.judged if judged else sources.clips))


def held_out(recipe: str) -> dict[str, object]:
    """How a motion tokenizer's figures are held out: by split where there is one, else the fewest recordings by hash.

    Raises:
        SettingsError: there is one recording, which cannot be learned from and measured on.
    """
    with RecipeReader(recipe) as reader:
        rows = [row for shard in reader.shards() for row in _recordings(shard)]
    if any(split != "train" for _, split in rows):
        return {"held_out": "split"}
    recordings = {recording for recording, _ in rows}
    for percent in range(5, 100, 5):
        asked = TokenTrainSettings(recipe=recipe, output="-", held_out="hash", held_out_share=percent / 100)
        found = sum(hands.is_held_out(recording, "train", asked) for recording in recordings)
        if 0 < found < len(recordings):
            return {"held_out": "hash", "held_out_share": percent / 100}
    raise SettingsError(f"{recipe}: motion tokens need two recordings of people, one to be measured on")


def _recordings(shard: ShardReader) -> list[tuple[str, str]]:
    batches = shard.episode_batches(["recording_id", "split"], where="domain = 'human'")
    return [(str(row["recording_id"]), str(row["split"])) for batch in batches for row in batch.to_pylist()]
