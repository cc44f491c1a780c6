"""No key without a reader: the keys of a YAML that nothing reads, and what they could be meant for.

A key is read by the pipeline itself, or by a reference, `!ref <key>`, of a key that is read. A mapping is read as a
whole, unless its references name some of its keys only, or the defaults say which keys it has, as of `slurm`.
"""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import ruamel.yaml
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

PLAIN = "tag:yaml.org,2002:map"  # the tag of a mapping that has none
REFERENCE = re.compile(r"<([^<>]+)>")
# Names that others use: of SpeechBrain's recipes, and of Hugging Face's trainer. Words with dashes are options.
ELSEWHERE = {
    **dict.fromkeys(("opt_class", "opt", "optim", "wav2vec_opt_class", "model_opt_class"), "optimizer"),
    **dict.fromkeys(("lr_annealing", "lr_scheduler", "lr_annealing_wav2vec", "lr_scheduler_type"), "scheduler"),
    **dict.fromkeys(("number_of_epochs", "N_epochs", "num_epochs", "num_train_epochs", "epoch_counter"), "epochs"),
    **dict.fromkeys(("train_batch_size", "per_device_train_batch_size"), "batch_size"),
    **dict.fromkeys(("grad_accumulation_factor", "gradient_accumulation_steps"), "micro_batch_size"),
    **dict.fromkeys(("max_batch_length", "max_batch_len", "dynamic_batching"), "micro_batch_seconds"),
    **dict.fromkeys(("learning_rate", "lr_wav2vec2", "lr_wav2vec", "lr_ssl"), "lr"),
    **dict.fromkeys(("warmup_ratio", "warmup_steps", "n_warmup_steps"), "warmup"),
    **dict.fromkeys(("max_norm", "grad_clip", "clip_grad_norm"), "max_grad_norm"),
    **dict.fromkeys(("wav2vec2", "wav2vec2_hub", "ssl_hub", "encoder_hub", "model_name_or_path"), "encoder"),
    **dict.fromkeys(("freeze_wav2vec", "freeze_wav2vec2", "freeze_ssl", "freeze_encoder"), "freeze"),
    **dict.fromkeys(("freeze_wav2vec_conv", "freeze_ssl_conv", "freeze_feature_extractor"), "freeze_cnn"),
    **dict.fromkeys(("n_frozen_layers", "num_frozen_layers", "freeze_n_layers"), "freeze_layers"),
    **dict.fromkeys(("ctc_weight", "ctc_loss_weight", "weight_ctc"), "alpha"),
    **dict.fromkeys(("wav_augment", "augmentation", "augment_wavedata", "env_corrupt"), "augment"),
    **dict.fromkeys(("early_stopping_patience", "early_stopping"), "patience"),
    **{"label_smoothing_factor": "label_smoothing", "metric_for_best_model": "selection"},
    **{"use_weighted_layer_sum": "emotion_layers", "lora_config": "lora", "gradual_unfreezing": "unfreeze"},
    **{"output_neurons": "n_labels", "num_labels": "n_labels", "number_of_ckpts": "keep_last"},
    **{"mixed_precision": "precision", "auto_mix_prec": "precision"},
    **{"data_folder": "--data", "output_folder": "--name", "experiment_name": "--name"},
}


class Key(NamedTuple):
    """A key of a YAML: the keys that lead to it, and its line."""

    path: tuple[str, ...]
    line: int


@functools.lru_cache(maxsize=8)
def entries(text: str) -> dict[str, tuple[int, Node]]:
    """The top-level keys of a YAML, each with its line and the node of its value; none where it is not a mapping."""
    node = ruamel.yaml.YAML(typ="safe", pure=True).compose(text)
    return dict(_pairs(node)) if isinstance(node, MappingNode) else {}


def _pairs(node: MappingNode) -> Iterator[tuple[str, tuple[int, Node]]]:
    for key, value in node.value:
        if key.value == "<<" and isinstance(value, MappingNode):  # merged with another mapping
            yield from _pairs(value)
        else:
            yield str(key.value), (key.start_mark.line + 1, value)


def unread(text: str, defaults: str, own: Collection[str]) -> list[Key]:
    """The keys of a YAML that nothing reads, in order.

    Parameters
    ----------
    text, defaults
        The YAML, and the one that completes it by the keys that it lacks.
    own
        The keys that the pipeline reads besides those of the defaults.
    """
    given, default = entries(text), entries(defaults)
    nodes = {key: node for key, (_, node) in {**default, **given}.items()}
    run = {key for key, node in nodes.items() if key.startswith("__") and str(node.tag).startswith("!apply:")}
    read, references = _follow(nodes, {*own, *default, *run})
    found = []
    for key, (line, node) in given.items():
        if key not in read:
            found.append(Key((key,), line))
        elif key in default:
            found += _outside(default[key][1], node, (key,))
        elif key not in own:
            found += _unreferenced(node, (key,), references)
    return found


