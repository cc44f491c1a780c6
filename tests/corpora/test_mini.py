"""The mini corpus: the shape of IEMOCAP, the same bytes each time, and emotions that can be measured."""

import hashlib
import itertools
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import espeakng_loader
import numpy as np
import pytest
import soundfile
from paths import REPOSITORY
from pitch import f0

from local.core.errors import UserError
from local.corpora import espeak, manifest, mini


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("mini")


@pytest.fixture(scope="module")
def corpus(folder):
    return mini.read(folder)


@pytest.fixture(scope="module")
def speech(corpus):
    """Samples of each utterance, int16, by its ID."""
    paths = manifest.resolve(corpus.table["wav"], corpus.root)
    return {name: soundfile.read(path, dtype="int16")[0] for name, path in zip(corpus.table["ID"], paths, strict=True)}


def tree(root: Path) -> dict[str, str]:
    files = (path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def spread(pitch: np.ndarray) -> float:
    """Standard deviation in octaves, without the frames in which the octave was mistaken."""
    octaves = np.log2(pitch / np.median(pitch))
    return octaves[np.abs(octaves) < 0.5].std()


def test_it_is_read_as_iemocap_is(corpus, folder):
    table = corpus.table
    assert (corpus.name, corpus.root, corpus.faults) == ("mini", folder / "IEMOCAP_mini_release", [])
    assert "synthetic" in corpus.source and "nothing of real speech" in corpus.source
    assert len(table) == 480 and table["ID"].is_unique
    assert set(table.groupby(["spk_id", "emo"]).size()) == {12} and table["spk_id"].nunique() == 10
    assert set(table.groupby(["spk_id", "style"]).size()) == {24}
    assert set(table["recording"].map(mini.recording_fold)) == set(table["spk_id"]) >= set(mini.DEFAULT_FOLDS)
    # The prefix of a recording is not who speaks: half of the turns are the partner's.
    assert (table["recording"].map(mini.recording_fold) != table["spk_id"]).sum() == 240


def test_two_processes_at_once_make_the_same_bytes_in_place_of_an_outdated_release(corpus, tmp_path):
    """Of every fifth dialogue, to save time."""
    outdated, killed = tmp_path / mini.RELEASE, tmp_path / f".{mini.RELEASE}.unfinished" / "new"
    for folder in (outdated, killed):
        folder.mkdir(parents=True)
        (folder / mini.EARLIER_MARKER).write_text("of another version\n")
        (folder / "left.txt").write_text("")
    code = """
import sys
from itertools import islice
from local.corpora import mini
dialogues = mini._dialogues
mini._dialogues = lambda seed: dict(islice(dialogues(seed).items(), 0, None, 5))
mini.make(mini.Path(sys.argv[1]))
"""
    makers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=REPOSITORY) for _ in range(2)]
    assert [maker.wait() for maker in makers] == [0, 0]
    made = tree(outdated)
    assert made.items() <= tree(corpus.root).items()
    assert len([name for name in made if "/EmoEvaluation/Ses" in name]) == 8
    assert [path.name for path in tmp_path.iterdir()] == [mini.RELEASE]


def test_a_release_of_this_version_is_kept(corpus, folder):
    before = (corpus.root / mini.MARKER).stat()
    assert mini.make(folder) == corpus.root
    assert mini.read(corpus.root).root == corpus.root  # the release itself will do for its folder
    assert (corpus.root / mini.MARKER).stat() == before


def test_a_broken_release_is_named(corpus, folder):
    wav = next(corpus.root.glob("Session2/sentences/wav/*/Ses*.wav"))
    content = wav.read_bytes()
    wav.unlink()
    try:
        with pytest.raises(UserError, match=wav.name):
            mini.read(folder)
    finally:
        wav.write_bytes(content)


