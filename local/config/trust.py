"""What the YAML of a run folder may build.

HyperPyYAML builds any Python object by the tags `!new:`, `!apply:`, `!name:`, `!module:` and `!!python/...`, and calls
what `!applyref:` names as soon as references are resolved. A YAML given with --hparams is the user's own and may do
all of this. A run folder may come from somebody else: its hyperparams.yaml has nothing left to resolve, and may only
build systems and encoders of this project.
"""

from __future__ import annotations

import re
from pathlib import Path

import ruamel.yaml

from local.core.errors import UserError

ENCODER = "!apply:local.encoders.load_encoder"
SYSTEM = re.compile(r"!new:local\.systems\.(\w+)\.(\w+)")
SYSTEMS = Path(__file__).parents[1] / "systems"


def refuse_foreign(run: Path, own: str = "") -> None:
    """Raise a UserError where a run folder's YAML builds what is no system or encoder of this project, or is broken.

    Nothing is built. What a YAML that the user gave, of the text `own`, builds as well is allowed.
    """
    file = run / "hyperparams.yaml"
    try:
        built = tags(file.read_text(encoding="utf-8")) - tags(own)
    except (ruamel.yaml.error.YAMLError, ValueError) as error:
        raise UserError(f"{file} cannot be read: {' '.join(str(error).split())}", "give another run folder") from None
    if foreign := sorted(each for each in built if not _of_this_project(each)):
        raise UserError(
            f"{file} would build {foreign[0]!r}, which is no system or encoder of this project",
            "train it here with ./run.sh --hparams, if you trust who wrote it",
        )


def tags(text: str) -> set[str]:
    """The tags of a YAML."""
    events = ruamel.yaml.YAML(typ="safe", pure=True).parse(text)
    return {event.tag for event in events if getattr(event, "tag", None)}


def _of_this_project(tag: str) -> bool:
    """Whether a tag builds an encoder, or a system: a class that its file defines, not one that the file imports."""
    system = SYSTEM.fullmatch(tag)
    if system is None or not (file := SYSTEMS / f"{system[1]}.py").is_file():
        return tag == ENCODER
    return re.search(rf"^class {system[2]}\b", file.read_text(encoding="utf-8"), re.MULTILINE) is not None
