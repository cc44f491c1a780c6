"""Networks for speaker recognition, whose embeddings of an utterance are taken for its emotion; and their weights.

    resnet34                the network of Pappagari et al. 2020 (`local.systems.pappagari_xvector`)
    speechbrain-resnet      SpeechBrain's `spkrec-resnet-voxceleb`
    speechbrain-xvector     SpeechBrain's `spkrec-xvect-voxceleb`

Each has a front end, and `forward(rows, n_rows)`: [B, T, c], [B] on the CPU -> [B, `size`]. Of a file only tensors are
read, of a folder of SpeechBrain's, or its repository on the hub, one such file, and nothing of its YAML.
"""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from local.core import hub, markers
from local.core.errors import UserError
from local.encoders import length_mask
from local.features import FrontEnd
from local.features.mfcc import KaldiMfcc
from local.features.speaker_fbank import SpeakerFbank
from local.systems.layers.dictionary_pooling import DictionaryPooling
from local.systems.layers.trained_run import RUN, chosen_weights

# A tensor that only the network of this name has.
SIGNS = {
    "net.pooling.words": "resnet34",
    "norm_stats.weight": "speechbrain-resnet",
    "blocks.0.conv.weight": "speechbrain-xvector",
}
NAMES = tuple(SIGNS.values())
FILES = ("embedding_model.ckpt", "model.safetensors")  # in a folder: SpeechBrain's, and that of `local.export`
STRIDE = 8  # of resnet34, rows of its input
MAPS, BLOCKS = (16, 32, 64, 128), (3, 4, 6, 3)
WORDS, SIZE = 32, 512


class ResNet34(nn.Module):
    """[B, T, 23] -> [B, 512], T a multiple of 8, rows beyond an utterance's last zero."""

    size = SIZE

    def __init__(self, front_end: FrontEnd, pool: str = "attention") -> None:
        super().__init__()
        self.front_end = front_end
        self.stem = nn.Sequential(nn.Conv2d(1, MAPS[0], 7, padding=3, bias=False), nn.BatchNorm2d(MAPS[0]))
        inputs, stages = (MAPS[0], *MAPS), []
        for number, (maps, blocks) in enumerate(zip(MAPS, BLOCKS, strict=True)):
            first = Block(inputs[number], maps, stride=1 if number == 0 else 2)
            stages += [first, *(Block(maps, maps) for _ in range(blocks - 1))]
        self.blocks = nn.ModuleList(stages)
        self.pooling = DictionaryPooling(MAPS[-1], WORDS, pool)
        self.embedding = nn.Linear(WORDS * MAPS[-1], SIZE)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, rows: Tensor, n_rows: Tensor) -> Tensor:
        """[B, T, 23], [B] -> [B, 512]."""
        frames, n_frames = self.frames(rows, n_rows)
        return self.embedding(self.pooling(frames, n_frames).flatten(1))

    def frames(self, rows: Tensor, n_rows: Tensor) -> tuple[Tensor, Tensor]:
        """[B, T, 23], [B] -> [B, T / 8, 128], the mean over the three rows of frequency that are left, and [B]."""
        mask = Mask(n_rows, rows)
        maps = mask(self.stem(rows[:, None]).relu())
        for block in self.blocks:
            mask = mask.strided(block.stride)
            maps = block(maps, mask)
        assert maps.shape[3] == 3, f"{maps.shape[3]} rows of frequency instead of 3"
        return maps.mean(3).transpose(1, 2), n_rows // STRIDE


