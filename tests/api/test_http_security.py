"""Who is let in, and what is every response told to forbid?"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from doors import Recorded, Served, invoke, problem, serving

from api.web.security import Guard, ServeError, allowed_names, is_loopback

TOKEN = "s3cret-of-the-test"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", ""]
)
def test_a_name_that_is_not_ours_is_refused_before_anything_else(served: Served, host: str) -> None:
    found = problem(served.http.get("/api/v1/runs", headers={"Host": host}), 421)
    assert "--allow-host" in found["hint"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:1", "[::1]:8765", "127.8.8.8"])
def test_every_name_of_this_machine_s_loopback_is_known(served: Served, host: str) -> None:
    assert served.http.get("/livez", headers={"Host": host}).status_code == 200


def test_an_address_of_elsewhere_is_no_name_of_a_loopback_server() -> None:
    assert not Guard().knows("10.0.0.7:8765")
    assert Guard(host="0.0.0.0", token=TOKEN).knows("10.0.0.7:8765")
    assert not Guard(host="0.0.0.0", token=TOKEN).knows("evil.example")
    assert Guard(names=allowed_names([" Roundlog.Internal "])).knows("roundlog.internal:80")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_writes_from_other_pages_are_refused(served: Served, headers: dict[str, str]) -> None:
    response = served.http.post("/api/v1/events", json={"events": []}, headers=headers)
    assert problem(response, 403)["type"].endswith(":origin")


def test_writes_from_our_own_page_and_from_tools_are_looked_at(served: Served) -> None:
    for headers in ({"Origin": served.url, "Sec-Fetch-Site": "same-origin"}, {}):
        response = served.http.post("/api/v1/events", json={"events": []}, headers=headers)
        problem(response, 422)


@pytest.mark.parametrize("path", ["/livez", "/api/v1/runs", "/api/v1/nowhere", "/openapi.json"])
def test_every_response_carries_the_security_headers(served: Served, path: str) -> None:
    headers = served.http.get(path).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-security-policy"].startswith("default-src 'none'")
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "access-control-allow-origin" not in headers


def test_other_addresses_than_loopback_need_a_token() -> None:
    with pytest.raises(ServeError, match="ROUNDLOG_TOKEN"):
        Guard(host="0.0.0.0").check_bind()
    Guard(host="0.0.0.0", token=TOKEN).check_bind()
    Guard(host="::1").check_bind()
    assert not is_loopback("example.org")


def test_serve_refuses_to_be_reachable_without_a_token(shared: Recorded) -> None:
    refused = invoke("serve", shared.case, "--host", "0.0.0.0", "--port", "0")
    assert refused.exit_code == 2
    assert "needs a token" in refused.stderr


@pytest.fixture(scope="module")
def locked(original: Recorded, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server that asks for a token."""
    import shutil

    folder: Path = tmp_path_factory.mktemp("locked")
    shutil.copytree(original.case, folder / "case")
    recorded = Recorded(folder / "case", original.truth, original.run)
    with serving(recorded, Guard(token=TOKEN)) as found:
        yield found


@pytest.mark.parametrize(
    "given", [None, "Bearer wrong", f"Basic {TOKEN}", "Bearer", f"Bearer {TOKEN}x"]
)
def test_without_the_token_nothing_is_told(locked: Served, given: str | None) -> None:
    headers = {} if given is None else {"Authorization": given}
    response = locked.http.get("/api/v1/runs", headers=headers)
    assert problem(response, 401)["exit_code"] == 5
    assert response.headers["www-authenticate"] == "Bearer"


def test_with_the_token_everything_is(locked: Served) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert locked.http.get("/api/v1/runs", headers=headers).status_code == 200
    assert invoke("runs", locked.url, "--token", TOKEN).exit_code == 0
    assert invoke("runs", locked.url).exit_code == 5


def test_supervisors_need_no_token(locked: Served) -> None:
    assert locked.http.get("/livez").status_code == 200
    assert locked.http.get("/readyz").status_code == 200
