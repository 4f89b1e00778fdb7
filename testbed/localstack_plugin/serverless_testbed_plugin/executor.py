"""The runtime executor that runs nothing, so that functions become Active without Docker."""

from typing import Any

from localstack.services.lambda_.invocation.plugins import RuntimeExecutorPlugin


class NoRuntimePlugin(RuntimeExecutorPlugin):  # type: ignore[misc]  # LocalStack ships no types
    """Chosen by ``LAMBDA_RUNTIME_EXECUTOR=testbed``."""

    name = "testbed"

    def load(self, *_args: Any, **_kwargs: Any) -> type[Any]:
        """The executor class; imported late because it loads LocalStack's Lambda service."""
        from localstack.services.lambda_.invocation.runtime_executor import RuntimeExecutor  # noqa: PLC0415  # see above

        class NoRuntime(RuntimeExecutor):  # type: ignore[misc]  # LocalStack ships no types
            """Every invoke was forwarded before it could come here."""

            def start(self, env_vars: dict[str, str]) -> None:
                """Nothing to start."""

            def stop(self) -> None:
                """Nothing to stop."""

            def get_address(self) -> str:
                """Never asked for: nothing was started."""
                return "127.0.0.1"

            def get_endpoint_from_executor(self) -> str:
                """Never asked for: nothing was started."""
                return "127.0.0.1"

            def get_runtime_endpoint(self) -> str:
                """Never asked for: nothing was started."""
                return ""

            def invoke(self, payload: dict[str, str]) -> Any:
                """An invoke that did not pass the forwarding handler."""
                message = f"the testbed runs functions itself; this way into Lambda is not supported: {payload}"
                raise NotImplementedError(message)

            def get_logs(self) -> str:
                """No runtime, no logs."""
                return ""

            @classmethod
            def prepare_version(cls, function_version: Any) -> None:
                """Nothing to prepare."""

            @classmethod
            def cleanup_version(cls, function_version: Any) -> None:
                """Nothing to clean up."""

        return NoRuntime
