"""What all spec models share: their names on the wire, and rules that tie fields together.

A rule is enforced twice, by the API server and by a validator of the model, with the same message.
"""

from enum import StrEnum
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from generation_operator.api.quantity import QUANTITY_PATTERN

Quantity = Annotated[str, Field(pattern=QUANTITY_PATTERN, max_length=32)]
Percent = Annotated[int, Field(ge=0, le=100)]


def to_camel(name: str) -> str:
    """`min_replicas` -> `minReplicas`; a trailing `url` keeps the API convention's capitals (`prometheusURL`)."""
    head, *tail = name.split("_")
    return head + "".join("URL" if word == "url" else word.capitalize() for word in tail)


class Model(BaseModel):
    """Base of all spec models: camelCase on the wire, frozen, unknown fields and other types refused.

    `cel` lists the rules that tie fields together. Each is enforced twice: by the API server (x-kubernetes-validations)
    and, for a resource that slipped through, by a validator here that raises the same message.
    """

    # strict: "8000" is no port and "yes" is no boolean, as in the API server. Enums alone arrive as their text.
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid", strict=True)
    cel: ClassVar[tuple["CelRule", ...]] = ()

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, given: object) -> object:
        # As in the API server: `env:` with nothing behind it. (Without a default, server-side apply refuses a null.)
        known = {info.alias for info in cls.model_fields.values()}
        if isinstance(given, dict):
            return {name: value for name, value in given.items() if value is not None or name not in known}
        return given


def as_said(model: Model) -> dict[str, Any]:
    """A part of a spec as it stands in a manifest, without what was left out.

    Empty lists and maps, and a plain no, count as left out: the API server does not keep them either. An empty object,
    such as `emptyDir: {}`, is a statement.
    """
    said: dict[str, Any] = {}
    for name, info in type(model).model_fields.items():
        value = getattr(model, name)
        if isinstance(value, Model):
            said[info.alias or name] = as_said(value)
        elif isinstance(value, list) and value:
            said[info.alias or name] = [as_said(item) if isinstance(item, Model) else _plain(item) for item in value]
        elif value is not False and value not in (None, [], {}):
            said[info.alias or name] = _plain(value)
    return said


def _plain(value: object) -> object:
    """An enum as the text that it is: JSON compares by exact type."""
    return str(value) if isinstance(value, str) else value


class CelRule(BaseModel):
    """One CEL validation rule of the CRD."""

    model_config = ConfigDict(frozen=True)
    rule: str
    message: str
    field_path: str | None = None

    def schema_entry(self) -> dict[str, Any]:
        """The rule as an entry of `x-kubernetes-validations`."""
        entry = {"rule": self.rule, "message": self.message, "reason": "FieldValueInvalid"}
        return entry | ({"fieldPath": self.field_path} if self.field_path else {})


class Switch(StrEnum):
    """Whether something that can be left out is used."""

    ENABLED = "Enabled"
    DISABLED = "Disabled"
