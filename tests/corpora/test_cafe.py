"""CaFE: its layout at both sample rates, and what tells that a copy of it is not whole."""

from __future__ import annotations

import pytest
import soundfile
from releases import make_release

from local.core.errors import UserError
from local.corpora.cafe import NAMES, read

FOLDERS = {"C": "Colère", "D": "Dégoût", "J": "Joie", "N": "Neutre", "P": "Peur", "S": "Surprise", "T": "Tristesse"}


def whole(suffix: str = "wav") -> list[str]:
    """The paths of the release: 12 actors, 6 emotions at 2 intensities and neutral, 6 sentences."""
    files = []
    for actor in range(1, 13):
        for letter, folder in FOLDERS.items():
            for intensity, name in ((1, "Faible/"), (2, "Fort/")):
                if letter == "N" and intensity == 2:
                    continue
                below = "" if letter == "N" else name
                files += [f"{folder}/{below}{actor:02}-{letter}-{intensity}-{s}.{suffix}" for s in range(1, 7)]
    return files


def test_a_whole_release(tmp_path):
    files = whole()
    corpus = read(make_release(tmp_path / "CaFE_48k", files, rate=48_000))
    table = corpus.table.set_index("ID")
    assert (len(table), corpus.faults, corpus.rejected, corpus.notes) == (936, [], 0, [])
    assert table["emo"].value_counts().to_dict() == {
        **dict.fromkeys(("ang", "dis", "fea", "hap", "sad", "sur"), 144),
        "neu": 72,
    }
    assert table.groupby("spk_id")["gender"].first().to_dict() == {f"{n:02}": "FM"[n % 2] for n in range(1, 13)}
    assert table["wrd"].nunique() == 6
    assert table.loc["07-T-2-2", ["emo", "gender", "wrd"]].tolist() == ["sad", "M", "DEUX ÂNES AIGRIS AU PELAGE BRUN"]
    assert table.loc["02-S-1-4", "emo"] == "sur" and table.loc["02-P-1-4", "emo"] == "fea"
    assert set(NAMES) == set(table.index)


def test_aiff_at_192_khz_with_other_names(tmp_path):
    root = make_release(tmp_path / "CaFE_192k", [], rate=192_000)
    (root / "ColŠre" / "Faible").mkdir(parents=True)
    (root / "Neutre").mkdir()
    soundfile.write(root / "ColŠre" / "Faible" / "01-C-1-1.aiff", [0.1] * 1920, 192_000, subtype="PCM_24")
    soundfile.write(root / "Neutre" / "06-N-4.aiff", [0.1] * 1920, 192_000, subtype="PCM_24")  # without intensity
    soundfile.write(root / "Neutre" / "06-T-4.aiff", [0.1] * 1920, 192_000, subtype="PCM_24")
    corpus = read(root, partial=True)
    assert corpus.table[["ID", "duration", "emo"]].values.tolist() == [
        ["01-C-1-1", 0.01, "ang"],
        ["06-N-1-4", 0.01, "neu"],
    ]
    assert corpus.rejected == 934
    assert str(corpus.faults[0]).startswith("Neutre/06-T-4.aiff: is not named like 01-C-1-1.wav")


def test_both_sample_rates_at_once_and_what_is_missing(tmp_path):
    files = [f"CaFE_48k/{file}" for file in whole() if "02-J" in file and not file.endswith("1-1.wav")]
    root = make_release(tmp_path / "CaFE", files)
    (root / "CaFE_192k_1").mkdir()
    soundfile.write(root / "CaFE_192k_1" / "02-J-2-3.aiff", [0.1] * 1920, 192_000)
    soundfile.write(root / "CaFE_192k_1" / "02-N-2-3.aiff", [0.1] * 1920, 192_000)
    with pytest.raises(UserError) as error:
        read(root)
    lines = [line.strip() for line in error.value.what.splitlines()[1:]]
    assert lines[:2] == [
        "CaFE_192k_1/02-N-2-3.aiff: is not named like 01-C-1-1.wav: actor, emotion, intensity, sentence",
        "CaFE_48k/Joie/Fort/02-J-2-3.wav: ID '02-J-2-3' is that of 'CaFE_192k_1/02-J-2-3.aiff' already",
    ]
    assert lines[2] == "01-C-1-1: no audio file of this name" and lines[-1].startswith("... and 905 more")
