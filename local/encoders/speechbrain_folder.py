"""Read a conformer of SpeechBrain's from the Hugging Face hub, or a folder as there, without running its YAML.

    hyperparams.yaml    plain values of four entries
    asr.ckpt            the tensors of a list of modules (or model.ckpt): 0 is the CNN, 1 the conformer
    normalizer.ckpt     mean and deviation of the training set's spectra

SpeechBrain builds any Python object that its YAML names. Here the YAML is parsed, and nothing of it built: an entry
with a key that is not known here, or another value than a plain one, is refused. Of the other files only tensors and
plain values are read.
"""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import ruamel.yaml
import torch
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from torch import Tensor

from local.audio.header import SAMPLE_RATE
from local.core import hub
from local.core.errors import UserError
from local.encoders.conformer import ConformerConfig, ConformerEncoder, ConformerFeatures, ConformerModel
from local.encoders.weight_file import fill, read_plain, read_tensors

YAML, WEIGHTS, STATISTICS = "hyperparams.yaml", ("asr.ckpt", "model.ckpt"), "normalizer.ckpt"
CONFIG = "config.json"
LARGEST = 1_000_000  # bytes of a YAML that is read
TUPLE = "!tuple"  # HyperPyYAML, once imported, lets every parser give this tag to what looks like a tuple
NEEDED = object()  # a key without a default: SpeechBrain's has changed, or is seldom what was trained

# The entries, by their tag; of each the keys that are used, with SpeechBrain's default, those that must have one value,
# and those that do not matter to an encoder in use.
CNN = "!new:speechbrain.lobes.models.convolution.ConvolutionFrontEnd"
CONFORMER = "!new:speechbrain.lobes.models.transformer.TransformerASR.TransformerASR"
FBANK = "!new:speechbrain.lobes.features.Fbank"
NORMALIZER = "!new:speechbrain.processing.features.InputNormalization"
USED: dict[str, dict[str, Any]] = {
    CNN: dict.fromkeys(
        ("num_blocks", "num_layers_per_block", "out_channels", "kernel_sizes", "strides", "residuals"), NEEDED
    ),
    CONFORMER: {
        **dict.fromkeys(("input_size", "d_model", "nhead", "num_encoder_layers", "d_ffn", "causal"), NEEDED),
        **{"kernel_size": 31, "bias": True},
    },
    FBANK: {"n_fft": 400, "n_mels": 40, "win_length": 25, "hop_length": 10},
    NORMALIZER: {"norm_type": "global"},
}
FIXED: dict[str, dict[str, Any]] = {
    CNN: {},
    CONFORMER: {
        **{"encoder_module": "conformer", "attention_type": "RelPosMHAXL", "normalize_before": True},
        "output_hidden_states": False,
    },
    FBANK: {"sample_rate": SAMPLE_RATE, "deltas": False, "context": False, "requires_grad": False},
    NORMALIZER: {"mean_norm": True, "std_norm": True},
}
IGNORED = {
    CNN: {"input_shape", "dropout"},
    CONFORMER: {"tgt_vocab", "num_decoder_layers", "dropout", "activation", "max_length", "layerdrop_prob"},
    FBANK: set(),
    NORMALIZER: {"update_until_epoch", "avoid_padding_norm"},
}
OF_DECODER = ("decoder.", "custom_tgt_module.", "positional_encoding_decoder.")


def load(source: str, freeze: bool, freeze_cnn: bool) -> ConformerEncoder | None:
    """The encoder of a folder with a `hyperparams.yaml`, or of such a repository of the hub; None for any other source.

    So for one whose `config.json` is of transformers. A `UserError` names what the YAML has that is not known here, a
    file that is missing, or the first tensor that does not fit.
    """
    folder, where = Path(source).expanduser(), f"asr_encoder {source}"
    if hub.is_name(source):
        if (folder := _downloaded(source, where)) is None:
            return None
    elif not (folder / YAML).is_file() or _is_of_transformers(folder / CONFIG):
        return None
    entries = _read_entries(folder / YAML, where)
    try:
        model = ConformerModel(ConformerConfig(**_config(entries)))
        features = ConformerFeatures(**{key: entries[FBANK][key] for key in ("n_fft", "win_length", "hop_length")})
        encoder = ConformerEncoder(model, features, freeze, freeze_cnn)
    except (ValueError, TypeError, AssertionError, RuntimeError, IndexError, ZeroDivisionError) as error:
        raise UserError(f"{where}: no conformer can be built of its {YAML} ({error})", "correct the values") from None
    _fill(model, folder, where)
    return encoder


