"""What the engine needs from the world, each as the few verbs that it uses.

Small enough that a test's fake is a few lines. Adapters satisfy them; nothing here knows how. Every adapter of a port,
the in-memory one included, passes the same contract suite.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Protocol

from generation_service.domain.workflow import (
    Ending,
    Event,
    Json,
    JsonObject,
    Outcome,
    Record,
    Status,
    StepChange,
    Workflow,
)

# --- time ----------------------------------------------------------------------------------------------------------


class Timer(Protocol):
    """A call that is to happen later."""

    def cancel(self) -> None:
        """Do not make the call, if it is still to come."""


class Clock(Protocol):
    """Time as durations: only differences of `now()` mean anything, so a jump of the wall clock means nothing."""

    def now(self) -> float:
        """Seconds on a clock that never goes back."""

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Arrange for one call of `callback` after `seconds`."""

    async def sleep(self, seconds: float) -> None:
        """Return after `seconds`."""


# --- workflows kept somewhere --------------------------------------------------------------------------------------


class StoreUnavailableError(Exception):
    """The store cannot be used now (no connection, disk full, shutting down); the message says why. Try again later."""


class LostClaimError(Exception):
    """Another replica took the workflow over, or it ended: nothing that this attempt does counts any more."""


class IdempotencyMismatchError(Exception):
    """The key was used before, for another payload."""


class NotRetryableError(Exception):
    """Only a workflow that failed or was cancelled can be tried again; `status` is what it is instead."""

    def __init__(self, status: Status) -> None:
        super().__init__(status.value)
        self.status = status


@dataclass(frozen=True, slots=True)
class Idempotency:
    """What the client said to recognise a repetition by."""

    key: str
    fingerprint: bytes  # of the payload


@dataclass(frozen=True, slots=True)
class Submitted:
    """The workflow behind a submission; `created` is False when the idempotency key was known already."""

    record: Record
    created: bool


@dataclass(frozen=True, slots=True)
class Page:
    """A part of the list, newest first; `cursor` asks for the next part, None: there is none."""

    records: Sequence[Record]
    cursor: str | None


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to run one attempt of a workflow, until somebody else claims it."""

    workflow: Workflow
    attempt: int  # the fence: every write of this attempt is refused once the store holds a higher one
    outputs: Mapping[str, Json]  # of the steps that earlier attempts finished; they are not run again
    step_attempts: Mapping[str, int]  # runs begun of each step before this claim
    remaining_seconds: float  # to the deadline, by the store's clock; <= 0: too late
    queued_seconds: float  # from admission to this claim
    cancel_requested: bool


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits in the store, for all replicas together."""

    queued: int
    oldest_seconds: float  # age of the workflow that waits longest; 0 when none does
    replicas: int  # alive, this one included; >= 1


class JobStore(Protocol):
    """Keeps workflows. Times are the store's; every write is durable when the call returns (`note` excepted).

    All methods raise `StoreUnavailableError` when the store cannot be reached.
    """

    async def submit(self, workflow: Workflow, idempotency: Idempotency | None = None) -> Submitted:
        """Keep a new workflow and put it into the queue, or return the one that this key made.

        Raises `IdempotencyMismatchError`.
        """

    async def get(self, workflow_id: str) -> Record | None:
        """Everything about one workflow."""

    async def page(self, *, status: Status | None, cursor: str | None, limit: int) -> Page:
        """List workflows, newest first. An unknown cursor raises `ValueError`."""

    async def events(self, workflow_id: str, after: int, limit: int) -> Sequence[Event]:
        """Events with numbers above `after`, in order; empty also for an unknown workflow."""

    async def cancel(self, workflow_id: str) -> Record | None:
        """End it at once when it waits; ask whoever runs it to stop when it runs; else change nothing."""

    async def retry(self, workflow_id: str) -> Record | None:
        """Queue a failed or cancelled workflow again, with a fresh deadline; outputs of its good steps are kept.

        Raises `NotRetryableError`.
        """

    async def claim(self, workflow_id: str) -> Claim | None:
        """Start the next attempt. None when there is nothing to do: unknown, ended, or cancelled meanwhile.

        Whoever calls this has been told by a `Dispatcher` that the workflow is theirs.
        """

    def note(self, claim: Claim, change: StepChange) -> None:
        """Keep a change that may be lost with this process (a step began); written with the next write."""

    async def advance(self, claim: Claim, *changes: StepChange) -> None:
        """Keep changes of steps, in this order. Raises `LostClaimError`."""

    async def finish(self, claim: Claim, ending: Ending, *changes: StepChange) -> None:
        """Keep changes and end the workflow, in one. Steps that did not end become cancelled.

        Raises `LostClaimError`.
        """

    async def hand_back(self, claim: Claim) -> None:
        """Put the workflow back into the queue for another replica; finished steps stay finished."""

    def watch(self, listener: Callable[[str | None], None]) -> Callable[[], None]:
        """Have `listener(workflow_id)` called soon after anything changed, by whichever replica.

        `None` means that notices may have been missed: look again. May be called too often, never too seldom for long
        (an adapter that loses its connection says `None` once it is back). Returns a call that ends it.
        """

    def watch_cancels(self, listener: Callable[[str | None], None]) -> Callable[[], None]:
        """As `watch`, only for running workflows that somebody asked to stop."""

    async def backlog(self) -> Backlog:
        """Count what waits. Cheap enough for once a second; also says that this replica is alive."""

    async def healthy(self) -> bool:
        """Whether the store answers now; never raises."""


