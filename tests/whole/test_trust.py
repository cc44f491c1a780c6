"""What comes from elsewhere runs nothing: each test sets a trap that a hole would spring, and looks whether it did."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import pydoc
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import hand_made_runs
import httpx
import numpy as np
import pandas as pd
import pytest
import report_place
import soundfile
import tiny_folders
import tiny_models
import torch
from hyperpyyaml import load_hyperpyyaml
from markdown_it import MarkdownIt
from paths import REPOSITORY, copy_project

from local.config import hparams, trust
from local.config.trust import refuse_foreign
from local.core.errors import UserError
from local.decode import decode
from local.deploy.gather import load_trained
from local.encoders import load_encoder
from local.experiment.job import Job
from local.experiment.options import parse
from local.folds import make_folds
from local.inference import model_folder
from local.inference.demo_page import page as demo_page
from local.inference.recognizer import EmotionRecognizer
from local.pages import plots
from local.prepare import prepare
from local.report import report
from local.rerun import check_job, read_finished
from local.score import score
from local.scoring import predictions
from local.training import environment
from local.training.checkpoints import RunCheckpointer


@pytest.fixture
def trap(tmp_path) -> Iterator[Path]:
    """A file that must not be there at the end."""
    path = tmp_path / "sprung"
    yield path
    assert not path.exists()


@pytest.fixture(autouse=True)
def every_lock_by_itself(monkeypatch):
    """Without what a path.sh has said already."""
    for name in ("TORCH_FORCE_WEIGHTS_ONLY_LOAD", "PYTHONSAFEPATH"):
        monkeypatch.delenv(name, raising=False)


class Payload:
    """Touches a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def springs(trap: Path, act: Callable[[], object]) -> None:
    """See that a trap is one."""
    act()
    assert trap.exists()
    trap.unlink()


# ---------------------------------------------------------------- encoders from elsewhere


@pytest.fixture
def encoder(tmp_path) -> Path:
    """A sound encoder."""
    return Path(tiny_models.save(tmp_path / "encoder", "wav2vec2-group"))


@pytest.mark.parametrize("kind", ["plain pickle", "old format of torch", "new format of torch"])
def test_an_encoders_pickle_runs_nothing(encoder, trap, kind):
    weights = encoder / "pytorch_model.bin"
    (encoder / "model.safetensors").unlink()
    if kind == "plain pickle":
        weights.write_bytes(pickle.dumps(Payload(trap), protocol=2))
        springs(trap, lambda: pickle.loads(weights.read_bytes()))
    else:
        torch.save({"a": Payload(trap)}, weights, _use_new_zipfile_serialization=kind.startswith("new"))
        springs(trap, lambda: torch.load(weights, weights_only=False))
    with pytest.raises(UserError, match="a pickle that holds more than weights"):
        load_encoder(str(encoder))


CODE = """
from pathlib import Path
from transformers import *
Path({trap!r}).touch()
class Config(Wav2Vec2Config): model_type = "evil"
class Model(Wav2Vec2Model): pass
class Extractor(Wav2Vec2FeatureExtractor): pass
"""
AUTO = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model", "AutoFeatureExtractor": "evil.Extractor"}


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("file", "values"),
    [
        ("config.json", {"model_type": "evil"}),
        ("preprocessor_config.json", {"feature_extractor_type": "Extractor"}),
    ],
)
def test_an_encoders_code_is_not_run_and_no_question_is_asked(encoder, trap, monkeypatch, file, values):
    (encoder / "evil.py").write_text(CODE.format(trap=str(trap)))
    change(encoder / file, auto_map=AUTO, **values)
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    with pytest.raises(UserError, match="custom code"):
        load_encoder(str(encoder))


def test_an_encoder_of_a_known_kind_is_loaded_without_the_code_beside_it(encoder, trap, monkeypatch):
    (encoder / "evil.py").write_text(CODE.format(trap=str(trap)))
    for file in ("config.json", "preprocessor_config.json"):
        change(encoder / file, auto_map=AUTO)
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    assert load_encoder(str(encoder)).model.config.model_type == "wav2vec2"


# ---------------------------------------------------------------- model folders from elsewhere


