"""Generate the CustomResourceDefinition from the spec models: `python -m generation_operator.api.crd`.

Pydantic's JSON schema is turned into what a structural schema allows: no references, no unions, no titles, defaults on
every level so that `kubectl get -o yaml` shows them, and the models' CEL rules in place. `lint` refuses what the API
conventions or CEL's cost estimate would refuse later.
"""

import argparse
import sys
import types
import typing
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Final

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from generation_operator.api import names
from generation_operator.api.model import Model
from generation_operator.api.resource import NAME_LIMIT, NAME_PATTERN, NAME_TOO_LONG, NAME_UNUSABLE
from generation_operator.api.spec import GenerationServiceSpec
from generation_operator.api.status_schema import STATUS, Schema

HEADER: Final = "# Generated from operator/generation_operator/api; do not edit, run: make crds\n"

_NAME_RULES: Final = (
    {
        "rule": f"size(self.metadata.name) <= {NAME_LIMIT}",
        "message": NAME_TOO_LONG,
        "reason": "FieldValueInvalid",
    },
    {
        "rule": f"self.metadata.name.matches('^{NAME_PATTERN.pattern}$')",
        "message": NAME_UNUSABLE,
        "reason": "FieldValueInvalid",
    },
)


def crd() -> Schema:
    """The whole CustomResourceDefinition."""
    spec = _object_schema(GenerationServiceSpec)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{names.PLURAL}.{names.GROUP}"},
        "spec": {
            "group": names.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": names.KIND,
                "listKind": f"{names.KIND}List",
                "plural": names.PLURAL,
                "singular": names.SINGULAR,
                "shortNames": [names.SHORT_NAME],
                "categories": ["all"],
            },
            "versions": [
                {
                    "name": names.VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {
                        "status": {},
                        "scale": {
                            "specReplicasPath": ".spec.scaling.minReplicas",
                            "statusReplicasPath": ".status.replicas",
                            "labelSelectorPath": ".status.selector",
                        },
                    },
                    "additionalPrinterColumns": _columns(),
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "description": "A generation service, its performance targets and how it is scaled.",
                            "required": ["spec"],
                            "properties": {
                                "spec": {**spec, "description": "What the service should be and which targets it has."},
                                "status": STATUS,
                            },
                            "x-kubernetes-validations": list(_NAME_RULES),
                        }
                    },
                }
            ],
        },
    }


def render() -> str:
    """The CRD as YAML, the same text every time."""
    return HEADER + yaml.dump(crd(), sort_keys=False, width=120, Dumper=_PlainDumper)


def lint(schema: Schema, path: str = "") -> Iterator[str]:
    """What API conventions forbid in a schema: floats, unbounded strings and lists, fields without description."""
    kind = schema.get("type")
    if kind == "number":
        yield f"{path}: floats are not allowed, use an integer with its unit in the name"
    if kind == "string" and not {"maxLength", "enum"} & schema.keys():
        yield f"{path}: a string needs maxLength"
    if kind == "array":
        if "maxItems" not in schema:
            yield f"{path}: a list needs maxItems"
        yield from lint(schema["items"], f"{path}[]")
    if path and not path.endswith("[]") and not schema.get("description"):
        yield f"{path}: a field needs a description"
    if "additionalProperties" in schema:
        if "maxProperties" not in schema:
            yield f"{path}: a map needs maxProperties"
        yield from lint(schema["additionalProperties"], f"{path}[]")
    for name, child in schema.get("properties", {}).items():
        yield from lint(child, f"{path}.{name}")


def _columns() -> list[Schema]:
    ready = '.status.conditions[?(@.type=="Ready")].status'
    return [
        {"name": "Ready", "type": "string", "jsonPath": ready, "description": "Whether everything is as it should be."},
        {"name": "Replicas", "type": "integer", "jsonPath": ".status.replicas", "description": "Pods that exist."},
        {
            "name": "Desired",
            "type": "integer",
            "jsonPath": ".status.autoscaling.desiredReplicas",
            "description": "Pods that there should be.",
        },
        {
            "name": "Floor",
            "type": "integer",
            "jsonPath": ".status.autoscaling.floor.replicas",
            "description": "Pods that are kept whatever the load is.",
        },
        {
            "name": "Targets",
            "type": "string",
            "jsonPath": '.status.conditions[?(@.type=="TargetsMet")].status',
            "description": "Whether the declared targets are met.",
        },
        {
            "name": "Mode",
            "type": "string",
            "jsonPath": ".spec.scaling.mode",
            "description": "What the operator may do.",
        },
        {
            "name": "Reason",
            "type": "string",
            "jsonPath": ".status.autoscaling.lastDecision.reason",
            "description": "Why there are that many.",
            "priority": 1,
        },
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp", "description": "Since when."},
    ]