def _downloaded(name: str, where: str) -> Path | None:
    """The folder in the hub's cache with the files of a repository of SpeechBrain's; None of any other."""
    try:
        first = hub.fetch(name, [CONFIG, YAML], where)
    except UserError:  # transformers says why
        return None
    if first is None or _is_of_transformers(first) or (written := hub.fetch(name, [YAML], where)) is None:
        return None
    folder = written.parent
    hub.fetch(name, WEIGHTS, where, folder.name)
    if _read_entries(written, where)[NORMALIZER]["norm_type"] == "global":
        hub.fetch(name, [STATISTICS], where, folder.name)
    return folder


def _is_of_transformers(config: Path) -> bool:
    """Whether a `config.json` says what the model is; SpeechBrain's name the class that its library offers for it."""
    try:
        return config.name == CONFIG and "model_type" in json.loads(config.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return False
    except (OSError, ValueError, TypeError):  # damaged: transformers says how
        return True


def _config(entries: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The arguments of `ConformerConfig`."""
    cnn, conformer = entries[CNN], entries[CONFORMER]
    blocks = slice(cnn["num_blocks"])
    return {
        "hidden_size": conformer["d_model"],
        "num_hidden_layers": conformer["num_encoder_layers"],
        "num_attention_heads": conformer["nhead"],
        "intermediate_size": conformer["d_ffn"],
        **{key: conformer[key] for key in ("kernel_size", "bias", "causal", "input_size")},
        "num_mel_bins": entries[FBANK]["n_mels"],
        "norm_type": entries[NORMALIZER]["norm_type"],
        "conv_layers": cnn["num_layers_per_block"],
        "conv_channels": cnn["out_channels"][blocks],
        "conv_kernels": cnn["kernel_sizes"][blocks],
        "conv_strides": cnn["strides"][blocks],
        "conv_residuals": cnn["residuals"][blocks],
    }


def _fill(model: ConformerModel, folder: Path, where: str) -> None:
    """Load the weights and the statistics of a folder."""
    found = [folder / name for name in WEIGHTS if (folder / name).is_file()]
    if not found:
        raise UserError(f"{where}: the folder has no {WEIGHTS[0]}", f"it must have {' or '.join(WEIGHTS)}")
    place, tensors = f"asr_encoder {found[0]}", read_tensors(found[0], f"asr_encoder {found[0]}")
    of_cnn = {name: tensor for name, tensor in tensors.items() if name.startswith("0.")}
    prefix = "1.transformer." if any(name.startswith("1.transformer.") for name in tensors) else "1."
    left = tuple(prefix + name for name in OF_DECODER)
    own = {name: tensor for name, tensor in tensors.items() if name.startswith("1.") and not name.startswith(left)}
    sinusoids = f"{prefix}positional_encoding.inv_freq"  # older files lack them; they are always the same
    own.setdefault(sinusoids, model.transformer.state_dict()[sinusoids.removeprefix(prefix)])
    fill(model.cnn, of_cnn, place, "0.")
    fill(model.transformer, own, place, prefix)
    if model.config.norm_type == "global":
        values = read_plain(folder / STATISTICS, f"asr_encoder {folder / STATISTICS}")
        for name, key in (("mean", "glob_mean"), ("deviation", "glob_std")):
            _copy(getattr(model, name), values, key, f"asr_encoder {folder / STATISTICS}")


def _copy(buffer: Tensor, values: Any, key: str, where: str) -> None:
    tensor = values.get(key) if isinstance(values, dict) else None
    if not isinstance(tensor, Tensor) or tensor.shape != buffer.shape:
        has = f"is {[*tensor.shape]}, not" if isinstance(tensor, Tensor) else "is missing,"
        raise UserError(f"{where}: the tensor {key} {has} {[*buffer.shape]}", "give the file that came with asr.ckpt")
    buffer.copy_(torch.as_tensor(tensor, dtype=torch.float32))


def _read_entries(file: Path, where: str) -> dict[str, dict[str, Any]]:
    """Of each of the four entries the keys of `USED` with their values."""
    where = f"{where}: {file.name}"
    if file.stat().st_size > LARGEST:
        raise UserError(f"{where} is larger than {LARGEST} bytes", "give a folder as on SpeechBrain's hub")
    try:
        root = ruamel.yaml.YAML(typ="safe", pure=True).compose(file.read_text(encoding="utf-8"))
    except (ruamel.yaml.error.YAMLError, ValueError, OSError, RecursionError) as error:
        raise UserError(f"{where} cannot be read: {' '.join(str(error).split())}", "restore the file") from None
    names = {str(key.value): value for key, value in root.value} if isinstance(root, MappingNode) else {}
    entries = {}
    for tag, nodes in _tagged(root).items():
        what = tag.rpartition(".")[2]
        if len(nodes) != 1 or not isinstance(nodes[0], MappingNode):
            raise UserError(
                f"{where} has {len(nodes) or 'no'} {what} with named values, not one",
                "give a conformer as SpeechBrain's recipes for LibriSpeech build it",
            )
        values = {str(key.value): value for key, value in nodes[0].value}
        entries[tag] = _checked(tag, values, names, f"{where}, {what}")
    return entries


def _tagged(root: Node) -> dict[str, list[Node]]:
    """The nodes that have each of the used tags, each once."""
    found: dict[str, list[Node]] = {tag: [] for tag in USED}
    left, seen = [root], set()
    while left:
        node = left.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if (tag := str(node.tag)) in found:
            found[tag].append(node)
        if isinstance(node, MappingNode):
            left += [each for pair in node.value for each in pair]
        elif isinstance(node, SequenceNode):
            left += node.value
    return found


def _checked(tag: str, values: dict[str, Node], names: dict[str, Node], where: str) -> dict[str, Any]:
    """The values of the used keys; a `UserError` for any that is missing, unknown, or another than is built here."""
    remedy = "give a conformer as SpeechBrain's recipes for LibriSpeech build it"
    if unknown := sorted(values.keys() - USED[tag].keys() - FIXED[tag].keys() - IGNORED[tag]):
        raise UserError(f"{where}: {unknown[0]} is not known here", remedy)
    for key, wanted in FIXED[tag].items():
        must = tag == CONFORMER and key in ("encoder_module", "attention_type")  # SpeechBrain's default is another
        if (key in values or must) and (has := _value(values.get(key), names)) != wanted:
            raise UserError(f"{where}: {key} is {has}, not {wanted}", remedy)
    made = {}
    for key, default in USED[tag].items():
        value = _value(values[key], names) if key in values else default
        if value is NEEDED:
            hint = "; `causal: False` if it was trained to see what follows" if key == "causal" else ""
            raise UserError(f"{where}: {key} is missing", f"add the value with which it was trained{hint}")
        if not _is_plain(value):
            raise UserError(f"{where}: {key} is no plain value", remedy)
        made[key] = value
    return made


def _is_plain(value: Any) -> bool:
    each = value if isinstance(value, list) else [value]
    return all(isinstance(one, bool | int | str) for one in each)


def _value(node: Node | None, names: dict[str, Node]) -> Any:
    """A number, truth, text or list of these; `!ref <name>` is the value of that name. None of anything else."""
    node = _resolved(node, names)
    if isinstance(node, SequenceNode) and not str(node.tag).startswith("!"):
        return [_scalar(_resolved(each, names)) for each in node.value]
    return _scalar(node)


def _resolved(node: Node | None, names: dict[str, Node]) -> Node | None:
    """The node that a `!ref <name>` names, and what that names in turn, up to ten times."""
    for _ in range(10):
        if node is None or str(node.tag) != "!ref" or not isinstance(node, ScalarNode):
            return node
        text = node.value.strip()
        node = names.get(text[1:-1]) if text.startswith("<") and text.endswith(">") else None
    return None


def _scalar(node: Node | None) -> Any:
    if not isinstance(node, ScalarNode) or (str(node.tag).startswith("!") and str(node.tag) != TUPLE):
        return None
    text = node.value.strip()
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        made = ast.literal_eval(text) if len(text) < 200 else None  # (64, 32), as SpeechBrain writes a tuple
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return text
    return list(made) if isinstance(made, tuple) else made
