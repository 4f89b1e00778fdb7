"""Requests to REST APIs and function URLs as faults see them."""

from testbed.chaos.call import Call
from testbed.gateway.classify import Target
from testbed.gateway.faults import Faults
from testbed.gateway.message import Inbound
from testbed.gateway.origin import Origin, identity_of_content


def api_call(faults: Faults, api: str, path: str, request: Inbound, origin: Origin) -> Call:
    """A client's request to ``api``: the id of a REST API or of a function URL."""
    kind = f"execute-api.{request.method}"
    identity = f"{kind}:{origin.trace}"
    if not origin.planned:
        query = request.target.partition("?")[2]
        identity = identity_of_content(kind, path.encode(), query.encode(), request.body)
    return faults.call(Target("execute-api", request.method, api), "client", origin, identity)
