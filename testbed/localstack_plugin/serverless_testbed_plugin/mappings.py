"""Event source mappings that only keep their state: the data plane does the polling.

LocalStack gives each mapping a worker with a thread that polls and changes the state when it ends. Here the state
changes at once and no thread starts. That also mends two things in LocalStack's own life cycle: a disabled mapping
that was deleted stayed listed as ``Deleting``, and after an update the ended worker could write ``Disabled`` over the
state of its successor.
"""

from typing import Any

from localstack.services.lambda_.event_source_mapping.esm_worker import EsmState, EsmWorker


def keep_state_only() -> None:
    """Replace the life cycle of every mapping worker."""
    EsmWorker.start = _start
    EsmWorker.stop = _stop
    EsmWorker.delete = _delete
    EsmWorker.poller_loop = _never_polls


def _start(worker: Any) -> None:
    worker.enabled = True
    _become(worker, EsmState.ENABLED)


def _stop(worker: Any) -> None:
    worker.enabled = False
    _become(worker, EsmState.DISABLED)


def _delete(worker: Any) -> None:
    worker.current_state = EsmState.DELETING
    worker.delete_esm_in_store()


def _become(worker: Any, state: Any) -> None:
    worker.current_state = state
    worker.state_transition_reason = worker.user_state_reason
    worker.update_esm_state_in_store(state)


def _never_polls(_worker: Any, *_args: Any, **_kwargs: Any) -> None:
    """Nothing starts this any more; should a caller be overlooked, it must not poll."""