class Dispatcher(Protocol):
    """Brings workflows that wait to this replica, each to one replica at a time."""

    @property
    def shared(self) -> bool:
        """Whether another replica can take what still waits when this one goes."""

    async def run(self, handle: Callable[[str], Awaitable[None]]) -> None:
        """Call `handle(workflow_id)` for each one, several at once, until `stop`; then wait for those under way.

        Survives the loss of its store: it goes on when the store is back. A handler that raises ends nobody else's.
        """

    def stop(self) -> None:
        """Take nothing new; `run` returns when the handlers have returned."""


# --- generators ----------------------------------------------------------------------------------------------------


class GeneratorError(Exception):
    """The generator could not answer; the message is shown to the caller.

    `status` is its HTTP status if it has one, `retry_after_seconds` when it said so, `started` True once a part of the
    answer has been passed on.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        retry_after_seconds: float | None = None,
        body: bytes | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after_seconds = retry_after_seconds
        self.body = body  # the generator's own answer to a bad request (4xx), for the client


@dataclass(frozen=True, slots=True)
class Completion:
    """A whole answer: `chat.completion` JSON as the generator wrote it."""

    body: bytes
    retries: int = 0


class Generator(Protocol):
    """Speaks the OpenAI chat completions format: request body in, response body or server-sent events out."""

    @property
    def description(self) -> str:
        """What answers, for the header `X-Generator` of every response: `openai`, `local:MODEL` or `built-in`."""

    @property
    def breaker_state(self) -> int:
        """For the metrics: 0 requests are sent, 1 one is tried, 2 none."""

    async def complete(self, body: bytes, timeout_seconds: float) -> Completion:
        """Answer a request without `stream`; stop at once when cancelled. Raises `GeneratorError`."""

    def stream(self, body: bytes, timeout_seconds: float) -> AsyncGenerator[bytes, None]:
        """Answer a request with `"stream": true`: the data of each event, `[DONE]` excluded.

        Raises `GeneratorError`, also in the middle when the stream breaks off. Closing it stops the generator.
        """

    async def healthy(self) -> bool:
        """Whether requests can be sent now (breaker closed); never raises."""


# --- cache ---------------------------------------------------------------------------------------------------------


class CacheStatus(StrEnum):
    """Where an answer came from, as in the header `X-Cache`."""

    HIT_L1 = "HIT-L1"
    HIT_L2 = "HIT-L2"
    MISS = "MISS"
    BYPASS = "BYPASS"


class CacheUse(Enum):
    """What the client allows."""

    NORMAL = "normal"
    REFRESH = "refresh"  # do not read, but keep the new answer (Cache-Control: no-cache)
    NONE = "none"  # neither read nor keep (Cache-Control: no-store)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A computed answer. `negative` ones (the answer is that there is none) are kept for a short time only."""

    value: bytes
    ttl_seconds: float | None = None  # None: the cache's own
    negative: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """An answer and where it came from."""

    value: bytes
    status: CacheStatus
    age_seconds: float = 0.0


