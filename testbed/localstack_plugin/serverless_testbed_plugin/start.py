"""What LocalStack calls while it starts."""

import os
import sys
import threading
from typing import Any, Final

from localstack.constants import VERSION
from localstack.runtime import hooks

from .plane import obstacle

HEALTH_PATH: Final = "/_testbed/plugin/health"
PLANE_PATH: Final = "/_testbed/plugin/plane"
_WARMED: Final = ("lambda", "s3", "sqs", "apigateway", "kinesis", "iam")
_WARMED_AFTERWARDS: Final = ("cloudwatch", "logs")  # nobody waits for these
_warm = threading.Event()
_failures: list[str] = []


@hooks.on_infra_start()  # type: ignore[untyped-decorator]  # LocalStack ships no types
def install() -> None:
    """Put the plugin's handlers into LocalStack; the health route comes last, so that it vouches for the rest."""
    # Imported here: LocalStack loads this module before it has configured itself.
    from localstack.aws import handlers  # noqa: PLC0415
    from localstack.services.edge import ROUTER  # noqa: PLC0415

    from . import executions, queues, service_calls, stacks  # noqa: PLC0415
    from .aliases import take_weights_in_updates  # noqa: PLC0415
    from .changes import ChangeNotifier  # noqa: PLC0415
    from .cloudwatch import keep_metrics_as_aws_does  # noqa: PLC0415
    from .concurrency import provision_in_the_plane, use_quotas  # noqa: PLC0415
    from .deliveries import deliver_by_the_plane  # noqa: PLC0415
    from .event_invoke import take_buckets_on_failure  # noqa: PLC0415
    from .function_urls import name_urls_of_the_gateway  # noqa: PLC0415
    from .invoke import forward  # noqa: PLC0415
    from .mapping_checks import check_mappings_as_aws_does  # noqa: PLC0415
    from .mappings import keep_state_only  # noqa: PLC0415
    from .refusals import refuse  # noqa: PLC0415
    from .retention import expire_messages_as_sqs_does  # noqa: PLC0415

    keep_state_only()
    name_urls_of_the_gateway()
    check_mappings_as_aws_does()
    take_buckets_on_failure()
    keep_metrics_as_aws_does()
    take_weights_in_updates()
    provision_in_the_plane()
    deliver_by_the_plane()
    service_calls.name_step_functions()
    service_calls.send_forms_to_queues_through_the_gateway()
    queues.count_in_queues()
    expire_messages_as_sqs_does()
    handlers.serve_custom_service_request_handlers.append(refuse)
    handlers.serve_custom_service_request_handlers.append(use_quotas)
    handlers.serve_custom_service_request_handlers.append(stacks.mend)
    handlers.serve_custom_service_request_handlers.append(forward)
    handlers.serve_custom_service_request_handlers.append(service_calls.forward)
    handlers.run_custom_response_handlers.append(ChangeNotifier())
    ROUTER.add(PLANE_PATH, _plane, methods=["GET"])
    ROUTER.add(queues.PATH, queues.tell, methods=["POST"])
    ROUTER.add(executions.PATH, executions.tell, methods=["GET"])
    ROUTER.add(HEALTH_PATH, _health, methods=["GET"])
    threading.Thread(target=_warm_up, name="testbed-warm-up", daemon=True).start()


def _health(_request: Any) -> dict[str, Any]:
    python = ".".join(map(str, sys.version_info[:3]))
    return {
        "localstack": VERSION,
        "python": python,
        "warm": _warm.is_set(),
        "error": _failures[0] if _failures else None,
    }


def _plane(_request: Any) -> dict[str, Any]:
    return {"url": os.environ["TESTBED_PLANE"], "obstacle": obstacle()}


def _warm_up() -> None:
    """Load the services that every scenario needs while the rest starts: the first call took seconds otherwise."""
    from localstack.aws.spec import get_service_catalog  # noqa: PLC0415  # it loads botocore's models
    from localstack.services.plugins import SERVICE_PLUGINS  # noqa: PLC0415  # see install

    try:
        _ = get_service_catalog().operations_index
        for service in _WARMED:
            SERVICE_PLUGINS.require(service)
    except Exception as error:
        _failures.append(repr(error))  # whoever waits for the health route learns it there
        raise
    _warm.set()
    for service in _WARMED_AFTERWARDS:
        SERVICE_PLUGINS.require(service)
