"""Which addresses of a topic are read, which are refused, and what does asking load?"""

import subprocess
import sys

import pytest

from roundlog.errors import AddressError
from roundlog.log.address import KafkaAddress, is_kafka


@pytest.mark.parametrize(
    ("text", "servers", "topic"),
    [
        ("kafka://127.0.0.1:9092/fl.rounds", ("127.0.0.1:9092",), "fl.rounds"),
        ("kafka://a:1,b.example:2,c_d:65535/t-1", ("a:1", "b.example:2", "c_d:65535"), "t-1"),
        ("kafka://[::1]:9092/t", ("[::1]:9092",), "t"),
        ("kafka://localhost:9092", ("localhost:9092",), "fl.rounds"),
        ("kafka://localhost:9092/", ("localhost:9092",), "fl.rounds"),
    ],
)
def test_an_address_names_servers_and_a_topic(
    text: str, servers: tuple[str, ...], topic: str
) -> None:
    address = KafkaAddress.parse(text)
    assert (address.servers, address.topic) == (servers, topic)
    assert address.bootstrap == ",".join(servers)
    assert KafkaAddress.parse(str(address)) == address


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("localhost:9092/t", "does not begin with kafka://"),
        ("http://localhost:9092/t", "does not begin with kafka://"),
        ("kafka://", "'' is not HOST:PORT"),
        ("kafka:///t", "'' is not HOST:PORT"),
        ("kafka://localhost/t", "'localhost' is not HOST:PORT"),
        ("kafka://a:1,,b:2/t", "'' is not HOST:PORT"),
        ("kafka://a:0/t", "0 is not a port"),
        ("kafka://a:70000/t", "70000 is not a port"),
        ("kafka://user@a:1/t", "'user@a:1' is not HOST:PORT"),
        ("kafka://a:1/a/b", "'a/b' is not a topic"),
        ("kafka://a:1/..", r"'\.\.' is not a topic"),
        ("kafka://a:1/" + "t" * 250, "is not a topic"),
        ("kafka://a:1/t?x=1", r"'t\?x=1' is not a topic"),
    ],
)
def test_a_wrong_address_is_refused_and_the_wrong_part_named(text: str, why: str) -> None:
    with pytest.raises(AddressError, match=why) as caught:
        KafkaAddress.parse(text)
    assert caught.value.exit_code == 2


def test_only_the_scheme_decides_what_is_a_topic() -> None:
    assert is_kafka("kafka://nonsense")
    assert not is_kafka("cases/kafka")


def test_the_recorder_alone_does_not_load_the_kafka_client() -> None:
    code = "import sys, roundlog.recorder; sys.exit('kafka' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
