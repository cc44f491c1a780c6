"""Which weights a pretrained encoder has, and whether it is there, without torch: its folder, or the hub's cache."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from local.core.errors import UserError
from local.core.files import atomic, digest
from local.experiment.options import MANIFESTS

CACHE = MANIFESTS / "encoders.json"  # weights have gigabytes, and every job asks
DESCRIPTIONS = ("config.json", "preprocessor_config.json")
WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")  # transformers takes the first that exist


def encoder_version(source: Any) -> str | None:
    """The version of an encoder, the YAML's `encoder`; never from the network.

    None where it is not known: for a mapping, which has random weights, or one that is not here, or not yet. A
    `UserError` if a file of the folder cannot be read.
    """
    if not isinstance(source, str):
        return None
    if not os.path.isdir(source):
        return _cached_commit(source)
    try:
        return _folder_digest(Path(source))
    except OSError as error:
        raise UserError(f"encoder {source} cannot be read: {error}", "restore the file, or its permissions") from None


def refuse_missing(source: Any) -> None:
    """Raise a UserError for an encoder that is not here: a folder without its files, or a name that the hub has not.

    Loading it would say so as well, but only after torch was loaded, and half a minute of attempts.
    """
    if not isinstance(source, str):
        return
    if os.path.isdir(source):
        patterns = {"config.json": ("config.json",), f"weights ({' or '.join(WEIGHTS)})": WEIGHTS}
        lacks = [what for what, names in patterns.items() if not any(any(Path(source).glob(name)) for name in names)]
        if lacks:
            raise UserError(
                f"encoder {source}: the folder has no {lacks[0]}", "give a folder of a Hugging Face encoder"
            )
        return
    if _cached_commit(source):
        return
    from huggingface_hub import HfApi

    try:
        HfApi().model_info(source, timeout=10)
    except Exception as error:  # no such name, no permission, no network: each is an error of its own
        said = str(error).strip().partition("\n")[0]
        raise UserError(
            f"encoder {source}: there is no such folder, and the hub does not give it ({said})",
            "give a folder with config.json and weights, or, with a network, a name of the hub",
        ) from None


def _folder_digest(folder: Path) -> str:
    """A digest of a folder's configuration and weights, which are read again only when a size or time has changed."""
    weights = next(filter(None, (sorted(folder.glob(pattern)) for pattern in WEIGHTS)), [])
    files = [*filter(Path.is_file, (folder / name for name in DESCRIPTIONS)), *weights]
    stamps = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    key, known = str(folder.resolve()), _read_cache()
    if known.get(key, {}).get("files") != stamps:
        known[key] = {"files": stamps, "digest": digest(*(part for path in files for part in (path.name, path)))}
        with atomic(CACHE) as file:
            json.dump(known, file, indent=1)
    return known[key]["digest"]


def _read_cache() -> dict[str, Any]:
    try:
        known = json.loads(CACHE.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet, or damaged: what it holds can be computed again
        return {}
    return known if isinstance(known, dict) else {}


def _cached_commit(name: str) -> str | None:
    from huggingface_hub import try_to_load_from_cache  # a third of a second

    try:
        path = try_to_load_from_cache(name, "config.json")
    except ValueError:  # no name of the hub: a folder that is gone
        return None
    return Path(path).parent.name if isinstance(path, str) else None
