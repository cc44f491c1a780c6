"""A ResNet-34 of speaker recognition, fine-tuned for emotions.

R. Pappagari, T. Wang, J. Villalba, N. Chen, N. Dehak: x-Vectors meet emotions: a study on dependencies between emotion
and speaker recognition. ICASSP 2020. Certainty: partly known. Known are the results, and the network from the code of a
co-author for another paper; second-hand the 23 MFCC, the voice activity, the mean normalisation, optimizer and batch;
recalled the 8 kHz of telephones, which are an option; chosen the size of the dictionary and of the embedding, the crop,
the longest input, the first weights, epochs and patience, the noise, of which an epoch has one copy instead of all, and
what is done with the networks of SpeechBrain.

    input                           (`local.features.mfcc.KaldiMfcc`)               1 x T x 23      T cut to 8 n
    conv 7x7, 16 maps               batch norm, ReLU                                16 x T x 23
    3 basic blocks                  two conv 3x3 with batch norm, shortcut, ReLU    16 x T x 23
    4 basic blocks, stride 2                                                        32 x T/2 x 12
    6 basic blocks, stride 2                                                        64 x T/4 x 6
    3 basic blocks, stride 2                                                        128 x T/8 x 3
    mean over frequency                                                             T/8 x 128
    dictionary pooling              (`local.systems.layers.dictionary_pooling`)     32 x 128
    linear                          the embedding                                   512
    batch norm, ReLU, linear                                                        4

Parameters: 3,438,548 = 1,333,680 ResNet + 4,128 pooling + 2,098,688 embedding and batch norm + 2,052 linear. In
training 4 s at random of each utterance, a shorter one is repeated; in use all of it, at most 15 s.

The paper's net was trained on some 12,000 speakers, and its weights were not published. `speaker_net` takes weights of
this network, as `local.systems.speaker_xvector` trains them, or of one of SpeechBrain's in its place
(`local.systems.layers.speaker_nets`); without, it starts from random ones, from where the authors report 39.90 instead
of 70.30 (weighted F1).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from local.core.errors import UserError
from local.features.mfcc import RATE
from local.systems import Labelled, Outputs, System
from local.systems.layers import speaker_nets
from local.systems.layers.batch_norm import VectorNorm
from local.systems.layers.logistic import logistic_regression
from local.systems.layers.sequences import fit, random_crop, repeat
from local.systems.layers.standardise import Standardise

CROP, LONGEST = 400, 1496  # rows: 4 s, and 15 s
RANDOM = "no pretraining"
CLASSIFIERS = ("linear", "logistic")


class XVectorSystem(System):
    """Pappagari et al.'s system for `n_labels` emotions.

    Parameters
    ----------
    speaker_net
        Weights to begin with, see `speaker_nets.read`; None: random ones.
    classifier
        `linear`: the whole is trained. `logistic`: the network is frozen, and a logistic regression on its standardised
        embeddings, with the penalty 1 / (2 C), is solved; needs weights.
    pool
        `attention`, or `lde`; of resnet34.
    sample_rate, noise, noise_csv, reverb_csv
        Of resnet34's front end, see `local.features.mfcc.KaldiMfcc`. With noise or rooms an utterance is in each epoch
        the recording or one of its copies, at random; in use it is the recording.
    net, weights
        What is rebuilt for given weights: the network, and what it was pretrained on.
    """

    title = "Pappagari et al. 2020: ResNet x-vector"
    certainty = "partly known"

    def __init__(
        self,
        n_labels: int,
        speaker_net: str | None = None,
        classifier: str = "linear",
        pool: str = "attention",
        sample_rate: int = RATE,
        noise: bool = False,
        noise_csv: str | None = None,
        reverb_csv: str | None = None,
        C: float = 1.0,
        net: str = "resnet34",
        weights: str = RANDOM,
    ) -> None:
        tensors: dict[str, Tensor] = {}
        if speaker_net is not None:
            net, tensors = speaker_nets.read(speaker_net)
            weights = speaker_nets.trained_on(speaker_net)
            speaker_nets.refuse_other_inputs(speaker_net, pool=pool, sample_rate=sample_rate)
        if classifier not in CLASSIFIERS:
            raise UserError(f"classifier is '{classifier}'", f"set classifier to one of: {' '.join(CLASSIFIERS)}")
        if classifier == "logistic" and weights == RANDOM:
            raise UserError("classifier: logistic is for a pretrained network", "set speaker_net to its weights")
        copied = noise or noise_csv or reverb_csv
        if net != "resnet34" and (copied or sample_rate != RATE):
            raise UserError(f"noise, a CSV or sample_rate: {net} has a front end of its own", "leave them out")
        given = {"sample_rate": sample_rate, "noise": noise, "noise_csv": noise_csv, "reverb_csv": reverb_csv}
        made = speaker_nets.build(net, pool, **given)
        super().__init__(front_end=made.front_end)
        self.net = made
        self.norm = VectorNorm(made.size)
        self.standardise = Standardise(made.size)
        self.emotion_head = nn.Linear(made.size, n_labels)
        self.weights, self.solves = weights, classifier == "logistic"
        self.copies = made.front_end.copies if copied else 0
        self.values = {"classifier": classifier, "pool": pool, "sample_rate": sample_rate, "C": C}  # use needs no copy
        self.values |= {"net": net, "weights": weights}
        if tensors:
            self._load(tensors, speaker_net)
        if self.solves:
            self.net.requires_grad_(False)
            self.norm.requires_grad_(False)

    def forward(self, wavs: Tensor, lengths: Tensor) -> Outputs:
        """[B, N] waveforms, or rows of the front end -> logits."""
        embeddings = self.embeddings(wavs, lengths)
        if self.solves:
            return Outputs(self.emotion_head(self.standardise(embeddings)))
        return Outputs(self.emotion_head(self.norm(embeddings).relu()))

    def embeddings(self, wavs: Tensor, lengths: Tensor) -> Tensor:
        """[B, N] waveforms, or rows, [B] -> [B, 512], or of the size of the network's embeddings."""
        rows, n_rows = self.front_end(wavs, lengths)
        rows = self.columns(rows)
        if self.training and not self.solves:
            return self.net(*random_crop(*repeat(rows, n_rows, CROP), CROP))
        stride = speaker_nets.STRIDE
        return self.net(*fit(*repeat(rows, n_rows, stride), stride, LONGEST, multiple=stride))

    def columns(self, rows: Tensor) -> Tensor:
        """[B, T, 23 (1 + copies)] -> [B, T, 23]: of the recording; in training of it or a copy, drawn for each."""
        if not self.copies:
            return rows
        versions = rows.unflatten(2, (1 + self.copies, -1))
        if not self.training:
            return versions[:, :, 0]
        drawn = torch.randint(1 + self.copies, (len(rows),)).to(rows.device, non_blocking=True)
        return versions[torch.arange(len(rows), device=rows.device), :, drawn]

    def train(self, mode: bool = True) -> XVectorSystem:
        """A network that is frozen stays in evaluation mode."""
        super().train(mode)
        if self.solves:
            self.net.eval()
        return self

    def solve(self, training: Labelled, validation: Labelled | None) -> None:
        """Standardise the embeddings of the training set, and fit the logistic regression to them."""
        pairs = [(self.embeddings(*inputs), emotions) for *inputs, emotions in training]
        embeddings, emotions = map(torch.cat, zip(*pairs, strict=True))
        self.standardise.measure([(embeddings[None], torch.tensor([len(embeddings)]))])
        found = self.standardise(embeddings), emotions, self.emotion_head.out_features, self.values["C"]
        for parameter, value in zip(self.emotion_head.parameters(), logistic_regression(*found), strict=True):
            parameter.copy_(value)

    def settings(self) -> dict[str, Any]:
        """The arguments of the constructor besides `n_labels` that matter to a model with weights."""
        return self.values

    def _load(self, tensors: dict[str, Tensor], source: str) -> None:
        """Load the weights of a whole system of resnet34, but for its last layer, or those of a SpeechBrain network."""
        if self.values["net"] != "resnet34":
            speaker_nets.load(self.net.model, tensors, source)
            return
        speaker_nets.load(self.net, tensors, source, prefix="net.")
        speaker_nets.load(self.norm, tensors, source, prefix="norm.")


SYSTEM = XVectorSystem
