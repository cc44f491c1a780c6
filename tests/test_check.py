"""The check before any job starts: what all jobs would fail of ends here, in two lines, and nothing is written."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest
import tiny_models

from local import launch
from local.check import check, main
from local.config import cluster, hparams
from local.core import free_memory
from local.core.errors import UserError
from local.core.free_memory import Room
from local.corpora import manifest
from local.encoders import load_encoder
from local.encoders.waveform import WaveformEncoder
from local.experiment import encoder_version
from local.experiment.command_line import parse
from local.experiment.job import Job
from local.folds import make_folds
from local.inference import model_folder
from local.inference.model_folder import Model
from local.systems.mtl import MultiTaskSystem
from local.text.tokenizer import Tokenizer
from local.training import memory
from local.training.memory import Need

YAML = Path("hparams/mini.yaml")


@pytest.fixture
def words(own_corpus) -> list[str]:
    return [*own_corpus, "--name", "n", "--folds", "1A 2A"]


def job(words: list[str], *overrides: str) -> Job:
    return Job.all(parse([*words, "--", *overrides]))[0]


def replace(old: str, new: str) -> None:
    text = YAML.read_text(encoding="utf-8")
    assert old in text
    YAML.write_text(text.replace(old, new), encoding="utf-8")


def refused(made: Job) -> UserError:
    with pytest.raises(UserError) as caught:
        check(made)
    assert "\n" not in caught.value.what + caught.value.remedy and not made.folder.exists()
    return caught.value


def test_it_builds_what_a_job_would_train_and_writes_nothing(words):
    made = job(words, "--device", "cpu")
    before = sorted(Path().rglob("*"))
    system = hparams.build(made.yaml)["system"]
    count = sum(parameter.numel() for parameter in system.parameters())
    said, memory = check(made)
    assert said == f"set-up: {count:,} parameters" and count > 100_000
    assert re.fullmatch(r"memory: [\d.]+ GB predicted \(.* by \w+\); this .* has [\d.]+ GB.*", memory)
    assert sorted(Path().rglob("*")) == before


def test_a_training_set_that_the_system_cannot_take_is_refused(words):
    made = job(words)
    path = made.manifests / "train.csv"
    table = manifest.read(path)
    table.loc[:1, "emo"] = ""
    manifest.write(path, table)
    check(made)  # the multi-task system takes them
    statistics = ["hparams/statistics.yaml" if word == str(YAML) else word for word in words]
    error = refused(job(statistics))
    assert error.what == f"{path}: StatisticsSystem cannot take 2 utterances without an emotion"


def test_augmentation_that_no_waveform_would_reach_is_refused(words):
    replace("freeze_cnn: False", "freeze_cnn: False\naugment: !new:speechbrain.augment.time_domain.DropChunk")
    check(job(words))
    assert refused(job(words, "--freeze_cnn=True")).what.startswith("augment: what does not learn is computed once")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("--pooling=max", "pooling is 'max'"),
        ("--alpha=-1", "alpha is -1"),
        ("--device=gpu", "device 'gpu' is not known"),
        ("--device=cuda:99", "device cuda:99: PyTorch finds"),
    ],
)
def test_a_bad_value(words, override, said):
    assert refused(job(words, override)).what.startswith(said)


def test_layers_that_are_never_unfrozen_are_a_warning(words):
    said = check(job(words, "--device", "cpu", "--unfreeze", "{every: 2, layers: 1}", "--epochs", "2"))
    assert said[-1].startswith("warning: unfreeze: the lowest 3 of 3 layers, and what is before them, are not trained")
    assert len(check(job(words, "--device", "cpu", "--unfreeze", "{every: 1, layers: 1}", "--epochs", "4"))) == 2


def test_what_follows_a_validation_set_needs_one(words):
    words += ["--valid", "none"]
    make_folds(parse(words))
    said = refused(job(words, "--patience", "3"))
    assert said.what == "patience: it follows a figure of the validation set, and there is none"
    check(job(words, "--device", "cpu"))


@pytest.mark.parametrize(
    ("column", "selection", "what"), [("wrd", "valid_wer", "a transcript"), ("emo", "valid_ua", "an emotion")]
)
def test_a_figure_that_compares_with_nothing_chooses_no_epoch(words, column, selection, what):
    made = job(words, "--device", "cpu", "--selection", selection)
    path = made.manifests / "valid.csv"
    table = manifest.read(path)
    table.loc[1:, column] = ""
    manifest.write(path, table)
    check(made)  # one that has it is enough
    table[column] = ""
    manifest.write(path, table)
    error = refused(made)
    assert error.what == f"selection is '{selection}', and no utterance of the validation set has {what}"
    check(job(words, "--device", "cpu", "--selection", "valid_loss"))


def test_fp16_on_a_cpu(words):
    assert refused(job(words, "--precision", "fp16", "--device", "cpu")).what.startswith("fp16 needs a GPU")
    # The GPUs of a cluster are on its nodes.
    check(job([*words, "--backend", "slurm"], "--precision", "fp16", "--device", "cuda:99"))


def test_an_encoder_that_cannot_be_loaded(words, tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "wav2vec2"}')
    assert "cannot be loaded" in refused(job(words, "--encoder", str(tmp_path))).what


def test_a_key_of_an_encoder_of_random_weights_that_it_does_not_read(words):
    replace("hidden_dropout: 0.05", "hiden_dropout: 0.05")
    error = refused(job(words))
    assert error.what == "hparams/mini.yaml, line 6: encoder: wav2vec2 has no hiden_dropout"
    assert error.remedy.startswith("hidden_dropout; known are: activation_dropout adapter_attn_dim ")


def test_a_wrong_name_of_an_argument(words):
    replace("    pooling: !ref <pooling>", "    poling: !ref <pooling>")
    error = refused(job(words))
    line = 1 + YAML.read_text(encoding="utf-8").splitlines().index("system: !new:local.systems.mtl.MultiTaskSystem")
    said = f"hparams/mini.yaml, line {line}: !new:local.systems.mtl.MultiTaskSystem cannot be built: "
    assert error.what.startswith(said)
    assert "got an unexpected keyword argument 'poling'" in error.what
    assert error.remedy.startswith("pooling; its arguments are: encoder n_labels n_tokens alpha pooling")


@pytest.mark.parametrize(
    ("built", "said"),
    [
        ("!new:local.systems.mtl.NoSystem", "cannot be built: There is no such class as local.systems.mtl.NoSystem"),
        ("!new:local.systems.nothing.NoSystem", "cannot be built: There is no such class as local.systems.nothing"),
        (
            "!new:collections.Counter",
            "hparams/mini.yaml: the training cannot be set up: 'Counter' object has no attrib",
        ),
    ],
)
def test_what_is_no_system(words, built, said):
    replace("!new:local.systems.mtl.MultiTaskSystem", built)
    assert said in refused(job(words)).what


def test_an_utterance_that_the_encoder_cannot_read_whole_of_any_set(words, monkeypatch):
    monkeypatch.setattr(WaveformEncoder, "max_samples", 2900)
    assert "the encoder reads 0 s" in refused(job(words)).what


def test_as_a_command_it_says_what_was_built(words, monkeypatch, capsys):
    monkeypatch.setattr(logging, "disable", lambda level: None)  # it would last
    monkeypatch.setattr("sys.argv", ["", *words, "--", "--device", "cpu"])
    monkeypatch.setattr("local.core.logs.log_to_stderr", lambda: None)
    main()
    assert re.fullmatch(r"  set-up: [\d,]+ parameters\n  memory: .*\n", capsys.readouterr().out)


# ---------------------------------------------------------------- memory


def test_jobs_at_a_time_need_their_memory_together(words, monkeypatch):
    """Here there are 10 GB, of which 3 are free. A job needs at least 1 to 2 GB, whatever the process has loaded."""
    need = Need(1e9, 0.5e9, 0.5e9)
    monkeypatch.setattr(memory, "predict", lambda *_: need)
    monkeypatch.setattr(free_memory, "room", lambda device: Room(10e9, 3e9, "this machine"))
    assert check(job(words, "--device", "cpu"))[1].endswith("by micro_batch_seconds); this machine has 10.0 GB")
    said = check(job([*words, "--jobs", "2", "--processes", "2"], "--device", "cpu"))[1]
    assert "4 at a time; this machine has 10.0 GB, of which only 3.0 are free now: expect it to be slow" in said
    error = refused(job([*words, "--jobs", "6"], "--device", "cpu"))
    assert error.what == "6 processes at a time need 12.0 GB of memory at least, and this machine has 10.0"
    assert error.remedy.startswith("take fewer --jobs or --processes; or a smaller --micro_batch_seconds than 30")


def test_on_a_cluster_the_yaml_says_what_there_is(words, monkeypatch):
    monkeypatch.setattr(memory, "predict", lambda *_: Need(5e9, 4e9, None))
    slurm = [*words, "--backend", "slurm", "--jobs", "9"]
    assert len(check(job(slurm))) == 1  # on GPUs of which nothing is known
    monkeypatch.setattr(cluster.shutil, "which", str)
    on_cpu = ("--device", "cpu", "--slurm")
    assert "slurm.mem_gb has 9.7 GB" in check(job(slurm, *on_cpu, "{mem_gb: 9}"))[1]
    assert refused(job(slurm, *on_cpu, "{mem_gb: 8}")).what.endswith("at least, and slurm.mem_gb has 8.6")


# ---------------------------------------------------------------- the launcher


@pytest.fixture
def commands(monkeypatch) -> list[tuple]:
    """The commands that the launcher has run, of which `check` fails."""
    run: list[tuple] = []

    def run_command(name: str, *words: str) -> None:
        run.append((name, *words))
        if name == "check":
            raise SystemExit(2)

    monkeypatch.setattr(launch, "run_command", run_command)
    monkeypatch.setattr(launch, "run_all", lambda *_: run.append(("jobs",)))
    return run


def test_no_job_starts_and_nothing_is_written_when_it_fails(words, commands):
    given = [*words, "--", "--device", "cpu", "--pooling", "max"]
    with pytest.raises(SystemExit) as ended:
        launch.launch("train", parse(given), given)
    assert ended.value.code == 2 and not Path("results").exists()
    # Of one job, in the words that it would be given.
    assert commands == [("check", *words, "--folds", "1A", "--seeds", "1", "--jobs", "1", *given[len(words) :])]


def test_as_many_jobs_count_as_there_are_to_train(words, commands):
    given = [*words, "--jobs", "9"]
    with pytest.raises(SystemExit):
        launch.launch("train", parse(given), given)
    assert commands == [("check", *given, "--folds", "1A", "--seeds", "1", "--jobs", "2")]


def test_what_resumes_is_checked_where_several_share_the_memory(words, commands, monkeypatch):
    monkeypatch.setattr(launch, "has_checkpoint", lambda folder: True)
    monkeypatch.setattr(launch, "build_audio_store", lambda *_: None)
    on_cpu = ("--", "--device", "cpu")
    given = [*words, "--jobs", "1", *on_cpu]
    launch.launch("train", parse(given), given)
    assert commands == [("jobs",)]
    given = [*words, "--jobs", "2", *on_cpu]
    with pytest.raises(SystemExit):
        launch.launch("train", parse(given), given)
    job_words = ("--folds", "1A", "--seeds", "1", "--jobs", "2")
    assert commands[1:] == [("check", *words, "--jobs", "2", *job_words, *on_cpu)]


def test_without_a_job_to_train_there_is_nothing_to_check(words, commands, monkeypatch):
    monkeypatch.setattr(Job, "is_done", lambda *_: True)
    assert launch.launch("train", parse(words), words) == [] and commands == []


@pytest.mark.parametrize("reason", ["Name or service not known\nmore", "401 Client Error"])
def test_an_encoder_that_is_nowhere_is_refused_without_torch_and_its_attempts(words, commands, monkeypatch, reason):
    class Hub:
        def model_info(self, name: str, timeout: float) -> None:
            raise OSError(reason)

    monkeypatch.setattr("huggingface_hub.HfApi", Hub)
    given = [*words, "--", "--encoder", "nowhere/at-all"]
    with pytest.raises(UserError) as refusal:
        launch.launch("train", parse(given), given)
    said = reason.partition("\n")[0]
    assert refusal.value.what == (
        f"encoder nowhere/at-all: there is no such folder, and the hub does not give it ({said})"
    )
    assert commands == []


def test_an_encoder_that_is_here_asks_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.HfApi", None)
    monkeypatch.setattr(encoder_version, "_cached_commit", lambda name: "c0ffee" if name == "in/cache" else None)
    for lacks, name in (("config.json", "config.json"), ("weights", "model.safetensors")):
        with pytest.raises(UserError, match=f"has no {lacks}"):
            encoder_version.refuse_missing(str(tmp_path))
        (tmp_path / name).touch()
    for source in (str(tmp_path), "in/cache", {"model_type": "wav2vec2"}, None):
        encoder_version.refuse_missing(source)


# ---------------------------------------------------------------- continuing from a model


def exported(folder: Path, labels: list[str], **provenance: object) -> str:
    """A model folder of the YAML's system, with tokens of another order than the fold's, and one more."""
    encoder = load_encoder(tiny_models.config("wav2vec2-group").to_dict())
    tokens = [*Tokenizer(Path("manifests/own/speaker/1A/tokenizer.model")).pieces, "Q"]
    tokens[2:] = tokens[:1:-1]
    system = MultiTaskSystem(encoder, len(labels), len(tokens), alpha=0.1)
    model_folder.write(folder, Model(system, labels, tokens, [len(tokens)], 3.0, provenance))
    return str(folder)


def test_it_says_which_heads_are_taken_and_whom_the_model_has_heard(words, tmp_path):
    heard = {"corpus": "own", "protocol": "speaker", "folds": ["1B"], "speakers": ["1A", "2A"]}
    model = exported(tmp_path / "MODEL", ["sad", "ang", "hap"], **heard)
    lines = check(job(words, "--device", "cpu", "--encoder", model))
    assert lines[1:5] == [
        f"continues from {model}: its encoder is taken",
        "emotion head taken, its labels in another order",
        "CTC head taken, its tokens in another order, 1 of its 18 tokens, which do not occur here, left out",
        "OPTIMISTIC: MODEL was trained on own, where fold 1A tests the same speakers: 1A",
    ]


def test_a_model_of_another_system_is_refused(words, tmp_path):
    model = exported(tmp_path / "MODEL", ["ang", "hap"])
    words[words.index("--hparams") + 1] = "hparams/table3/fine_tuning.yaml"
    said = refused(job(words, "--device", "cpu", "--upstream", model))
    assert said.what.endswith("is a model of the system mtl, and hparams/table3/fine_tuning.yaml builds fine_tuning")
    assert said.what.startswith(f"encoder {model} ")
