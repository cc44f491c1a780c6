"""88 functionals of eGeMAPS, and a support vector machine.

F. Eyben et al.: The Geneva Minimalistic Acoustic Parameter Set (GeMAPS) for Voice Research and Affective Computing.
IEEE Transactions on Affective Computing 7, 2016. The classifier is what such features are usually given.

f = eGeMAPSv02 functionals of openSMILE                    [B, 88]
z = (f - mean) / deviation                                 [B, 88]   of the training set
emotion = votes of the machines of all pairs of classes    [B, C]    see `local.systems.layers.svm`

For four emotions and the linear kernel 534 parameters, 6 x 88 weights and 6 biases. The posteriors, softmax of the
votes, order the classes as the machine does; they are no estimates of a probability.

Known: the features. Chosen: the rest. With the linear kernel C is that of 1e-4 .. 1, a decade apart, with the best UA
on the validation set, the smallest where several have it, and 0.01 without one; with the kernel `rbf` C is 1 and gamma
scikit-learn's `scale`. Classes weigh the same.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from local.features.functionals import Functionals
from local.systems import Labelled, Outputs, System
from local.systems.layers.standardise import Standardise
from local.systems.layers.svm import SupportVectorMachine

logger = logging.getLogger(__name__)

DECADES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
WITHOUT_VALIDATION = 1e-2


class EgemapsSvm(System):
    """The machine of `n_labels` emotions, with the `kernel` linear or rbf."""

    title = "Eyben et al. 2016: eGeMAPS, SVM"
    certainty = "partly known"
    solves = True

    def __init__(self, n_labels: int, kernel: str = "linear") -> None:
        super().__init__(front_end=Functionals())
        self.standardise = Standardise(self.front_end.width)
        self.machine = SupportVectorMachine(self.front_end.width, n_labels, kernel)

    def forward(self, wavs: Tensor, lengths: Tensor) -> Outputs:
        """[B, N] waveforms, [B] samples; or [B, 1, 88] rows -> scores of the emotions, as logits."""
        return Outputs(self.machine(self.vectors(wavs, lengths)))

    def vectors(self, wavs: Tensor, lengths: Tensor) -> Tensor:
        """The standardised functionals, [B, 88]."""
        rows, _ = self.front_end(wavs, lengths)
        return self.standardise(rows[:, 0])

    def measure(self, batches: Iterable[tuple[Tensor, Tensor]]) -> None:
        """Take mean and deviation of the functionals over the training set."""
        self.standardise.measure(self.front_end(*batch) for batch in batches)

    def solve(self, training: Labelled, validation: Labelled | None) -> None:
        """Fit the machine to the training set, with the C that is best on the validation set."""
        vectors, emotions = self._all(training)
        C = 1.0 if self.machine.kernel == "rbf" else WITHOUT_VALIDATION
        if self.machine.kernel == "linear" and validation is not None:
            tested = self._all(validation)
            found = {each: self._ua(vectors, emotions, each, *tested) for each in DECADES}
            C = max(found, key=found.get)
            logger.info("valid UA by C: %s", ", ".join(f"{each:g}: {100 * ua:.2f}" for each, ua in found.items()))
        logger.info("kernel %s, C %g", self.machine.kernel, C)
        self.machine.fit(vectors, emotions, C)

    def _all(self, labelled: Labelled) -> tuple[Tensor, Tensor]:
        pairs = [(self.vectors(*inputs), emotions) for *inputs, emotions in labelled]
        vectors, emotions = map(torch.cat, zip(*pairs, strict=True))
        return vectors, emotions

    def _ua(self, vectors: Tensor, emotions: Tensor, C: float, tested: Tensor, of_tested: Tensor) -> float:
        """The mean of the recalls of the classes that the tested are of."""
        right = self.machine.fit(vectors, emotions, C)(tested).argmax(1) == of_tested
        return torch.stack([right[of_tested == each].double().mean() for each in of_tested.unique()]).mean().item()

    def settings(self) -> dict[str, Any]:
        """The argument of the constructor besides `n_labels`."""
        return {"kernel": self.machine.kernel}


SYSTEM = EgemapsSvm
