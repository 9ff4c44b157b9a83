"""Settings from the environment: every one has a default, a unit in its name, and a range.

Read once, by `__main__`. A bad value ends the process with one sentence instead of running with something else.
"""

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

PREFIX: Final = "GENERATION_SERVICE_"

Count = Annotated[int, Field(ge=1, le=100_000)]


class SettingsError(Exception):
    """A variable has a value that cannot be used; the message names it."""


class Settings(BaseModel):
    """Field `x_y` is the variable `GENERATION_SERVICE_X_Y`."""

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
    """Places in the queue. A longer queue turns rejections into deadlines missed."""
    workflow_deadline_seconds: int = Field(30, ge=1, le=86_400)
    """After this long a workflow is stopped, the time in the queue included; clients may ask for less."""
    simulated_latency_milliseconds: int = Field(200, ge=0, le=600_000)
    """How long the simulated generator takes for a step."""
    simulated_latency_jitter_percent: int = Field(10, ge=0, le=100)
    """How far the latency of a prompt may lie from it, either way."""
    simulated_tokens: Count = 64
    """The most tokens that the simulated generator answers with."""
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
            if (variable := PREFIX + field.upper()) in environment
        }
        # A Kubernetes Service called generation-service puts `tcp://<ip>:<port>` into this very variable of every pod
        # beside it (service links). Nobody means that as our port.
        if values.get("port", "").startswith("tcp://"):
            del values["port"]
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            raise SettingsError("; ".join(_sentence(values, detail) for detail in error.errors())) from None

    @classmethod
    def table(cls) -> list[tuple[str, str, str]]:
        """Variable, default and meaning of every setting, for `--help`."""
        return [
            (PREFIX + field.upper(), "" if info.default is None else str(info.default), info.description or "")
            for field, info in cls.model_fields.items()
        ]


def _sentence(values: Mapping[str, str], detail: Mapping[str, object]) -> str:
    location = detail["loc"]
    field = str(location[0]) if isinstance(location, tuple) else ""
    reason = str(detail["msg"])
    return f"{PREFIX}{field.upper()}={values[field][:80]!r}: {reason[:1].lower()}{reason[1:]}"
