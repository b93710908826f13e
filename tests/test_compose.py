"""Does compose.yaml say what the code reads? Parsed here, since not everybody has Docker."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from api.cli import main
from roundlog.log.kafka import TOPIC_SETTINGS, KafkaAddress

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
    found: dict[str, Any] = document["services"]
    return found


def _option(command: list[str], name: str) -> str:
    return next(part.split("=", 1)[1] for part in command if part.startswith(f"--{name}="))


def test_the_topic_is_created_with_the_settings_that_the_code_would_use(
    services: dict[str, Any],
) -> None:
    command = services["topic"]["command"]
    given = dict(part.split("=", 2)[1:] for part in command if part.startswith("--config="))
    assert given == TOPIC_SETTINGS


def test_every_broker_limit_is_at_least_the_topic_s(services: dict[str, Any]) -> None:
    broker = services["kafka"]["environment"]
    need = int(TOPIC_SETTINGS["max.message.bytes"])
    assert int(broker["KAFKA_MESSAGE_MAX_BYTES"]) >= need
    assert int(broker["KAFKA_REPLICA_FETCH_MAX_BYTES"]) >= need


def test_addresses_are_ones_the_code_can_parse_and_the_broker_advertises(
    services: dict[str, Any],
) -> None:
    advertised = services["kafka"]["environment"]["KAFKA_ADVERTISED_LISTENERS"]
    for service, option in (("roundlog", "from"), ("simulator", "to")):
        address = KafkaAddress.parse(_option(services[service]["command"], option))
        assert f"INSIDE://{address.bootstrap}" in advertised
        assert f"--topic={address.topic}" in services["topic"]["command"]


def test_the_commands_and_options_exist(services: dict[str, Any]) -> None:
    for service in ("roundlog", "simulator"):
        program, verb, *rest = services[service]["command"]
        assert program == "roundlog"
        shown = CliRunner().invoke(main, [verb, "--help"])
        assert shown.exit_code == 0
        for part in rest:
            if part.startswith("--"):
                assert re.search(rf"{part.split('=')[0]}\b", shown.output), part


def test_images_are_pinned_and_ports_are_published_on_loopback_only(
    services: dict[str, Any],
) -> None:
    for name, service in services.items():
        if "image" in service:
            assert re.fullmatch(r"[\w/.-]+:\d+\.\d+\.\d+", service["image"]), name
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name} publishes {port}"


def test_every_long_running_service_has_a_health_check(services: dict[str, Any]) -> None:
    for name in ("kafka", "roundlog"):
        assert "healthcheck" in services[name], name
    assert services["simulator"]["profiles"] == ["simulator"]
    assert services["roundlog"]["depends_on"]["topic"]["condition"] == (
        "service_completed_successfully"
    )


def test_containers_run_without_root_and_without_capabilities(services: dict[str, Any]) -> None:
    for name in ("roundlog", "simulator"):
        assert services[name]["cap_drop"] == ["ALL"]
        assert "USER roundlog" in services[name]["build"]["dockerfile_inline"]
