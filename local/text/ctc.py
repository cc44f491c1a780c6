"""Decode the output of a CTC head: greedy tokens, their text, and the times of words.

The times are those of the most probable path through the posteriors that spells the transcript. CTC learns the
order of the tokens, not their length: a trained head often emits a token for a frame or two and blanks until the
next, so that the end of a word tends to be early.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, tensor

from local.core.errors import UserError
from local.text.tokenizer import BLANK, UNKNOWN

if TYPE_CHECKING:
    from torchaudio.functional import TokenSpan

SPACE = "\u2581"  # what SentencePiece writes for a space


def greedy_tokens(logits: Tensor, n_frames: Tensor) -> list[list[int]]:
    """The most probable token of each true frame, without repeats and blanks: [B, T, V], [B] frames -> B lists."""
    best = logits.argmax(-1).cpu()
    merged = [torch.unique_consecutive(path[:n]) for path, n in zip(best, n_frames.tolist(), strict=True)]
    return [tokens[tokens != BLANK].tolist() for tokens in merged]


def to_text(tokens: list[int], pieces: list[str]) -> str:
    """Tokens -> text with single spaces between words, as `local.text.tokenizer.Tokenizer.decode` makes it.

    >>> to_text([3, 4, 2, 1, 4], ["<pad>", "<unk>", "\u2581", "A", "B"])
    'AB B'
    """
    text = "".join(pieces[token] for token in tokens if token not in (BLANK, UNKNOWN))
    return " ".join(text.replace(SPACE, " ").split())


class Word(NamedTuple):
    """A word, its times in seconds, and the mean posterior of its tokens over their frames, between 0 and 1."""

    text: str
    start: float
    end: float
    score: float


def words(
    log_probs: Tensor, tokens: list[int], pieces: list[str], seconds_per_frame: float, duration: float
) -> list[Word]:
    """Find the times of the words of a transcript, in order and without overlap.

    Frame t covers the time from t to t + 1 times `seconds_per_frame`. A word begins with the first
    frame of its first token and ends with the last frame of its last.

    Parameters
    ----------
    log_probs
        Log posteriors of the true frames, [T, V], finite; of any type and on any device.
    tokens
        The transcript without CTC's blanks; greedy tokens always fit their `log_probs`.
    pieces
        The text of each of the V tokens, as in SentencePiece: U+2581 is a space. The unknown symbol has no text.
    seconds_per_frame
        Seconds from one frame to the next.
    duration
        Seconds of the utterance; no word ends after it.

    Raises
    ------
    UserError
        The transcript needs more frames than there are.
    """
    characters = [
        (character, span)
        for span in _spans(log_probs, tokens)
        if span.token != UNKNOWN
        for character in pieces[span.token].replace(SPACE, " ")
    ]
    result = []
    for between_words, word in itertools.groupby(characters, lambda pair: pair[0].isspace()):
        if between_words:
            continue
        text, spans = zip(*word, strict=True)
        start, end = (min(frame * seconds_per_frame, duration) for frame in (spans[0].start, spans[-1].end))
        spans = {span.start: span for span in spans}.values()  # each once, however many characters it has
        score = sum(span.score * len(span) for span in spans) / sum(len(span) for span in spans)
        result.append(Word("".join(text), start, end, score))
    return result


def _spans(log_probs: Tensor, tokens: list[int]) -> list[TokenSpan]:
    """Frames and mean posterior of each token on the most probable path."""
    if not tokens:
        return []
    # Equal neighbours need a blank between them.
    needed = len(tokens) + sum(one == other for one, other in itertools.pairwise(tokens))
    if needed > len(log_probs):
        raise UserError(
            f"a transcript of {len(tokens)} tokens needs {needed} frames, the utterance has {len(log_probs)}",
            "give the transcript of this utterance",
        )
    from torchaudio.functional import forced_align, merge_tokens  # takes time to load: only times of words need it

    path, scores = forced_align(log_probs.float().cpu().contiguous()[None], tensor([tokens]), blank=BLANK)
    return merge_tokens(path[0], scores[0].exp(), blank=BLANK)
