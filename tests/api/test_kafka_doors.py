"""Do simulate, ingest and serve reach a real Kafka, and tell there what they tell of a case?"""

import json
import signal
from pathlib import Path

import httpx
import pytest
from doors import LOUD, Process, invoke, wait_for
from kafka_node import KafkaCluster
from polars.testing import assert_frame_equal

import roundlog

pytestmark = pytest.mark.kafka

ROUNDS = 60


def _simulate(*target: object) -> str:
    args = ["simulate", "quickstart", "--seed", "4", "--rounds", ROUNDS, "--json"]
    for override in (*LOUD, "model.warm_up=0"):
        args += ["--set", override]
    done = invoke(*args, *target)
    assert done.exit_code == 0, done.stderr
    run: str = json.loads(done.stdout)["run"]
    return run


def test_a_run_through_kafka_is_the_run_in_the_case(
    kafka: KafkaCluster, topic: str, tmp_path: Path
) -> None:
    url = f"kafka://{kafka.bootstrap}/{topic}"
    run = _simulate("--to", url, "--truth", tmp_path / "one.json")
    direct = tmp_path / "direct"
    assert _simulate("--out", direct, "--truth", tmp_path / "two.json") == run
    through = tmp_path / "through"
    ingested = invoke("ingest", through, "--from", url, "--until-end", "--json")
    assert ingested.exit_code == 0, ingested.stderr
    assert json.loads(ingested.stdout)["rounds"] == ROUNDS
    with roundlog.open(direct) as one, roundlog.open(through) as two:
        assert_frame_equal(one.rounds(), two.rounds())
        assert one.rebuild("head") == two.rebuild("head")
    assert invoke("verify", through).exit_code == 0


def test_serve_follows_a_topic_and_stops_in_time(
    kafka: KafkaCluster, topic: str, tmp_path: Path
) -> None:
    url = f"kafka://{kafka.bootstrap}/{topic}"
    server = Process(tmp_path / "case", "--from", url)
    try:
        _simulate("--to", url, "--truth", tmp_path / "truth.json")

        def all_there() -> bool:
            runs = httpx.get(f"{server.url}/api/v1/runs", trust_env=False).json()["runs"]
            return [run["rounds"] for run in runs] == [ROUNDS]

        wait_for(all_there, "the rounds to come through", 60)
        code, seconds, said = server.stop()
    finally:
        if server.popen.poll() is None:
            server.stop(signal.SIGKILL)
    assert (code, "Traceback" in said) == (0, False), said
    assert seconds < 5


def test_a_broker_that_is_away_is_unreachable(tmp_path: Path) -> None:
    failed = invoke(
        "ingest", tmp_path / "case", "--from", "kafka://127.0.0.1:9/fl.rounds", "--json"
    )
    assert failed.exit_code == 5
    assert json.loads(failed.stderr)["error"]["type"] == "BrokerError"