def test_a_folder_that_is_not_a_mini_corpus_is_refused_and_kept(tmp_path):
    precious = tmp_path / mini.RELEASE / "thesis.txt"
    precious.parent.mkdir()
    precious.write_text("years of work")
    with pytest.raises(UserError, match="not a mini corpus"):
        mini.make(tmp_path)
    with pytest.raises(UserError, match="cannot make the mini corpus in"):
        mini.read(precious)
    assert precious.read_text() == "years of work"


@pytest.mark.parametrize("seed", range(1, 11))
def test_the_facts_hold_for_any_seed(seed):
    dialogues = mini._dialogues(seed)
    turns = list(itertools.chain(*dialogues.values()))
    assert len(turns) == len({turn.name for turn in turns}) == mini.FACTS.n_turns
    labels = Counter(turn.label for turn in turns)
    assert {label: labels[label] for label in ("ang", "neu", "sad", "hap", "exc")} == {
        "ang": 120, "neu": 120, "sad": 120, "hap": 70, "exc": 50,
    }  # fmt: skip
    assert [turn.label for turn in turns if turn.text == "{LG}"] == ["hap"]
    assert all(turn.name.startswith(dialogue) for dialogue, spoken in dialogues.items() for turn in spoken)


def test_the_tree_has_the_traps_of_the_real_one(corpus):
    root = corpus.root
    recordings = {path.name for path in root.glob("Session*/sentences/wav/*")}
    assert len(recordings) == 40 and {"Ses03M_impro05a", "Ses03M_impro05b", "Ses05M_script01_1b"} <= recordings
    for pattern in ("dialog/EmoEvaluation/._*.txt", "dialog/transcriptions/._*.txt", "sentences/wav/*/._*.wav"):
        assert len(list(root.glob(f"Session*/{pattern}"))) == 5
    for ratings in ("Categorical", "Attribute", "Self-evaluation"):
        assert len(list(root.glob(f"Session*/dialog/EmoEvaluation/{ratings}/Ses*.txt"))) == 40

    evaluations = "".join(path.read_text() for path in sorted(root.glob("Session*/dialog/EmoEvaluation/Ses*.txt")))
    line = re.compile(
        r"^\[(\d+\.\d{4}) - (\d+\.\d{4})\]\t(Ses\w+)\t(\w{3})\t\[\d\.\d{4}, \d\.\d{4}, \d\.\d{4}\]$", re.M
    )
    rated = {turn: (float(start), float(end), label) for start, end, turn, label in line.findall(evaluations)}
    others = {"exc": 50, "hap": 70, "fru": 20, "xxx": 20, "sur": 10, "fea": 10, "oth": 10, "dis": 10}
    assert Counter(label for _, _, label in rated.values()) == {"ang": 120, "neu": 120, "sad": 120, **others}
    starts = [start for turn, (start, _, _) in rated.items() if turn.startswith("Ses01F_impro01_")]
    assert starts != sorted(starts)  # in the order of names, not of time

    transcriptions = [path.read_text() for path in root.glob("Session*/dialog/transcriptions/Ses*.txt")]
    spoken = dict(re.findall(r"^(Ses\w+) \[\d{3}\.\d{4}-\d{3}\.\d{4}\]: (.*)$", "".join(transcriptions), re.M))
    assert len([turn for turn in set(spoken) - set(rated) if "XX" in turn]) == 80 == len(spoken) - len(rated)
    assert 10 < sum("{" in text or "[" in text for text in spoken.values()) < 60
    for turn, (start, end, _) in itertools.islice(rated.items(), 20):
        (wav,) = root.glob(f"Session*/sentences/wav/*/{turn}.wav")
        assert soundfile.info(wav).duration == pytest.approx(end - start, abs=2e-4)


def test_scripts_recur_with_other_emotions(corpus):
    table = corpus.table[corpus.table["style"] == "script"]
    place = table["ID"].str.extract(r"_(script\d\d_\d)b?_(.\d+)$").agg("_".join, axis=1)
    recurring = table.groupby(place)
    assert set(recurring["wrd"].nunique()) == {1} and recurring.size().max() > 5
    assert recurring["emo"].nunique().median() >= 3