class Cache(Protocol):
    """Keeps answers (bytes) under a namespace and a key. Never fails because a server behind it does."""

    def peek(self, namespace: str, key: str) -> Found | None:
        """The answer if this process has it at hand: no I/O, so it can be asked before anything else."""

    async def fetch(
        self,
        namespace: str,
        key: str,
        load: Callable[[], Awaitable[Loaded]],
        use: CacheUse = CacheUse.NORMAL,
        timeout_seconds: float | None = None,
    ) -> Found:
        """The kept answer, or a loaded one. Callers of one key at one time share one load, over all replicas.

        After `timeout_seconds` of waiting for a load of which this caller is not the only one, or for another replica,
        it raises `TimeoutError`; with `CacheUse.NONE` the load alone bounds its time.
        A load that raises raises for all who wait for it, and nothing is kept. A cancelled caller disturbs no other;
        the load is cancelled when nobody waits for it any more.
        """

    async def get(self, namespace: str, key: str) -> Found | None:
        """The kept answer from either level."""

    async def put(self, namespace: str, key: str, loaded: Loaded) -> None:
        """Keep an answer that was computed elsewhere (a stream, once it is whole)."""

    async def contains(self, namespace: str, key: str) -> bool:
        """Whether a fresh answer is kept on either level."""

    async def delete(self, namespace: str, key: str) -> None:
        """Forget one answer, in all replicas."""

    async def purge(self, namespace: str) -> None:
        """Forget a whole namespace, in all replicas, in constant time."""


class Warmer(Protocol):
    """Learns from the requests what will be asked for next."""

    def record(self, namespace: str, key: str, request: bytes) -> None:
        """Note one request; never waits. `request` is what it takes to load the answer again."""


# --- steps ---------------------------------------------------------------------------------------------------------


class StepContext(Protocol):
    """What a step may use while it runs."""

    @property
    def outputs(self) -> Mapping[str, Json]:
        """Outputs of the steps before it, by id."""

    @property
    def remaining_seconds(self) -> float:
        """Time left to the workflow's deadline."""

    def slot(self, pool: str) -> AbstractAsyncContextManager[None]:
        """Wait for and hold a place in a pool: `ai_api`, `io_operations` or `cpu_intensive`."""

    async def run_step(self, step_type: str, inputs: JsonObject, variables: JsonObject) -> Json:
        """Run another step inside this one (a fan-out), with `variables` added for its templates."""

    @property
    def variables(self) -> JsonObject:
        """More names for templates, such as `item` inside a `map`."""


@dataclass(frozen=True, slots=True)
class Scope:
    """The names that a template of a step may use."""

    steps: frozenset[str]  # ids of the steps that are done before it
    variables: frozenset[str] = frozenset()


class StepType(Protocol):
    """A kind of step. Registered through the entry point group `generation_service.steps`."""

    @property
    def name(self) -> str:
        """What `type` says in a workflow."""

    @property
    def attempts(self) -> int:
        """How often the step may be begun; more than 1 only if running it twice does no harm."""

    @property
    def durable(self) -> bool:
        """Whether its output must be kept before a step that needs it begins.

        False for what is computed again for nothing; the output is then kept with the next write.
        """

    @property
    def schema(self) -> JsonObject:
        """JSON schema of the inputs, for the API's description."""

    def check(self, inputs: JsonObject, scope: Scope) -> None:
        """Refuse inputs that cannot work, before anything is kept.

        Raises `InvalidWorkflowError` with a field relative to the step (`inputs.prompt`).
        """

    async def run(self, inputs: JsonObject, context: StepContext) -> Json:
        """Do the work; stop at once when cancelled. Raises `StepError`."""


class StepError(Exception):
    """A step failed; the message is shown to the caller. `retryable`: trying again may help."""

    def __init__(self, message: str, *, retryable: bool = False, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.retry_after_seconds = retry_after_seconds


# --- who counts ----------------------------------------------------------------------------------------------------


class Observer(Protocol):
    """Is told what happens, to count it. Called on the hot path: must be cheap and never raise."""

    def arrived(self) -> None:
        """Count one piece of work that asks for admission: a workflow, or a chat completion that no cache answers."""

    def ran(self, seconds: float) -> None:
        """Count one that leaves its slot; `seconds` is how long it kept it."""

    def finished(self, outcome: Outcome, seconds: float) -> None:
        """Count one; `seconds` is the time from its arrival to its end. Rejected ones are not reported here."""

    def rejected(self) -> None:
        """Count one that was refused for lack of room: an error that took no time."""

    def workflow_ended(self, status: Status) -> None:
        """Count a workflow that reached a terminal status in this replica."""

    def step_finished(self, step_type: str, outcome: Outcome, seconds: float) -> None:
        """Count one run of a step."""
