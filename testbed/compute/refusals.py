"""The errors of an invoke that never reaches the function.

Shapes and statuses are botocore's service model of Lambda, the texts what Lambda writes.
"""

from testbed.chaos.call import AwsError
from testbed.semantics.concurrency import ThrottleReason


def throttled(reason: ThrottleReason) -> AwsError:
    """An invoke that Lambda refused for its rate or concurrency; body and text as seen on the wire."""
    members = {"Reason": reason.value, "Type": "User"}
    return AwsError("TooManyRequestsException", 429, "Rate Exceeded.", members)


def function_not_found(arn: str) -> AwsError:
    """No such function, version or alias."""
    return AwsError("ResourceNotFoundException", 404, f"Function not found: {arn}", {"Type": "User"})


def request_too_large(size: int, limit: int) -> AwsError:
    """The payload of the invoke is over ``limit`` bytes."""
    message = f"Request must be smaller than {limit} bytes for the InvokeFunction operation, this one has {size}"
    return AwsError("RequestTooLargeException", 413, message, {"Type": "User"})


def invalid_payload(problem: str) -> AwsError:
    """The payload of the invoke is not JSON."""
    message = f"Could not parse request body into json: Could not parse payload into json: {problem}"
    return AwsError("InvalidRequestContentException", 400, message, {"Type": "User"})


def invalid_client_context() -> AwsError:
    """The client context of the invoke is not a JSON object in base64."""
    message = "Client context must be a valid Base64-encoded JSON object."
    return AwsError("InvalidRequestContentException", 400, message, {"Type": None})


def not_active(state: str) -> AwsError:
    """The function is still being created, or failed to be."""
    message = (
        f"The operation cannot be performed at this time. The function is currently in the following state: {state}"
    )
    return AwsError("ResourceConflictException", 409, message, {"Type": "User"})


def service_failed(problem: str) -> AwsError:
    """The service itself failed."""
    return AwsError("ServiceException", 500, problem, {"Type": "Service"})
