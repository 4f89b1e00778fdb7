"""Which executions of state machines have not ended: an order in one of them is still on its way."""

import sys
from typing import Any, Final

PATH: Final = "/_testbed/plugin/executions"
_STORE: Final = "localstack.services.stepfunctions.backend.store"


def tell(_request: Any) -> dict[str, list[str]]:
    """Their ARNs, those of express workflows included, which ListExecutions does not know."""
    module = sys.modules.get(_STORE)  # loaded at the first use of Step Functions, which may never come
    stores = module.sfn_stores.iter_stores() if module else ()
    running = [arn for _, _, store in stores for arn, each in list(store.executions.items()) if _is_running(each)]
    return {"running": running}


def _is_running(execution: Any) -> bool:
    return execution.exec_status in {None, "RUNNING"}  # None until it has begun
