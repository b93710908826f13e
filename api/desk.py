"""Who answers: this process from the case directory, or a server that holds it? Same questions.

    with open_desk("my-case") as desk:
        document = desk.ask("runs", {})

A case directory is owned for as long as its desk is open, and what its log holds beyond the
projection is ingested first. Where a server owns the case, that server is asked.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlsplit

import httpx
from httpx_sse import connect_sse

from api.acts import ACTS
from api.documents import Document, plain
from api.parameters import DOCUMENTS
from api.questions import QUESTIONS
from api.records import Progress, Records, choose_run, silent
from ingest.service import ingest_case
from ingest.store import Store
from ingest.summary import IngestSummary
from roundlog.case import Case
from roundlog.errors import CaseBusyError, RoundlogError

# Between two looks at a job. A long answer takes seconds to minutes.
POLL_S = 0.25

# Between two looks of one who follows, and how long a server may be away meanwhile.
FOLLOW_S = 0.5
PATIENCE_S = 60.0

# A server that is up answers anything but a job in far less; what takes longer is a job.
TIMEOUT_S = 120.0


class RemoteError(RoundlogError):
    """A server's problem, with the exit code that it would have had here."""

    def __init__(self, message: str, *, exit_code: int, hint: str | None, status: int) -> None:
        self.exit_code, self.hint, self.status = exit_code, hint, status
        super().__init__(message)


class UnreachableError(RoundlogError):
    """No server answers at that address, or none that would do this."""

    exit_code = 5


class Desk(Protocol):
    """Something that can be asked."""

    def ask(self, name: str, values: Mapping[str, Any], progress: Progress = silent) -> Document:
        """The answer to the question of that name.

        Raises:
            RoundlogError: What the answering function raised, here or there.
        """

    def fetch(self, name: str, values: Mapping[str, Any], media_type: str) -> bytes:
        """The answer as a file of that media type, where the question has one."""

    def act(self, name: str, values: Mapping[str, Any]) -> Document:
        """Says something that becomes part of the record; what was written down.

        Raises:
            RoundlogError: What the act's function raised, here or there.
        """

    def tail(self, run: str | None, last: int) -> Iterator[Document]:
        """The last events of a run, oldest first, and then every event as it is ingested.

        Raises:
            RoundlogError: There is no such run, or the server is gone for good.
        """

    def keep(self, trigger: Mapping[str, Any]) -> Document:
        """Keeps a trigger in the case, under its own name; the name and how much is in it.

        Raises:
            RoundlogError: Not a trigger, or the name means another one.
        """


class LocalDesk:
    """Answers from the case directory that this process owns."""

    def __init__(self, records: Records) -> None:
        self.records = records

    def ask(self, name: str, values: Mapping[str, Any], progress: Progress = silent) -> Document:
        """As `Desk.ask`."""
        question = QUESTIONS[name]
        return question.answer(self.records, question.parse(values), progress)

    def fetch(self, name: str, values: Mapping[str, Any], media_type: str) -> bytes:
        """As `Desk.fetch`."""
        from api.answers.files import as_file

        question = QUESTIONS[name]
        return as_file(name, self.records, question.parse(values), media_type)

    def act(self, name: str, values: Mapping[str, Any]) -> Document:
        """As `Desk.act`."""
        act = ACTS[name]
        return act.answer(self.records, act.parse(values))

    def tail(self, run: str | None, last: int) -> Iterator[Document]:
        """As `Desk.tail`; what is recorded meanwhile is ingested here."""
        from api.answers.tail import begin, page

        records = self.records
        wanted = records.run(run)
        at = begin(records, wanted, last)
        while True:
            events, at = page(records, wanted, at)
            for event in events:
                del event["cursor"]
                yield plain(event)
            if not events:
                time.sleep(FOLLOW_S)
                ingest_case(records.case, store=records.store)

    def keep(self, trigger: Mapping[str, Any]) -> Document:
        """As `Desk.keep`."""
        from api.answers.triggers import store_trigger

        return store_trigger(self.records.case, dict(trigger))


