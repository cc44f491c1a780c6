"""What lies beside the weights of a model that was not trained here: what kind it is, and its card. No torch.

A model is a folder, or a name of the Hugging Face hub. Of the hub nothing is asked for a folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from local.core.errors import UserError

CONFIG, CARD = "config.json", "README.md"
PARTS = ("emotion", "ctc")  # folders within an exported model, whose card is above them
BEGINNINGS = (".", "/", "~")  # of a path, and never of a name of the hub
REMEDY = "give a folder with config.json and weights, as of transformers or local.export, or a name of the hub"
SHOWN = 3  # lines of a card in a warning
LONGEST = 200  # characters of such a line


def read_config(source: str) -> dict[str, Any]:
    """The config.json of a model; a `UserError` if there is none, or it cannot be read."""
    is_folder = os.path.exists(source)
    if not is_folder and source.startswith(BEGINNINGS):
        raise UserError(f"--model {source}: there is no such folder", REMEDY)
    try:
        path = Path(source, CONFIG) if is_folder else _from_hub(source, CONFIG)
        config = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(config, dict):
            return config
        reason: object = f"{CONFIG} is no mapping"
    except Exception as error:  # no such file, name or network, no permission, no JSON: each an error of its own
        reason = str(error).strip().partition("\n")[0]
    where = "" if is_folder else "neither a folder nor a model of the hub that can be had: "
    raise UserError(f"--model {source}: {where}{reason}", REMEDY)


def is_export(config: dict[str, Any]) -> bool:
    """Whether it is the config.json of a folder that `local.export` wrote."""
    return str(config.get("format", "")).startswith("ser-mtl")


def card(source: str) -> list[str]:
    """The lines of a model's card, none where it has none."""
    folder = Path(source)
    try:
        if not folder.exists():
            path = _from_hub(source, CARD)
        else:
            path = (folder.absolute().parent if folder.name in PARTS else folder) / CARD
        return path.read_text(encoding="utf-8", errors="replace").splitlines()
    except Exception:  # of the hub: no card, no network
        return []


def quoted(lines: Iterable[str]) -> str:
    """Lines of a card for a warning, the first of them in quotation marks."""
    found = [" ".join(line.split()) for line in lines]
    shown = [f'"{line if len(line) <= LONGEST else line[: LONGEST - 1] + "…"}"' for line in found[:SHOWN]]
    return "; ".join(shown) + (f" and {len(found) - SHOWN} more lines" if len(found) > SHOWN else "")


def _from_hub(name: str, file: str) -> Path:
    from huggingface_hub import hf_hub_download  # a third of a second

    return Path(hf_hub_download(name, file))
