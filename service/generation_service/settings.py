"""Settings from the environment: every one has a default, a unit in its name, and a range.

Read once, by `__main__`. A bad value ends the process with one sentence instead of running with something else.
"""

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

PREFIX: Final = "GENERATION_SERVICE_"
MEMORY: Final = "memory:"  # instead of the URL of a database or a cache
BUILT_IN: Final = "built-in:"  # instead of the URL of a generator
# Named as every platform names them; an empty one counts as not set.
URLS: Final = ("database_url", "redis_url", "generator_url", "generator_api_key")
SECRETS: Final = URLS  # URLs may hold passwords

Count = Annotated[int, Field(ge=1, le=100_000)]


class SettingsError(Exception):
    """A variable has a value that cannot be used; the message names it."""


class Settings(BaseModel):
    """Field `x_y` is the variable `GENERATION_SERVICE_X_Y`, but for those in `URLS`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    name: str = Field("generation-service", pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")
    """The name of the resource that this replica belongs to; label `service` of `generation_service_info`."""
    host: str = Field("0.0.0.0", min_length=1, max_length=253)  # noqa: S104 - a pod is reached from outside
    """The address to listen on."""
    port: int = Field(8000, ge=0, le=65535)
    """The port to listen on; 0 takes a free one and logs it."""
    concurrent_workflows: Count = 20
    """Slots. More of them raise throughput until the generator is the limit, then only the time per workflow."""
    queue_limit: int = Field(1000, ge=0, le=100_000)
    """Places in the queue, per replica. A longer queue turns rejections into deadlines missed."""
    ai_api_concurrency: Count = 5
    """Calls of the generator at the same time. Fewer than the slots: workflows wait for each other's calls."""
    io_concurrency: Count = 20
    """Places in the pool `io_operations`, for step types that wait for something else than the generator."""
    cpu_concurrency: Count = 2
    """Python functions at the same time, each in a process of its own. More than processors only slows all down."""
    pool_queue_limit: int = Field(1000, ge=0, le=100_000)
    """Callers that may wait for each of these three pools."""
    workflow_deadline_seconds: int = Field(30, ge=1, le=86_400)
    """After this long a workflow is stopped, the time in the queue included; clients may ask for less."""
    follower_limit: int = Field(5000, ge=0, le=1_000_000)
    """Clients that may wait for workflows or follow their events; each costs a connection and some 50 kB."""
    result_retention_seconds: int = Field(86_400, ge=60, le=31_536_000)
    """How long results and events of ended workflows are kept."""
    database_url: str | None = Field(None, max_length=2000, repr=False)
    """Postgres, shared by all replicas. Not set: an embedded one if installed; `memory:` forgets all at a restart."""
    database_connections: int = Field(10, ge=2, le=500)
    """Connections to Postgres. Times the replicas it must stay below the server's max_connections (100 by default)."""
    slow_query_milliseconds: int = Field(1000, ge=1, le=600_000)
    """Statements that take longer are logged, without their parameters."""
    redis_url: str | None = Field(None, max_length=2000, repr=False)
    """Redis or Valkey for the second cache level. Not set: an embedded one if installed; `memory:` does without."""
    cache_ttl_seconds: int = Field(3600, ge=1, le=31_536_000)
    """How long answers are kept. Longer saves generations, shorter follows a generator that changes."""
    cache_l1_ttl_seconds: int = Field(300, ge=1, le=86_400)
    """How long at most this process keeps an answer without asking the second level again."""
    cache_l1_entries: Count = 10_000
    """Answers in this process."""
    cache_l1_mebibytes: int = Field(128, ge=1, le=65_536)
    """Bytes of answers in this process."""
    warming: bool = True
    """Ask again in the background what is likely to be asked for next; costs generations, stops when it is no use."""
    warming_tokens_per_minute: int = Field(20_000, ge=0, le=100_000_000)
    """The most that warming may spend."""
    optimizer: bool = True
    """Adapt caches and pools to memory, CPU, response time and hit ratio."""
    generator_url: str | None = Field(None, max_length=2000, repr=False)
    """An OpenAI-compatible backend. Not set: a small local model if installed; `built-in:` answers without a model."""
    generator_api_key: str | None = Field(None, max_length=2000, repr=False)
    """Bearer token for it."""
    generator_model: str = Field("default", min_length=1, max_length=200)
    """The model that is asked when a request names none."""
    generator_requests_per_second: int = Field(0, ge=0, le=100_000)
    """The most requests to the generator; 0: no limit."""
    data_directory: str | None = Field(None, min_length=1, max_length=1000)
    """Where the embedded servers keep their files; the user's cache folder if not set."""
    simulated_latency_milliseconds: int = Field(200, ge=0, le=600_000)
    """How long the built-in generator takes for an answer."""
    simulated_latency_jitter_percent: int = Field(10, ge=0, le=100)
    """How far the latency of a prompt may lie from it, either way."""
    simulated_tokens: Count = 64
    """The most tokens that the built-in generator answers with."""
    lame_duck_seconds: int = Field(2, ge=0, le=600)
    """After SIGTERM: how long new requests are still taken, for proxies that have not noticed yet."""
    drain_seconds: int | None = Field(None, ge=0, le=86_400)
    """After that: how long accepted workflows may take to finish. Not set: the deadline, so that none is cut short."""

    @property
    def drain_limit_seconds(self) -> int:
        """`drain_seconds` or what stands for it."""
        return self.workflow_deadline_seconds if self.drain_seconds is None else self.drain_seconds

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read the variables with our prefix. Raises `SettingsError`."""
        values = {
            field: environment[variable]
            for field in cls.model_fields
            if (variable := cls.variable(field)) in environment and (environment[variable] or field not in URLS)
        }
        # A Kubernetes Service called generation-service puts `tcp://<ip>:<port>` into this very variable of every pod
        # beside it (service links). Nobody means that as our port.
        if values.get("port", "").startswith("tcp://"):
            del values["port"]
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SettingsError("; ".join(_sentence(values, detail) for detail in error.errors())) from None

    @staticmethod
    def variable(field: str) -> str:
        """The name of a field's variable."""
        return field.upper() if field in URLS else PREFIX + field.upper()

    @classmethod
    def table(cls) -> list[tuple[str, str, str]]:
        """Variable, default and meaning of every setting, for `--help`."""
        return [
            (cls.variable(field), "" if info.default is None else str(info.default), info.description or "")
            for field, info in cls.model_fields.items()
        ]


def _sentence(values: Mapping[str, str], detail: Mapping[str, object]) -> str:
    location = detail["loc"]
    field = str(location[0]) if isinstance(location, tuple) else ""
    reason = str(detail["msg"])
    shown = "" if field in SECRETS else f"={values[field][:80]!r}"
    return f"{Settings.variable(field)}{shown}: {reason[:1].lower()}{reason[1:]}"
