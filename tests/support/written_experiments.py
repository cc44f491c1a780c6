"""Experiments as stages 2 to 4 leave them, written by hand, and the tables made of them."""

from __future__ import annotations

import math
from pathlib import Path

import pandas as pd
from paths import REPOSITORY
from small_tables import TEST_SIZES

from local.config import hparams
from local.core.markers import Marker

SIZES = TEST_SIZES["recording"]


def write_experiment(
    results: Path,
    path: str,
    valid: str = "recordings",
    sizes: dict[str, int] = SIZES,
    seeds: tuple[int, ...] = (1,),
    scores: tuple[float, float, float] = (0.7, 0.25, 0.3),
    interval: tuple[float, float] | None = (0.68, 0.72),
    known: int = 10,
    n_epochs: int = 0,
    config: str = "mtl_wav2vec2.yaml",
    **values: object,
) -> Path:
    """Write what stages 2 to 4 leave of `<corpus>/<protocol>/<name>`, as far as tables of it are made.

    `scores` are WA, pooled WER and the mean of the folds' WERs. In epoch e, seed s has a training WA of
    e / 200 + s / 1000, and with a validation one of a tenth more and a WER of 1 / e.
    """
    corpus, protocol, name = path.split("/")
    folder = results / path
    about = {"name": name, "corpus": corpus, "protocol": protocol, "valid": valid}
    yaml = hparams.resolve(REPOSITORY / "hparams/mtl_wav2vec2.yaml", values)
    inputs = {"valid": valid} | hparams.compared_values(yaml)
    for seed in seeds:
        for fold in sizes:
            run = folder / f"seed{seed}" / fold
            run.mkdir(parents=True)
            (run / "hyperparams.yaml").write_text(yaml)
            (run / "env.json").write_text('{"commit": "0123456789ab"}')
            (run / "scores.json").write_text("{}")
            Marker(run / "train.json", inputs).write(config=config)
            rows = [{"epoch": epoch, "train_wa": epoch / 200 + seed / 1000} for epoch in range(1, n_epochs + 1)]
            for row in rows:
                validated = valid != "none"
                row["valid_wa"] = row["train_wa"] + 0.1 if validated else math.nan
                row["valid_wer"] = 1 / row["epoch"] if validated else math.nan
            pd.DataFrame(rows).to_csv(run / "epochs.csv", index=False)
    folds = [about | {"seed": seed, "fold": fold, "n": n} for seed in seeds for fold, n in sizes.items()]
    pd.DataFrame(folds).assign(config=config).to_csv(folder / "folds.csv", index=False)
    low, high = interval or ("", "")
    wa, wer, wer_mean = scores
    row = about | {
        "n": sum(sizes.values()),
        "wa": wa,
        "ua": wa,
        "wer": wer,
        "wer_mean": wer_mean,
        "wa_low": low,
        "speaker_overlap": 1.0 if protocol.startswith("recording") else 0.0,
        "speakers_known": "5531/5531",
        "wa_high": high,
        **{"ua_low": low, "ua_high": high, "wf1": wa, "clusters": 10, "cluster": "speaker"},
    }
    row |= {"seeds": len(seeds), "folds": f"{len(sizes)}/{known}"}
    pd.DataFrame([row]).to_csv(folder / "summary.csv", index=False)
    return folder


def table_of(text: str) -> list[dict[str, str]]:
    """The rows of the one Markdown table in a text."""
    heads, _, *rows = (line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| "))
    return [dict(zip(heads, row, strict=True)) for row in rows]
