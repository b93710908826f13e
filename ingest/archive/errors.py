"""What can go wrong with a case as one file?"""

from roundlog.errors import CaseError


class ArchiveError(CaseError):
    """A case that cannot be written as one file, or a file that is no such case."""


class AlteredArchiveError(ArchiveError):
    """A file that was written as a case, and was damaged or changed since."""

    exit_code = 4
