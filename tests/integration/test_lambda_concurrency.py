"""Reserved and provisioned concurrency, aliases with weights and quotas, as boto3 and CloudFormation see them."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from beds import RunOnLoop
from botocore.exceptions import ClientError
from observing import JournalReader, RecordingFunction, unique, wait_until

from testbed import deploy, profiles
from testbed.running import RunningTestbed
from testbed.scenario import ROLE
from testbed.semantics.concurrency import Limits
from testbed.semantics.profiles import Profile
from testbed.semantics.provisioned import ProvisionedProfile

pytestmark = pytest.mark.one_engine

SOON = replace(profiles.aws, provisioned=ProvisionedProfile(allocation_delay=0.3))
SLOW_AND_TELLING = "import os, time\ntime.sleep(event or 0)\nreturn os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']"
BELOW_THE_MINIMUM = r"decreases account's UnreservedConcurrentExecution below its minimum value of \[{}\]"

Deploy = Callable[..., RecordingFunction]
UseProfile = Callable[[Profile], None]
ApiOf = Callable[[RecordingFunction], "Lambda"]


@pytest.fixture
def use(bed: RunningTestbed, run_on_loop: RunOnLoop[Any]) -> Iterator[UseProfile]:
    """Lets the data plane go by other numbers until the test ends."""

    def use_it(profile: Profile) -> None:
        run_on_loop(bed.plane.call("profile", profile=profile.to_json()))

    yield use_it
    use_it(profiles.aws)


class Lambda:
    """Lambda's API for one function."""

    def __init__(self, bed: RunningTestbed, name: str) -> None:
        self.client = bed.aws.client("lambda")
        self.name = name

    def publish(self, *, alias: str | None = None) -> str:
        """A new version, and perhaps a new alias for it; the version."""
        version = str(self.client.publish_version(FunctionName=self.name)["Version"])
        if alias:
            self.client.create_alias(FunctionName=self.name, Name=alias, FunctionVersion=version)
        return version

    def provision(self, qualifier: str, count: int) -> Any:
        """Ask for ``count`` environments."""
        return self.client.put_provisioned_concurrency_config(
            FunctionName=self.name, Qualifier=qualifier, ProvisionedConcurrentExecutions=count
        )

    def provisioned(self, qualifier: str) -> tuple[str, int, int]:
        """Status, and how many environments are allocated and available."""
        told = self.client.get_provisioned_concurrency_config(FunctionName=self.name, Qualifier=qualifier)
        counts = (told[f"{kind}ProvisionedConcurrentExecutions"] for kind in ("Allocated", "Available"))
        return (told["Status"], *counts)

    def wait_until_done(self, qualifier: str) -> list[tuple[str, int, int]]:
        """What it told until it was not in progress any more."""
        told = [self.provisioned(qualifier)]

        def is_done() -> bool:
            told.append(self.provisioned(qualifier))
            return told[-1][0] != "IN_PROGRESS"

        wait_until(is_done, f"the provisioned concurrency of {self.name}:{qualifier}")
        return told

    def spare(self) -> int:
        """How much the account has to reserve: other tests may have taken some."""
        limit = self.client.get_account_settings()["AccountLimit"]
        return int(limit["UnreservedConcurrentExecutions"]) - 100

    def reserve(self, count: int) -> None:
        """Reserve concurrency."""
        self.client.put_function_concurrency(FunctionName=self.name, ReservedConcurrentExecutions=count)

    def throttle(self, qualifier: str = "$LATEST") -> dict[str, Any]:
        """What boto3 says of an invoke that is to be throttled."""
        with pytest.raises(self.client.exceptions.TooManyRequestsException) as refused:
            self.client.invoke(FunctionName=self.name, Qualifier=qualifier)
        return dict(refused.value.response)


@pytest.fixture
def api_of(bed: RunningTestbed) -> Iterator[ApiOf]:
    """Lambda's API for a function that is deleted after the test: what it reserved would lack others."""
    used: list[Lambda] = []

    def api_of_it(function: RecordingFunction) -> Lambda:
        used.append(Lambda(bed, function.name))
        return used[-1]

    yield api_of_it
    for each in used:
        each.client.delete_function(FunctionName=each.name)


