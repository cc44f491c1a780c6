"""The keys of a YAML that name pretrained weights or runs, or a CSV of sounds: a folder, a file, a name of the hub."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.core import hub
from local.core.errors import UserError

# Each with what its path must be; where it is both, the system says which.
KEYS = {
    **{"encoder": "folder", "upstream": "folder", "resnet101_weights": "file"},
    **dict.fromkeys(("asr_encoder", "speaker_net"), "file or folder"),
    **dict.fromkeys(("noise_csv", "reverb_csv"), "file"),
    **dict.fromkeys(("ctc_run", "emotion_run"), "folder"),
}
ENCODERS = ("encoder", "upstream", "asr_encoder")  # a name of the hub where it does not look like a path
OF_HUB = (*ENCODERS, "resnet101_weights", "speaker_net")  # of the last two only owner/name, where no path is called so
VERSIONS = {key: f"{key}_version" for key in KEYS}  # among the inputs of a training: which weights these are
BEGINNINGS = ("/", "./", "../", "~")
ENDINGS = (".bin", ".ckpt", ".pt", ".pth", ".safetensors")


def is_path(key: str, value: Any) -> bool:
    """Whether the value of a key is a path, and not a name of the hub, a mapping or nothing."""
    if not isinstance(value, str):
        return False
    may_be_name = key in ENCODERS or key not in KEYS or (key in OF_HUB and hub.NAME.fullmatch(value))
    return not may_be_name or value.startswith(BEGINNINGS) or value.endswith(ENDINGS)


def of_home(values: Mapping[str, Any]) -> dict[str, str]:
    """The paths among the values of a YAML that begin with `~`, the user's home, each with its folder instead."""
    given = {key: values.get(key) for key in KEYS}
    return {key: os.path.expanduser(value) for key, value in given.items() if str(value).startswith("~")}


def without_folder(key: str, value: Any) -> Any:
    """The value as pages show it: of a path, which is of one machine, its last name."""
    return Path(value).name if key in KEYS and is_path(key, value) else value


def refuse_absent(key: str, path: Path, where: str) -> None:
    """Raise a `UserError` for a path that is not what its key wants; `where` begins the message."""
    kind = KEYS[key]
    if not {"folder": path.is_dir, "file": path.is_file}.get(kind, path.exists)():
        raise UserError(f"{where}: there is no such {kind}", f"give a {kind}" + ", or a hub name" * (key in OF_HUB))
