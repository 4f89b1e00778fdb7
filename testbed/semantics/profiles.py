"""The numbers that AWS's rules run on: documented ones, and named parameters where AWS publishes none.

`aws` holds today's numbers, `legacy` those before November 2023; `Profile.compress` makes minutes of AWS's behaviour
fit into a test. Each rule's numbers stand beside the rule.
"""

import dataclasses
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from testbed.semantics.async_invoke import AsyncInvokeProfile
from testbed.semantics.concurrency import Limits
from testbed.semantics.delivery_retries import EventsProfile, SnsProfile
from testbed.semantics.dynamodb_capacity import DynamoDbProfile
from testbed.semantics.kinesis_shard import KinesisProfile
from testbed.semantics.lifecycle import LifecycleProfile
from testbed.semantics.provisioned import ProvisionedProfile
from testbed.semantics.rest_api_limits import RestApiProfile
from testbed.semantics.sqs_mapping import SqsMappingProfile
from testbed.semantics.stream_batch import StreamMappingProfile


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """All numbers together.

    Attributes:
        concurrency: Lambda's quotas, and how fast functions scale.
        provisioned: Provisioned concurrency.
        lifecycle: Execution environments.
        asynchronous: Asynchronous invokes.
        sqs: Event source mappings of SQS queues.
        stream: Event source mappings of Kinesis and DynamoDB streams.
        kinesis: Shards.
        dynamodb: Tables.
        rest_api: REST APIs.
        sns: Deliveries of SNS.
        events: Deliveries of EventBridge.
    """

    concurrency: Limits = field(default=Limits())
    provisioned: ProvisionedProfile = field(default=ProvisionedProfile())
    lifecycle: LifecycleProfile = field(default=LifecycleProfile())
    asynchronous: AsyncInvokeProfile = field(default=AsyncInvokeProfile())
    sqs: SqsMappingProfile = field(default=SqsMappingProfile())
    stream: StreamMappingProfile = field(default=StreamMappingProfile())
    kinesis: KinesisProfile = field(default=KinesisProfile())
    dynamodb: DynamoDbProfile = field(default=DynamoDbProfile())
    rest_api: RestApiProfile = field(default=RestApiProfile())
    sns: SnsProfile = field(default=SnsProfile())
    events: EventsProfile = field(default=EventsProfile())

    def compress(self, k: float) -> "Profile":
        """The same rules with every wait on AWS's side divided by ``k``.

        What the user configures (visibility timeout, batching window, function timeout, maximum record age) stays, and
        so do the rates at which services refuse.
        """
        if k <= 0:
            raise ValueError(f"compress() divides by its argument, which must be above 0, not {k}")
        return replace(
            self,
            concurrency=self.concurrency.compress(k),
            provisioned=self.provisioned.compress(k),
            lifecycle=self.lifecycle.compress(k),
            asynchronous=self.asynchronous.compress(k),
            sqs=self.sqs.compress(k),
            stream=self.stream.compress(k),
            dynamodb=self.dynamodb.compress(k),
            sns=self.sns.compress(k),
            events=self.events.compress(k),
        )

    def to_json(self) -> dict[str, Any]:
        """All numbers, for the data plane and for the manifest of a run."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Profile":
        """What `to_json` gave."""
        profile: Profile = _built(cls, document)
        return profile


def _built(kind: Any, value: Any) -> Any:
    """``value``, of JSON, as the dataclass ``kind``."""
    if not dataclasses.is_dataclass(kind):
        return tuple(value) if isinstance(value, list) else value
    kinds = typing.get_type_hints(kind)
    return typing.cast("Any", kind)(**{name: _built(kinds[name], member) for name, member in value.items()})


aws: Final = Profile()

legacy: Final = replace(
    aws,
    # AWS Lambda developer guide of 2022, Lambda function scaling: 3,000 at once (largest regions), then 500 a minute.
    concurrency=Limits(scaling_burst=3000.0, scaling_per_second=500 / 60, scaling_scope="account"),
    # AWS Lambda developer guide of 2022, Using Lambda with Amazon SQS: 60 more a minute, up to 1,000.
    sqs=SqsMappingProfile(added_per_minute=60.0, removed_per_minute=60.0, maximum_pollers=1000),
)
"""The rules before November 2023, on which the best published examples rest."""
