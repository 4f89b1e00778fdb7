"""Function URLs that lead to the data plane, by an address that needs no DNS.

LocalStack would name its own port, and a host below its address that no resolver knows. What it keeps is what it tells
to everybody, CloudFormation's ``Fn::GetAtt`` included, so it is put right where it is made.
"""

from typing import Any

from localstack import config
from localstack.services.lambda_.invocation.lambda_models import FunctionUrlConfig


def name_urls_of_the_gateway() -> None:
    """Let every function URL that is configured from now on be a path on the gateway."""
    original = FunctionUrlConfig.__init__

    def named(self: Any, *args: Any, **kwargs: Any) -> None:
        original(self, *args, **kwargs)
        self.url = f"http://{config.LOCALSTACK_HOST}/_aws/lambda-url/{self.url_id}/"

    FunctionUrlConfig.__init__ = named
