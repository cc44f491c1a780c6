"""The model card: its front matter through YAML and the hub's own reader, its body through a Markdown parser."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import pytest
import tiny_models
import torch
import yaml
from hand_made_runs import WITHOUT_TEXT, WRONG, predict
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from local import corpora
from local.deploy.card import render
from local.deploy.gather import pretrained_names
from local.encoders import load_encoder
from local.experiment.command_line import parse
from local.folds import make_folds
from local.inference.ensemble import Ensemble
from local.inference.model_folder import Model
from local.prepare import prepare
from local.score import score
from local.scoring.scored import Experiment, load
from local.systems.majority import MajorityClass
from local.systems.mtl import MultiTaskSystem
from local.systems.statistics import StatisticsSystem
from local.systems.wu_capsules import WuCapsules

SCORES = ("wa", "ua", "f1", "wer", "cer")
HOSTILE = '"]}\n---\n<script>alert(1)</script> | ```\n# head **b** [l](http://x) `c` <img src=x>'
CONTENTS = {
    "config.json": "read by `local.inference.recognizer`",
    "emotion": "`AutoModelForAudioClassification`",
    "ctc": "`AutoModelForCTC`",
    "model.onnx": "onnxruntime",
}
TAGS = ["speech-emotion-recognition", "audio-classification", "automatic-speech-recognition"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return load_encoder(tiny_models.save(tmp_path_factory.mktemp("encoder"), "wav2vec2-group"))


@pytest.fixture
def scored(workplace, own_table):
    """Score an experiment with these options, and these wrong and lost in its folds."""

    def run(
        *asked: str, folds=WRONG, seeds: tuple[int, ...] = (1,), alpha: float = 0.1, text: bool = True
    ) -> Experiment:
        words = ["--corpus", "csv", "--data", str(own_table), "--hparams", "hparams/mini.yaml", "--name", "n", *asked]
        words += ["--", "--alpha", str(alpha)] if text else WITHOUT_TEXT
        prepare(parse(words))
        make_folds(parse(words))
        for seed in seeds:
            for rank, fold in enumerate(folds):
                predict(words, fold, seed, wrong=1 + rank, lost=rank, text=text)
        score(parse(words))
        return load(parse(words).experiment_folder)

    return run


def made(encoder, /, members: int = 1, labels=("ang", "hap", "sad"), alpha=0.1, emotion_weight=1.0, **origin) -> Model:
    """A model of 9 tokens; `origin` replaces what its provenance says."""
    systems = [MultiTaskSystem(encoder, len(labels), 9, alpha, emotion_weight=emotion_weight) for _ in range(members)]
    system = systems[0] if members == 1 else Ensemble(systems, torch.zeros(members, 9, dtype=torch.long))
    given = {"corpus": "own", "protocol": "speaker", "valid": "partner", "name": "n", "seed": 1, "folds": ["1A"]}
    given |= {"epochs": [7], "averaged": 1, "commit": "0123456789ab", "encoder": "facebook/wav2vec2-base"} | origin
    return Model(system, list(labels), list("-?▁abcdef"), [9] * members, 12.34, given)


def front_matter(card: str) -> dict:
    assert card.startswith("---\n")
    return yaml.safe_load(card.split("\n---\n")[0])


def body(card: str) -> str:
    return card.split("\n---\n", 1)[1]


def parsed(card: str):
    """All tokens of the body, those inside of blocks as well."""
    tokens = MarkdownIt("commonmark").enable("table").parse(body(card))
    return [inner for token in tokens for inner in (token, *(token.children or ()))]


def tables(card: str) -> list[list[list[str]]]:
    """The text of the cells of every table, line by line."""
    tables_read = []
    for token, following in zip(parsed(card), parsed(card)[1:], strict=False):
        if token.type == "table_open":
            tables_read.append([])
        elif token.type == "tr_open":
            tables_read[-1].append([])
        elif token.type in ("th_open", "td_open"):
            inner = following.children or ()
            tables_read[-1][-1].append("".join(each.content for each in inner))
    return tables_read


def unwrapped(card: str) -> str:
    return " ".join(card.split())


def csv_rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def same(cell: str, fraction: str) -> bool:
    """Whether a cell in per cent with two digits is that fraction."""
    return len(cell.partition(".")[2]) == 2 and abs(float(cell) - 100 * float(fraction)) < 0.005 + 1e-9


# ---------------------------------------------------------------- the front matter


def test_the_hub_can_read_the_card(encoder):
    data = ModelCard(render(made(encoder), None, CONTENTS, [])).data
    assert (data.pipeline_tag, data.library_name, data.license) == ("audio-classification", "ser-mtl", "other")
    assert data.tags == TAGS
    assert data.metrics == ["accuracy", "recall", "f1", "wer", "cer"]
    assert data.language is None and data.eval_results is None


@pytest.mark.parametrize("files", [["model.onnx"], ["emotion"], ["ctc"], [*CONTENTS]])
def test_what_the_examples_take_is_explained_before_they_take_it(encoder, files):
    card = render(made(encoder), None, {name: CONTENTS[name] for name in files}, [])
    before = card.partition("wav[None]" if files == ["model.onnx"] else "(wav)")[0]
    assert before != card and "`wav` is a numpy array [samples], float32, 16 kHz" in before


@pytest.mark.parametrize(
    ("corpus", "language", "licence", "words"),
    [
        ("iemocap", "en", "other", "only as your own agreement allows"),
        ("iemocap-improvised-unmerged", "en", "other", "improvised turns only, excited ones left out: 2,280 of 10,039"),
        ("nemo", "pl", "cc-by-nc-sa-4.0", "no commercial use"),
        ("mini", "en", "other", "of no use on real speech"),
        ("own", None, "other", "The owner of the recordings"),
    ],
)
def test_a_corpus_brings_its_language_and_licence(encoder, corpus, language, licence, words):
    card = render(made(encoder, corpus=corpus), None, CONTENTS, [])
    header = front_matter(card)
    assert (header.get("language"), header["license"]) == (language, licence)
    assert ("license_name" in header) == (licence == "other")
    assert words in unwrapped(card)
    others = {corpora.about(name).terms for name in corpora.NAMES} - {corpora.about(corpus).terms}
    assert not [terms for terms in others if terms in unwrapped(card)]
    assert corpora.about(corpus).terms in unwrapped(card)


# ---------------------------------------------------------------- figures


def test_what_a_map_made_of_the_labels_is_said(encoder):
    words = "map 4class (0123abcd): ang of ang 3; left out: fea 2"
    model = made(encoder, corpus="nemo@4class")
    model.provenance["labels"] = words
    card = render(model, None, {}, [])
    assert f"Labels: {words}." in unwrapped(card) and "nEMO is under CC BY-NC-SA" in card
    assert "Labels:" not in render(made(encoder), None, {}, [])


def test_figures_are_those_of_the_tables(encoder, scored):
    own = scored(seeds=(1, 2))
    card = render(made(encoder), own, CONTENTS, [])
    heads, *lines = tables(card)[0]
    assert heads == ["seed", "fold", "n", "WA", "UA", "F1", "WER", "CER", "epoch", "weights"]
    folds, summary = csv_rows(own.folder / "folds.csv"), csv_rows(own.folder / "summary.csv")[0]
    assert len(folds) == 8 and len(lines) == 12
    for line, row in zip(lines, folds, strict=False):
        assert [*line[:3], line[8]] == [row["seed"], row["fold"], row["n"], row["epoch"]]
        assert all(same(cell, row[name]) for cell, name in zip(line[3:8], SCORES, strict=True))
    pooled, interval, over_folds, over_seeds = lines[-4:]
    assert pooled[1:3] == ["pooled, 4/4 folds", "96"]
    assert all(same(cell, summary[name]) for cell, name in zip(pooled[3:8], SCORES, strict=True))
    for cell, name in zip(interval[3:8], SCORES, strict=True):
        ends = [f"{100 * float(summary[f'{name}_{end}']):.1f}" for end in ("low", "high")]
        assert cell == "–".join(ends)
    for row, what in ((over_folds, ""), (over_seeds, "_seeds")):
        for cell, name in zip(row[3:8], SCORES, strict=True):
            mean, _, deviation = cell.split()
            assert same(mean, summary[f"{name}{what}_mean"]) and same(deviation, summary[f"{name}{what}_sd"])
    assert [line[9] for line in lines] == ["this model", *[""] * 11]
    assert "not of this model alone" in card and "folds of the protocol only" not in card


def test_missing_folds_and_intervals_are_mentioned(encoder, scored):
    own = scored(folds=["1A", "2A"])
    bounds = {name: float("nan") for name in own.summary.index if name.endswith(("_low", "_high"))}
    own = replace(own, summary=own.summary.where(~own.summary.index.isin(list(bounds))))
    card = render(made(encoder), own, CONTENTS, [])
    assert tables(card)[0][-2][1:8] == ["95 % interval", "", *["–"] * 5]
    assert "No interval: too few" in card and "Pooled is over 2/4 folds of the protocol only" in card


def test_an_experiment_that_was_not_scored_has_no_figures(encoder):
    card = render(made(encoder), None, CONTENTS, [])
    assert "the experiment has not been scored" in card and "--stage 3 --stop-stage 4" in card
    assert "WA" not in card and "%" not in card and not tables(card)


def test_a_fold_that_was_not_scored_is_mentioned(encoder, scored):
    own = scored(folds=["1B"])
    card = render(made(encoder), own, CONTENTS, [])
    assert "this model**" not in card and "The fold of this model has not been scored" in unwrapped(card)


def test_only_the_fold_and_seed_of_the_model_are_marked(encoder, scored):
    own = scored(folds=["1A", "1B"], seeds=(1, 2))
    lines = tables(render(made(encoder, seed=2, folds=["1B"], epochs=[8]), own, CONTENTS, []))[0]
    assert [line[:2] for line in lines if line[9] == "this model"] == [["2", "1B"]]


@pytest.mark.parametrize(("origin", "words"), [({"averaged": 3}, "3 latest checkpoints"), ({"epochs": [9]}, "epoch 9")])
def test_figures_of_other_weights_are_not_passed_for_these(encoder, scored, origin, words):
    own = scored()
    card = render(made(encoder, **origin), own, CONTENTS, [])
    assert [line[9] for line in tables(card)[0][1:3]] == ["its fold, other weights", ""]
    assert words in unwrapped(card) and "the line is not of the weights in this folder" in unwrapped(card)
    assert "the line is not of the weights" not in render(made(encoder), own, CONTENTS, [])


def test_an_ensemble_has_no_figure_of_its_own(encoder, scored):
    card = render(made(encoder, members=2, folds=["1A", "2B"], epochs=[7, 7]), scored(), CONTENTS, [])
    assert [line[9] for line in tables(card)[0][1:]] == ["member", "", "", "member", "", "", ""]
    assert "The ensemble itself has no score" in card and "not of this ensemble alone" in card
    assert "the mean of the posteriors of 2 models, trained on the folds `1A`, `2B`" in card
    assert [line for line in card.splitlines() if line.startswith("python -m local.rerun")] == [
        f"python -m local.rerun results/own/speaker/n/seed1/{fold}" for fold in ("1A", "2B")
    ]


@pytest.mark.slow
def test_an_ensemble_on_official_lists_was_trained_on_none_that_it_tests(encoder, scored, own_table):
    lists = {"split": "split", ",s1,": "train", ",1B,": "valid", ",2A,": "test1", ",2B,": "test2"}
    lines = own_table.read_text().splitlines()
    named = [next(lists[mark] for mark in reversed(lists) if mark in line or mark == "split") for line in lines]
    own_table.write_text("\n".join(f"{line},{name}" for line, name in zip(lines, named, strict=True)))
    lists = {"protocol": "official", "valid": "list", "folds": ["test1", "test2"], "epochs": [7, 7]}
    own = scored("--protocol", "official", folds=lists["folds"])
    card = unwrapped(render(made(encoder, members=2, **lists), own, CONTENTS, []))
    assert "**The ensemble itself has no score**: each line is of one member." in card
    assert "this corpus cannot give one" not in card and "whose speakers are not in the training set" in card


def test_it_says_what_its_training_began_with(encoder):
    said = "its training began with a model that was trained on"
    earlier = [{"corpus": "nemo", "folds": ["EB0"]}, {}]
    card = unwrapped(render(made(encoder, before=earlier), None, CONTENTS, []))
    assert f"{said} `nemo`; that began with one trained on a corpus that is not known." in card
    assert said not in unwrapped(render(made(encoder), None, CONTENTS, []))


def test_it_says_of_what_a_merged_encoder_is(encoder):
    shares = {"ctc": {"front": 0.5, "1": 0.25}, "emotion": {"front": 0.75, "1": 1.0}}
    said = "a share of what trainings of single tasks have changed in it"
    card = unwrapped(render(made(encoder, merged=shares), None, CONTENTS, []))
    assert f"{said}: ctc front 0.50, 1 0.25; emotion front 0.75, 1 1.00." in card
    assert f"{said}." in unwrapped(render(made(encoder, members=2, merged={}), None, CONTENTS, []))
    assert said not in unwrapped(render(made(encoder), None, CONTENTS, []))


def test_alpha_0_promises_no_transcripts(encoder, scored):
    card = render(made(encoder, alpha=0.0), scored(alpha=0), CONTENTS, [])
    assert "the CTC head is not trained" in card
    assert front_matter(card)["tags"] == TAGS[:2]
    assert not {"wer", "cer"} & set(front_matter(card)["metrics"])


def test_a_system_without_text_promises_none(encoder, scored):
    given = made(encoder).provenance | {"encoder": None}
    model = Model(StatisticsSystem(3), ["ang", "hap", "sad"], [], [0], 2.0, given)
    card = render(model, scored(text=False), {"config.json": "", "model.onnx": ""}, ["There is no x."])
    assert "**Size**: 243 parameters" in unwrapped(card) and "**Encoder**" not in card
    assert front_matter(card)["tags"] == TAGS[:2]
    assert tables(card)[0][0] == ["seed", "fold", "n", "WA", "UA", "F1", "epoch", "weights"]
    for word in ("WER", "CER", "ranscript", "alpha", "CTC", "token", "vocab"):
        assert word not in card


def test_a_system_of_our_own_choice_reproduces_nothing(encoder):
    given = made(encoder).provenance | {"encoder": None}
    for system, words in (
        (MajorityClass(3), "**System**: Majority class; most of it is our own choice, so it reproduces no published"),
        (WuCapsules(3), "a re-implementation of Wu et al. 2019: capsules; how much of it is known from its authors"),
    ):
        card = unwrapped(render(Model(system, ["ang", "hap", "sad"], [], [0], 2.0, given), None, {}, []))
        assert words in card and ("re-implementation" in card) == (system.certainty != "own choice")


# ---------------------------------------------------------------- words


def test_protocol_recording_warns_of_shared_speakers(encoder, scored):
    own = scored("--protocol", "recording", folds=["part0"])
    origin = {"protocol": "recording", "valid": "recordings", "folds": ["part0"]}
    card = render(made(encoder, **origin), own, CONTENTS, [])
    assert "whole recordings, whose speakers are also in the training set." in unwrapped(card)
    assert "Training and test set share speakers**, those of 100.00 % of the tested utterances" in unwrapped(card)
    assert "share speakers" not in render(made(encoder), None, CONTENTS, [])


def test_speakers_that_are_not_known_are_not_spoken_of(encoder, scored):
    own = scored("--protocol", "session", folds=["s1", "s2"])
    origin = {"protocol": "session", "valid": "recordings", "folds": ["s1"]}
    known = unwrapped(render(made(encoder, **origin), own, CONTENTS, []))
    assert "a whole session, whose speakers are not in the training or validation set." in known
    assert "share speakers" not in known
    summary = own.summary.copy()
    summary[["speakers_known", "speaker_overlap"]] = "30/48", float("nan")
    partly = unwrapped(render(made(encoder, **origin), replace(own, summary=summary), CONTENTS, []))
    assert "who speaks is known for 30 of 48 utterances only" in partly and "nan %" not in partly
    unscored = unwrapped(render(made(encoder, **origin), None, CONTENTS, []))
    for card in (partly, unscored):
        assert "Whether training and test set share speakers is unknown" in card
        assert "whose speakers are not" not in card


def test_names_that_look_like_numbers_or_nothing(encoder, scored, own_table):
    text = own_table.read_text().replace(",1A,", ",NA,").replace(",1B,", ",007,").replace(",2A,", ",1e5,")
    own_table.write_text(text)
    own = scored("--name", "null", folds=["007", "1e5", "2B", "NA"])
    card = render(made(encoder, name="null", folds=["007"]), own, CONTENTS, [])
    assert "# null: emotion" in card and "python -m local.rerun results/own/speaker/null/seed1/007" in card
    lines = tables(card)[0]
    assert [line[1] for line in lines[1:5]] == ["007", "1e5", "2B", "NA"]
    assert [line[1] for line in lines if line[9] == "this model"] == ["007"]


@pytest.mark.parametrize("protocol", ["speaker-valid_oracle-OPTIMISTIC", "random-OPTIMISTIC"])
def test_what_is_optimistic_says_so_at_its_head(encoder, protocol):
    oracle = "oracle" in protocol
    valid = "oracle-OPTIMISTIC" if oracle else "utterances"
    card = unwrapped(render(made(encoder, protocol=protocol, valid=valid), None, CONTENTS, []))
    assert card.index(f"**The figures of this model are OPTIMISTIC.** Protocol `{protocol}`: each") < card.index(
        "## How"
    )
    assert ("Validation `oracle-OPTIMISTIC`: the test set itself chooses the epoch. The weights" in card) == oracle
    assert ("plays no role in it" in card) == (not oracle)
    assert "OPTIMISTIC" not in render(made(encoder), None, CONTENTS, [])


def test_text_that_was_held_out_is_distinguished(encoder, scored):
    own = scored()
    assert "No text was held out" in render(made(encoder), own, CONTENTS, [])
    assert "No text was held out" not in render(made(encoder, protocol="speaker-hold_text"), own, CONTENTS, [])


def test_values_of_the_training_are_those_of_the_yaml(encoder, scored):
    values = {key: value for key, value, _ in tables(render(made(encoder), scored(alpha=0.25), CONTENTS, []))[1][1:]}
    assert (values["alpha"], values["pooling"], values["lr"]) == ("0.25", "mean", "0.003")
    assert not {"encoder", "device", "micro_batch_size", "n_labels", "seed"} & values.keys()


def test_labels_and_encoder_are_named(encoder):
    card = render(made(encoder, labels=("ang", "fea", "bored")), None, CONTENTS, [])
    assert "`ang` anger, `fea` fear, `bored`." in card
    assert "wav2vec2, pretrained as `facebook/wav2vec2-base`;" in card
    assert "from random weights;" in render(made(encoder, encoder=None), None, CONTENTS, [])


def test_weights_of_others_are_named_with_their_licence(encoder):
    names = pretrained_names({"asr_encoder": "/home/me/whisper-gone/", "speaker_net": "~/net.pth", "encoder": None})
    assert names == {"asr_encoder": "whisper-gone", "speaker_net": "net.pth"}
    card = unwrapped(render(made(encoder, encoder=None, pretrained=["net.pth"]), None, CONTENTS, []))
    assert "The pretrained weights `net.pth` have their own licence" in card and "pretrained encoder" not in card


def test_misuse_and_its_law_are_named(encoder):
    card = render(made(encoder), None, CONTENTS, [])
    assert "Regulation (EU) 2024/1689, Article 5(1)(f)" in card and "not the state of mind of a person" in card


def test_only_what_is_there_is_explained_and_the_code_is_python(encoder):
    whole = render(made(encoder), None, CONTENTS, ["A padded batch moves posteriors by 1e-3."])
    bare = render(made(encoder), None, {"config.json": CONTENTS["config.json"]}, [])
    for word in ("transformers import", "InferenceSession", "posteriors by 1e-3"):
        assert word in whole and word not in bare
    blocks = [token.content for token in parsed(whole) if token.type == "fence" and token.info == "python"]
    assert len(blocks) == 3
    for block in blocks:
        compile(block, "card", "exec")


def shape(card: str) -> list[str]:
    """The kinds of all that Markdown makes of a card, but for how text and code alternate."""
    return [token.type for token in parsed(card) if token.type not in ("text", "code_inline", "softbreak")]


def test_hostile_names_are_shown_and_do_nothing(encoder, scored):
    own = scored()
    names = {"corpus": HOSTILE, "name": HOSTILE, "folds": [HOSTILE], "commit": HOSTILE, "encoder": HOSTILE}
    model = made(encoder, labels=(HOSTILE, "hap", "sad"), **names)
    folds = own.folds.assign(fold=own.folds["fold"].replace("1A", HOSTILE))
    spoilt = replace(own, folds=folds)
    vars(spoilt).update(values=own.values | {"pooling": HOSTILE}, epochs=own.epochs)
    card = render(model, spoilt, CONTENTS | {"emotion": HOSTILE, HOSTILE: "x"}, [HOSTILE])
    tame = render(made(encoder), own, CONTENTS | {"emotion": "x", "y": "x"}, ["x"])
    assert front_matter(card) == front_matter(tame)
    assert ModelCard(card).data.pipeline_tag == "audio-classification"
    assert shape(card) == shape(tame)
    assert not {"html_block", "html_inline", "link_open"} & set(shape(card))
    assert [len(line) for line in tables(card)[0]] == [len(line) for line in tables(tame)[0]]
    assert [token.content for token in parsed(card) if token.content.startswith('"]} --- <script>')]


def test_the_temperature_or_why_there_is_none(encoder):
    def line(model: Model) -> str:
        return next(line for line in render(model, None, CONTENTS, []).splitlines() if "**Temperature**" in line)

    assert line(replace(made(encoder), temperature=1.5)).startswith(
        "- **Temperature**: 1.500, fitted on the validation"
    )
    ensemble = line(replace(made(encoder, members=2, folds=["1A", "1B"], epochs=[7, 8]), temperature=1.5))
    assert "1.500, the geometric mean of those of its members, each fitted on its validation set." in ensemble
    assert "None can be fitted for the ensemble itself" in ensemble
    assert "none, as stage 3, which fits one, had not run when this was exported" in line(made(encoder))
    assert "none, as there was no validation set" in line(made(encoder, valid="none"))
    assert "none, as the test set itself validates" in line(made(encoder, valid="oracle-OPTIMISTIC"))
    assert "none, as of means of several checkpoints none was fitted" in line(made(encoder, averaged=3))
    assert "none, as the emotion head is not trained: `--unsure` is refused" in line(made(encoder, emotion_weight=0.0))
