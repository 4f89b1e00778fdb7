"""Which version an invoke runs: the aliases of the emulator, read once, and again when they change."""

import asyncio
from collections import Counter

from testbed.chaos.decision import draw
from testbed.compute.aws import AwsCaller
from testbed.compute.functions import CALLER, Reference
from testbed.compute.kept import kept
from testbed.semantics.aliases import Alias, is_alias


class Aliases:
    """What the aliases of functions stand for.

    Where an alias has two versions, the choice depends on what caused the invoke and on how often that was seen, as
    with faults: it is the same in every run of a seed, and each retry is decided anew.

    Args:
        aws: Reads them.
    """

    def __init__(self, aws: AwsCaller) -> None:
        self._aws = aws
        self._known: dict[Reference, asyncio.Task[Alias]] = {}
        self._seen: Counter[tuple[Reference, str]] = Counter()

    async def resolve(self, reference: Reference, identity: str) -> Reference:
        """``reference`` with the version that an invoke caused by ``identity`` runs.

        Raises:
            AwsCallError: There is no such alias, or the emulator did not answer.
        """
        if not is_alias(reference.qualifier):
            return reference
        alias = await self.get(reference)
        if not alias.weights:
            return Reference(reference.name, alias.version)
        self._seen[reference, identity] += 1
        attempt = self._seen[reference, identity]
        spread = draw(0, "alias", f"{reference.name}:{reference.qualifier}:{identity}", attempt)
        return Reference(reference.name, alias.choose(spread))

    async def get(self, reference: Reference) -> Alias:
        """The alias that ``reference`` names; see `resolve`."""
        return await kept(self._known, reference, lambda: self._read(reference))

    def invalidate(self, name: str) -> None:
        """Those of function ``name`` may have changed: read them again."""
        for reference in [each for each in self._known if each.name == name]:
            del self._known[reference]

    def clear(self) -> None:
        """Forget everything."""
        self._known.clear()

    def restart(self) -> None:
        """Forget everything, and what was seen too."""
        self.clear()
        self._seen.clear()

    async def _read(self, reference: Reference) -> Alias:
        parameters = {"FunctionName": reference.name, "Name": reference.qualifier}
        answer = await self._aws.call("lambda", "GetAlias", parameters, caller=CALLER)
        weights = (answer.get("RoutingConfig") or {}).get("AdditionalVersionWeights") or {}
        return Alias(answer["FunctionVersion"], weights)
