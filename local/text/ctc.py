"""What a CTC head says: the greedy path as tokens, tokens as text, and when each word was said.

The times are those of the likeliest path through the posteriors that spells the transcript. A CTC
head learns the order of the tokens, not how long they last. A trained one often says a token in a
frame or two and blanks until the next, so that a word's end comes early rather than late.
"""

from __future__ import annotations

import itertools
from typing import NamedTuple

import torch
from torch import Tensor, tensor
from torchaudio.functional import TokenSpan, forced_align, merge_tokens

from local.core.errors import UserError
from local.text.tokenizer import BLANK, UNKNOWN

SPACE = "\u2581"  # what SentencePiece writes for a space


def greedy_tokens(logits: Tensor | None, n_frames: Tensor) -> list[list[int]]:
    """The likeliest token of each true frame, repeats and blanks removed.

    Parameters
    ----------
    logits
        [B, T, V] of any scale; None of a system without a CTC head, whose utterances have no tokens.
    n_frames
        [B] int, true frames.
    """
    if logits is None:
        return [[] for _ in n_frames]
    likeliest = logits.argmax(-1).cpu()
    paths = [tokens[:length] for tokens, length in zip(likeliest, n_frames.tolist(), strict=True)]
    merged = [torch.unique_consecutive(path) for path in paths]
    return [tokens[tokens != BLANK].tolist() for tokens in merged]


def to_text(tokens: list[int], pieces: list[str]) -> str:
    """Tokens -> text with single blanks between words, as `local.text.normalise.tokenizer.Tokenizer.decode` has it.

    >>> spelled([3, 4, 2, 1, 4], ["<pad>", "<unk>", "\u2581", "A", "B"])
    'AB B'
    """
    text = "".join(pieces[token] for token in tokens if token not in (BLANK, UNKNOWN))
    return " ".join(text.replace(SPACE, " ").split())


class Word(NamedTuple):
    """A word and when it was said.

    Parameters
    ----------
    text
        Its characters.
    start, end
        Seconds from the start of the utterance.
    score
        Mean posterior of its tokens over the frames that they take, between 0 and 1.
    """

    text: str
    start: float
    end: float
    score: float


def words(
    log_probs: Tensor, tokens: list[int], pieces: list[str], seconds_per_frame: float, duration: float
) -> list[Word]:
    """Find when each word of a transcript was said.

    Frame t covers the time from t to t + 1 times `seconds_per_frame`. A word begins with the first
    frame of its first token and ends with the last frame of its last. The words are those of
    the decoded text, in its order, and do not overlap.

    Parameters
    ----------
    log_probs
        Log posteriors of the true frames, [T, V], finite; of any type and on any device.
    tokens
        The transcript without CTC's blanks. A greedy path's own tokens always fit their `log_probs`.
    pieces
        What each of the V tokens stands for, as SentencePiece has it: U+2581 is a space. The
        unknown symbol stands for nothing.
    seconds_per_frame
        Seconds from one frame to the next.
    duration
        Seconds that the utterance lasts; no word ends after it.

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
    found = []
    for between_words, word in itertools.groupby(characters, lambda pair: pair[0].isspace()):
        if between_words:
            continue
        text, spans = zip(*word, strict=True)
        start, end = (min(frame * seconds_per_frame, duration) for frame in (spans[0].start, spans[-1].end))
        spans = {span.start: span for span in spans}.values()  # each once, however many characters it has
        score = sum(span.score * len(span) for span in spans) / sum(len(span) for span in spans)
        found.append(Word("".join(text), start, end, score))
    return found


def _spans(log_probs: Tensor, tokens: list[int]) -> list[TokenSpan]:
    """Frames of each token on the likeliest path, and their mean posterior."""
    if not tokens:
        return []
    needed = len(tokens) + sum(one == other for one, other in itertools.pairwise(tokens))  # a blank parts two alike
    if needed > len(log_probs):
        raise UserError(
            f"a transcript of {len(tokens)} tokens needs {needed} frames: the utterance has {len(log_probs)}",
            "give the transcript of this very utterance",
        )
    path, scores = forced_align(log_probs.float().cpu().contiguous()[None], tensor([tokens]), blank=BLANK)
    return merge_tokens(path[0], scores[0].exp(), blank=BLANK)
