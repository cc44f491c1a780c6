"""What a CTC head says: the greedy path as tokens, and tokens as text."""

from __future__ import annotations

import torch

from local.systems import Outputs
from local.tokenizer import BLANK, UNKNOWN

SPACE = "\u2581"  # what SentencePiece writes for a space


def greedy_tokens(outputs: Outputs) -> list[list[int]]:
    """The likeliest token of each true frame of B utterances, repeats and blanks taken out."""
    if outputs.tokens is None:
        return [[] for _ in outputs.n_frames]
    likeliest = outputs.tokens.argmax(-1).cpu()
    paths = [tokens[:length] for tokens, length in zip(likeliest, outputs.n_frames.tolist(), strict=True)]
    merged = [torch.unique_consecutive(path) for path in paths]
    return [tokens[tokens != BLANK].tolist() for tokens in merged]


def spelled(tokens: list[int], pieces: list[str]) -> str:
    """Tokens -> text with single blanks between words, as `local.tokenizer.Tokenizer.decode` has it.

    >>> spelled([3, 4, 2, 1, 4], ["<pad>", "<unk>", "\u2581", "A", "B"])
    'AB B'
    """
    text = "".join(pieces[token] for token in tokens if token not in (BLANK, UNKNOWN))
    return " ".join(text.replace(SPACE, " ").split())
