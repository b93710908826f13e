"""Where do the bytes go that are asked for by digest? `blobs/<sha256>`, written once, for ever.

W_0, label texts and probe sets are taken out of their events, so that nobody who probes a model
has to find and parse a heads file. A blob can be written again from the log at any time.
"""

import os
from pathlib import Path

from roundlog.encoding import digest
from roundlog.log.files import make_directory, sync_directory


class Blobs:
    """The blob folder of a case."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._unsynced = False

    def put(self, data: bytes | memoryview) -> str:
        """Stores bytes whole or not at all, and returns the name to ask for them by.

        `sync` must follow before anything durable names the blob.
        """
        name = digest(data)
        path = self._directory / name
        if not path.exists():
            make_directory(self._directory)
            temporary = path.with_name(name + ".part")
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            self._unsynced = True
        return name

    def sync(self) -> None:
        """Makes the names of new blobs durable."""
        if self._unsynced:
            sync_directory(self._directory)
            self._unsynced = False
