"""Every way in which a request for work can end without a result.

They say what happened in words for the caller. How that becomes an HTTP answer is decided in the adapters.
"""


class WorkflowError(Exception):
    """A workflow was refused or did not finish; the message is for the person who sent it."""


class InvalidWorkflowError(WorkflowError):
    """The request breaks a rule that its form alone does not show."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field
        self.message = message


class QueueFullError(WorkflowError):
    """No place in the queue is left."""

    def __init__(self, queue_limit: int, retry_after_seconds: int) -> None:
        super().__init__(f"The queue is full ({queue_limit} may wait); try again in {retry_after_seconds} s.")
        self.retry_after_seconds = retry_after_seconds


class DrainingError(WorkflowError):
    """This replica is going away and takes no more work, or had to give up the rest of it."""

    retry_after_seconds = 1  # another replica can answer at once

    def __init__(self) -> None:
        super().__init__("This replica is shutting down; send the request again and another one will take it.")


class DeadlineExceededError(WorkflowError):
    """The work was not done in time; waiting in the queue counts."""

    def __init__(self, deadline_seconds: float) -> None:
        super().__init__(f"The workflow did not finish within its deadline of {deadline_seconds:g} s and was stopped.")


class StepFailedError(WorkflowError):
    """A step could not be done; steps that wait for it were not tried."""

    def __init__(self, step_id: str, reason: str) -> None:
        super().__init__(f"Step {step_id!r} failed: {reason}")
        self.step_id = step_id


class CancelRequestedError(WorkflowError):
    """Somebody asked for the workflow to be stopped."""

    def __init__(self) -> None:
        super().__init__("The workflow was cancelled.")