@pytest.mark.parametrize(
    ("part", "key", "value"),
    [
        ("encoder", "auto_map", AUTO),
        ("encoder", "_attn_implementation", "evil/kernel"),
        ("encoder", "_name_or_path", "evil/model"),
        ("preprocessor", "auto_map", AUTO),
        (None, "system", "evil"),
        (None, "system", "../../evil"),
        (None, "system", "importlib"),
        (None, "trust_remote_code", True),
    ],
)
def test_a_model_folder_has_a_closed_list_of_keys(tmp_path, trap, monkeypatch, part, key, value):
    folder = tiny_folders.write(tmp_path)
    for place in (folder, tmp_path):
        (place / "evil.py").write_text(CODE.format(trap=str(trap)))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    config = json.loads((folder / "config.json").read_text())
    (config if part is None else config[part])[key] = value
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError):
        model_folder.read(folder)


# ---------------------------------------------------------------- YAML: overrides, run folders

TAGS = [
    "!apply:pathlib.Path.touch [!new:pathlib.Path ['{trap}']]",
    "!applyref:os.mknod ['{trap}']",
    "!new:subprocess.Popen [[touch, '{trap}']]",
    "!!python/object/apply:os.mknod ['{trap}']",
    "!<tag:yaml.org,2002:python/object/apply:os.mknod> ['{trap}']",
    "[{{deep: [!apply:os.mknod ['{trap}']]}}]",
    "!apply:local.core.files.os.mknod ['{trap}']",
    "!apply:local.systems.importlib.import_module [sprung]",
    "!name:os.mknod\n        path: '{trap}'",
    "!include:beside.yaml",
]


@pytest.fixture
def paper(workplace) -> Path:
    """A YAML of ours."""
    return workplace / "hparams" / "mtl_wav2vec2.yaml"


@pytest.mark.parametrize("form", ["{tag}", "({tag})"])
@pytest.mark.parametrize("tag", TAGS[:5])
def test_an_override_is_a_value_and_never_a_tag(paper, trap, form, tag):
    with pytest.raises(UserError, match="begins with neither"):
        hparams.parse_overrides(["--encoder", form.format(tag=tag.format(trap=trap))], paper)


@pytest.mark.parametrize(
    "value", ["a (b)", "<lr>", "a{a: !apply:os.getpid []}", "a # b", "&a", "*a", "[a", "%", "a: b"]
)
def test_an_override_comes_through_the_yaml_as_it_is(paper, value):
    text = hparams.resolve(paper, hparams.parse_overrides([f"--encoder={value}"], paper))
    assert hparams.build(text.partition("\nsystem:")[0])["encoder"] == value


def test_a_tuple_holds_plain_values(trap):
    """HyperPyYAML takes any value in brackets for a tuple, an override too, and reads it with an unsafe loader."""
    yaml = f"a: (!!python/object/apply:os.mknod ['{trap}'])"
    springs(trap, lambda: load_hyperpyyaml(yaml))
    with pytest.raises(UserError, match="no tuple of plain values"):
        hparams.build(yaml)
    assert hparams.build("a: (1, b, [2])") == {"a": (1, "b", [2])}


@pytest.fixture
def job(own_corpus) -> Job:
    """One whose run folder looks as if it had been trained and decoded."""
    job = hand_made_runs.predict([*own_corpus, "--name", "n"], "1A")
    (job.folder / "env.json").write_text(json.dumps(environment.describe(job, "cpu", "fp32")))
    return job


@pytest.fixture
def run(job) -> Path:
    """Its run folder."""
    return job.folder


@pytest.fixture
def evil(run, trap, tmp_path, monkeypatch) -> Callable[[str], str]:
    """A line of YAML with a tag that would spring the trap, and what it needs for that."""
    (tmp_path / "sprung.py").write_text(f"open({str(trap)!r}, 'w')")
    (run / "beside.yaml").write_text(f"a: !apply:os.mknod ['{trap}']\n")
    monkeypatch.syspath_prepend(tmp_path)
    return lambda tag: f"\nevil: {tag.format(trap=trap)}\n"


def add(run: Path, line: str) -> None:
    with open(run / "hyperparams.yaml", "a") as yaml:
        yaml.write(line)


