"""The tokenizer: its vocabulary, text to tokens and back, and that it is learnt from training text alone."""

from __future__ import annotations

import random
from pathlib import Path

import pandas as pd
import pytest
import sentencepiece

from local.core.errors import UserError
from local.corpora import manifest
from local.experiment.command_line import parse
from local.folds import make_folds
from local.prepare import prepare
from local.text import tokenizer
from local.text.tokenizer import Tokenizer

TEXTS = ["IT'S WELLKNOWN", "THE QUICK BROWN FOX", "ŹRÓDŁEM 24 WAPNIA", "'TIS NO FOX", "I"]


def learn(path: Path, texts: list[str], kind: str = "char", size: int = 200) -> Tokenizer:
    tokenizer.train(texts, path, kind, size)
    return Tokenizer(path)


def vocabulary(path: Path) -> list[str]:
    """The pieces of a model, read with SentencePiece itself; U+2581 is the space between words."""
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(path))
    return [pieces.id_to_piece(index) for index in range(pieces.get_piece_size())]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return tmp_path / "tokenizer.model"


def test_the_vocabulary_is_the_characters_that_occur(model):
    learned = learn(model, TEXTS)
    result = vocabulary(model)
    assert result[:2] == ["<pad>", "<unk>"] and tokenizer.BLANK == 0
    assert sorted(result[2:]) == sorted(set("".join(TEXTS).replace(" ", "\u2581")))
    assert len(learned) == len(result)


@pytest.mark.parametrize(("kind", "size"), [("char", 200), ("unigram", 40), ("unigram", 45)])
def test_text_comes_back_from_its_tokens(model, kind, size):
    learned = learn(model, TEXTS * 9, kind, size)
    chance = random.Random(3)
    words = " ".join(TEXTS).split()
    for text in [*TEXTS, *(" ".join(chance.choices(words, k=chance.randint(1, 30))) for _ in range(50))]:
        tokens = learned.encode(text)
        assert learned.decode(tokens) == text
        assert all(1 < token < len(learned) for token in tokens)
        if kind == "char":
            assert len(tokens) == len(text)


def test_odd_texts_and_tokens(model):
    learned = learn(model, TEXTS)
    assert learned.encode("") == [] and learned.decode([]) == ""
    blank, fox = learned.encode("A A")[1], learned.encode("FOX")
    assert learned.decode([blank, blank, *fox, blank, blank, *fox, blank]) == "FOX FOX"
    assert learned.encode("VJ") == [1] or learned.encode("VJ") == [1, 1]  # neither occurs: unknown
    assert learned.decode([1, *fox, 1]) == "FOX"


def test_unigrams_join_characters_that_come_together(model):
    learned = learn(model, ["THE FOX", "THE BOX", "THE OX"] * 20, "unigram", 12)
    result = vocabulary(model)
    assert len(learned) <= 12 and result[:2] == ["<pad>", "<unk>"]
    assert set("THEFOXB\u2581") < set(result) and any("OX" in piece for piece in result)
    assert len(learned.encode("THE FOX")) < len("THE FOX")


def test_a_text_too_short_for_so_many_unigrams(model):
    assert 5 < len(learn(model, ["HELLO WORLD"] * 3, "unigram", 1000)) < 1000


def test_the_model_is_the_same_when_learnt_again(model, tmp_path):
    for kind in tokenizer.KINDS:
        learn(model, TEXTS * 5, kind, 40)
        learn(tmp_path / "again", TEXTS * 5, kind, 40)
        assert model.read_bytes() == (tmp_path / "again").read_bytes()


def test_no_line_is_too_long_too_short_or_too_rare(model):
    learned = learn(model, ["A" * 20_000 + "Ż", "B"])
    assert {"Ż", "B"} <= set(vocabulary(model))
    assert len(learned.encode("A" * 20_000)) == 20_000
    learn(model, ["NO", "", "I"])  # no text of ten letters
    assert sorted(vocabulary(model)[2:]) == ["I", "N", "O"]
    for kind in tokenizer.KINDS:
        learn(model, ["ABBA BAB"] * 2000 + ["Q"], kind, 20)
        assert "Q" in vocabulary(model)


