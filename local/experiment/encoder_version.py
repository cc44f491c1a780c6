"""Which weights the keys of a YAML name, and whether they are there, without torch: a folder, a file, the hub's cache.

The keys are those of `local.config.pretrained`.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from local.config import pretrained
from local.core import hub
from local.core.errors import UserError
from local.core.files import DIGITS, digest, write_text
from local.experiment.options import MANIFESTS

CACHE = MANIFESTS / "encoders.json"  # weights have gigabytes, and every job asks
DESCRIPTIONS = ("config.json", "preprocessor_config.json")
WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")  # transformers takes the first that exist
REMEDIES = dict.fromkeys(("encoder", "upstream"), "a folder with config.json and weights")
RUN = "train.json"  # written when a training has ended
# One of which is in the cache of every model that was used: of transformers, of SpeechBrain, or weights alone.
OF_HUB = ("config.json", "hyperparams.yaml", "embedding_model.ckpt", "model.safetensors", "pytorch_model.bin")


def encoder_version(source: Any, key: str = "encoder") -> str | None:
    """The version of an encoder, the YAML's `encoder`, or of another key's weights; never from the network.

    None where it is not known: for a mapping, which has random weights, or one that is not here, or not yet. A
    `UserError` if a file cannot be read.
    """
    if not isinstance(source, str):
        return None
    if not os.path.exists(source):
        return None if pretrained.is_path(key, source) else _cached_commit(source)
    try:
        return _digest(Path(source))
    except OSError as error:
        raise UserError(f"{key} {source} cannot be read: {error}", "restore the file, or its permissions") from None


def versions(values: Mapping[str, Any]) -> dict[str, str]:
    """The versions of all weights that a YAML names, by the names of `pretrained.VERSIONS`; of those that are known."""
    found = {name: encoder_version(values.get(key), key) for key, name in pretrained.VERSIONS.items()}
    return {name: version for name, version in found.items() if version}


def refuse_gone(run: Path, values: Mapping[str, Any], inputs: Mapping[str, Any]) -> None:
    """Raise a UserError for a folder or file of weights that a run folder was trained with, and that is not there.

    `values` are those of its YAML, `inputs` of its training. What it was trained from is loaded before its own weights
    are, and a folder that has gone would be looked for on the hub.
    """
    for key, version in pretrained.VERSIONS.items():
        source, known = values.get(key), inputs.get(version)
        if isinstance(source, str) and len(known or "") == DIGITS and not os.path.exists(source):
            raise UserError(
                f"{run} was trained with {key} {source}, and that is not there any more",
                f"put it back, or a link to where it is now: ln -s PATH {shlex.quote(source)}",
            )


def refuse_missing(source: Any, key: str = "encoder") -> None:
    """Raise a UserError for weights that are not here: a folder without its files, or a name that the hub has not.

    Loading them would say so as well, but only after torch was loaded, and half a minute of attempts.
    """
    if not isinstance(source, str):
        return
    is_own = pretrained.KEYS[key] != "folder" or key not in pretrained.OF_HUB
    if is_own and (pretrained.is_path(key, source) or os.path.exists(source)):
        return pretrained.refuse_absent(key, Path(source), f"{key} {source}")
    if os.path.isdir(source):
        patterns = {"config.json": ("config.json",), f"weights ({' or '.join(WEIGHTS)})": WEIGHTS}
        lacks = [what for what, names in patterns.items() if not any(any(Path(source).glob(name)) for name in names)]
        if lacks:
            raise UserError(f"{key} {source}: the folder has no {lacks[0]}", "give a folder of a Hugging Face encoder")
        return
    if _cached_commit(source) or (key != "encoder" and "/" not in source):  # a name that the system knows, perhaps
        return
    from huggingface_hub import HfApi

    try:
        HfApi().model_info(source, timeout=10)
    except Exception as error:  # no such name, no permission, no network: each is an error of its own
        said, kind = str(error).strip().partition("\n")[0], pretrained.KEYS[key]
        raise UserError(
            f"{key} {source}: there is no such {kind}, and the hub does not give it ({said})",
            f"give {REMEDIES.get(key, f'a {kind}')}, or, with a network, a name of the hub",
        ) from None


def _digest(source: Path) -> str:
    """A digest of a file, or of the files of a folder, which are read again only when a size or time has changed."""
    files = _files(source) if source.is_dir() else [source]
    stamps = [[path.name, path.stat().st_size, path.stat().st_mtime_ns] for path in files]
    key, known = str(source.resolve()), _read_cache()
    if known.get(key, {}).get("files") != stamps:
        known[key] = {"files": stamps, "digest": digest(*(part for path in files for part in (path.name, path)))}
        write_text(CACHE, json.dumps(known, indent=1))
    return known[key]["digest"]


def _files(folder: Path) -> list[Path]:
    """Configuration and weights of a folder as transformers reads it; of any other all that it holds.

    A run folder has the digests of what was trained in train.json; what else it holds may still change.
    """
    if (folder / RUN).is_file():
        return [folder / RUN]
    weights = next(filter(None, (sorted(folder.glob(pattern)) for pattern in WEIGHTS)), [])
    if weights and (folder / DESCRIPTIONS[0]).is_file():
        return [*filter(Path.is_file, (folder / name for name in DESCRIPTIONS)), *weights]
    return sorted(filter(Path.is_file, folder.rglob("*")))


def _read_cache() -> dict[str, Any]:
    try:
        known = json.loads(CACHE.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # none yet, or damaged: what it holds can be computed again
        return {}
    return known if isinstance(known, dict) else {}


def _cached_commit(name: str) -> str | None:
    paths = (hub.cached(name, file) for file in OF_HUB)
    return next((path.parent.name for path in paths if path), None)
