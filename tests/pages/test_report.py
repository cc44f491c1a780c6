"""The report without a browser: its figures against hand-worked ones, its words, and what is not on it."""

from __future__ import annotations

import html
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import unquote, urlparse

import jiwer
import numpy as np
import pandas as pd
import pytest
import report_place
from paths import REPOSITORY
from report_place import NASTY_ID, NASTY_WORD, experiment, words

from local.core.errors import UserError
from local.core.files import digest
from local.core.markers import Marker
from local.experiment.command_line import parse
from local.pages.mistakes import mark_differences, most_confident
from local.pages.report import cards, is_stressed, number_pictures, pictures, render_report
from local.pages.results import Notes
from local.pages.siblings import AlphaCurves
from local.report import main, report
from local.scoring import metrics, scored, task_scores

OWN = Path("results/talk/speaker/n")


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """The corpus of the current folder, with the experiment n and its siblings, n with its report."""
    folder = tmp_path_factory.mktemp("report")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(report_place.workplace(folder))
        given = report_place.corpus(folder)
        report_place.family(given)
        report(parse(words(given, "n", 0.1)))
        yield given


def page(folder: Path = OWN) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def text(markup: str) -> str:
    """What a reader sees of some HTML."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", markup)).split())


def section(name: str, folder: Path = OWN) -> str:
    return re.search(rf'<section aria-labelledby="{name}">.*?</section>', page(folder), re.DOTALL)[0]


def rows(name: str, folder: Path = OWN) -> list[list[str]]:
    """The cells of the table in a section, head and foot included."""
    lines = re.findall(r"<tr\b[^>]*>(.*?)</tr>", section(name, folder), re.DOTALL)
    return [[text(cell) for cell in re.findall(r"<t[hd].*?</t[hd]>", line, re.DOTALL)] for line in lines]


def labels(markup: str) -> list[str]:
    return [html.unescape(label) for label in re.findall(r'<svg[^>]* role="img" aria-label="([^"]*)"', markup)]


# ---------------------------------------------------------------- figures
# Of 6 utterances of 1A the first is wrong, of 1B the first three. Emotions go ang hap sad ang hap sad, a
# wrong one is the next of the three. A hypothesis has the posterior 0.8, the others 0.1 each. Two of the 12
# words of 1A are wrong.


def test_results(table):
    head, first, second, pooled, interval, mean = rows("results")
    assert head == ["fold", "seed", "n", "WA", "UA", "F1", "weighted F1", "WER", "CER", "ECE", "Brier", "epoch"]
    assert first[:6] == ["1A", "1", "6", "83.33", "83.33", "82.22"]  # F1: (2/3 + 4/5 + 1) / 3
    assert first[head.index("WER")] == "16.67" and first[-1] == "7"
    assert second[:5] == ["1B", "1", "6", "50.00", "50.00"] and second[head.index("WER")] == "0.00"
    assert pooled[:6] == ["pooled, 2/4 folds", "", "12", "66.67", "66.67", "66.27"]  # F1: (4/7 + 6/9 + 6/8) / 3
    assert pooled[head.index("WER")] == "8.33" and pooled[head.index("ECE")] == "13.33"
    assert pooled[head.index("Brier")] == "0.527"  # (8 * 0.06 + 4 * 1.46) / 12
    low, high = map(float, interval[3].split("–"))
    assert low < 66.67 < high
    assert mean[3] == "66.67 ± 23.57"  # sd of 5/6 and 3/6


def test_key_figures_and_their_intervals(table):
    key = re.search(r'<dl class="key">.*?</dl>', page(), re.DOTALL)[0]
    bounds = dict(zip(rows("results")[0], rows("results")[4], strict=True))
    # Taken for `ang` throughout: 4 of 12 are right, one recall of three is 1, one F1 of three is 2 * 4 / (4 + 12).
    figures = {"WA": ("66.67", "chance 33.33"), "UA": ("66.67", "chance 33.33"), "F1": ("66.27", "chance 16.67")}
    figures["WER"] = ("8.33", "CER 9.26")
    shown = [f"{name} {value} % 95 %: {bounds[name]} {beside}" for name, (value, beside) in figures.items()]
    assert text(key) == " ".join(shown)
    assert re.search(r"</h1>\s*<dl class=\"key\">", page())  # directly below the title


def test_classes_and_parts(table):
    assert rows("classes")[1:] == [
        ["ang", "4", "3", "50.00", "66.67", "57.14"],
        ["hap", "4", "5", "75.00", "60.00", "66.67"],
        ["sad", "4", "4", "75.00", "75.00", "75.00"],
    ]
    parts = {(by, group): row for group, by, *row in rows("breakdown")[1:]}
    assert parts["speaker", "1A"][:3] == ["6", "83.33", "83.33"] and parts["speaker", "1B"][-2:] == ["0.00", "0.00"]
    assert sum(int(row[0]) for (by, _), row in parts.items() if by == "duration") == 12


def test_alt_texts_hold_the_figures(table):
    assert rows("confusion") == [
        ["taken for", "ang", "hap", "sad"],
        ["ang", "50.00 2", "50.00 2", "0.00 0"],
        ["hap", "0.00 0", "75.00 3", "25.00 1"],
        ["sad", "25.00 1", "0.00 0", "75.00 3"],
    ]
    mistakes = re.findall(r'<button [^>]*aria-label="([^"]*)"', section("confusion"))
    assert mistakes == [f"{pair} utterances" for pair in
                        ("ang taken for hap: 50.00 %, 2", "hap taken for sad: 25.00 %, 1",
                         "sad taken for ang: 25.00 %, 1")]  # fmt: skip
    (folds,) = labels(section("folds"))
    assert re.search(r"1A: WA 83\.33 \([\d.]+ to [\d.]+\), UA 83\.33 \([\d.]+ to [\d.]+\)\. 1B: WA 50\.00 ", folds)
    calibration, risk = labels(section("calibration"))
    assert "expected calibration error 13.33 %, Brier score 0.527" in calibration
    assert "12 utterances, mean confidence 80.00, accuracy 66.67" in calibration
    assert "Errors against coverage, in per cent. as trained: 33.33 at 25, 33.33 at 50" in risk  # all at 80 %
    first, second = labels(section("learning"))
    assert "Fold 1A" in first and "UA of seed 1: 45.00 at epoch 1, 70.00 at 2, highest 70.00 at 2." in first
    assert "Fold 1B" in second and " WA of seed 1: 70.00 at epoch 1, 85.00 at 2, highest 85.00 at 2." in second
    assert "loss of seed 1: 8.50 at epoch 1, 5.00 at 2, lowest 5.00 at 2." in second
    assert "WER of seed 1: 100.00 at epoch 1, 50.00 at 2, lowest 50.00 at 2." in second
    accuracy, wer = labels(section("alphas"))
    assert "alpha 0: 50.00 at epoch 1, 75.00 at 2" in accuracy
    assert "alpha 0.1: 60.00 at epoch 1, 80.00 at 2" in accuracy  # the mean of 50 and 70, of 75 and 85
    assert "alpha 0.1: 100.00 at epoch 1, 50.00 at 2, lowest" in wer
    assert len(labels(page())) == page().count("<svg") == 7


def test_learning_curves_show_ua_thick_and_loss_and_wer_below(table):
    drawn = re.search(r"<svg.*?</svg>", section("learning"), re.DOTALL)[0]
    styles = [dict(re.findall(r"([\w-]+): ([^;\"]+)", style)) for style in re.findall(r'style="([^"]*)"', drawn)]
    widths = {style["stroke"]: float(style.get("stroke-width", 1)) for style in styles if "stroke" in style}
    ua, wa, loss, wer = (widths[f"var(--series-{number})"] for number in (1, 0, 3, 2))
    assert ua > 2 * wa and {loss, wer} == {1.4}
    words_ = re.findall(r"<text[^>]*>([^<]*)</text>", drawn)
    assert [word for word in words_ if word in ("per cent", "loss", "WER (%)", "epoch")] == [
        "per cent", "epoch", "loss", "loss", "WER (%)"
    ]  # fmt: skip
    assert drawn.count("epoch chosen") == 1


def test_siblings_are_compared_or_the_page_says_why_not(table):
    compared = rows("comparison")
    assert [row[:3] for row in compared[1:]] == [
        *(["last", "none", score] for score in ("WA", "UA", "WER")),
        *(["zero", "partner", score] for score in ("WA", "UA")),  # of alpha 0
    ]
    wa = dict(zip(compared[0], compared[4], strict=True))
    assert (wa["utterances"], wa["here"], wa["there"], wa["difference"]) == ("12", "66.67", "41.67", "-25.00")
    # McNemar: three more are wrong there and none less: p = 2 / 2^3; twice for Holm, as the other pair's is higher.
    assert wa["second p"] == "0.500"
    below = text(section("comparison"))
    assert "zero: Transcripts were not trained (alpha 0): WER and CER mean nothing." in below
    assert "half : " in below and "tested 6 utterances that" in below
    assert "broken : results/talk/speaker/broken/seed1/1A/train.json is missing" in below
    aside = text(section("alphas"))
    assert "last : its validation is none, not partner." in aside and "half : it lacks the folds 1B." in aside


@pytest.mark.parametrize(("valid", "named"), [("oracle-OPTIMISTIC", "oracle-OPTIMISTIC"), ("partner", "validation")])
def test_curves_of_alpha_say_what_they_are_of(monkeypatch, valid, named):
    drawn = {}
    for name in ("fold_bars", "reliability"):
        monkeypatch.setattr(f"local.pages.plots.{name}", lambda *_: "")
    monkeypatch.setattr("local.pages.plots.lines", lambda name, _, what: drawn.setdefault(name, what))
    monkeypatch.setattr("local.pages.report.per_fold", lambda _: None)
    monkeypatch.setattr("local.scoring.metrics.reliability", lambda _: None)
    own = SimpleNamespace(valid=valid, predictions=None, summary={"ece": 0.0, "brier": 0.0})
    own.layer_shares = own.coefficients = pd.DataFrame()
    pictures(own, AlphaCurves([], dict.fromkeys("ab"), {"a": None}))
    assert drawn == {"alpha_accuracy": f"WA, {named}", "alpha_wer": f"{named} WER"}


# ---------------------------------------------------------------- mistakes


def test_mistakes_of_the_page(table):
    """The true and the wrong class come first; of a class taken for itself there is nothing to list."""
    mistakes = rows("mistakes")
    assert [row[3] for row in mistakes[1:]] == [NASTY_ID, "u06", "u07", "u08"]
    assert mistakes[1][:6] == ["ang", "hap", "80.00", NASTY_ID, "1A", "1A"]
    assert mistakes[1][6] == "ang 10.00 hap 80.00 sad 10.00"
    assert mistakes[1][7] == f"reference WELL THEN hypothesis WELL {NASTY_WORD}"
    first = section("mistakes")
    assert "WELL <del>THEN</del>" in first and f"WELL <ins>{html.escape(NASTY_WORD, quote=True)}" in _same(first)
    uris = re.findall(r'data-src="([^"]*)"', first)
    paths = [Path(unquote(urlparse(html.unescape(uri)).path)) for uri in uris]
    assert paths == [table.parent / f"{number} 100%.wav" for number in (0, 6, 7, 8)]
    assert all(path.exists() for path in paths) and all(uri.startswith("file:///") for uri in uris)


def _same(markup: str) -> str:
    """HTML with its quotes escaped as Python escapes them."""
    return markup.replace("&#34;", "&quot;").replace("&#39;", "&#x27;")


def predictions(confidences: dict[str, float], right: str = "") -> pd.DataFrame:
    table = pd.DataFrame({"ID": list(confidences), "p_b": list(confidences.values())})
    table = table.assign(p_a=1 - table["p_b"], emo="a", emo_hyp="b", wrd="", wrd_hyp="", seed=1, fold="f", spk_id="s")
    table.loc[table["ID"] == right, "emo"] = "b"
    return table.assign(wav="$data_root/" + table["ID"] + "$data_root.wav")


def test_the_most_confident_come_first():
    table = predictions({"other": 0.1, "d": 0.7, "c": 0.9, "b": 0.7, "a": 0.6, "right": 0.99}, right="right")
    mistakes = most_confident(table, Path("/corpus"))
    listed = [("c", 0.9), ("b", 0.7), ("d", 0.7), ("a", 0.6), ("other", 0.1)]  # the last is not its model's likeliest
    assert [(each["ID"], each["confidence"]) for each in mistakes] == listed
    assert mistakes[0]["audio"] == "file:///corpus/c%24data_root.wav"
    assert mistakes[0]["posteriors"] == pytest.approx({"a": 0.1, "b": 0.9})


def test_every_confusion_has_its_own_mistakes(monkeypatch):
    """Eleven of `a` taken for `b` are surer than the only one of `b` taken for `a`."""
    table = predictions({f"a{number}": 0.9 - number / 100 for number in range(10, 21)} | {"b": 0.3})
    table.loc[table["ID"] == "b", ["emo", "emo_hyp"]] = ["b", "a"]
    monkeypatch.setattr("local.pages.mistakes.MOST", 2)
    listed = [each["ID"] for each in most_confident(table, Path("/"))]
    assert listed == [*(f"a{number}" for number in range(10, 20)), "b"]


def test_without_text_output_a_mistake_has_no_transcripts():
    (mistake,) = most_confident(predictions({"a": 0.9}).drop(columns="wrd_hyp"), Path("/"))
    assert not {"spoken", "recognised"} & mistake.keys()


@pytest.mark.parametrize(
    ("reference", "hypothesis"),
    [("A B C D", "B C X D"), ("A", "A A A"), ("THE CAT SAT", "A CAT SIT DOWN"), ("A B", ""), ("A A B", "B A A")],
)
def test_as_many_words_are_marked_as_the_wer_counts(reference, hypothesis):
    """Substitutions mark a word on either side, deletions one above, insertions one below."""
    ours, theirs = mark_differences(reference, hypothesis)
    counts = jiwer.process_words(reference, hypothesis)
    assert sum(wrong for _, wrong in ours) == counts.substitutions + counts.deletions
    assert sum(wrong for _, wrong in theirs) == counts.substitutions + counts.insertions
    assert [word for word, _ in ours] == reference.split() and [word for word, _ in theirs] == hypothesis.split()


def test_without_a_reference_no_word_is_wrong():
    assert mark_differences("", "A B") == ([], [("A", False), ("B", False)])


# ---------------------------------------------------------------- the page


def test_the_page_says_what_results_md_says(table):
    lines = (OWN / "RESULTS.md").read_text(encoding="utf-8").splitlines()
    bullets = [line[2:] for line in lines if line.startswith("- ")]
    folded = re.search(r'<div class="notes">.*?</div>', page(), re.DOTALL)[0]
    items = [re.sub(r"\s", "", text(item)) for item in re.findall(r"<li>(.*?)</li>", folded)]
    assert len(bullets) > 3 and sorted(items) == sorted(re.sub(r"[`*\s]", "", line) for line in bullets)
    assert '<details class="warning" open>\n<summary>1 warning</summary>' in folded
    assert "<summary>Protocol speaker, validation partner, 2/4 folds, 1 seed</summary>" in folded
    assert f"<h1>{lines[0][2:]}</h1>" in page()
    assert next(line for line in lines if line.startswith("Interval: ")) in text(page())
    box = re.search(r'<dl class="setup">.*?</dl>', page(), re.DOTALL)[0]
    pairs = [[text(part) for part in re.findall(r"<d[td]>(.*?)</d[td]>", line)] for line in box.split("</div>")[:-1]]
    assert lines[2:4] == ["| set-up |  |", "| --- | --- |"]
    assert pairs == [re.sub("`", "", line)[2:-2].split(" | ") for line in lines[4 : 4 + len(pairs)]]
    assert ["encoder", "wav2vec2, random weights"] in pairs and pairs[-1][0] == "scored by"


def test_results_of_an_earlier_version_have_no_set_up(table):
    folder = shutil.copytree(OWN, OWN.with_name("earlier"))
    said = json.loads((folder / "RESULTS.json").read_text(encoding="utf-8"))
    del said["setup"]
    (folder / "RESULTS.json").write_text(json.dumps(said), encoding="utf-8")
    report(parse(words(table, "earlier", 0.1)))
    box = re.search(r'<dl class="setup">.*?</dl>', page(folder), re.DOTALL)[0]
    assert box.count("<dt>") == 1 and text(box) == f"scored by {said['command']}"
    shutil.rmtree(folder)


def test_the_page_shows_the_figures_of_results_md(table):
    folder = OWN.with_name("zero")  # the predictions of n were changed after they were scored
    report(parse(words(table, "zero", 0)))
    lines = (folder / "RESULTS.md").read_text(encoding="utf-8").replace("*", "").splitlines()
    shown = [line[2:-2].split(" | ") for line in lines if line.startswith("| ")]
    for name in ("results", "breakdown"):  # there the first two columns are the other way round
        assert all([second, first, *row] in shown for first, second, *row in rows(name, folder))
    assert all(any(row == line[: len(row)] for line in shown) for row in rows("classes", folder))


def test_what_comes_from_data_is_escaped(table):
    assert NASTY_ID not in page() and NASTY_WORD not in page()
    assert page().count("<script>") == page().count("</script>") == 1 and "<b>" not in page()


def test_the_same_bytes_twice(table):
    before = page()
    report(parse(words(table, "n", 0.1)))
    assert page() == before


def test_nothing_is_asked_of_a_network(table):
    assert "http:" not in page() and "https:" not in page() and "@import" not in page()
    named = re.findall(r'(?<!data-)\b(?:src|href|data)=["\']([^"\']*)', page()) + re.findall(r"url\(([^)]*)", page())
    assert named and all(name.startswith(("#", "data:,")) for name in named)


def test_ids_are_unique_and_every_reference_has_its_target(table):
    ids = Counter(re.findall(r'\bid="([^"]*)"', page()))
    assert max(ids.values()) == 1
    wanted = re.findall(r'(?:href="|url\()#([^")]*)', page()) + re.findall(r'aria-labelledby="([^"]*)"', page())
    assert {*wanted} <= {*ids} and len(wanted) > 20


def test_pictures_take_their_colours_and_type_from_the_page(table):
    pictures = "".join(re.findall(r"<svg.*?</svg>", page(), re.DOTALL))
    assert "currentColor" in pictures and "var(--series-0)" in pictures
    assert not re.search(r"#[0-9a-f]{6}|font-family", pictures)
    known = set(re.findall(r"(--[\w-]+):", page()))
    assert {*re.findall(r"var\((--[\w-]+)\)", page())} <= known


def test_neither_torch_nor_pyplot_is_loaded(table):
    code = (
        "import sys; from local.report import main; main(); assert not {'torch', 'matplotlib.pyplot'} & {*sys.modules}"
    )
    shutil.copytree(OWN, OWN.with_name("again"))
    asked = words(table, "again", 0.1)
    variables = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    ended = subprocess.run([sys.executable, "-c", code, *asked], env=variables, capture_output=True, text=True)
    shutil.rmtree(OWN.with_name("again"))
    assert (ended.returncode, ended.stderr) == (0, ""), shlex.join(asked)
    folder = "results/talk/speaker/again"
    assert ended.stdout == f"== stage 5: report {folder}\n\n{folder}/report.html\n"


# ---------------------------------------------------------------- what may be missing


def test_a_report_is_asked_for_by_its_folder_too(table, monkeypatch, capsys):
    folder = parse(words(table, "n", 0.1)).experiment_folder
    whole = (folder / "report.html").read_bytes()
    (folder / "report.html").unlink()
    monkeypatch.setattr("sys.argv", ["report", str(folder)])
    main()
    assert capsys.readouterr().out == f"== stage 5: report {folder}\n\n{folder}/report.html\n"
    assert (folder / "report.html").read_bytes() == whole
    for given, said in (
        (folder / "seed1" / "1A", f"  try: give {folder}\n"),
        (folder.parent, f"    {folder}\n"),
        (folder / "absent", "absent is not the folder of a scored experiment"),
    ):
        monkeypatch.setattr("sys.argv", ["report", str(given)])
        with pytest.raises(SystemExit):
            main()
        assert said in capsys.readouterr().err


def test_before_stage_4_there_is_nothing_to_report(table):
    with pytest.raises(UserError, match=r"no folds\.csv") as caught:
        report(parse(words(table, "unknown", 0.1)))
    assert "stage 4" in caught.value.remedy


@pytest.mark.parametrize(("damage", "message"), [(None, "RESULTS.json is missing"), ("[", "RESULTS.json is damaged")])
def test_without_the_words_of_stage_4_there_is_nothing_to_report(table, damage, message):
    folder = shutil.copytree(OWN, OWN.with_name("wordless"))
    (folder / "RESULTS.json").unlink()
    if damage:
        (folder / "RESULTS.json").write_text(damage)
    with pytest.raises(UserError, match=message) as caught:
        report(parse(words(table, "wordless", 0.1)))
    assert "run stage 4" in caught.value.remedy
    shutil.rmtree(folder)


def test_no_transcripts_no_validation_no_siblings(tmp_path, monkeypatch):
    given = report_place.corpus(tmp_path)
    alone = pd.read_csv(given, dtype=str).drop(columns=["wrd", "recording"])
    alone.to_csv(given, index=False)
    monkeypatch.chdir(report_place.workplace(tmp_path))
    monkeypatch.setenv("SER_MTL_COMMAND", "./run.sh")  # rather than that of the tests, which may name anything
    asked = words(given, "lone", 0.1, "--valid", "none")
    folder = experiment(asked, {"1A": 0, "1B": 0}, {"1A": 0, "1B": 0})
    for fold in report_place.FOLDS:
        (folder / "seed1" / fold / "epochs.csv").write_text(report_place.UNVALIDATED)
    report(parse(asked))
    assert not {"WER", "CER"} & {*rows("results", folder)[0], *rows("breakdown", folder)[0]}
    assert re.findall("<dt>(..)</dt>", re.search(r'<dl class="key">.*?</dl>', page(folder), re.DOTALL)[0]) == [
        "WA", "UA", "F1"
    ]  # fmt: skip
    assert "WER" not in section("learning", folder)
    assert "Nothing was held out for validation" in text(section("learning", folder))
    assert labels(section("learning", folder))[0].startswith(
        "Fold 1A by epoch, rates in per cent. WA, training of seed 1: 50.00 at epoch 1, 100.00 at 2"
    )
    # What is empty is not there, and nothing leads to it.
    shown = re.findall(r'<section aria-labelledby="(\w+)">', page(folder))
    assert sorted(shown) == ["breakdown", "calibration", "classes", "confusion", "folds", "learning", "results"]
    assert sorted(re.findall(r'<li><a href="#(\w+)">', page(folder))) == sorted(shown)
    assert "nan" not in page(folder)


def test_a_system_that_writes_no_text(table, tmp_path):
    """Nothing of the page is about text: no card, column, curve, transcript or sentence."""
    own = scored.load(OWN)
    rates = [name for name in own.summary.index if name.startswith(("wer", "cer"))]
    mute = replace(own, folder=tmp_path / "mute", summary=own.summary.where(~own.summary.index.isin(rates)))
    vars(mute).update(  # as if they had been read
        values={},
        predictions=own.predictions.drop(columns="wrd_hyp").assign(**dict.fromkeys(metrics.EDITS, 0)),
        epochs=own.epochs.drop(columns=["valid_wer", "valid_cer"]),
    )
    notes = Notes("mute", "./run.sh", ["Folds: 2."], ["WA: correct / n."])
    shown = render_report(mute, notes, table.parent).partition("<body>")[2].partition("<script>")[0]
    assert not re.search("WER|CER|transcript|Words|nan", shown)
    assert [text(name) for name in re.findall("<dt>.*?</dt>", shown)][:3] == ["WA", "UA", "F1"]
    assert "UA (thick) and WA (thin), and loss on the validation set" in shown and "hypotheses are wrong." in shown


def test_a_head_that_was_not_trained_has_no_card(table):
    own = scored.load(OWN)
    for untrained, names in (
        ({}, ["WA", "UA", "F1", "WER"]),
        ({"alpha": 0.0}, ["WA", "UA", "F1"]),
        ({"emotion_weight": 0.0}, ["WER"]),
    ):
        vars(own)["values"] = {"alpha": 0.1} | untrained
        assert [card.name for card in cards(own)] == names


def test_the_page_of_stage_7_is_linked_if_none_of_its_runs_was_trained_since(table):
    own, page = scored.load(OWN), OWN / "stress.html"
    tested, again = (run / "stress.json" for run in own.runs)
    for path in (tested, again):
        assert not is_stressed(own)
        Marker(path, {"training": digest(path.with_name("train.json"))}).write()
    page.touch()
    assert is_stressed(own) and 'href="stress.html"' in render_report(own, Notes.read(OWN), Path())
    Marker(again, {"training": "earlier"}).write()
    assert not is_stressed(own)
    again.unlink()
    assert is_stressed(own)  # the page is of one run, and says so
    trained, written = again.with_name("train.json"), page.stat().st_mtime
    before = trained.stat()
    os.utime(trained, (written + 1, written + 1))  # no stress test of it is left, and the page is of the earlier one
    assert not is_stressed(own)
    os.utime(trained, ns=(before.st_atime_ns, before.st_mtime_ns))
    tested.unlink()
    assert not is_stressed(own) and 'href="stress.html"' not in render_report(own, Notes.read(OWN), Path())
    page.unlink()


def test_two_seeds(table):
    folder = experiment(words(table, "seeds", 0.1), {"1A": 1, "1B": 3}, {"1A": 0, "1B": 0}, seeds=(1, 2))
    report(parse(words(table, "seeds", 0.1)))
    results = rows("results", folder)
    assert [row[:3] for row in results[1:5]] == [["1A", "1", "6"], ["1B", "1", "6"], ["1A", "2", "6"], ["1B", "2", "6"]]
    assert results[-1][:4] == ["mean ± sd over seeds", "", "", "66.67 ± 0.00"]
    (first, _) = labels(section("learning", folder))
    assert "UA of seed 2: 45.00" in first and first.endswith("Epoch chosen: 7 of seed 1; 8 of seed 2.")
    mistakes = rows("mistakes", folder)
    at = mistakes[0].index("seed")
    assert [(row[3], row[at]) for row in mistakes[1:5]] == [
        (NASTY_ID, "1"), (NASTY_ID, "2"), ("u06", "1"), ("u06", "2")
    ]  # fmt: skip
    shutil.rmtree(folder)  # the other tests know the siblings by name


def test_heads_of_numbers_that_were_trained_have_a_plot_with_their_ccc(table):
    own = scored.load(OWN)
    assert number_pictures(own, task_scores.table(own.predictions)) == {}
    numbers = np.arange(len(own.predictions), dtype=float)
    given = {"ref_valence": numbers, "hyp_valence": numbers + 1, "ref_arousal": numbers, "hyp_arousal": numbers}
    given |= {"ref_dominance": np.nan, "hyp_dominance": numbers}  # whose labels no test set has
    vars(own)["predictions"] = own.predictions.assign(**given)
    vars(own)["values"] = own.values | {"heads": {"valence": 0.5, "arousal": 0.0, "dominance": 0.1}}
    drawn = number_pictures(own, task_scores.table(own.predictions))
    spread = 2 * numbers.var()
    assert [*drawn] == ["valence"] and f"CCC {spread / (spread + 1):.3f} (" in drawn["valence"]
    rendered = render_report(own, Notes.read(OWN), Path())
    assert "Predicted against true valence, each on" in rendered and 'aria-label="Predicted against true v' in rendered


@pytest.mark.slow
def test_learned_weights_of_layers_have_a_section_where_there_are_any(table):
    own = scored.load(OWN)
    assert 'aria-labelledby="layers"' not in page()
    rows = [(1, fold, state, share) for fold in ("1A", "1B") for state, share in enumerate((0.2, 0.8))]
    vars(own)["layer_shares"] = pd.DataFrame(rows, columns=["seed", "fold", "state", "share"])
    rendered = render_report(own, Notes.read(OWN), Path())
    assert 'href="#layers"' in rendered and "1: 0.800 (0.800 to 0.800)." in rendered
    assert 'href="#merged"' not in rendered
    shares = {"front": 0.2, "1": 0.4, "2": 0.6}
    rows = [(1, fold, task, *each) for fold in ("1A", "1B") for task in ("ctc", "emotion") for each in shares.items()]
    vars(own)["coefficients"] = pd.DataFrame(rows, columns=["seed", "fold", "task", "part", "coefficient"])
    rendered = render_report(own, Notes.read(OWN), Path())
    assert 'href="#merged"' in rendered and "emotion: front: 0.200 (0.200 to 0.200)." in rendered
