"""Emozionalmente: its tables, the votes of listeners, the official lists."""

from __future__ import annotations

import pytest
from releases import make_release

from local.core.errors import UserError
from local.corpora import emozionalmente
from local.corpora.emozionalmente import read

EMOTIONS = ("anger", "disgust", "fear", "joy", "neutrality", "sadness", "surprise")
SAMPLES = "file_name,sentence,sentence_language,actor,emotion_expressed"
FILES = [f"16128728{n:05}.wav" for n in range(14)]


def sample(n: int) -> str:
    """A row of samples.csv."""
    return f'{FILES[n]},"Gli operai si alzano presto, è vero.",it,actor{n // 4},{EMOTIONS[n % 7]}'


@pytest.fixture
def release(tmp_path, monkeypatch):
    """A release of 14 utterances by four actors, the folder above its own."""
    monkeypatch.setattr(emozionalmente, "TOTAL", 14)
    monkeypatch.setattr(emozionalmente, "COUNTS", {"train": 8, "valid": 4, "test": 2})
    root = make_release(tmp_path / "data" / "emozionalmente", [f"audio/{file}" for file in FILES])
    rows = [sample(n) for n in range(14)]
    write(root, "samples", [SAMPLES, *rows])
    genders = ("female", "Male", "other", "F")
    users = [f"actor{n},{gender},27,it" for n, gender in enumerate(genders)]
    write(root, "users", ["username,gender,age,mother_tongue", *users, "listener7,male,60,it"])
    votes = [
        f"{FILES[n]},listener{i},{'bad' if i == 4 else 'good'},{vote}"
        for n in range(14)
        for i, vote in enumerate(("sadness", EMOTIONS[n % 7], "sadness", EMOTIONS[n % 7], "joy"))
    ]
    write(root, "evaluations", ["file_name,evaluator,audio_quality,emotion_recognized", *votes])
    for name, some in (("train", rows[:8]), ("dev", rows[8:12]), ("test", rows[12:])):
        write(root, f"split/{name}", [SAMPLES, *some])
    return root


def write(root, name: str, lines: list[str]) -> None:
    """Write a table of the metadata."""
    path = root / "metadata" / f"{name}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_published_counts():
    assert sum(emozionalmente.COUNTS.values()) == emozionalmente.TOTAL == 6902


@pytest.mark.parametrize("above", [False, True])
def test_a_whole_release(release, above):
    corpus = read(release.parent if above else release)
    table = corpus.table.set_index("ID")
    assert (len(table), corpus.faults, corpus.rejected, corpus.warnings, corpus.notes) == (14, [], 0, [], [])
    assert corpus.root == release.resolve()
    assert table["emo"].value_counts().to_dict() == dict.fromkeys(["ang", "dis", "fea", "hap", "neu", "sad", "sur"], 2)
    assert table["split"].value_counts().to_dict() == {"train": 8, "valid": 4, "test": 2}
    assert table["gender"].tolist() == ["F"] * 4 + ["M"] * 4 + [""] * 4 + ["F"] * 2
    first = table.loc[FILES[0][:-4]]
    assert (first["spk_id"], first["votes"], first["wrd"]) == (
        *("actor0", "ang 2 sad 2 hap 1", "GLI OPERAI SI ALZANO PRESTO È VERO"),
    )
    assert table["votes"].tolist()[3] == "hap 3 sad 2" and table["votes"].tolist()[5] == "sad 4 hap 1"
    assert first["wav"] == f"$data_root/audio/{FILES[0]}"
    (release / "audio" / "9.wav").write_bytes(b"")
    assert read(release).notes == ["left out, in no readable row of metadata/samples.csv: 1 audio file: audio/9.wav"]


def test_names_that_users_chose(release):
    """They need not be names of folders, nor differ in more than case."""
    rows = [sample(n).replace("actor0", "maria@here").replace("actor1", "Maria@here") for n in range(14)]
    write(release, "samples", [SAMPLES, *rows])
    corpus = read(release)
    assert corpus.faults == []
    assert corpus.table["spk_id"].value_counts().to_dict() == {
        **{"Maria_here": 4, "maria_here_2": 4},
        **{"actor2": 4, "actor3": 2},
    }


def test_the_first_version_has_no_lists(release):
    for file in (release / "metadata" / "split").iterdir():
        file.unlink()
    (release / "metadata" / "split").rmdir()
    corpus = read(release)
    assert set(corpus.table["split"]) == {""}
    assert corpus.notes == ["no official lists (metadata/split, of version 1.1)"]


def test_every_fault_is_named(release):
    rows = [sample(n) for n in range(14)]
    rows[2] = rows[2].replace("fear", "boredom")
    rows[3] = rows[3].replace("actor0", "")
    rows[4] += ",more"
    write(release, "samples", [SAMPLES, *rows[:13]])
    write(release, "split/dev", [SAMPLES, *rows[7:11]])
    (release / "metadata" / "users.csv").unlink()
    with open(release / "metadata" / "evaluations.csv", "a") as file:
        file.write(f"{FILES[0]},listener9,good,boredom\n")
    (release / "audio" / FILES[1]).unlink()
    known = "anger, disgust, fear, joy, neutrality, sadness, surprise"
    with pytest.raises(UserError) as error:
        read(release)
    assert sorted(line.strip() for line in error.value.what.splitlines()[1:]) == sorted(
        [
            "metadata/samples.csv:6: 6 fields where the header has 5",
            "metadata/samples.csv: 13 rows, 14 expected",
            "metadata/users.csv: no table of this name",
            f"metadata/evaluations.csv:72: emotion_recognized 'boredom' is none of {known}",
            f"metadata/split/dev.csv:2: {FILES[7]!r} is in the list train already",
            f"metadata/samples.csv:3: 'audio/{FILES[1]}': No such file or directory",
            f"metadata/samples.csv:4: emotion_expressed 'boredom' is none of {known}",
            "metadata/samples.csv:5: actor is empty",
        ]
    )
    corpus = read(release, partial=True)
    assert (len(corpus.table), corpus.rejected) == (9, 5)


def test_no_release(tmp_path):
    for data, words in ((None, "needs its folder"), (tmp_path / "x", "is not a folder"), (tmp_path, "has no file")):
        with pytest.raises(UserError, match=words) as error:
            read(data)
        assert "./run.sh --corpus emozionalmente --help" in error.value.remedy


@pytest.mark.parametrize(
    ("actors", "names"),
    [
        (["ann", "bea 2"], ["ann", "bea_2"]),
        (["a b", "a b_2", "a-b"], ["a_b", "a_b_2", "a_b_3"]),
        (["Ann", "Ann_2", "ann"], ["Ann", "Ann_2", "ann_3"]),
        (["ANN", "Ann", "ann", "ann_2"], ["ANN", "Ann_2", "ann_3", "ann_2_2"]),
    ],
)
def test_no_two_actors_have_one_name_in_any_case(actors, names):
    assert list(emozionalmente._speakers(actors).values()) == names
