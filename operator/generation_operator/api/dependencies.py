"""What the service needs from elsewhere: URLs, or the Secrets that hold them. The operator passes them on unread."""

from typing import Annotated

from pydantic import Field, model_validator

from generation_operator.api.model import CelRule, Model
from generation_operator.api.pod import SecretKeyRef

# Printable ASCII, spelt out: what counts as white space differs between the API server and us.
URL = Annotated[str, Field(pattern=r"^[a-z][a-z0-9+.-]*:[!-~]+$", max_length=2000)]


class Endpoint(Model):
    """Where something is: a URL, or a Secret that holds it."""

    cel = (
        CelRule(
            rule="has(self.url) != has(self.secretKeyRef)",
            message="set either url or secretKeyRef",
            field_path=".url",
        ),
    )
    url: URL | None = Field(None, description="The URL itself. One with a password belongs into a Secret.")
    secret_key_ref: SecretKeyRef | None = Field(None, description="The key of a Secret that holds the URL.")

    @model_validator(mode="after")
    def _one_source(self) -> "Endpoint":
        if (self.url is None) == (self.secret_key_ref is None):
            raise ValueError(self.cel[0].message)
        return self


class Generator(Endpoint):
    """The model that generates."""

    api_key: SecretKeyRef | None = Field(None, description="The key of a Secret that holds its API key.")
    model: str | None = Field(None, min_length=1, max_length=200, description="Name of the model that is asked for.")


class Dependencies(Model):
    """What the service needs from elsewhere. Without it, each replica of our service brings its own."""

    database: Endpoint | None = Field(None, description="PostgreSQL, for example postgresql://user@host/database.")
    redis: Endpoint | None = Field(None, description="Redis or Valkey, for example redis://host:6379/0.")
    generator: Generator | None = Field(None, description="An OpenAI-compatible API, for example https://host/v1.")