def _object_schema(model: type[Model]) -> Schema:
    """One model as a structural object schema."""
    fields = model.model_fields
    schema: Schema = {
        "type": "object",
        "description": (model.__doc__ or "").strip().splitlines()[0],
        "properties": {info.alias or name: _field_schema(info) for name, info in fields.items()},
    }
    required = [info.alias or name for name, info in fields.items() if info.is_required()]
    if required:
        schema["required"] = required
    if model.cel:
        schema["x-kubernetes-validations"] = [rule.schema_entry() for rule in model.cel]
    return schema


def _field_schema(info: FieldInfo) -> Schema:
    annotation = _without_none(info.annotation)
    schema = _type_schema(annotation, info) | {"description": info.description or ""}
    if isinstance(info.default, BaseModel):
        # With a default on every level the API server fills in the levels below by itself.
        schema["default"] = info.default.model_dump(by_alias=True, mode="json", exclude_none=True)
    elif info.default is not PydanticUndefined and info.default is not None:
        schema["default"] = _plain(info.default)
    extra = info.json_schema_extra
    if isinstance(extra, dict) and "format" in extra:
        schema["format"] = extra["format"]
    if isinstance(extra, dict) and "map_key" in extra:
        schema |= {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [extra["map_key"]]}
    return schema


def _plain(default: Any) -> Any:  # noqa: ANN401 (a default of any kind)
    if isinstance(default, StrEnum):
        return str(default)
    if isinstance(default, BaseModel):
        return default.model_dump(by_alias=True, mode="json", exclude_none=True)
    return [_plain(item) for item in default] if isinstance(default, list) else default


def _type_schema(annotation: Any, info: FieldInfo | None = None) -> Schema:  # noqa: ANN401 (a type of any kind)
    if typing.get_origin(annotation) is not None:
        return _compound_schema(annotation, info)
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return _object_schema(annotation)
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return {"type": "string", "enum": [str(member) for member in annotation]}
    if annotation is bool:
        return {"type": "boolean"}
    if annotation is int:
        return {"type": "integer", "format": "int32"} | _bounds(info, {"ge": "minimum", "le": "maximum"})
    if annotation is str:
        limits = {"pattern": "pattern", "min_length": "minLength", "max_length": "maxLength"}
        return {"type": "string"} | _bounds(info, limits)
    raise TypeError(f"no structural schema for {annotation}: extend api/crd.py")


def _compound_schema(annotation: Any, info: FieldInfo | None) -> Schema:  # noqa: ANN401 (a type of any kind)
    """A list, a map, or an item of one that has bounds of its own."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is Annotated:
        item = FieldInfo.from_annotation(annotation)
        return _type_schema(item.annotation, item)
    if origin is list:
        limits = {"min_length": "minItems", "max_length": "maxItems"}
        return {"type": "array", "items": _type_schema(arguments[0])} | _bounds(info, limits)
    if origin is dict:
        limits = {"max_length": "maxProperties"}
        return {"type": "object", "additionalProperties": _type_schema(arguments[1])} | _bounds(info, limits)
    raise TypeError(f"no structural schema for {annotation}: extend api/crd.py")


def _bounds(info: FieldInfo | None, wanted: dict[str, str]) -> Schema:
    """Constraints of a field under their OpenAPI names; pydantic keeps them as small metadata objects."""
    found: Schema = {}
    for constraint in info.metadata if info else ():
        for attribute, keyword in wanted.items():
            value = getattr(constraint, attribute, None)
            if value is not None:
                found[keyword] = value
    return found


def _without_none(annotation: Any) -> Any:  # noqa: ANN401 (a type of any kind)
    """`X | None` -> `X`: in a CRD a field that may be absent is simply not required."""
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        [only] = [part for part in typing.get_args(annotation) if part is not type(None)]
        return only
    return annotation


class _PlainDumper(yaml.SafeDumper):
    """Writes shared values out instead of anchors, and indents lists."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ANN401 (PyYAML's signature)
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, indentless=False)


def main() -> int:
    """Print the CRD, or with `--check FILE` say whether a file holds it."""
    parser = argparse.ArgumentParser(prog="python -m generation_operator.api.crd", description=__doc__)
    parser.add_argument("--check", type=Path, metavar="FILE", help="compare with a file instead of printing")
    file: Path | None = parser.parse_args().check
    if file is None:
        sys.stdout.write(render())
        return 0
    if not file.is_file() or file.read_text() != render():
        sys.stderr.write(f"{file} is not what the models say: run `make crds` and commit the result\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