def _follow(nodes: dict[str, Node], first: Collection[str]) -> tuple[set[str], set[tuple[str, ...]]]:
    """The keys that are read if the first are, and what their values refer to."""
    below = {key: {id(each): each for each in _walk(node)} for key, node in nodes.items()}
    waiting, read, references = [key for key in nodes if key in first], set(), set()
    while waiting:
        key = waiting.pop()
        read.add(key)
        found = {path for node in below[key].values() for path in _references(node)}
        # An alias (*name) is the node of its anchor itself.
        found |= {(other,) for other in nodes if other != key and below[other].keys() & below[key].keys()}
        references |= found
        waiting += {path[0] for path in found if path[0] in nodes} - read - set(waiting)
    return read, references


def _walk(node: Node) -> Iterator[Node]:
    yield node
    if isinstance(node, MappingNode):
        for _, value in node.value:
            yield from _walk(value)
    elif not isinstance(node, ScalarNode):
        for value in node.value:
            yield from _walk(value)


def _references(node: Node) -> list[tuple[str, ...]]:
    """What a value refers to: `<lr> * 2` to lr, `<slurm[mem_gb]>` to a key below slurm, `<encoder.dim>` to encoder."""
    texts = REFERENCE.findall(node.value) if isinstance(node, ScalarNode) else []
    return [tuple(part.rstrip("]") for part in text.split(".")[0].split("[")) for text in texts]


def _outside(default: Node, node: Node, path: tuple[str, ...]) -> list[Key]:
    """The keys of a mapping that its default has not; if that is empty, it may have any."""
    if not (_is_plain(default) and default.value and _is_plain(node)):
        return []
    known, found = dict(_pairs(default)), []
    for key, (line, value) in _pairs(node):
        found += _outside(known[key][1], value, (*path, key)) if key in known else [Key((*path, key), line)]
    return found


def _unreferenced(node: Node, path: tuple[str, ...], references: Collection[tuple[str, ...]]) -> list[Key]:
    """The keys of a mapping that no reference names, where none names the whole."""
    if not _is_plain(node) or any(path[: len(each)] == each for each in references):
        return []
    found = []
    for key, (line, value) in _pairs(node):
        deeper = (*path, key)
        named = any(deeper[: len(each)] == each or each[: len(deeper)] == deeper for each in references)
        found += _unreferenced(value, deeper, references) if named else [Key(deeper, line)]
    return found


def _is_plain(node: Node) -> bool:
    return isinstance(node, MappingNode) and str(node.tag) == PLAIN


def below_mappings(texts: Iterable[str], without: Collection[Key] = ()) -> dict[str, str]:
    """The keys one level below the top of some YAMLs, each with the key of its mapping; not those of `without`."""
    left_out = {key.path for key in without}
    return {
        key: parent
        for text in texts
        for parent, (_, node) in entries(text).items()
        if _is_plain(node)
        for key, _ in _pairs(node)
        if (parent, key) not in left_out
    }


def meant(key: str, known: Iterable[str], below: dict[str, str], options: Collection[str] = ()) -> str:
    """What a key could be meant for; empty where nothing is like it.

    Parameters
    ----------
    key
        The key that nothing reads.
    known
        The keys that it could be.
    below
        Keys of mappings, each with that mapping's key; see `below_mappings`.
    options
        The options of run.sh, with their dashes.
    """
    known, other = list(known), ELSEWHERE.get(key, "")
    for option in (other, f"--{key.replace('_', '-')}"):
        if option in options:
            return f"the option {option} of run.sh"
    if key in below:
        return f"{key} below {below[key]}"
    if near := other if other in known else nearest(key, known):
        return near
    near = nearest(key, below, alike=0.8)
    return f"{near} below {below[near]}" if near else ""


def nearest(word: str, known: Iterable[str], alike: float = 0.7) -> str:
    """The known word that is most like another; empty where none is so much `alike`, from 0 to 1."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=alike)), "")


def refusal(
    file: Path, found: list[Key], known: Collection[str], texts: Iterable[str], options: Collection[str]
) -> tuple[str, str]:
    """The message for keys of a file that nothing reads, and what to do.

    Parameters
    ----------
    file, found
        The file, and its keys that nothing reads, at least one; see `unread`.
    known
        The top-level keys that they could be.
    texts
        YAMLs with mappings, below which they could belong.
    options
        The options of run.sh, with their dashes.
    """
    below, hints = below_mappings(texts, found), {}
    for key in found:
        *parents, name = key.path
        siblings = [each for each, parent in below.items() if parents == [parent]]
        hint = meant(name, siblings, {}) if parents else meant(name, known, below, options)
        hints |= {key: hint} if hint else {}
    names = {key: " below ".join(f"'{part}'" for part in reversed(key.path)) for key in found}
    take = "let an object of the YAML take {0}, by !ref <{1}>".format
    if len(found) == 1:
        (key,) = found
        what = f"{file}, line {key.line}: nothing reads the key {names[key]}"
        return what, f"{hints[key]}, or remove it" if hints else f"remove it, or {take('it', key.path[0])}"
    what = f"{file}: nothing reads the keys {', '.join(f'{names[key]} (line {key.line})' for key in found)}"
    remedy = ", ".join(f"{hint} for {names[key]}" for key, hint in hints.items())
    if len(hints) == len(found):
        return what, f"{remedy}; or remove them"
    others = "the others" if hints else "them"
    return what, f"{remedy}{'; ' * bool(hints)}remove {others}, or {take('them', 'KEY')}"
