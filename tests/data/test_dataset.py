"""Utterances as batches: padded, with their true lengths, classes and tokens."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from local.core.errors import UserError
from local.corpora import manifest
from local.data.dataset import Utterances, loader
from local.data.store import AudioStore
from local.systems import Outputs
from local.text import tokenizer
from local.text.tokenizer import Tokenizer

LABELS = ["ang", "hap", "sad"]


@pytest.fixture
def corpus(tmp_path: Path) -> tuple[pd.DataFrame, Utterances]:
    """Five utterances of 100 to 1500 samples, one without a transcript, in files with a `$` in their names."""
    chance = np.random.default_rng(5)
    rows = []
    for i, (size, text) in enumerate(((700, "A CAB"), (100, "BAC"), (1500, ""), (700, "C"), (300, "ABBA ABBA"))):
        soundfile.write(tmp_path / f"{i}$x.wav", chance.uniform(-1, 1, size), 16_000, subtype="PCM_16")
        columns = {
            "ID": ("NA", "null", "1e5", "007", "u")[i],
            "duration": size / 16_000,
            "emo": LABELS[i % 3],
            "wrd": text,
        }
        rows.append(dict.fromkeys(manifest.COLUMNS, "") | {"wav": f"$data_root/{i}$x.wav"} | columns)
    manifest.write(tmp_path / "test.csv", pd.DataFrame(rows))
    table = manifest.read(tmp_path / "test.csv")
    tokenizer.train(table["wrd"], tmp_path / "tokenizer.model")
    audio = AudioStore.of(tmp_path, table, tmp_path)
    return table, Utterances(table, audio, LABELS, Tokenizer(tmp_path / "tokenizer.model"))


def test_an_utterance_is_its_file(corpus, tmp_path):
    table, utterances = corpus
    assert utterances.ids == ["007", "1e5", "NA", "null", "u"]
    for index, path in enumerate(table["wav"]):
        wanted, _ = soundfile.read(tmp_path / path.rpartition("/")[2], dtype="float32")
        assert utterances[index][0] == index and (utterances[index][1].numpy() == wanted).all()


@pytest.mark.parametrize("indices", [[0], [2, 0], [4, 3, 2, 1, 0], [1, 1]])
def test_a_batch_pads_and_keeps_every_true_length(corpus, tmp_path, indices):
    table, utterances = corpus
    items = [utterances[index] for index in indices]
    batch = utterances.collate(items)
    rows = table.iloc[indices]
    sizes = [round(duration * 16_000) for duration in rows["duration"]]
    assert batch.ids == rows["ID"].tolist() and batch.texts == rows["wrd"].tolist() and len(batch) == len(indices)
    padded = -(-max(sizes) // 640) * 640
    assert batch.lengths.tolist() == sizes and batch.wavs.shape == (len(indices), padded)
    for wav, padded, size in zip((wav for _, wav in items), batch.wavs, sizes, strict=True):
        assert torch.equal(padded[:size], wav) and not padded[size:].any()
    assert [LABELS[index] for index in batch.targets.emotion] == rows["emo"].tolist()
    assert batch.targets.n_tokens.tolist() == [len(text) for text in rows["wrd"]]  # one token a character
    assert batch.targets.tokens.shape == (len(indices), max(len(text) for text in rows["wrd"]))
    assert batch.targets.tokens.dtype == batch.targets.emotion.dtype == torch.long
    learned = Tokenizer(tmp_path / "tokenizer.model")
    for tokens, size, text in zip(batch.targets.tokens, batch.targets.n_tokens, rows["wrd"], strict=True):
        assert learned.decode(tokens[:size].tolist()) == text
        assert tokens[:size].all() and not tokens[size:].any()  # 0 is padding, and only that


def test_a_batch_without_any_transcript(corpus):
    _, utterances = corpus
    batch = utterances.collate([utterances[utterances.ids.index("1e5")]])
    assert batch.targets.tokens.shape == (1, 0) and batch.targets.n_tokens.tolist() == [0]


def test_moving_a_batch_keeps_all_of_it(corpus, monkeypatch):
    _, utterances = corpus
    assert utterances.collate([utterances[0]]).to("cpu").targets.weights is None
    weights = torch.arange(1.0, 1.0 + max(utterances.emotions) + 1)
    monkeypatch.setattr(utterances, "class_weights", weights)
    batch = utterances.collate([utterances[0], utterances[1]])
    assert batch.targets.weights.tolist() == [1.0 + utterances.emotions[index] for index in (0, 1)]
    moved = batch.to("cpu")
    assert moved.ids == batch.ids and moved.texts == batch.texts
    assert torch.equal(moved.wavs, batch.wavs) and torch.equal(moved.lengths, batch.lengths)
    pairs = list(zip(moved.targets, batch.targets, strict=True))
    assert all(torch.equal(one, other) for one, other in pairs if other is not None)
    assert [one is None for one, _ in pairs] == [other is None for _, other in pairs]


def test_labels_of_further_heads_and_an_emotion_that_is_missing(corpus):
    table, plain = corpus
    table = table.assign(valence=["1", "", "3", "4.5", "5"])
    table.loc[2, "emo"] = ""
    made = Utterances(table, plain.audio, LABELS, plain.tokenizer, tasks={"valence": []})
    assert made.unlabelled == 1 and plain.unlabelled == 0
    batch = made.collate([made[index] for index in (3, 2, 1)]).to("cpu")
    assert batch.targets.emotion[1] == -100 and batch.targets.weights.tolist() == [1, 0, 1]
    assert batch.targets.tasks["valence"].nan_to_num(-1).tolist() == [4.5, 3.0, -1.0]
    assert made.collate([made[0]]).targets.weights is None and plain.collate([plain[2]]).targets.tasks is None
    made.class_weights = torch.tensor([2.0, 3.0, 4.0])
    assert made.collate([made[2], made[3]]).targets.weights.tolist() == [0, made.class_weights[made.emotions[3]]]
    outputs = Outputs(torch.zeros(3, 3), further=(torch.tensor([2.0, 3.0, 4.0]),))
    rows = batch.prediction_rows(outputs, LABELS, made.tokenizer, made.tasks and {"valence": []})
    assert [row[1] for row in rows] == [table["emo"][3], "", table["emo"][1]]
    assert [row[-2:] for row in rows][:2] == [(4.5, 2.0), (3.0, 3.0)]


def test_what_is_not_finite_is_no_answer(corpus):
    _, made = corpus
    batch = made.collate([made[index] for index in (0, 1, 2)])
    emotion = torch.zeros(3, 3)
    emotion[0] = torch.tensor([0.0, -torch.inf, -torch.inf])  # which is sure, and finite
    assert batch.prediction_rows(Outputs(emotion), LABELS, made.tokenizer)[0][2:5] == (1.0, 0.0, 0.0)
    for wrong in (torch.nan, torch.inf):
        emotion[1, 2] = wrong
        with pytest.raises(UserError, match=f"utterance {made.ids[1]}: the model's output is not finite"):
            batch.prediction_rows(Outputs(emotion), LABELS, made.tokenizer)


def test_utterances_longer_than_the_encoder_reads(corpus):
    _, utterances = corpus
    utterances.refuse_longer_than(None)
    utterances.refuse_longer_than(1500)
    with pytest.raises(UserError, match=r"utterance 1e5 lasts 0\.1 s"):
        utterances.refuse_longer_than(1499)


def test_greedy_by_hand(corpus):
    _, utterances = corpus
    a, space, b = utterances.tokenizer.encode("A B")
    paths = [
        [a, a, 0, a, b, b, 0, 0],  # repeats merge, a blank parts two alike: A A B
        [0, 0, 0, 0, 0, 0, 0, 0],
        [b, space, space, 0, a, 0, a, a],  # ends after 5: B, a blank between words, A
        [space, a, 0, space, 0, space, b, space],  # blanks at the edges go, several become one
        [a, a, a, a, a, a, a, a],
    ]
    lengths = [8, 8, 5, 8, 1]
    logits = torch.full((5, 8, len(utterances.tokenizer)), -1.0)
    for row, path in zip(logits, paths, strict=True):
        row[torch.arange(8), torch.tensor(path)] = 2.0
    outputs = Outputs(torch.zeros(5, 3), logits, torch.tensor(lengths))
    batch = utterances.collate([utterances[index] for index in range(5)])

    def transcripts(outputs: Outputs) -> list[str]:
        return [row[-1] for row in batch.prediction_rows(outputs, LABELS, utterances.tokenizer)]

    assert transcripts(outputs) == ["AAB", "", "B A", "A B", "A"]
    assert transcripts(Outputs(outputs.emotion)) == batch.texts  # a row then ends with the reference


def test_on_a_gpu_sizes_are_few_and_memory_is_pinned(corpus):
    _, utterances = corpus
    batches = [[0, 1], [2]]
    for device, pinned, multiple in (("cpu", False, 640), ("cuda", True, 9600)):
        read = loader(utterances, batches, device=device)
        assert read.pin_memory == pinned
        batch = read.collate_fn([utterances[index] for index in batches[0]])
        width, longest = batch.wavs.shape[1], int(batch.lengths.max())
        assert width % multiple == 0 and longest <= width < longest + multiple
        assert not batch.wavs[0, batch.lengths[0] :].any()