@pytest.mark.parametrize("tag", TAGS)
def test_the_tags_of_these_tests_are_traps(run, trap, evil, tag):
    """What is refused below does run in a YAML of the user's own."""
    file = run / "evil.yaml"
    file.write_text(evil(tag))

    def build() -> None:
        made = hparams.build(hparams.resolve(file, {}))["evil"]
        if tag.startswith("!new"):
            made.wait()
        if tag.startswith("!name"):
            made()

    springs(trap, build)


@pytest.mark.parametrize("tag", TAGS)
def test_a_run_folders_yaml_builds_nothing_foreign(job, run, trap, evil, tag):
    add(run, evil(tag))
    uses = [
        lambda: read_finished(run),
        lambda: load_trained(run),
        lambda: (run / "decode.json").unlink() or decode(job),
    ]
    for use in uses:
        with pytest.raises(UserError, match="is no system or encoder of this project"):
            use()
        assert not trap.exists()


def test_a_sound_run_folder_is_read(run):
    assert Job.of_run(run).fold == "1A"
    assert read_finished(run)[0]["job"]["fold"] == "1A"


@pytest.mark.parametrize("fold", ["../../../../elsewhere", "/elsewhere", "1A/../1A", "$(touch sprung)"])
def test_a_run_folder_does_not_say_where_to_write(run, fold):
    told = json.loads((run / "env.json").read_text())
    told["job"]["fold"] = fold
    (run / "env.json").write_text(json.dumps(told))
    for use in (lambda: Job.of_run(run), lambda: check_job(run, *read_finished(run))):
        with pytest.raises(UserError, match="has no fold"):
            use()


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"job": 1}', '{"job": {"fold": "1A"}}', "[" * 100_000])
def test_a_run_folder_that_does_not_name_its_job_is_refused(run, text):
    (run / "env.json").write_text(text)
    with pytest.raises(UserError, match=r"env\.json"):
        Job.of_run(run)


@pytest.mark.parametrize("name", ["Tensor", "MultiTaskSystem.forward", "nonsuch"])
def test_of_a_file_of_systems_only_its_own_classes_are_built(run, name):
    add(run, f"\nevil: !new:local.systems.mtl.{name}\n")
    with pytest.raises(UserError, match="no system or encoder"):
        refuse_foreign(run)


@pytest.mark.parametrize("tag", sorted(trust.KNOWN))
def test_known_parts_exist(tag):
    assert callable(pydoc.locate(tag.partition(":")[2]))


def test_known_parts_may_be_built_but_nothing_within_them(run):
    add(run, "\noptimizer: !name:torch.optim.SGD {momentum: 0.9}\n")
    refuse_foreign(run)
    add(run, "\naugment: !new:speechbrain.augment.augmenter.Augmenter {augmentations: [!apply:os.getcwd {}]}\n")
    with pytest.raises(UserError, match="getcwd"):
        refuse_foreign(run)


@pytest.mark.parametrize(
    "tag",
    [
        "!new:torch.optim.SGD",
        "!name:torch.optim.lr_scheduler.LambdaLR",
        "!new:speechbrain.augment.time_domain.AddNoise",  # opens files
        "!name:transformers.get_scheduler",
        "!apply:transformers.get_linear_schedule_with_warmup",
        "!new:speechbrain.nnet.pooling.AttentionPooling",
    ],
)
def test_parts_that_are_not_known_are_refused(run, tag):
    add(run, f"\npart: {tag} {{}}\n")
    with pytest.raises(UserError, match="nor known to be safe"):
        refuse_foreign(run)


def test_what_the_users_own_yaml_builds_may_be_decoded(run):
    add(run, "\ncounts: !new:collections.Counter\n")
    with pytest.raises(UserError, match="Counter"):
        refuse_foreign(run)
    refuse_foreign(run, own="system: 1\ncounts: !new:collections.Counter\n")


