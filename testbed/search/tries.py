"""Tries on one architecture that stays deployed: between two of them only what the first one left is taken away."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from testbed.errors import HarnessError
from testbed.gateway.inventory import Inventory, Known
from testbed.ledger.history import HistoryWriter
from testbed.ledger.jsonl import read_journal
from testbed.ledger.verdict import Verdict
from testbed.records import Table
from testbed.run_folder import RunFolder
from testbed.running import RunningTestbed
from testbed.scenario import Scenario
from testbed.search.hunt import Candidate, Outcome, failing
from testbed.strategies import Hop, Surface
from testbed.threads import in_daemon_thread
from testbed.trial import Place, Show, Trial, placed

_CLEARED: Final = frozenset({"event source mapping", "REST API", "function", "rule", "topic", "queue", "log group"})
"""Kinds of resources that keep nothing from one try to the next once queues are purged."""
_LIKE: Final = "_as_deployed"
_CODE: Final = "awslambda-"  # the bucket of functions' packages: the emulator's own


class Tries:
    """Puts one architecture on trial again and again.

    After a try the data plane ends its environments and forgets what it has counted; before the next one queues are
    purged, and the database becomes a copy of what it was when the architecture had just been deployed. An architecture
    with anything else that keeps data (streams, tables, buckets, state machines), or whose last try was not drained, is
    removed and deployed anew.

    Args:
        bed: Where.
        scenario: With that one architecture.
        seed: Seed of the traffic and of the faults.
        folder: For what each try writes down; it is removed when the next one begins.
        show: Takes the progress.

    Attributes:
        deployed: How often it was deployed.
    """

    def __init__(self, bed: RunningTestbed, scenario: Scenario, seed: int, folder: Path, show: Show) -> None:
        self.deployed = 0
        self._bed = bed
        self._scenario = scenario
        [self._architecture] = scenario.architectures
        self._seed = seed
        self._folder = folder
        self._show = show
        self._inventory = Inventory(bed.engine.localstack_url)
        self._known: Known = {}
        self._queues: Sequence[str] = ()
        self._place: Place | None = None
        self._can_be_cleared = False
        self._tables: Sequence[str] = ()
        self._journal: Path | None = None

    async def once(self, candidate: Candidate) -> Outcome:
        """One try.

        Raises:
            EngineDiedError: A part died.
            UsageError: The scenario does not work.
            HarnessError: The testbed cannot do its work.
        """
        scenario = self._scenario if candidate.scale == 1 else self._scenario.scaled(candidate.scale)
        scenario, requests = scenario.under(candidate.faults).planned(self._seed)
        if self._place is None:
            await self._deploy(scenario)
        else:
            await self._clear()
        shutil.rmtree(self._folder, ignore_errors=True)
        folder = RunFolder(self._folder, self._scenario.name, self._seed)
        self._journal = folder.journal
        with HistoryWriter(folder.history) as history:
            trial = Trial(
                bed=self._bed,
                scenario=scenario,
                architecture=scenario.architectures[0],
                seed=self._seed,
                requests=requests,
                folder=folder,
                history=history,
                show=self._show,
                place=self._place,
            )
            found = await trial.run()
        if not trial.drained or not self._can_be_cleared:
            await self.remove()
        claims = failing(found.expectations)
        known = [claim for claim in claims if claim.holds is False]
        return Outcome(found.verdict, tuple(known) if found.verdict == Verdict.INVALID else claims)

    def surface(self) -> Surface:
        """What faults could have hit in the last try."""
        hops: set[Hop] = set()
        consumers: set[str] = set()
        for hop in read_journal(self._journal) if self._journal else ():
            if hop["hop"] == "aws" and hop.get("identity") and not hop["resource"].startswith(_CODE):
                hops.add((hop["service"], hop["operation"], hop["resource"]))
            elif hop["hop"] == "lambda":
                hops.add(("lambda", "Invoke", hop["function"]))
            elif hop["hop"] == "api":
                hops.add(("execute-api", hop["method"], ""))
            elif hop["hop"] == "postgres":
                hops.add(("postgres", "", ""))
            elif hop["hop"] == "mapping":
                consumers.add(hop["function"])
        return Surface(calls=sorted(hops), consumers=sorted(consumers), tables=self._tables)

    async def remove(self) -> None:
        """Take the architecture away, should it be there."""
        if self._place is None:
            return
        self._place = None
        left = await in_daemon_thread(lambda: self._inventory.remove_others(self._known))
        if left:
            raise HarnessError(f"{self._architecture.name} cannot be removed between two tries: {'; '.join(left)}")

    async def _deploy(self, scenario: Scenario) -> None:
        self._known = await in_daemon_thread(self._inventory.take)
        await self._bed.plane.call("profile", profile=scenario.profile.to_json())
        self._place = await placed(scenario, self._architecture, self._bed)
        self.deployed += 1
        there = await in_daemon_thread(self._inventory.take)
        own = {kind: set(ids) - set(self._known.get(kind, ())) for kind, ids in there.items()}
        self._queues = sorted(own.get("queue", ()))
        self._can_be_cleared = {kind for kind, ids in own.items() if ids} <= _CLEARED
        self._tables = [self._place.deployment.stored.name] if isinstance(self._place.deployment.stored, Table) else []
        if self._can_be_cleared:
            await self._bed.engine.postgres.create_database(self._database + _LIKE, like=self._database)

    async def _clear(self) -> None:
        sqs = self._bed.aws.client("sqs")

        def purge() -> None:
            for url in self._queues:
                sqs.purge_queue(QueueUrl=url)

        await in_daemon_thread(purge)
        await self._bed.engine.postgres.create_database(self._database, like=self._database + _LIKE)

    @property
    def _database(self) -> str:
        from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415 - heavy

        assert self._place is not None  # noqa: S101 - it is deployed
        return str(conninfo_to_dict(self._place.db.dsn)["dbname"])