class Mask:
    """Sets what is beyond an utterance's last row to 0: [B, maps, T, c], [B] true rows on the CPU."""

    def __init__(self, n_rows: Tensor, like: Tensor) -> None:
        self.n_rows, self.like = n_rows, like
        self.true = None
        if int(n_rows.min()) < like.shape[1]:  # where all are of one length, as in training, there is nothing to do
            self.true = length_mask(n_rows, like.shape[1], like.device)[:, None, :, None]

    def __call__(self, maps: Tensor) -> Tensor:
        """[B, maps, T, c] -> the same."""
        return maps if self.true is None else maps * self.true

    def strided(self, stride: int) -> Mask:
        """The mask of every `stride`-th row; the numbers of rows are multiples of it."""
        return self if stride == 1 else Mask(self.n_rows // stride, self.like[:, ::stride])


class Block(nn.Module):
    """Two convolutions 3x3 and a shortcut, masked: [B, inputs, T, c] -> [B, maps, T / stride, c / stride]."""

    def __init__(self, inputs: int, maps: int, stride: int = 1) -> None:
        super().__init__()
        self.stride = stride
        self.first = nn.Sequential(nn.Conv2d(inputs, maps, 3, stride, 1, bias=False), nn.BatchNorm2d(maps))
        self.second = nn.Sequential(nn.Conv2d(maps, maps, 3, 1, 1, bias=False), nn.BatchNorm2d(maps))
        self.shortcut = nn.Identity()
        if stride > 1 or inputs != maps:
            self.shortcut = nn.Sequential(nn.Conv2d(inputs, maps, 1, stride, bias=False), nn.BatchNorm2d(maps))

    def forward(self, maps: Tensor, mask: Mask) -> Tensor:
        """`mask` is that of the output."""
        inner = mask(self.first(maps).relu())
        return mask((self.second(inner) + self.shortcut(maps)).relu())


class SpeechBrainNet(nn.Module):
    """One of SpeechBrain's networks: [B, T, bands] -> [B, size].

    It knows no padding within its convolutions: utterances of different lengths go through it one by one.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        from speechbrain.lobes.models.ResNet import ResNet
        from speechbrain.lobes.models.Xvector import Xvector

        if name == "speechbrain-resnet":
            self.size, self.front_end, self.model = 256, SpeakerFbank(80), ResNet(input_size=80, lin_neurons=256)
        else:
            self.size, self.front_end, self.model = 512, SpeakerFbank(24), Xvector(in_channels=24, lin_neurons=512)
            self.model.blocks[-2].eps = 0.0  # of a noise that its pooling adds to the means, even in evaluation mode

    def forward(self, rows: Tensor, n_rows: Tensor) -> Tensor:
        """[B, T, bands], [B] -> [B, size]."""
        if self.training and int(n_rows.min()) == rows.shape[1]:
            return self.model(rows).flatten(1)
        return torch.cat([self.model(row[None, :n]).flatten(1) for row, n in zip(rows, n_rows.tolist(), strict=True)])


def build(name: str, pool: str = "attention", **values: Any) -> ResNet34 | SpeechBrainNet:
    """The network of a name, with random weights; `pool` is of resnet34, and `values` are of its front end."""
    if name not in NAMES:
        raise UserError(f"speaker net '{name}' is not known", f"take one of: {' '.join(NAMES)}")
    return ResNet34(KaldiMfcc(**values), pool) if name == NAMES[0] else SpeechBrainNet(name)


def read(source: str) -> tuple[str, dict[str, Tensor]]:
    """The name of the network whose weights `source` has, and they.

    It is a file, the folder of a run, or a folder or repository of the hub with one of `FILES`. The weights of resnet34
    are what a run or an export of this system saves. A `UserError` if there are none that can be read, or they are of
    another network.
    """
    path = Path(source)
    is_of_hub = hub.is_name(source)
    if is_of_hub or path.is_dir():
        found = [hub.fetch(source, FILES, f"speaker_net: {source}")] if is_of_hub else _weights_in(path)
        if not any(found):
            what = f"a folder, or a name of the hub, with {' or '.join(FILES)}"
            raise UserError(
                f"speaker_net: {source} has no weights", f"give the folder of a run whose training has ended, or {what}"
            )
        path = found[0]
    try:
        is_safe = path.suffix == ".safetensors"
        tensors: Any = load_file(path) if is_safe else torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, SafetensorError, UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"speaker_net: {path} cannot be read: {reason}", "give a file of tensors") from None
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise UserError(f"speaker_net: {path} holds more than tensors", "give a file with a state_dict")
    for sign, name in SIGNS.items():
        if sign in tensors:
            return name, tensors
    raise UserError(f"speaker_net: {path} is of no known network", f"known are: {' '.join(NAMES)}")


def _weights_in(folder: Path) -> list[Path]:
    return [folder / name for name in FILES if (folder / name).is_file()] + chosen_weights(folder)


def load(module: nn.Module, tensors: dict[str, Tensor], source: str, prefix: str = "") -> None:
    """Load the tensors whose names begin so into a module; a `UserError` names one that lacks or has another shape."""
    expected = {prefix + name: tensor for name, tensor in module.state_dict().items()}
    for name, tensor in expected.items():
        if name not in tensors:
            raise UserError(f"speaker_net: {source} lacks the tensor {name}", "give the weights of the whole network")
        if tensors[name].shape != tensor.shape:
            shapes = f"{[*tensors[name].shape]} instead of {[*tensor.shape]}"
            raise UserError(f"speaker_net: {name} of {source} is {shapes}", "give the weights of this very network")
    module.load_state_dict({name.removeprefix(prefix): tensors[name] for name in expected})


def trained_on(source: str) -> str:
    """What tables say of the weights: `24 speakers of voices` of a run's, else the name of the file or folder."""
    path = Path(source, RUN)
    facts = markers.read(path)["facts"] if path.is_file() else {}
    if not facts.get("speakers"):
        return Path(source).name
    return f"{len(facts['speakers'])} speakers of {facts['corpus']}"


def refuse_other_inputs(source: str, **values: Any) -> None:
    """Raise a UserError for weights of a run that was trained with other values of these keys of its YAML."""
    path = Path(source, RUN)
    inputs = markers.read(path)["inputs"] if path.is_file() else {}
    for key, value in values.items():
        if inputs.get(key, value) != value:
            raise UserError(
                f"speaker_net: {source} was trained with {key} {inputs[key]}, and here it is {value}",
                f"-- --{key} {inputs[key]}",
            )