def test_a_checkpoints_pickle_runs_nothing(job, run, trap):
    system = hparams.build(job.yaml)["system"]
    save = {"system": lambda system, path: torch.save({"weights": Payload(trap)}, path)}
    checkpointer = RunCheckpointer(run / "save", {"system": system}, custom_save_hooks=save)
    checkpointer.save_and_keep({"epoch": 7, "ua": 0.5, "wer": 0.5}, last=1)
    (weights,) = (run / "save").glob("*/system.ckpt")
    springs(trap, lambda: torch.load(weights, weights_only=False))
    (run / "decode.json").unlink()
    for use in (lambda: load_trained(run), lambda: decode(job)):
        with pytest.raises(UserError, match="holds more than values"):
            use()
        assert not trap.exists()


# ---------------------------------------------------------------- the shell

NAME = "; rm -rf x 'q' \"d\" $(touch sprung) `touch sprung` $HOME * \\ & | > sprung\ntouch sprung; #é"
FIRE = "a[$(touch sprung)]"


@pytest.fixture(scope="module")
def house(tmp_path_factory) -> Path:
    """A copy of the project in a folder that a shell would choke on, and a corpus in one like it."""
    if not (REPOSITORY / ".venv" / "requirements.txt").exists():
        pytest.skip("path.sh has not made .venv yet")
    top = tmp_path_factory.mktemp("top")
    place, data = copy_project(top / NAME, "recipes"), top / f"data {NAME}"
    (data / "wav").mkdir(parents=True)
    rows = []
    for number in range(8):
        name = NAME.replace("\n", " ") + f"{number}.wav"
        soundfile.write(data / "wav" / name, 0.1 * np.sin(np.arange(4000 + 99 * number)), 16_000)
        text = "$(touch sprung); `touch sprung`"
        rows.append({"wav": f"wav/{name}", "emo": ("a", "b")[number % 2], "spk_id": "ABCD"[number // 2], "wrd": text})
    pd.DataFrame(rows).to_csv(data / "t.csv", index=False)
    return place


def run_sh(house: Path, *given: object, script: str = "run.sh") -> subprocess.CompletedProcess:
    variables = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [house / script, *map(str, given)]
    return subprocess.run(command, cwd=house.parent, env=variables, capture_output=True, text=True)


def sprung(house: Path) -> list[Path]:
    return [path for path in house.parent.rglob("sprung") if ".venv" not in path.parts]


def test_a_folder_named_like_a_command_is_a_folder(house):
    bystander = house.parent / "x"
    bystander.mkdir()
    table, yaml = house.parent / f"data {NAME}" / "t.csv", house / "hparams" / "mini.yaml"
    ended = run_sh(house, "--corpus", "csv", "--data", table, "--hparams", yaml, "--stage", 0, "--stop-stage", 1)
    assert ended.returncode == 0, ended.stderr
    folds = house / "manifests" / "t" / "speaker"
    assert sorted(path.name for path in folds.iterdir() if path.is_dir()) == ["A", "B", "C", "D"]
    assert "$(touch sprung)" in (folds / "A" / "test.csv").read_text(encoding="utf-8")
    assert sprung(house) == [] and bystander.is_dir()


OPTIONS = ("stage", "stop-stage", "folds", "seeds", "name", "jobs", "protocol", "valid", "corpus")


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_is_never_a_command(house, option):
    assert run_sh(house, f"--{option}", FIRE).returncode == 2
    assert sprung(house) == []


def test_an_option_of_a_recipe_is_never_a_command(house):
    folder = house / "hparams"
    assert run_sh(house, folder, folder, "--stop-stage", FIRE, script="recipes/nemo_alpha.sh").returncode == 2
    assert sprung(house) == []


@pytest.mark.parametrize("source", ["https://example.org/evil.yaml", "hub:evil", "pipe", "/dev/stdin"])
def test_a_yaml_is_a_file_on_the_disk(house, source):
    if source == "pipe":
        source = house.parent / "pipe"
        os.mkfifo(source)
    ended = run_sh(house, "--hparams", source)
    assert ended.returncode == 2 and "there is no such file" in ended.stderr


def in_environment(house: Path, where: Path, *command: object) -> subprocess.CompletedProcess:
    """Run a command somewhere after `. ./path.sh`."""
    shell = 'cd -- "$1" && . ./path.sh && cd -- "$2" && "${@:3}"'
    words = ["bash", "-c", shell, "-", *map(str, (house, where, *command))]
    return subprocess.run(words, capture_output=True, text=True)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="before 3.11 Python looks first where it is started")
def test_modules_in_the_current_folder_are_not_loaded(house, tmp_path, trap):
    (tmp_path / "local").mkdir()
    for file in ("local/__init__.py", "pandas.py", "numpy.py"):
        (tmp_path / file).write_text(f"open({str(trap)!r}, 'w')")
    ended = in_environment(house, tmp_path, "python", "-m", "local.compare", "a", "b")
    assert (ended.returncode, ended.stderr[:7]) == (2, "error: ")


def test_every_pickle_is_read_for_its_weights_alone(house, tmp_path, trap):
    torch.save(Payload(trap), tmp_path / "a.pt")
    springs(trap, lambda: torch.load(tmp_path / "a.pt", weights_only=False))
    code = "import sys, torch; torch.load(sys.argv[1], weights_only=False)"
    ended = in_environment(house, tmp_path, "python", "-c", code, tmp_path / "a.pt")
    assert ended.returncode == 1 and "UnpicklingError" in ended.stderr


# ---------------------------------------------------------------- pages and tables

HOSTILE = r"""<script>alert(1)</script><img src=x onerror=alert(1)> "' | ** ` \1 \g<0> #0102ff --> ]]> $x$ &lt; 1"""


class Elements(HTMLParser):
    """The elements of a page with the names of their attributes, and its texts."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: set[tuple[str, tuple[str, ...]]] = set()
        self.texts: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.add((tag, tuple(sorted(name for name, _ in attrs))))

    def handle_data(self, data):
        self.texts.append(data)


def test_names_in_a_picture_are_text():
    def drawn(label: str) -> Elements:
        rates = dict.fromkeys(("wa", "wa_low", "wa_high", "ua", "ua_low", "ua_high"), 0.5)
        return Elements(plots.fold_bars("p", pd.DataFrame([{"fold": label} | rates, {"fold": "b"} | rates])))

    hostile = drawn(HOSTILE)
    assert hostile.found == drawn("a").found
    assert any("<script>" in text for text in hostile.texts)


@pytest.fixture
def reported(tmp_path, monkeypatch) -> Callable[[str], Elements]:
    """The report of an experiment in which a label, the end of every transcript and the corpus's source are given."""

    def made(name: str) -> Elements:
        top = tmp_path / str(len(list(tmp_path.iterdir())))
        top.mkdir()
        monkeypatch.chdir(report_place.workplace(top))
        given = report_place.words(report_place.corpus(top), "n", 0.1)
        own = report_place.experiment(given, {"1A": 1, "1B": 3}, {"1A": 2, "1B": 0})
        for path in own.glob("seed1/*/predictions.csv"):
            table = predictions.read(path).rename(columns={"p_ang": f"p_{name}"})
            table["wrd_hyp"] = table["wrd_hyp"] + " " + name
            table[["emo", "emo_hyp"]] = table[["emo", "emo_hyp"]].replace("ang", name)
            table.to_csv(path, index=False)
        path = own / "RESULTS.json"
        notes = json.loads(path.read_text(encoding="utf-8"))
        notes |= {"title": name, "command": name, "facts": [*notes["facts"], name], "key": [*notes["key"], name]}
        path.write_text(json.dumps(notes), encoding="utf-8")
        report(parse(given))
        return Elements((own / "report.html").read_text(encoding="utf-8"))

    return made


def test_what_a_report_shows_of_data_is_text(reported):
    tame, hostile = reported("anger"), reported(HOSTILE)
    assert {tag for tag, _ in hostile.found} == {tag for tag, _ in tame.found}
    assert not any(name.startswith("on") for _, names in hostile.found for name in names)
    assert sum("<script>alert(1)</script>" in text for text in hostile.texts) > 3


def test_what_results_md_says_of_a_corpus_is_text(workplace, own_table):
    """A table's columns that are not used, and its faults, are named on the page in the table's own words."""
    link = "[a](https://example.org) ![b](https://example.org/c.png)"
    table = pd.read_csv(own_table, dtype=str).assign(**{f"{HOSTILE} {link}\n\n# d\n\n- e": "x"})
    table.loc[0, "emo"] = f"{HOSTILE} {link}\n\n# d"
    table.to_csv(own_table, index=False)
    given = ["--corpus", "csv", "--data", str(own_table), "--hparams", "hparams/mini.yaml", "--partial", "true"]
    prepare(parse(given))
    make_folds(parse(given))
    hand_made_runs.predict(given, "1A")
    score(parse(given))
    page = (parse(given).experiment_folder / "RESULTS.md").read_text(encoding="utf-8")
    tokens = MarkdownIt().enable("table").parse(page)
    tokens += [token for block in tokens for token in block.children or ()]
    assert not {"html_block", "html_inline", "link_open", "image"} & {token.type for token in tokens}
    assert [token.tag for token in tokens if token.type == "heading_open"] == ["h1", "h2", "h2"]
    assert sum("<script>alert(1)</script>" in token.content for token in tokens if token.type == "text") >= 2


def test_cells_that_a_spreadsheet_would_take_for_formulas_stay_as_they_are(tmp_path):
    """IDs are what the corpus has: tables are for programs, and README warns of spreadsheets."""
    path, name = tmp_path / "predictions.csv", "=cmd|'/C calc'!A0"
    predictions.write(path, predictions.frame([(name, "a", 0.25, 0.75, "", "")], ["a", "b"]))
    assert predictions.read(path)["ID"].tolist() == [name]


# ---------------------------------------------------------------- the page that listens


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[httpx.Client]:
    """What talks to the page of a server."""
    top = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_TEMP_DIR", str(top / "served"))
        patch.setenv("no_proxy", "*")
        recognizer = EmotionRecognizer.from_hparams(tiny_folders.write(top), run_opts={"device": "cpu"})
        page = demo_page.build(recognizer, {label: label for label in recognizer.labels}, [])
        _, url, _ = page.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False)
        with httpx.Client(base_url=url, timeout=60) as client:
            yield client
        page.close()


@pytest.mark.parametrize("name", ["/etc/passwd", "path.sh", "../path.sh", "/proc/self/environ", REPOSITORY / "path.sh"])
def test_nothing_on_the_disk_is_served(browser, name):
    assert browser.get(f"/gradio_api/file={name}").status_code in (403, 404)


def test_a_recording_that_was_not_uploaded_is_not_read(browser, tmp_path):
    recording = tmp_path / "a.wav"
    soundfile.write(recording, tiny_folders.noise(1), 16_000)
    (uploaded,) = browser.post("/gradio_api/upload", files={"files": ("a.wav", recording.read_bytes())}).json()
    assert heard(browser, uploaded)
    assert not heard(browser, str(recording))
    assert not heard(browser, "http://127.0.0.1:1/a.wav")


def heard(browser: httpx.Client, path: str) -> bool:
    """Whether the page says something of a recording."""
    (number,) = (each["id"] for each in browser.get("/config").json()["dependencies"] if len(each["inputs"]) == 2)
    session = {"session_hash": f"session of {path}"}
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    browser.post("/gradio_api/queue/join", json={"data": [file, False], "fn_index": number, **session})
    answer = browser.get("/gradio_api/queue/data", params=session).text
    assert "process_completed" in answer
    return '"success":true' in answer


# ---------------------------------------------------------------- the house itself

# exec, pickle, eval, yaml.load, shell=True, os.system and the like, templates that escape nothing; and beside them
# what ruff does not know of.
RULES = "S102,S301,S302,S307,S506,S602,S604,S605,S701,S704"
MORE = r"trust_remote_code=(?!False)|torch\.load\((?!.*weights_only=True)|allow_pickle=(?!False)|read_pickle"
DANGEROUS = """
eval(x)
exec(x)
os.system(x)
os.popen(x)
subprocess.run(x, shell=True)
pickle.load(x)
pickle.loads(x)
yaml.load(x)
yaml.load(x, Loader=yaml.Loader)
torch.load(x)
torch.load(x, weights_only=False)
np.load(x, allow_pickle=True)
AutoModel.from_pretrained(x, trust_remote_code=True)
jinja2.Environment()
markupsafe.Markup('a' + x)
"""


def dangers(*folders: Path) -> set[str]:
    """What is dangerous in the Python of some folders, as `file: rule`."""
    command = ["ruff", "check", "--isolated", "--ignore-noqa", "--select", RULES, "--output-format", "json", *folders]
    found = json.loads(subprocess.run(command, capture_output=True, text=True).stdout)
    files = [path for folder in folders for path in folder.rglob("*.py")]
    more = {f"{path.name}: {at[0]}" for path in files for at in re.finditer(MORE, path.read_text(encoding="utf-8"))}
    return {f"{Path(each['filename']).name}: {each['code']}" for each in found} | more


@pytest.mark.parametrize("line", DANGEROUS.split("\n")[1:-1])
def test_what_is_dangerous_is_seen(tmp_path, line):
    imports = "import os, pickle, subprocess, jinja2, markupsafe, torch, yaml"
    (tmp_path / "a.py").write_text(f"{imports}\n\n\ndef f(x):\n    {line}  # noqa\n")
    assert dangers(tmp_path)


def test_the_code_has_nothing_dangerous():
    # The card is Markdown, which jinja2 cannot escape: local.pages.markdown does. Of the report, pictures and lines are
    # escaped where they are made.
    known = {"templates.py: S701", "card.py: S704", "markdown.py: S704", "report.py: S704", "table3.py: S704"}
    assert dangers(REPOSITORY / "local", REPOSITORY / ".ci") <= known


def test_no_script_evaluates_text():
    scripts = [*REPOSITORY.glob("*.sh"), *REPOSITORY.glob("*/*.sh"), REPOSITORY / ".ci" / "run"]
    assert len(scripts) > 8
    for script in scripts:
        code = re.sub(r"(^|\s)#.*", "", script.read_text(encoding="utf-8"))
        assert not re.search(r"\b(eval|(ba)?sh -c)\b", code), script


# ---------------------------------------------------------------- what CI asks of the lock


@pytest.fixture
def audit(monkeypatch, capsys) -> Callable[..., tuple[int, str]]:
    """Run .ci/audit.py with services that answer so; its exit code, and what it says."""
    place = importlib.util.spec_from_file_location("audit", REPOSITORY / ".ci" / "audit.py")
    module = importlib.util.module_from_spec(place)
    place.loader.exec_module(module)

    def run(**services: str | Exception) -> tuple[int, str]:
        def answer(command: list[str], **_) -> SimpleNamespace:
            told = services[command[command.index("--vulnerability-service") + 1]]
            if isinstance(told, Exception):
                raise told
            return SimpleNamespace(stdout=told)

        monkeypatch.setattr(subprocess, "run", answer)
        try:
            module.main()
        except SystemExit as end:
            return end.code, capsys.readouterr().out
        return 0, capsys.readouterr().out

    return run


SOUND = {"name": "torch", "version": "2.11.0", "vulns": []}
UNKNOWN = {"name": "pip", "skip_reason": "not found"}
FOUND = {"name": "numpy", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": ["1.1"]}]}


def answers(*packages: dict) -> str:
    return json.dumps({"dependencies": packages, "fixes": []})


def test_a_finding_fails_the_audit(audit):
    code, said = audit(pypi=answers(SOUND, FOUND))
    assert code == 1 and "numpy 1.0: PYSEC-1, mended in 1.1" in said


def test_a_sound_lock_passes_and_what_was_not_audited_is_named(audit):
    code, said = audit(pypi=answers(SOUND, UNKNOWN))
    assert code == 0 and "1 packages audited, 0 findings" in said and "not known to it: pip" in said


def test_a_mirror_without_advisories_is_no_clean_bill(audit):
    code, said = audit(pypi=answers(UNKNOWN), osv=answers(FOUND))
    assert code == 1 and "PYSEC-1" in said


@pytest.mark.parametrize("nothing", ["", answers(UNKNOWN), subprocess.TimeoutExpired("pip_audit", 1)])
def test_without_advisories_the_audit_says_that_it_was_skipped(audit, nothing):
    code, said = audit(pypi=nothing, osv=nothing)
    assert code == 0 and "skipped: " in said and "audited, " not in said