def test_words_are_few_and_recur(corpus):
    sentences = (REPOSITORY / "local/corpora/mini_sentences.txt").read_text().splitlines()
    vocabulary = set(" ".join(re.sub(r"[^A-Z' ]", "", sentence.upper()) for sentence in sentences).split())
    counts = Counter(" ".join(corpus.table["wrd"]).split())
    assert 40 <= len(sentences) == len(set(sentences)) <= 60 <= len(vocabulary) <= 120
    assert set(counts) <= vocabulary and min(counts.values()) >= 3
    assert set("".join(counts)) == set("ABCDEFGHIJKLMNOPQRSTUVWXYZ'")
    assert list(corpus.table.loc[corpus.table["wrd"] == "", ["spk_id", "emo"]].itertuples(index=False)) == [
        ("04F", "hap")
    ]


def test_audio_has_its_rate_length_margins_and_level(corpus, speech):
    info = soundfile.info(manifest.resolve(corpus.table["wav"], corpus.root).iloc[0])
    assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
    assert corpus.table["duration"].between(0.5, 2.5).all() and 1.0 < corpus.table["duration"].mean() < 1.4
    for samples in speech.values():
        peak = np.abs(samples.astype(int)).max()
        loud = np.flatnonzero(np.abs(samples) > 0.02 * peak) / 16_000
        assert 500 < peak < 32_000
        assert 0.05 <= loud[0] < 0.15 and 0.05 <= len(samples) / 16_000 - loud[-1] < 0.15


def test_emotions_sound_as_they_should_and_overlap(corpus, speech):
    table = corpus.table[corpus.table["spk_id"].isin(["01F", "02M"]) & (corpus.table["wrd"] != "")].set_index("ID")
    pitches = {name: f0(speech[name]) for name in table.index}
    measures = table[["spk_id", "emo"]].assign(
        level=[20 * np.log10(speech[name].std() / 32768) for name in table.index],
        rate=[len(table["wrd"][name]) / table["duration"][name] for name in table.index],
        pitch=[np.median(pitches[name]) for name in table.index],
        pitch_range=[spread(pitches[name]) for name in table.index],
    )
    means = measures.groupby("emo")[["level", "rate", "pitch_range"]].mean()
    assert list(means["level"].sort_values().index) == ["sad", "neu", "hap", "ang"]
    assert list(means["rate"].sort_values().index) == ["sad", "neu", "hap", "ang"]
    assert means["pitch_range"]["sad"] < means["pitch_range"]["neu"] < means["pitch_range"][["ang", "hap"]].min()
    for _, actor in measures.groupby("spk_id"):
        assert list(actor.groupby("emo")["pitch"].mean().sort_values().index) == ["sad", "neu", "ang", "hap"]
    # No one measure tells neighbours apart without error.
    for measure, order in (("level", ["neu", "hap", "ang"]), ("rate", ["sad", "neu", "hap", "ang"])):
        extent = measures.groupby("emo")[measure].agg(["min", "max"]).loc[order]
        assert (extent["max"].iloc[:-1].to_numpy() > extent["min"].iloc[1:].to_numpy()).all()


def test_every_actor_has_a_voice_of_their_own(corpus):
    assert len(set(mini.VOICES.values())) == 10 and set(mini.VOICES) == set(corpus.table["spk_id"])
    heights = {
        actor: np.median(f0(*espeak.speak("Open the door now.", voice, rate=175, pitch=50, pitch_range=50)))
        for actor, voice in mini.VOICES.items()
    }
    women, men = ([height for actor, height in heights.items() if actor[-1] == gender] for gender in "FM")
    assert min(women) > 150 > 130 > max(men)


def test_a_library_that_is_missing_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(espeakng_loader, "get_library_path", lambda: str(tmp_path / "libespeak-ng.so"))
    with pytest.raises(UserError, match="libespeak-ng") as caught:
        mini.make(tmp_path)
    assert "requirements.txt" in caught.value.remedy and not list(tmp_path.iterdir())