def test_invalid_settings(model):
    with pytest.raises(UserError, match="token_type is 'bpe'"):
        learn(model, TEXTS, "bpe")
    least = len(set("".join(TEXTS))) + 2
    for size in (least - 1, 0, -1):
        with pytest.raises(UserError, match=f"needs {least} pieces"):
            learn(model, TEXTS, "unigram", size)
    assert not model.exists()
    assert len(learn(model, TEXTS, "unigram", least)) == least


def test_without_a_model_every_text_is_empty(model):
    absent = Tokenizer(model)
    assert (len(absent), absent.encode("A"), absent.decode([0, 0])) == (1, [], "")


# ---------------------------------------------------------------- what stage 1 makes of it


def stages_0_and_1(table: Path, *words: str) -> Path:
    """Run the first two stages here; return the folder of the folds."""
    options = parse(["--corpus", "csv", "--data", str(table), "--hparams", "hparams/mini.yaml", *words])
    prepare(options)
    make_folds(options)
    return options.folds_folder(options.chosen_valid())


@pytest.mark.parametrize("valid", ["partner", "recordings", "none"])
def test_a_tokenizer_never_saw_the_text_of_its_test_set(workplace, own_table, valid):
    folds = stages_0_and_1(own_table, "--valid", valid)
    for fold in ("1A", "1B", "2A", "2B"):
        texts = {
            part: set("".join(manifest.read(folds / fold / f"{part}.csv")["wrd"]).replace(" ", "\u2581"))
            for part in ("train", "test")
        }
        assert set(vocabulary(folds / fold / "tokenizer.model")[2:]) == texts["train"]
        # Only speaker 2B says a word with a Z.
        trains_2b = fold not in ("2B", {"partner": "2A"}.get(valid))
        assert ("Z" in texts["test"], "Z" in texts["train"]) == (fold == "2B", trains_2b)


def test_unigrams_have_a_folder_beside_that_of_the_characters(workplace, own_table):
    characters = stages_0_and_1(own_table)
    unigrams = stages_0_and_1(own_table, "--", "--token-type", "unigram", "--vocab-size", "30")
    assert (characters.name, unigrams.name) == ("speaker", "speaker-unigram_30")
    for fold in ("1A", "2B"):
        assert (characters / fold / "test.csv").read_bytes() == (unigrams / fold / "test.csv").read_bytes()
        learned = Tokenizer(unigrams / fold / "tokenizer.model")
        assert len(learned.encode("NOT AT ALL")) < len("NOT AT ALL")
        assert max(map(len, vocabulary(characters / fold / "tokenizer.model")[2:])) == 1


def test_a_corpus_without_transcripts_has_no_tokenizer(workplace, own_table, capsys):
    own_table.write_text(own_table.read_text().replace("wrd", "unused", 1))
    folds = stages_0_and_1(own_table)
    assert "no utterance has a transcript" in capsys.readouterr().out
    assert sorted(path.name for path in (folds / "1A").iterdir()) == ["test.csv", "train.csv", "valid.csv"]


def test_a_fold_whose_training_set_lost_its_transcripts_loses_its_tokenizer(workplace, own_table):
    folds = stages_0_and_1(own_table)
    assert (folds / "1A" / "tokenizer.model").exists()
    table = pd.read_csv(own_table, dtype=str)
    table.loc[table["spk_id"] != "1A", "wrd"] = ""
    table.to_csv(own_table, index=False)
    assert stages_0_and_1(own_table, "--force", "true") == folds
    with_model = {path.parent.name for path in folds.glob("*/tokenizer.model")}
    assert with_model == {"2A", "2B"}  # 1A tests its own words, and validates fold 1B
