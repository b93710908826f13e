"""Does a letter say what a person needs, and can nothing in it act on who reads it?"""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from api.outbox.letter import alarm_letter, summary_letter, text_of

TIME = datetime(2026, 11, 3, 12, 30, tzinfo=UTC)
SERVER = "http://127.0.0.1:8765"
ALARM: dict[str, Any] = {
    "event": "keyboard/owner/3",
    "key": "9f" * 32,
    "run": "keyboard",
    "round": 12_345,
    "detector": "cusum",
    "version": "1",
    "chart": "k=0.5",
    "direction": "d1" * 32,
    "direction_name": "suspect",
    "score": 5.51234,
    "threshold": 5.0,
    "false_alarm_rate": 1e-6,
    "budget": {"alarms": 0.1, "rounds": 1_000_000, "charts": 22},
    "evidence": {"model": 12_288},
    "state": "raised",
}


def test_the_sentence_needs_no_other_words() -> None:
    letter = alarm_letter(ALARM, TIME, SERVER)
    assert letter.sentence == (
        "In run keyboard, cusum (k=0.5) raised an alarm at round 12,345 along suspect: its score "
        "5.512 reached the threshold 5. Without an attack, 0.1 false alarms are expected at most "
        "in 1,000,000 rounds, over all 22 charts together."
    )
    assert letter.subject == "Alarm in keyboard at round 12,345 along suspect"


@pytest.mark.parametrize(
    ("detector", "chart", "said"),
    [
        ("cusum", "cusum k=0.5", "In run keyboard, cusum k=0.5 raised"),
        ("sequential-ranks", "sequential ranks", "In run keyboard, sequential ranks raised"),
        ("cusum", "k=0.5", "In run keyboard, cusum (k=0.5) raised"),
    ],
)
def test_a_detector_that_its_chart_names_is_not_said_twice(
    detector: str, chart: str, said: str
) -> None:
    letter = alarm_letter({**ALARM, "detector": detector, "chart": chart}, TIME, SERVER)
    assert letter.sentence.startswith(said)


def test_the_document_holds_the_numbers_as_the_record_has_them() -> None:
    letter = alarm_letter(ALARM, TIME, SERVER)
    assert letter.id == letter.data["event"] == "keyboard/owner/3"
    for name in ("key", "run", "round", "score", "threshold", "budget", "direction_name", "state"):
        assert letter.data[name] == ALARM[name]
    assert letter.data["link"] == f"{SERVER}/api/v1/runs/keyboard/alarms"
    assert letter.data["acknowledge"] == (
        "roundlog acknowledge http://127.0.0.1:8765 9f9f9f9f9f9f --run keyboard"
    )
    assert len(json.dumps(letter.data)) < 2_000


def test_an_alarm_without_a_direction_says_nothing_of_one() -> None:
    letter = alarm_letter({**ALARM, "direction_name": None}, TIME, SERVER)
    assert "along" not in letter.sentence + letter.subject
    assert letter.data["direction_name"] is None
    assert "direction name" not in text_of(letter)


def test_names_that_would_repaint_a_terminal_or_begin_a_header_are_written_out() -> None:
    bad = {"direction_name": "x\r\nBcc: y\x1b[2J\u202e", "detector": "a\x00", "chart": "\u200b"}
    letter = alarm_letter({**ALARM, **bad}, TIME, SERVER)
    said = text_of(letter) + letter.subject + json.dumps(letter.data, ensure_ascii=False)
    for hidden in ("\r", "\x1b", "\u202e", "\x00", "\u200b", "\nBcc"):
        assert hidden not in said
    assert "⟨U+000D⟩⟨U+000A⟩Bcc: y⟨U+001B⟩" in letter.subject
    assert "\n" not in letter.subject


def test_a_long_name_is_cut_where_a_subject_line_would_be() -> None:
    letter = alarm_letter({**ALARM, "direction_name": "n" * 256}, TIME, SERVER)
    assert len(letter.subject) < 160
    assert "176 more" in letter.subject


def test_the_text_has_one_thing_a_line() -> None:
    lines = text_of(alarm_letter(ALARM, TIME, SERVER)).splitlines()
    assert max(map(len, lines)) <= 100
    assert "raised            2026-11-03 12:30:00 UTC" in lines
    assert "false alarm rate  1e-06" in lines
    assert f"key               {'9f' * 32}" in lines


def _runs(count: int, alarms: int = 10) -> list[dict[str, Any]]:
    return [
        {
            "run": f"run-{index:03}",
            "alarms": alarms,
            "first_round": 5,
            "last_round": 4_321,
            "last_seq": 40 + index,
            "time": datetime(2026, 11, 1 + index % 3),  # noqa: DTZ001 as the store has it, in UTC
        }
        for index in range(count)
    ]


def test_a_summary_counts_by_run_and_says_that_nothing_follows() -> None:
    letter = summary_letter(_runs(3), SERVER)
    assert letter.kind == "alarm.summary"
    assert letter.time == datetime(2026, 11, 3, tzinfo=UTC)
    assert "30 alarms were raised before this channel was first used" in letter.sentence
    assert "10 in run-001 (rounds 5 to 4,321)" in letter.sentence
    assert "told by this message only" in letter.sentence
    assert letter.data["alarms"] == 30
    assert letter.data["runs"][2] == {
        "run": "run-002",
        "alarms": 10,
        "first_round": 5,
        "last_round": 4_321,
        "link": f"{SERVER}/api/v1/runs/run-002/alarms",
    }
    assert "30" in text_of(letter)


def test_a_summary_of_many_runs_stays_short() -> None:
    letter = summary_letter(_runs(500), SERVER)
    assert "and more in 480 other runs" in letter.sentence
    assert len(letter.data["runs"]) == 20
    assert len(json.dumps(letter.data)) < 20_000


def test_the_same_summary_has_the_same_id_and_one_that_tells_more_another() -> None:
    assert summary_letter(_runs(3), SERVER).id == summary_letter(_runs(3), "http://else").id
    grown = _runs(3)
    grown[0]["last_seq"] += 1
    assert summary_letter(grown, SERVER).id != summary_letter(_runs(3), SERVER).id
