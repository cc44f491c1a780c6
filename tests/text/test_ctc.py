"""Word times: against frames set by hand, every path written out, and greedy paths of real tokenizers."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import sentencepiece
import torch

from local.core.errors import UserError
from local.text import tokenizer
from local.text.ctc import Word, words
from local.text.tokenizer import BLANK, Tokenizer

CHARACTERS = ["<pad>", "<unk>", "\u2581", "A", "L", "T"]
UNIGRAMS = ["<pad>", "<unk>", "\u2581", "\u2581A", "LL", "T", "\u2581AT"]
TEXTS = ["ALL THAT FALLS", "A TALL TALE", "LET THE BELL TOLL", "THE ÆTHER FELL", "TELL IT'S ALL"] * 4


def posteriors(path: list[int], n_tokens: int, best: float = 0.9) -> torch.Tensor:
    """Log posteriors [T, V] whose greedy path is `path`."""
    rest = (1 - best) / (n_tokens - 1)
    frames = torch.full((len(path), n_tokens), rest)
    frames[torch.arange(len(path)), torch.tensor(path)] = best
    return frames.log()


def collapse(path: list[int]) -> list[int]:
    return [token for token, _ in itertools.groupby(path) if token != BLANK]


def timed(path: list[int], log_probs: torch.Tensor, pieces: list[str], duration: float) -> list[Word]:
    """Words along a known path at one second a frame: the frames labelled with what they say, word by word."""
    result, frames, text = [], [], ""

    def close() -> None:
        if text:
            score = np.mean([log_probs[t, path[t]].exp().item() for t in frames])
            result.append(Word(text, min(frames[0], duration), min(frames[-1] + 1, duration), score))

    previous = BLANK
    for t, token in enumerate(path):
        if token > 1:
            if token != previous:
                if pieces[token].startswith("\u2581"):
                    close()
                    frames, text = [], ""
                text += pieces[token].removeprefix("\u2581")
            if pieces[token] != "\u2581":
                frames.append(t)
        previous = token
    close()
    return result


def assert_same(result: list[Word], expected: list[Word]) -> None:
    assert [word[:3] for word in result] == [word[:3] for word in expected]
    assert [word.score for word in result] == pytest.approx([word.score for word in expected], abs=1e-5)


def best_path(log_probs: torch.Tensor, tokens: list[int]) -> list[int]:
    """Of all paths that spell the tokens the one with the highest posterior, by writing out every path."""
    n_frames, n_tokens = log_probs.shape
    spelling = (path for path in itertools.product(range(n_tokens), repeat=n_frames) if collapse(path) == tokens)
    table = log_probs.double().tolist()
    return list(max(spelling, key=lambda path: sum(row[token] for row, token in zip(table, path, strict=True))))


@pytest.fixture(scope="module", params=["char", "unigram"])
def learned(request, tmp_path_factory) -> tuple[Tokenizer, list[str]]:
    """A tokenizer learnt from text, and its pieces."""
    path: Path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.model"
    tokenizer.train(TEXTS, path, request.param, 30)
    model = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return Tokenizer(path), [model.id_to_piece(index) for index in range(len(model))]


# ---------------------------------------------------------------- by hand


def test_words_take_the_frames_of_their_tokens():
    #            A  L  L  -  L  _  _  A  -  T  T  -
    path = [0, 0, 3, 4, 4, 0, 4, 2, 2, 3, 0, 5, 5, 0]
    result = words(posteriors(path, 6), [3, 4, 4, 2, 3, 5], CHARACTERS, 0.02, 0.285)
    assert [word.text for word in result] == ["ALL", "AT"]
    assert [word.start for word in result] == pytest.approx([0.04, 0.18])
    assert [word.end for word in result] == pytest.approx([0.14, 0.26])
    assert [word.score for word in result] == pytest.approx([0.9, 0.9])


def test_a_unigram_that_opens_a_word_gives_it_its_first_frame():
    path = [5, 0, 3, 3, 4, 6, 0, 2, 5]
    result = words(posteriors(path, 7), collapse(path), UNIGRAMS, 1.0, 9.0)
    assert [word[:3] for word in result] == [("T", 0, 1), ("ALL", 2, 5), ("AT", 5, 6), ("T", 8, 9)]


def test_the_score_is_the_mean_over_frames_of_tokens_and_not_of_blanks_or_spaces():
    path = [3, 3, 3, 0, 4, 2, 5]
    log_probs = posteriors(path, 6)
    for frame, best in enumerate((0.9, 0.8, 0.7, 0.99, 0.4, 0.95, 0.5)):
        log_probs[frame] = posteriors([path[frame]], 6, best)[0]
    result = words(log_probs, [3, 4, 2, 5], CHARACTERS, 1.0, 7.0)
    assert [word.score for word in result] == pytest.approx([(0.9 + 0.8 + 0.7 + 0.4) / 4, 0.5])


def test_a_long_piece_weighs_as_its_frames_and_not_as_its_characters():
    log_probs = torch.stack([posteriors([3], 7, 0.5)[0], posteriors([4], 7, 0.8)[0]])
    assert words(log_probs, [3, 4], UNIGRAMS, 1.0, 2.0)[0].score == pytest.approx((0.5 + 0.8) / 2)


def test_spaces_at_the_edges_or_doubled_make_no_word():
    path = [2, 0, 2, 3, 2, 0, 2, 5, 2]
    result = words(posteriors(path, 6), collapse(path), CHARACTERS, 1.0, 9.0)
    assert [word[:3] for word in result] == [("A", 3, 4), ("T", 7, 8)]
    assert words(posteriors([2, 0, 2], 6), [2, 2], CHARACTERS, 1.0, 3.0) == []


def test_an_unknown_symbol_has_no_text():
    path = [1, 3, 1, 5, 1, 2, 1]
    result = words(posteriors(path, 6), collapse(path), CHARACTERS, 1.0, 7.0)
    assert [word[:3] for word in result] == [("AT", 1, 4)]
    assert result[0].score == pytest.approx(0.9)


def test_no_word_passes_the_end_of_the_utterance():
    path = [3, 2, 5, 5, 2, 4]
    result = words(posteriors(path, 6), collapse(path), CHARACTERS, 1.0, 3.5)
    assert [word[:3] for word in result] == [("A", 0, 1), ("T", 2, 3.5), ("L", 3.5, 3.5)]


def test_nothing_said_has_no_words():
    assert words(posteriors([0, 0], 6), [], CHARACTERS, 1.0, 2.0) == []
    assert words(torch.zeros(0, 6), [], CHARACTERS, 1.0, 0.0) == []


@pytest.mark.parametrize("tokens, needed", [([3, 4, 5], 3), ([3, 4, 4], 4), ([4, 4, 4], 5)])
def test_a_transcript_longer_than_the_frames_is_refused(tokens, needed):
    log_probs = torch.randn(needed, 6).log_softmax(-1)
    assert words(log_probs, tokens, CHARACTERS, 1.0, float(needed))[0].text == "".join(CHARACTERS[t] for t in tokens)
    for n_frames in range(needed):
        with pytest.raises(UserError, match=f"needs {needed} frames, the utterance has {n_frames}"):
            words(log_probs[:n_frames], tokens, CHARACTERS, 1.0, float(needed))


def test_log_posteriors_of_any_type_and_layout_will_do():
    torch.manual_seed(0)
    log_probs = (3 * torch.randn(6, 40)).log_softmax(0).T.requires_grad_()
    tokens = collapse(log_probs.argmax(-1).tolist())
    expected = words(log_probs.detach().contiguous(), tokens, CHARACTERS, 0.02, 0.8)
    assert words(log_probs, tokens, CHARACTERS, 0.02, 0.8) == expected
    for dtype in (torch.float64, torch.float16, torch.bfloat16):
        result = words(log_probs.to(dtype), tokens, CHARACTERS, 0.02, 0.8)
        assert [word.text for word in result] == [word.text for word in expected]


# ---------------------------------------------------------------- any posteriors


@pytest.mark.parametrize("seed", range(40))
def test_the_path_is_the_most_probable_that_spells_the_transcript(seed):
    chance = np.random.default_rng(seed)
    pieces = ["<pad>", "<unk>", "\u2581", "A"] if seed % 2 else ["<pad>", "<unk>", "\u2581A", "T"]
    n_frames = int(chance.integers(1, 7))
    # Any transcript that fits, however unlikely: what some random path spells.
    tokens = collapse(chance.integers(0, 4, n_frames).tolist())
    log_probs = torch.from_numpy(chance.normal(0, 2, (n_frames, 4))).float().log_softmax(-1)
    path = best_path(log_probs, tokens)
    assert_same(words(log_probs, tokens, pieces, 1.0, n_frames), timed(path, log_probs, pieces, n_frames))


@pytest.mark.parametrize("seed", range(20))
def test_a_greedy_transcript_has_the_times_of_the_greedy_path(learned, seed):
    text, pieces = learned
    torch.manual_seed(seed)
    n_frames = int(torch.randint(1, 200, ()))
    logits = 3 * torch.randn(n_frames, len(pieces))
    logits[:, BLANK] += 3
    log_probs = logits.repeat_interleave(2, 0)[:n_frames].log_softmax(-1)  # so that tokens last
    path = log_probs.argmax(-1).tolist()
    tokens, duration = collapse(path), n_frames - 0.5
    result = words(log_probs, tokens, pieces, 1.0, duration)
    assert [word.text for word in result] == text.decode(tokens).split()
    assert_same(result, timed(path, log_probs, pieces, duration))
    edges = [edge for word in result for edge in (word.start, word.end)]
    assert edges == sorted(edges) and all(0 <= edge <= duration for edge in edges)
    assert all(word.start < word.end and 0 < word.score <= 1 for word in result)


@pytest.mark.parametrize("seed", range(10))
def test_another_transcript_than_the_greedy_one_keeps_its_words_and_their_order(learned, seed):
    text, pieces = learned
    torch.manual_seed(seed)
    transcript = TEXTS[seed % 5]
    log_probs = torch.randn(60, len(pieces)).log_softmax(-1)
    result = words(log_probs, text.encode(transcript), pieces, 0.02, 1.2)
    assert [word.text for word in result] == transcript.split()
    edges = [edge for word in result for edge in (word.start, word.end)]
    assert edges == sorted(edges) and all(0 <= edge <= 1.2 for edge in edges)
