"""What the utterances of each emotion count in the loss: `class_weights` of the YAML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from local.core.errors import UserError


def class_weights(
    how: str | Mapping[str, float] | None, labels: Sequence[str], emotions: Sequence[int]
) -> Tensor | None:
    """The weights of the classes, [C], or None where all count the same.

    Parameters
    ----------
    how
        None; `balanced`: n / (K n_c) of the K classes that have utterances, as scikit-learn has it, with which each of
        them counts the same and an utterance 1 in the mean; or the weight of each label, 1 where there is none.
    labels
        The C labels, in the order of the classes.
    emotions
        The n classes of the training set; below 0 of an utterance without one, which does not count.

    Raises
    ------
    UserError
        It is none of these.
    """
    if how is None:
        return None
    emotions = [emotion for emotion in emotions if emotion >= 0]
    if how == "balanced":
        counts = torch.bincount(torch.tensor(emotions, dtype=torch.long), minlength=len(labels))
        return (len(emotions) / ((counts > 0).sum() * counts).clamp(min=1)).float()
    if not isinstance(how, Mapping):
        raise UserError(f"class_weights is '{how}'", 'set it to null, balanced, or "{label: weight, ...}"')
    if unknown := [label for label in how if label not in labels]:
        raise UserError(f"class_weights: '{unknown[0]}' is no label of the corpus", f"its labels: {' '.join(labels)}")
    for label, weight in how.items():
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 <= weight < float("inf"):
            raise UserError(f"class_weights: the weight of {label} is {weight}", "give a number of at least 0")
    return torch.tensor([float(how.get(label, 1.0)) for label in labels])
