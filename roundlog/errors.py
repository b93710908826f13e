"""Every error roundlog raises on purpose, and the exit code each one costs.

Catch `RoundlogError` to catch them all. Each message says what was expected, what was
found, what that costs, and what to do.

    RoundlogError (exit 1)
     ├── EncodingError            bytes that are not a frame, or a head that is not an event
     │    ├── FrameError          length, checksum or layout is wrong; `.reason` is one word
     │    ├── HeadError           invalid UTF-8, JSON, or a field out of its domain
     │    └── OversizedEventError an event that does not fit the frame limit
     ├── TensorSchemaError        arrays that disagree with the model's schema
     ├── FoldError                a server step that cannot be applied (exit 4)
     │    └── DigestMismatchError the rebuilt model is not the recorded one (exit 4)
 │         └── BroadcastMismatchError  W_t is, but not what devices ran (forensics.artefact)
     ├── LogError                 the log cannot be appended to or read
     │    ├── LogGapError         rounds are missing (exit 4)
     │    ├── LogLockedError      another process appends to this producer's log (exit 5)
     │    ├── AddressError        not kafka://HOST:PORT[,HOST:PORT]/TOPIC (exit 2)
     │    ├── LostRangeError      offsets were deleted before they were read (exit 4)
     │    └── BrokerError         Kafka is unreachable, or refuses (exit 5)
     │         └── TopicReplacedError  not the cluster or topic that we knew (exit 5)
     ├── RecorderError            the recorder was used out of order
     ├── CaseError                not a case directory, or one this version cannot read
     │    ├── CaseBusyError       another process owns the case (exit 5)
     │    └── ArchiveError        not a case as one file (ingest.archive)
     │         └── AlteredArchiveError  one that was damaged or changed since (exit 4)
     ├── IngestError              the projection cannot go on without a decision
     │    └── StoreError          DuckDB refused (ingest.store)
     ├── QuestionError            a forensic question that this record cannot answer
     │    ├── RoundRangeError     no such round or model
     │    ├── TriggerError        not a trigger or truth file
     │    ├── CheckError          a check command broke its contract (forensics.check)
     │    ├── StoppedError        a measurement was stopped; it can go on (forensics.readings)
     │    ├── TruthError          not the truth about a run of this case (api.lab.whatif)
 │    └── ParameterError      a parameter of a question is wrong (api.parameters)
     ├── ScenarioError            a scenario field or value is wrong (exit 2)
 ├── CohortError              a cohort that cannot be drawn or read (roundlog.cohort)
 ├── SealError                a key that is none, or a box that it does not open (roundlog.sealing)
 ├── AggregationError         secure aggregation cannot sum (simulator.secure_aggregation)
 │    ├── TooFewClientsError  more clients were lost than the protocol recovers from
 │    ├── RefusedError        a party asked for what would unmask a client
 │    └── RangeError          a sum that does not fit the ring
 ├── PrivacyError             a privacy question out of its domain (exit 2; simulator.privacy)
     └── doors of their own       ServeError, RemoteError, UnreachableError, BusyError,
                                  CancelledError, DemoError, ChannelError, DeliveryError (api)

A room above the kernel defines its errors beside the code that raises them; they stand here so
that the whole tree can be seen at once.
"""


class RoundlogError(Exception):
    """Base of every error raised on purpose."""

    exit_code: int = 1
    """What the command line exits with: 1 error, 2 usage, 4 integrity violation, 5 busy."""

    hint: str | None = None
    """What to do next, where that is not already in the message."""


class EncodingError(RoundlogError):
    """Bytes that cannot be read as what they claim to be."""


class FrameError(EncodingError):
    """A frame whose layout, length or checksum is wrong."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


class HeadError(EncodingError):
    """A head that is not a valid event; `reason` is a short machine-readable word."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


class OversizedEventError(EncodingError):
    """An event larger than a frame or head may be."""

    def __init__(self, *, what: str, size: int, limit: int) -> None:
        self.size, self.limit = size, limit
        super().__init__(
            f"the {what} is {size:,} bytes and the limit is {limit:,}; nothing was appended. "
            f"Record a smaller model, or split the payload."
        )


class TensorSchemaError(RoundlogError):
    """Arrays and schema disagree about names, shapes, dtypes or sizes."""


class FoldError(RoundlogError):
    """A recorded server step cannot be applied to the model at hand."""

    exit_code = 4


class DigestMismatchError(FoldError):
    """The model that was rebuilt is not the model that was recorded."""

    def __init__(self, *, model: int, expected: str, found: str) -> None:
        self.model, self.expected, self.found = model, expected, found
        super().__init__(
            f"model {model} was rebuilt as {found[:16]}… but recorded as {expected[:16]}…; no "
            f"model from {model} on can be trusted. Run `roundlog verify`: it names the file."
        )


class LogError(RoundlogError):
    """The log cannot be appended to or read."""


class LogGapError(LogError):
    """Rounds are missing, so no model after them can be rebuilt."""

    exit_code = 4

    def __init__(self, *, expected: int, found: int | None) -> None:
        self.expected, self.found = expected, found
        where = "ends" if found is None else f"jumps to round {found}"
        super().__init__(
            f"round {expected} is missing: the log {where} there, so no later model can be "
            f"rebuilt. Send it again from the recorder's spool, then run `roundlog ingest`."
        )


class LogLockedError(LogError):
    """Another process appends to the same run and producer."""

    exit_code = 5


class AddressError(LogError):
    """A text that does not name a topic on a broker."""

    exit_code = 2


class LostRangeError(LogError):
    """Offsets that were to be read next are not in the topic any more.

    Who goes on from `resume` accepts the loss, and should record it: it is a finding.
    """

    exit_code = 4

    def __init__(self, *, partition: str, expected: int, earliest: int, end: int) -> None:
        self.partition, self.expected = partition, expected
        self.earliest, self.end = earliest, end
        self.resume = earliest if expected < earliest else end
        """Where reading can go on."""
        if expected < earliest:
            what = (
                f"offsets {expected} to {earliest - 1} were deleted before they were read. Send "
                f"these events again from the recorder's spool, and set the topic's retention.ms=-1"
            )
        else:
            what = (
                f"offset {expected} was to be read next, but the topic ends at {end}: it was "
                f"truncated, and what is appended there now may differ from what was read before"
            )
        super().__init__(f"partition {partition}: {what}.")


class BrokerError(LogError):
    """Kafka is unreachable, or refuses what we ask."""

    exit_code = 5


class TopicReplacedError(BrokerError):
    """The topic that we knew is gone, or another one has its name: offsets mean nothing there."""


class RecorderError(RoundlogError):
    """The recorder was called in an order that cannot be recorded."""


class CaseError(RoundlogError):
    """Not a case directory, or one that this version cannot read."""


class CaseBusyError(CaseError):
    """Another process owns the case; `address` is where it serves, if it does."""

    exit_code = 5

    def __init__(self, message: str, *, pid: int | None = None, address: str | None = None) -> None:
        self.pid, self.address = pid, address
        super().__init__(message)


class IngestError(RoundlogError):
    """The projection cannot go on without a decision by a person."""


class QuestionError(RoundlogError):
    """A forensic question that this record cannot answer."""


class RoundRangeError(QuestionError):
    """The run has no such round or model."""


class TriggerError(QuestionError):
    """A file that is neither a trigger nor a truth file, or names tokens the model lacks."""


class ScenarioError(RoundlogError):
    """A scenario field or value is wrong; the message names the line and what is allowed."""

    exit_code = 2