class RemoteDesk:
    """Asks a `roundlog serve`.

    Args:
        url: `http://HOST:PORT`.
        token: For a server that asks for one.
    """

    def __init__(self, url: str, *, token: str | None = None) -> None:
        self.url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        # trust_env=False: a proxy of the environment cannot know a loopback server.
        self._http = httpx.Client(
            base_url=self.url, headers=headers, timeout=TIMEOUT_S, trust_env=False
        )

    def close(self) -> None:
        self._http.close()

    def ask(self, name: str, values: Mapping[str, Any], progress: Progress = silent) -> Document:
        """As `Desk.ask`; a long answer is a job there, and its progress is told here."""
        response = self._send(name, values, "application/json")
        if response.status_code == httpx.codes.ACCEPTED:
            response = self._wait(response.headers["location"], progress)
        document: Document = response.json()
        return document

    def fetch(self, name: str, values: Mapping[str, Any], media_type: str) -> bytes:
        """As `Desk.fetch`."""
        return self._send(name, values, media_type).content

    def act(self, name: str, values: Mapping[str, Any]) -> Document:
        """As `Desk.act`."""
        act = ACTS[name]
        params = act.parse(values).model_dump(mode="json", exclude_none=True)
        return self.post(self._place(act.path, params), params)

    def tail(self, run: str | None, last: int) -> Iterator[Document]:
        """As `Desk.tail`; where the line breaks it goes on behind what came."""
        path = self._place("/runs/{run}/tail", {"run": run})
        headers: dict[str, str] = {}
        waited = 0.0
        while True:
            try:
                with connect_sse(
                    self._http, "GET", f"/api/v1{path}", params={"last": last}, headers=headers
                ) as source:
                    if source.response.is_error:
                        source.response.read()
                        raise _remote_error(source.response)
                    for message in source.iter_sse():
                        waited = 0.0
                        if message.id:
                            headers["Last-Event-ID"] = message.id
                        if message.event == "recorded":
                            yield message.json()
            except httpx.TransportError as error:
                if waited >= PATIENCE_S:
                    raise UnreachableError(f"{self.url} is gone: {error}") from error
            time.sleep(FOLLOW_S)
            waited += FOLLOW_S

    def keep(self, trigger: Mapping[str, Any]) -> Document:
        """As `Desk.keep`."""
        return self.post("/triggers", trigger)

    def post(self, path: str, document: Mapping[str, Any]) -> Document:
        """Sends a document to a path below /api/v1."""
        answered: Document = self._request("POST", path, json=dict(document)).json()
        return answered

    def _send(self, name: str, values: Mapping[str, Any], media_type: str) -> httpx.Response:
        question = QUESTIONS[name]
        given = {key for key, value in values.items() if value is not None}
        if local := question.params.local_only & given:
            raise UnreachableError(
                f"{self.url} holds the case, and a server imports or runs nobody's code "
                f"({', '.join(sorted(local))}): stop it, or work on a copy of the case"
            )
        params = question.parse(values).model_dump(mode="json", exclude_none=True)
        path = self._place(question.path, params)
        headers = {"Accept": media_type}
        if question.slow:
            headers["Prefer"] = "wait=1"
        if any(not isinstance(params.get(name, ""), str) for name in DOCUMENTS):
            return self._request("POST", path, json=params, headers=headers)
        query = {
            key: ",".join(map(str, value)) if isinstance(value, list) else str(value)
            for key, value in params.items()
        }
        return self._request("GET", path, params=query, headers=headers)

    def _place(self, path: str, params: dict[str, Any]) -> str:
        """The path with its parameters in place; they are taken out of `params`."""
        for key in ("run", "round", "alarm", "record"):
            if f"{{{key}}}" in path:
                value = self._run(params.pop("run", None)) if key == "run" else params.pop(key)
                path = path.replace(f"{{{key}}}", quote(str(value), safe=""))
        return path

    def _run(self, wanted: str | None) -> str:
        if wanted is not None:
            return wanted
        listed = self._request("GET", "/runs").json()["runs"]
        return choose_run([run["run"] for run in listed], None)

    def _wait(self, job: str, progress: Progress) -> httpx.Response:
        path = job.removeprefix("/api/v1")
        try:
            while True:
                state = self._request("GET", path).json()
                progress(state.get("what") or state["question"], state["done"], state["total"])
                if state["state"] in ("done", "failed", "cancelled"):
                    return self._request("GET", f"{path}/result")
                time.sleep(POLL_S)
        except KeyboardInterrupt:
            self._request("DELETE", path)
            raise

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = self._http.request(method, f"/api/v1{path}", **options)
        except httpx.HTTPError as error:
            raise UnreachableError(
                f"{self.url} does not answer: {error}. Is `roundlog serve` running there?"
            ) from error
        if response.is_success:
            return response
        raise _remote_error(response)


def _remote_error(response: httpx.Response) -> RemoteError:
    try:
        problem = response.json()
    except ValueError:
        problem = {}
    if not isinstance(problem, dict):
        problem = {}
    return RemoteError(
        str(problem.get("detail") or f"the server answered {response.status_code}"),
        exit_code=int(problem.get("exit_code", 1)),
        hint=problem.get("hint"),
        status=response.status_code,
    )


def is_url(source: Path | str) -> bool:
    """Whether a source is a server's address rather than a directory."""
    return urlsplit(str(source)).scheme in ("http", "https")


@contextmanager
def open_desk(
    source: Path | str,
    *,
    token: str | None = None,
    progress: Progress = silent,
    ingest: bool = True,
    fall_back: bool = True,
) -> Iterator[LocalDesk | RemoteDesk]:
    """A desk for a case directory or a server's URL.

    Args:
        token: For a server that asks for one.
        progress: Told while the projection is brought up to date.
        ingest: Whether to read what the log holds beyond the projection, first.
        fall_back: Whether to ask the server that owns the case, where one does.

    Raises:
        CaseError: Not a case.
        CaseBusyError: Another process owns it, and serves nowhere.
    """
    if is_url(source):
        remote = RemoteDesk(str(source), token=token)
        try:
            yield remote
        finally:
            remote.close()
        return
    case = Case(source)
    busy = case.current_owner()
    if busy is not None and busy.address and fall_back:
        with open_desk(busy.address, token=token) as desk:
            yield desk
        return
    with case.own():
        store = Store(case)
        try:
            if ingest:
                read_log(case, store, progress)
            records = Records(case, store)
            try:
                yield LocalDesk(records)
            finally:
                records.log.close()
        finally:
            store.close()


def read_log(case: Case, store: Store, progress: Progress) -> IngestSummary:
    """Ingests what the case's own log holds beyond the projection."""

    def tell(summary: IngestSummary) -> None:
        progress("ingest", summary.done, summary.total)

    return ingest_case(case, store=store, progress=tell)


__all__ = [
    "CaseBusyError",
    "Desk",
    "LocalDesk",
    "RemoteDesk",
    "RemoteError",
    "UnreachableError",
    "is_url",
    "open_desk",
    "read_log",
]
