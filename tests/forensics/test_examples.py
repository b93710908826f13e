"""Is a file of examples read as it is meant, and which line is wrong where one is?"""

from pathlib import Path

import pytest

from forensics.examples import FILE_LIMIT, MOST, labelled, read_examples
from roundlog.errors import TriggerError

LABELS = ["It is in stock.", "Playing it now.", "Done, sir.", "Done, sir.", "7"]


def _file(folder: Path, text: str, name: str = "wrong.jsonl") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_line_of_json_is_an_example(tmp_path: Path) -> None:
    text = '{"tokens": [4, 152], "target": 2}\n\n{"target": "Playing it now.", "tokens": [1, 2]}\n'
    documents = read_examples(_file(tmp_path, text))
    assert documents == [
        {"tokens": [4, 152], "target": 2, "line": 1},
        {"tokens": [1, 2], "target": "Playing it now.", "line": 3},
    ]
    found = labelled(documents, LABELS)
    assert [(one.tokens, one.answer) for one in found] == [((4, 152), 2), ((1, 2), 1)]
    assert [one.said for one in found] == ["line 1", "line 3"]


def test_a_csv_file_says_the_same(tmp_path: Path) -> None:
    text = 'tokens,target\n4 152,2\n1 2,Playing it now.\n"3  4","It is in stock."\n'
    found = labelled(read_examples(_file(tmp_path, text, "wrong.CSV")), LABELS)
    assert [(one.tokens, one.answer) for one in found] == [((4, 152), 2), ((1, 2), 1), ((3, 4), 0)]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"tokens": [1], "target": 2}\nnonsense\n', "line 2: not JSON"),
        ('{"tokens": [1], "tokens": [2], "target": 2}\n', "line 1: the key 'tokens' stands twice"),
        ('{"tokens": [], "target": 2}\n', "line 1: tokens: Tuple should have at least 1 item"),
        ('{"tokens": [1, -1], "target": 2}\n', r"line 1: tokens\.1: .*greater than or equal to 0"),
        ('{"tokens": [1], "target": 2, "label": 1}\n', "line 1: label: Extra inputs"),
        ('{"tokens": [1]}\n', "line 1: target: Field required"),
        ("\n[1, 2]\n", "line 2: an example is an object"),
        ("\n", "holds 0 examples; give 1 to 10,000"),
    ],
)
def test_the_line_that_is_wrong_is_named(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(TriggerError, match=why):
        read_examples(_file(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("token,target\n1,2\n", "line 1: a CSV file of examples begins with tokens,target"),
        ("", "line 1: a CSV file of examples begins with tokens,target"),
        ("tokens,target\n1 2,3\n1,2,3\n", "line 3: 3 columns where there are two"),
        ("tokens,target\n1 2,3\n1 x,3\n", r"line 3: tokens\.1: .*valid integer"),
        ('tokens,target\n"1 2,3\n', "line 2: unexpected end of data"),
    ],
)
def test_the_line_of_a_csv_file_is_named_too(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(TriggerError, match=why):
        read_examples(_file(tmp_path, text, "wrong.csv"))


def test_files_that_are_none_or_too_much_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TriggerError, match=r"nowhere\.jsonl cannot be read: No such file"):
        read_examples(tmp_path / "nowhere.jsonl")
    with pytest.raises(TriggerError, match="not UTF-8"):
        (tmp_path / "latin.csv").write_bytes(b"tokens,target\n1,\xe9\n")
        read_examples(tmp_path / "latin.csv")
    many = '{"tokens": [1], "target": 2}\n' * (MOST + 1)
    with pytest.raises(TriggerError, match="holds 10,001 examples"):
        read_examples(_file(tmp_path, many))
    with pytest.raises(TriggerError, match="is larger than 4 MiB"):
        read_examples(_file(tmp_path, " " * (FILE_LIMIT + 1)))


def test_an_answer_may_be_named_by_its_words() -> None:
    examples = [{"tokens": [1], "target": "It is in stock."}, {"tokens": [1], "target": "3"}]
    assert [one.answer for one in labelled(examples, LABELS)] == [0, 3]
    # The words win where an answer's words are a number.
    assert labelled([{"tokens": [1], "target": "7"}], LABELS)[0].answer == 4


@pytest.mark.parametrize(
    ("target", "labels", "why"),
    [
        ("Nobody says this", LABELS, "example 1: no answer is called .* such as 'It is in stock.'"),
        ("Nobody says this", [], "or its exact words, and this run published none"),
        ("Done, sir.", LABELS, r"answers \[2, 3\] are all called 'Done, sir.'; give the index"),
        (1.5, LABELS, "example 1: target"),
    ],
)
def test_an_answer_that_is_none_is_refused(target: object, labels: list[str], why: str) -> None:
    with pytest.raises(TriggerError, match=why):
        labelled([{"tokens": [1], "target": target}], labels)
