"""How are files put one behind the other, so that any `tar` reads them and we read nothing else?

POSIX ustar with one fixed owner, mode and time, so that the same files are the same bytes. What is
read is what is written here: plain files with relative names. Links, devices, directories, sparse
files and extended headers are refused by their type alone, before anything is made of them.
"""

import tarfile
from collections.abc import Iterator
from typing import IO

from ingest.archive.errors import AlteredArchiveError, ArchiveError

BLOCK = tarfile.BLOCKSIZE

# `tar` itself writes records of twenty blocks, and some readers want whole ones.
RECORD = tarfile.RECORDSIZE

# 1980-01-01, the earliest that every format of archives knows; GNU tar doubts earlier ones aloud.
TIME = 315_532_800

MODE = 0o644

# Eleven octal digits, which is more than any file of a case may hold: a heads file ends below
# 4 GiB, and 1,024 rows of at most 4 MB lie in a vec file.
SIZE_LIMIT = 8**11 - 1


def header(name: str, size: int) -> bytes:
    """The block before a file's bytes.

    Raises:
        ArchiveError: The name or the size does not fit.
    """
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = size, TIME, MODE
    try:
        return info.tobuf(format=tarfile.USTAR_FORMAT, encoding="utf-8", errors="strict")
    except ValueError as error:
        raise ArchiveError(f"{name} ({size:,} bytes) does not fit a tar file: {error}") from error


def padding(size: int) -> bytes:
    """What fills the last block of a file."""
    return bytes(-size % BLOCK)


def ending(written: int) -> bytes:
    """What ends an archive of which so many bytes were written: two empty blocks, and a record."""
    end = written + 2 * BLOCK
    return bytes(2 * BLOCK + -end % RECORD)


def members(file: IO[bytes]) -> Iterator[tuple[str, int]]:
    """Name and size of each file, with `file` standing at its first byte.

    Whoever asks for the next one has read exactly the bytes of the one before.

    Raises:
        AlteredArchiveError: A block is damaged or missing.
        ArchiveError: No archive at all, or something in it that is no plain file.
    """
    first = True
    while True:
        block = file.read(BLOCK)
        if block == bytes(BLOCK):
            break
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        except (tarfile.HeaderError, UnicodeDecodeError) as error:
            if first:
                raise ArchiveError(f"it is no tar file: {error}") from error
            raise AlteredArchiveError(
                f"no file begins at byte {file.tell() - len(block):,}, and the archive does not "
                f"end there: {error}"
            ) from error
        first = False
        if info.type != tarfile.REGTYPE:
            raise ArchiveError(f"{info.name!r} is no plain file (tar type {info.type!r})")
        if block[257:265] != tarfile.POSIX_MAGIC:
            raise ArchiveError(f"{info.name!r} has a header of another kind of tar file")
        if not 0 <= info.size <= SIZE_LIMIT:
            raise ArchiveError(f"{info.name!r} claims {info.size:,} bytes")
        yield info.name, info.size
        if any(file.read(-info.size % BLOCK)):
            raise AlteredArchiveError(f"there is something behind the bytes of {info.name!r}")
    while rest := file.read(RECORD):
        if any(rest):
            raise AlteredArchiveError("there is something behind the end of the archive")
