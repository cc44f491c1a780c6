"""The labels of utterances for the further heads of a system, as tensors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import pandas as pd
import torch
from torch import Tensor

from local.core import tasks
from local.core.tasks import CLASSES, NUMBER, TASKS
from local.corpora import manifest
from local.systems.layers.task_heads import MISSING, has_label, no_label


def targets(table: pd.DataFrame, heads: Mapping[str, Sequence[str]]) -> dict[str, Tensor]:
    """The labels of n utterances by head.

    Of classes [n] indices, `MISSING` without a label or of one that the head has not, as a speaker who does not train;
    of a number [n] on the corpus's scale, nan without; of shares [n, C], of the raters' votes for the head's labels,
    all 0 without any.
    """
    return {name: _of(manifest.column(table, TASKS[name].column).tolist(), name, heads[name]) for name in heads}


def _of(cells: list[str], name: str, classes: Sequence[str]) -> Tensor:
    kind = TASKS[name].kind
    if kind == NUMBER:
        return torch.tensor([float(cell) if cell else math.nan for cell in cells], dtype=torch.float64)
    if kind == CLASSES:
        indices = {label: index for index, label in enumerate(classes)}
        return torch.tensor([indices.get(cell, MISSING) for cell in cells], dtype=torch.long)
    counts = torch.tensor([[tasks.votes(cell).get(label, 0.0) for label in classes] for cell in cells])
    counts = counts.reshape(len(cells), len(classes))
    return counts / counts.sum(1, keepdim=True).clamp(min=torch.finfo(counts.dtype).tiny)


def cells(
    outputs: Sequence[Tensor], labels: Mapping[str, Tensor] | None, heads: Mapping[str, Sequence[str]]
) -> list[list]:
    """The cells of `local.scoring.predictions.task_columns` of B utterances, from their outputs and labels by head.

    Without `labels` no utterance has any.
    """
    columns = []
    for output, (name, classes) in zip(outputs, heads.items(), strict=True):
        label = no_label(name, len(output), len(classes), output.device) if labels is None else labels[name]
        kind = TASKS[name].kind
        if kind == NUMBER:
            columns += [label.tolist(), output.tolist()]
        elif kind == CLASSES:
            columns.append([classes[index] if index >= 0 else "" for index in label.tolist()])
            columns.append([classes[index] for index in output.argmax(-1).tolist()])
        else:
            shares = output.double().softmax(-1)
            columns += [[tasks.shares(classes, row) for row in each.tolist()] for each in (label, shares)]
    return [list(row) for row in zip(*columns, strict=True)]


def count_line(emotions: Sequence[int], labels: Mapping[str, Tensor], texts: Sequence[str] = ()) -> str:
    """Say how many utterances lack which labels: `emotion 3, valence 0 of 48`; of `texts`, which are transcripts."""
    missing = {"emotion": sum(emotion < 0 for emotion in emotions)}
    missing |= {"transcript": sum(not text for text in texts)} if texts else {}
    missing |= {name: int((~has_label(name, each)).sum()) for name, each in labels.items()}
    return ", ".join(f"{name} {n}" for name, n in missing.items()) + f" of {len(emotions)}"
