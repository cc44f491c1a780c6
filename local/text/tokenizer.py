"""Tokens of the CTC head: SentencePiece, characters or unigrams, trained on one fold's training text."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import sentencepiece

from local.core.errors import UserError
from local.core.files import atomic

KINDS = ("char", "unigram")
BLANK, UNKNOWN = 0, 1


def train(texts: Iterable[str], path: Path, kind: str = "char", size: int = 200) -> None:
    """Train a tokenizer on normalised transcripts and write its model.

    Token 0 is CTC's blank (SentencePiece's padding), token 1 an unknown symbol. With `char` the
    vocabulary is every character that occurs, including the space (U+2581); with
    `unigram` it has `size` pieces, or fewer if the text is too short for so many.

    Raises
    ------
    UserError
        The kind is not known, or `size` is too small for the characters of the text.
    """
    if kind not in KINDS:
        raise UserError(f"token_type is '{kind}'", f"set token_type to one of: {' '.join(KINDS)}")
    texts = [text for text in texts if text]
    longest = max(len(text.encode()) for text in texts)
    least = len(set("".join(texts))) + 2  # every character, the blank of CTC, the unknown symbol
    if kind == "unigram" and size < least:
        raise UserError(
            f"vocab_size is {size}: the training text needs {least} pieces", f"set vocab_size to {least} or more"
        )
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=model,
        model_type=kind,
        vocab_size=size,
        hard_vocab_limit=False,
        use_all_vocab=kind == "char",
        character_coverage=1.0,
        # The text is normalised already, and word boundaries are between words, not before the first.
        normalization_rule_name="identity",
        add_dummy_prefix=False,
        pad_id=BLANK,
        unk_id=UNKNOWN,
        bos_id=-1,
        eos_id=-1,
        unk_surface="",
        # By default longer lines are dropped silently, and threads could change the result.
        max_sentence_length=max(longest + 1, 10),  # 10 is its minimum
        num_threads=1,
        minloglevel=2,
    )
    with atomic(path, "wb") as file:
        file.write(model.getvalue())


class Tokenizer:
    """Text to tokens and back.

    Parameters
    ----------
    path
        A model that `train` wrote. If there is none, because the training set has no
        transcripts, the vocabulary is the blank alone and every text is empty.
    """

    def __init__(self, path: Path) -> None:
        self._pieces = None
        if path.exists():
            self._pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))

    def __len__(self) -> int:
        return self._pieces.get_piece_size() if self._pieces else 1

    @property
    def pieces(self) -> list[str]:
        """The text of each token; U+2581 is the space between words."""
        return [self._pieces.id_to_piece(token) for token in range(len(self))] if self._pieces else ["<pad>"]

    def encode(self, text: str) -> list[int]:
        """Text -> tokens."""
        return self._pieces.encode(text) if self._pieces else []

    def decode(self, tokens: list[int]) -> str:
        """Tokens without CTC's blanks -> text with single spaces between words."""
        text = self._pieces.decode(tokens) if self._pieces else ""
        return " ".join(text.split())