@pytest.mark.rule("provisioned.all-or-nothing", "provisioned.initialised-ahead", "provisioned.spillover")
@pytest.mark.parametrize("qualifier", ["1", "live"])
def test_environments_are_there_before_the_first_invoke(
    use: UseProfile, journal: JournalReader, recording_function: Deploy, api_of: ApiOf, qualifier: str
) -> None:
    """IN_PROGRESS without any that is usable, then READY; two of three at once need no cold start; and it ends."""
    use(SOON)
    function = recording_function(SLOW_AND_TELLING)
    orders = api_of(function)
    orders.publish(alias="live")
    assert orders.provision(qualifier, 2)["Status"] == "IN_PROGRESS"
    *before, ready = orders.wait_until_done(qualifier)
    assert {(status, available) for status, _, available in before} == {("IN_PROGRESS", 0)}
    assert ready == ("READY", 2, 2)
    listed = orders.client.list_provisioned_concurrency_configs(FunctionName=function.name)
    assert [config["FunctionArn"] for config in listed["ProvisionedConcurrencyConfigs"]] == [
        f"{function.arn}:{qualifier}"
    ]
    with ThreadPoolExecutor() as clients:
        kinds = Counter(clients.map(lambda _: function.invoke(0.5, Qualifier=qualifier), range(3)))
    assert kinds == {"provisioned-concurrency": 2, "on-demand": 1}
    lines = journal.wait_for("lambda", count=3, function=function.name)
    assert Counter((line["provisioned"], line["cold"]) for line in lines) == {(True, False): 2, ("spillover", True): 1}
    deleted = orders.client.delete_provisioned_concurrency_config(FunctionName=function.name, Qualifier=qualifier)
    assert deleted["ResponseMetadata"]["RetryAttempts"] == 0
    with pytest.raises(orders.client.exceptions.ProvisionedConcurrencyConfigNotFoundException):
        orders.provisioned(qualifier)
    wait_until(lambda: function.invoke(Qualifier=qualifier) == "on-demand", "the end of what was provisioned")


def test_a_larger_number_is_in_progress_from_the_first_moment(
    use: UseProfile, recording_function: Deploy, api_of: ApiOf
) -> None:
    """What is up already stays usable meanwhile, and nobody is told READY of the earlier request."""
    use(SOON)
    orders = api_of(recording_function())
    version = orders.publish()
    orders.provision(version, 1)
    assert orders.wait_until_done(version)[-1] == ("READY", 1, 1)
    orders.provision(version, 2)
    *before, ready = orders.wait_until_done(version)
    assert {(status, available) for status, _, available in before} == {("IN_PROGRESS", 1)}
    assert ready == ("READY", 2, 2)


@pytest.mark.rule("provisioned.failed")
def test_a_function_that_does_not_initialise_fails(bed: RunningTestbed, use: UseProfile, tmp_path: Path) -> None:
    """FAILED, with its reason."""
    use(SOON)
    name, folder = unique("broken"), tmp_path / "broken"
    folder.mkdir()
    (folder / "app.py").write_text("1 / 0\n")
    deploy.function(bed.aws, name, folder, "app.handler")
    orders = Lambda(bed, name)
    version = orders.publish()
    orders.provision(version, 1)
    assert orders.wait_until_done(version)[-1] == ("FAILED", 0, 0)
    told = orders.client.get_provisioned_concurrency_config(FunctionName=name, Qualifier=version)
    assert told["StatusReason"] == "FUNCTION_ERROR_INIT_FAILURE"


