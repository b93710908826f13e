"""How does a server watch the runs that it ingests? One thread, behind ingest, in no one's way.

As soon as rounds are in the projection, the detectors of `forensics.watch` read them, and what they
claim is written into the case's log. How far they read is kept in the case's cache, so a restart
goes on where it was; where it cannot, the run is read again from its beginning, and an alarm that
was raised before is the same event.
"""

import logging
import threading
from collections.abc import Callable

from api.records import Records
from forensics.probe import Prober
from forensics.readings import StoppedError
from forensics.rebuild import CaseModels
from forensics.trigger import Trigger, load_trigger, trigger_names
from forensics.watch import Alarm, Plan, Watch, load_state, save_state
from roundlog.errors import LogGapError, RoundlogError
from roundlog.events import AlarmRaised

logger = logging.getLogger(__name__)

LOOK_S = 1.0
"""Between two looks for new rounds; a round comes every few minutes."""

KEEP_EVERY = 16
"""Blocks of 64 rounds between two times that the state is kept while the past is read."""


class Watching:
    """The thread that watches every run of a case while a server runs.

    Args:
        records: Of the case that this process owns.
        told: Called after alarms were written down.

    Attributes:
        read: The first round that was not read yet, by run.
        errors: Why a run, or a trigger in it, is not watched now, by run.
    """

    def __init__(self, records: Records, told: Callable[[], None] | None = None) -> None:
        self._records, self._told = records, told
        self._stop = threading.Event()
        self._watches: dict[str, Watch] = {}
        self._seen: dict[str, tuple[object, ...]] = {}
        self._thread = threading.Thread(target=self._work, name="roundlog-watch", daemon=True)
        self.read: dict[str, int] = {}
        self.errors: dict[str, str] = {}

    def start(self) -> None:
        self._thread.start()

    def stop(self, seconds: float) -> bool:
        """Asks it to end and waits so long; whether it has."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(seconds)
        return not self._thread.is_alive()

    def look(self) -> None:
        """Reads whatever is new in any run.

        Raises:
            StoppedError: It was asked to end.
        """
        names = [str(row[0]) for row in self._records.rows("run_names")]
        triggers = self._triggers()
        for run in names:
            end = self._records.rows("run_end", run=run)[0]
            now = (end, tuple(trigger.model_dump_json() for trigger in triggers))
            if self._seen.get(run) == now:
                continue
            try:
                self._advance(run, triggers)
            except StoppedError:
                raise
            except RoundlogError as error:
                # A run without a whole model is no reason not to watch the others; it is tried
                # again when it grows.
                self._note(run, str(error))
            self._seen[run] = now

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                self.look()
            except StoppedError:
                return
            except Exception:
                logger.exception("the watch failed on an error of ours; ingest goes on")
            self._stop.wait(LOOK_S)

    def _triggers(self) -> tuple[Trigger, ...]:
        case = self._records.case
        return tuple(load_trigger(case.triggers / f"{name}.json") for name in trigger_names(case))

    def _note(self, run: str, why: str | None) -> None:
        """Why a run is not watched as it should be, in the log once and in `errors` until it is."""
        if why is not None and self.errors.get(run) != why:
            logger.warning("run %s is not watched as it should be: %s", run, why)
        self.errors = {
            name: said for name, said in {**self.errors, run: why}.items() if said is not None
        }

    def _advance(self, run: str, triggers: tuple[Trigger, ...]) -> None:
        """Reads on; notes first why no trigger is watched, where none is."""
        models = CaseModels(self._records.case, self._records.store, run)
        watch, without = self._watch(run, models, triggers)
        # Before the rounds: reading a long past takes minutes, and somebody may be looking.
        self._note(run, without)
        blocks = 0
        try:
            for alarms in watch.advance(models, stop=self._stop):
                self._say(run, alarms)
                self.read[run] = watch.next
                blocks += 1
                if blocks % KEEP_EVERY == 0:
                    self._keep(watch, models)
        finally:
            if blocks:
                self._keep(watch, models)

    def _watch(
        self, run: str, models: CaseModels, triggers: tuple[Trigger, ...]
    ) -> tuple[Watch, str | None]:
        without = None
        try:
            prober = Prober(models.architecture) if triggers else None
            fresh = Watch(models, self._records.store, Plan(triggers), prober)
        except RoundlogError as error:
            # Without honest data, or a network that is known, norms are watched all the same.
            without = str(error)
            fresh = Watch(models, self._records.store, Plan(), None)
        known = self._watches.get(run)
        if known is not None and known.identity == fresh.identity:
            return known, without
        kept = load_state(self._records.case, fresh.identity)
        if kept is not None and not fresh.resume(kept, models):
            logger.warning("run %s is watched from its beginning: its history is another", run)
        self._watches[run] = fresh
        return fresh, without

    def _keep(self, watch: Watch, models: CaseModels) -> None:
        try:
            save_state(self._records.case, watch.state(models))
        except LogGapError:
            # The model behind the last round is not known; the state of before is kept.
            return

    def _say(self, run: str, alarms: list[Alarm]) -> None:
        for alarm in alarms:
            self._records.log.say(
                AlarmRaised,
                run=run,
                detector=alarm.detector,
                version=alarm.version,
                chart=alarm.chart,
                direction=alarm.direction,
                direction_name=alarm.series,
                round=alarm.round,
                score=alarm.score,
                threshold=alarm.threshold,
                false_alarm_rate=alarm.p,
                budget=alarm.budget.document(),
                evidence={} if alarm.model is None else {"model": alarm.model},
            )
        if alarms and self._told is not None:
            self._told()
