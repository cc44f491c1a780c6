"""Tables are read with the types that they were written with."""

import math

import pandas as pd
import pytest

from local.core.typed_csv import read_csv, read_numbers

WORDS = ["NA", "null", "nan", "None", "inf", "-inf", "1e5", "007", "true", "False", "N/A", "#N/A", "", "1_000", "0x1F"]


def test_text_is_what_was_written(tmp_path):
    path = tmp_path / "folds.csv"
    pd.DataFrame({"fold": WORDS, "name": WORDS[::-1]}).to_csv(path, index=False)
    read = read_csv(path)
    assert read["fold"].tolist() == WORDS and read["name"].tolist() == WORDS[::-1]


def test_columns_of_numbers_are_numbers(tmp_path):
    path = tmp_path / "folds.csv"
    path.write_text("fold,n,wer,epoch\n007,3,0.1,\n1e5,4,,2\n")
    read = read_csv(path, ("n", "wer", "epoch", "of another version"))
    assert read["fold"].tolist() == ["007", "1e5"]
    assert read["n"].tolist() == [3, 4] and read["n"].dtype == "int64"
    assert read["wer"][0] == 0.1 and math.isnan(read["wer"][1])
    assert math.isnan(read["epoch"][0]) and read["epoch"][1] == 2


def test_numbers_keep_their_last_digit(tmp_path):
    path, numbers = tmp_path / "numbers.csv", [0.1 + 0.2, 1 / 3, 2 / 3, 5e-324, 1.7976931348623157e308]
    pd.DataFrame({"wa": numbers}).to_csv(path, index=False)
    assert read_csv(path, ["wa"])["wa"].tolist() == numbers


def test_all_columns_may_be_numbers_but_some(tmp_path):
    path = tmp_path / "summary.csv"
    path.write_text("name,n,wa,sd\nnull,3,inf,\n")
    (row,) = read_numbers(path, ("name", "of another version")).to_dict("records")
    assert (row["name"], row["n"], row["wa"]) == ("null", 3, math.inf) and math.isnan(row["sd"])


@pytest.mark.parametrize("cell", ["half", "1_0", "1_0.5"])
def test_a_cell_that_is_no_number_is_an_error(tmp_path, cell):
    path = tmp_path / "numbers.csv"
    path.write_text(f"wa\n5\n{cell}\n")
    with pytest.raises(ValueError, match=f"'{cell}'"):
        read_csv(path, ["wa"])


def test_a_whole_number_may_be_of_any_size(tmp_path):
    path = tmp_path / "numbers.csv"
    path.write_text(f"n,m\n{2**63 - 1},{10**20}\n-5,1\n")
    table = read_csv(path, ["n", "m"])
    assert table["n"].tolist() == [2**63 - 1, -5] and table["m"].tolist() == [1e20, 1.0]