@pytest.mark.rule("provisioned.limits", "provisioned.counts-against", "provisioned.alias-weights")
def test_what_cannot_be_provisioned_is_refused(recording_function: Deploy, api_of: ApiOf) -> None:
    """$LATEST, more than the account can spare, more than the function's reservation, an alias with weights."""
    orders = api_of(recording_function())
    first = orders.publish()
    orders.client.update_function_configuration(FunctionName=orders.name, Description="second")
    second = orders.publish(alias="live")
    refused = orders.client.exceptions.InvalidParameterValueException
    with pytest.raises(refused, match="cannot be applied to unpublished function versions"):
        orders.provision("$LATEST", 1)
    with pytest.raises(refused, match=BELOW_THE_MINIMUM.format(100)):
        orders.provision(first, orders.spare() + 1)
    orders.reserve(orders.spare())
    orders.provision(first, 450)  # of those that are reserved; AWS's 90 s until the first one starts are not waited for
    with pytest.raises(refused, match="greater than the reservedConcurrentExecution"):
        orders.provision("live", 451)
    with pytest.raises(refused, match="should not be lower than function's total provisioned concurrency"):
        orders.reserve(449)
    weighted = {"AdditionalVersionWeights": {first: 0.5}}
    orders.client.create_alias(FunctionName=orders.name, Name="canary", FunctionVersion=second, RoutingConfig=weighted)
    with pytest.raises(refused, match="Alias with weights can not be used with Provisioned Concurrency"):
        orders.provision("canary", 1)


@pytest.mark.rule("provisioned.deleted-with-version")
def test_a_version_is_deleted_with_what_is_provisioned_of_it(
    use: UseProfile, recording_function: Deploy, api_of: ApiOf
) -> None:
    """The others keep theirs."""
    use(SOON)
    function = recording_function(SLOW_AND_TELLING)
    orders = api_of(function)
    first = orders.publish()
    orders.client.update_function_configuration(FunctionName=function.name, Description="second")
    second = orders.publish()
    for version in (first, second):
        orders.provision(version, 1)
        orders.wait_until_done(version)
    orders.client.delete_function(FunctionName=function.name, Qualifier=first)
    listed = orders.client.list_provisioned_concurrency_configs(FunctionName=function.name)
    assert [config["Status"] for config in listed["ProvisionedConcurrencyConfigs"]] == ["READY"]
    assert function.invoke(Qualifier=second) == "provisioned-concurrency"
    assert function.invoke() == "on-demand"


@pytest.mark.rule("provisioned.allocation")
def test_a_template_asks_for_it_too(
    bed: RunningTestbed, use: UseProfile, recording_function: Deploy, api_of: ApiOf
) -> None:
    """``ProvisionedConcurrencyConfig`` of an alias."""
    use(SOON)
    function = recording_function(SLOW_AND_TELLING)
    version = api_of(function).publish()
    properties = {
        "FunctionName": function.name,
        "FunctionVersion": version,
        "Name": "live",
        "ProvisionedConcurrencyConfig": {"ProvisionedConcurrentExecutions": 1},
    }
    template = {"Resources": {"Alias": {"Type": "AWS::Lambda::Alias", "Properties": properties}}}
    bed.aws.client("cloudformation").create_stack(StackName=unique("stack"), TemplateBody=json.dumps(template))

    def kind() -> Any:
        try:
            return function.invoke(Qualifier="live")
        except ClientError:  # the alias is not there yet
            return None

    wait_until(lambda: kind() == "provisioned-concurrency", "what the template provisions")


@pytest.mark.rule("concurrency.reserved")
def test_a_template_reserves_concurrency(bed: RunningTestbed) -> None:
    """Set with the function, changed with the stack, and given back where the template says no more of it."""
    cloudformation, functions = bed.aws.client("cloudformation"), bed.aws.client("lambda")
    stack, name = unique("stack"), unique("reserved")

    def template(**reserved: int) -> str:
        code = {"ZipFile": "def handler(event, context):\n    return 'done'\n"}
        properties = {
            "FunctionName": name,
            "Runtime": "python3.11",
            "Handler": "index.handler",
            "Role": ROLE,
            "Code": code,
        }
        function = {"Type": "AWS::Lambda::Function", "Properties": properties | reserved}
        return json.dumps({"Resources": {"Function": function}})

    def reserved() -> int | None:
        found: int | None = functions.get_function_concurrency(FunctionName=name).get("ReservedConcurrentExecutions")
        return found

    cloudformation.create_stack(StackName=stack, TemplateBody=template(ReservedConcurrentExecutions=0))
    cloudformation.get_waiter("stack_create_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})
    assert reserved() == 0
    with pytest.raises(functions.exceptions.TooManyRequestsException):
        functions.invoke(FunctionName=name)
    for change, now in (({"ReservedConcurrentExecutions": 2}, 2), ({"Timeout": 9}, None)):
        cloudformation.update_stack(StackName=stack, TemplateBody=template(**change))
        cloudformation.get_waiter("stack_update_complete").wait(StackName=stack, WaiterConfig={"Delay": 1})
        assert reserved() == now
        assert functions.invoke(FunctionName=name)["Payload"].read() == b'"done"'


@pytest.mark.rule("concurrency.unreserved-floor")
def test_a_reservation_leaves_the_account_its_unreserved_concurrency(
    use: UseProfile, recording_function: Deploy, api_of: ApiOf
) -> None:
    """100 of 1,000; all of an account that has 10, which can only turn functions off."""
    orders = api_of(recording_function())
    refused = orders.client.exceptions.InvalidParameterValueException
    with pytest.raises(refused, match=BELOW_THE_MINIMUM.format(100)):
        orders.reserve(orders.spare() + 1)
    orders.reserve(orders.spare())
    use(replace(profiles.aws, concurrency=Limits(account_concurrency=10)))
    orders.client.delete_function_concurrency(FunctionName=orders.name)
    assert orders.client.get_account_settings()["AccountLimit"]["ConcurrentExecutions"] == 10
    with pytest.raises(refused, match=BELOW_THE_MINIMUM.format(10)):
        orders.reserve(1)
    orders.reserve(0)


@pytest.mark.rule("concurrency.reserved-zero", "throttle.shape")
def test_a_reservation_of_zero_refuses_every_version(recording_function: Deploy, api_of: ApiOf) -> None:
    """429 with the reason of reserved concurrency; nothing runs, until the reservation is taken away."""
    function = recording_function()
    orders = api_of(function)
    version = orders.publish()
    orders.reserve(0)
    for qualifier in ("$LATEST", version):
        told = orders.throttle(qualifier)
        assert (told["Error"]["Code"], told["Reason"], told["Type"]) == (
            "TooManyRequestsException", "ReservedFunctionConcurrentInvocationLimitExceeded", "User",
        )  # fmt: skip
    assert function.events() == []
    orders.client.delete_function_concurrency(FunctionName=function.name)
    assert function.invoke() == "done"


@pytest.mark.rule("versions.weighted-alias")
def test_a_canary_gets_its_share(recording_function: Deploy, api_of: ApiOf) -> None:
    """A fifth of the invokes of the alias; all go back when the weight is taken away."""
    function = recording_function()
    orders = api_of(function)
    stable = orders.publish(alias="live")
    orders.client.update_function_configuration(FunctionName=function.name, Description="canary")
    canary = orders.publish()

    def route(weights: dict[str, float]) -> None:
        routing = {"AdditionalVersionWeights": weights}
        orders.client.update_alias(FunctionName=function.name, Name="live", RoutingConfig=routing)

    def executed(count: int) -> Counter[str]:
        return Counter(
            orders.client.invoke(FunctionName=function.name, Qualifier="live")["ExecutedVersion"] for _ in range(count)
        )

    route({canary: 0.2})
    versions = executed(150)
    assert versions.total() == versions[stable] + versions[canary]
    assert 5 <= versions[canary] <= 70  # 30 are expected; further off less often than once in a million
    route({})
    assert executed(5) == {stable: 5}


@pytest.mark.rule("concurrency.legacy-burst")
def test_before_november_2023_functions_shared_one_burst(
    use: UseProfile, recording_function: Deploy, api_of: ApiOf
) -> None:
    """With room for one cold start, the second function is throttled; what is warm is not. Today each has its own."""
    one_start = {"scaling_burst": 1, "scaling_per_second": 0.001}
    first, second = (api_of(recording_function()) for _ in range(2))
    use(replace(profiles.legacy, concurrency=replace(profiles.legacy.concurrency, **one_start)))
    for _ in range(2):
        assert first.client.invoke(FunctionName=first.name)["StatusCode"] == 200
    assert second.throttle()["Reason"] == "FunctionInvocationRateLimitExceeded"
    use(replace(profiles.aws, concurrency=Limits(**one_start)))
    for each in (first, second):
        assert each.client.invoke(FunctionName=each.name)["StatusCode"] == 200
