"""What the service's pods are made of: resources, environment, and the part of a pod template that a resource may say.

Names and meanings are those of a Pod. What the operator answers for, such as probes, the security of the container and
the labels that pods are selected by, is not here.
"""

from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field, field_validator, model_validator

from generation_operator.api.affinity import Affinity
from generation_operator.api.model import CelRule, Model, Quantity
from generation_operator.api.quantity import parse_quantity
from generation_operator.api.text import LABEL_KEY, LabelKey, LabelValue, ObjectName, first_repeated, has_label_keys
from generation_operator.api.volumes import Volume, VolumeMount

_OURS: Final = "app.kubernetes.io/"


class ResourceList(Model):
    """CPU and memory as Kubernetes quantities."""

    cpu: Quantity = Field("500m", description="CPU in cores, for example 500m or 2.")
    memory: Quantity = Field("1Gi", description="Memory in bytes, for example 512Mi or 2Gi.")


class ResourceLimits(Model):
    """Upper limits of one replica."""

    cpu: Quantity = Field("1", description="CPU limit in cores. CPU utilisation in the score is relative to this.")
    memory: Quantity = Field("2Gi", description="Memory limit in bytes. Memory utilisation is relative to this.")


class Resources(Model):
    """Requests and limits of one replica of the service."""

    cel = (
        CelRule(
            rule="quantity(self.requests.cpu).compareTo(quantity(self.limits.cpu)) <= 0",
            message="requests.cpu must not exceed limits.cpu: lower the request or raise the limit",
            field_path=".requests.cpu",
        ),
        CelRule(
            rule="quantity(self.requests.memory).compareTo(quantity(self.limits.memory)) <= 0",
            message="requests.memory must not exceed limits.memory: lower the request or raise the limit",
            field_path=".requests.memory",
        ),
    )
    requests: ResourceList = Field(ResourceList(), description="What the scheduler reserves for one replica.")
    limits: ResourceLimits = Field(ResourceLimits(), description="What one replica may use at most.")

    @model_validator(mode="after")
    def _requests_within_limits(self) -> "Resources":
        for rule, resource in zip(self.cel, ("cpu", "memory"), strict=True):
            if parse_quantity(getattr(self.requests, resource)) > parse_quantity(getattr(self.limits, resource)):
                raise ValueError(rule.message)
        return self


class SecretKeyRef(Model):
    """One key of a Secret in the namespace of the resource. The operator never reads it; the kubelet does."""

    name: ObjectName = Field(description="Name of the Secret.")
    key: str = Field(pattern=r"^[-._a-zA-Z0-9]+$", min_length=1, max_length=253, description="Key within the Secret.")


class EnvVarSource(Model):
    """Where the value of an environment variable comes from."""

    secret_key_ref: SecretKeyRef = Field(description="A key of a Secret in the same namespace.")


class EnvVar(Model):
    """One environment variable of the service's container, as in a Pod."""

    cel = (
        CelRule(
            rule="!(has(self.value) && has(self.valueFrom))",
            message="set value or valueFrom, not both",
            field_path=".value",
        ),
    )
    name: str = Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=128, description="Name of the variable.")
    value: str | None = Field(None, max_length=4096, description="Literal value.")
    value_from: EnvVarSource | None = Field(None, description="Take the value from a Secret.")

    @model_validator(mode="after")
    def _one_source(self) -> "EnvVar":
        if self.value is not None and self.value_from is not None:
            raise ValueError(self.cel[0].message)
        return self


class TolerationOperator(StrEnum):
    """How a taint's value is compared."""

    EQUAL = "Equal"
    EXISTS = "Exists"


class TaintEffect(StrEnum):
    """What a taint does to pods that do not tolerate it."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Toleration(Model):
    """A taint of nodes that the pods put up with."""

    cel = (
        CelRule(
            rule="has(self.key) || self.operator == 'Exists'",
            message="without key every taint is meant: set operator to Exists, or name the key",
            field_path=".operator",
        ),
        CelRule(
            rule="self.operator != 'Exists' || !has(self.value)",
            message="operator Exists compares no value: remove value, or set operator to Equal",
            field_path=".value",
        ),
        CelRule(
            rule="!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            message="tolerationSeconds needs effect NoExecute: set it, or remove tolerationSeconds",
            field_path=".tolerationSeconds",
        ),
    )
    key: LabelKey | None = Field(None, description="Key of the taint; none means every key.")
    operator: TolerationOperator = Field(
        TolerationOperator.EQUAL, strict=False, description="Equal: key and value match. Exists: the key does."
    )
    value: LabelValue | None = Field(None, description="Value of the taint, with operator Equal.")
    effect: TaintEffect | None = Field(None, strict=False, description="Effect of the taint; none means every effect.")
    toleration_seconds: int | None = Field(
        None,
        ge=0,
        le=2**31 - 1,
        description="Seconds that a pod stays on a node after the taint came. For ever if unset.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> "Toleration":
        key, value, seconds = self.cel
        if self.key is None and self.operator is not TolerationOperator.EXISTS:
            raise ValueError(key.message)
        if self.operator is TolerationOperator.EXISTS and self.value is not None:
            raise ValueError(value.message)
        if self.toleration_seconds is not None and self.effect is not TaintEffect.NO_EXECUTE:
            raise ValueError(seconds.message)
        return self


class PodSecurity(Model):
    """Numeric users and groups of the pods, for images that name none. Root is not to be had."""

    run_as_user: int | None = Field(None, ge=1, le=2**31 - 1, description="User id of the processes.")
    run_as_group: int | None = Field(None, ge=1, le=2**31 - 1, description="Group id of the processes.")
    fs_group: int | None = Field(None, ge=1, le=2**31 - 1, description="Group id that owns mounted volumes.")


class ImagePullSecret(Model):
    """A Secret with which the kubelet pulls the image."""

    name: ObjectName = Field(description="Name of the Secret.")


class PodTemplate(Model):
    """What the pods of the service have besides what the operator gives them."""

    cel = (
        CelRule(
            rule="self.labels.all(key, !key.startsWith('app.kubernetes.io/'))",
            message="labels that start with app.kubernetes.io/ are the operator's: choose another prefix",
            field_path=".labels",
        ),
        CelRule(
            rule=f"self.labels.all(key, key.matches('{LABEL_KEY}'))",
            message="a key of labels is none that Kubernetes allows: write it like team or example.com/team",
            field_path=".labels",
        ),
        CelRule(
            rule=f"self.annotations.all(key, key.matches('{LABEL_KEY}'))",
            message="a key of annotations is none that Kubernetes allows: write it like team or example.com/team",
            field_path=".annotations",
        ),
        CelRule(
            rule=f"self.nodeSelector.all(key, key.matches('{LABEL_KEY}'))",
            message="a key of nodeSelector is none that Kubernetes allows: write it like disk or example.com/disk",
            field_path=".nodeSelector",
        ),
        CelRule(
            rule="self.volumes.all(v, v.name != 'tmp') && self.volumeMounts.all(m, m.mountPath != '/tmp')",
            message="the volume tmp, at /tmp, is the operator's: choose another name and path",
            field_path=".volumes",
        ),
        CelRule(
            rule="self.volumeMounts.all(m, self.volumes.exists(v, v.name == m.name))",
            message="every volumeMount needs a volume of its name: add it to volumes",
            field_path=".volumeMounts",
        ),
    )
    labels: dict[str, LabelValue] = Field({}, max_length=32, description="Labels of the pods.")
    annotations: dict[str, Annotated[str, Field(max_length=4096)]] = Field(
        {}, max_length=32, description="Annotations of the pods; they win over the operator's own."
    )
    node_selector: dict[str, LabelValue] = Field({}, max_length=16, description="Labels that a node must have.")
    tolerations: list[Toleration] = Field([], max_length=16, description="Taints that the pods put up with.")
    affinity: Affinity | None = Field(None, description="Which nodes, and which neighbours, the pods want.")
    volumes: list[Volume] = Field(
        [], max_length=16, description="Volumes of the pods.", json_schema_extra={"map_key": "name"}
    )
    volume_mounts: list[VolumeMount] = Field(
        [],
        max_length=16,
        description="Where the service's container has the volumes.",
        json_schema_extra={"map_key": "mountPath"},
    )
    service_account_name: ObjectName | None = Field(
        None, description="ServiceAccount of the pods. If unset, the operator makes one without rights."
    )
    image_pull_secrets: list[ImagePullSecret] = Field(
        [],
        max_length=8,
        description="Secrets with which the image is pulled.",
        json_schema_extra={"map_key": "name"},
    )
    priority_class_name: ObjectName | None = Field(None, description="PriorityClass of the pods.")
    runtime_class_name: ObjectName | None = Field(None, description="RuntimeClass of the pods.")
    security_context: PodSecurity = Field(PodSecurity(), description="Numeric users and groups of the pods.")

    @field_validator("volumes", "image_pull_secrets")
    @classmethod
    def _names_once(cls, given: list[Volume] | list[ImagePullSecret]) -> list[Volume] | list[ImagePullSecret]:
        if twice := first_repeated(entry.name for entry in given):
            raise ValueError(f"{twice} is given twice: give each entry a name of its own")
        return given

    @field_validator("volume_mounts")
    @classmethod
    def _paths_once(cls, mounts: list[VolumeMount]) -> list[VolumeMount]:
        if twice := first_repeated(mount.mount_path for mount in mounts):
            raise ValueError(f"{twice} is given twice: mount one volume there")
        return mounts

    @model_validator(mode="after")
    def _consistent(self) -> "PodTemplate":
        volumes = {volume.name for volume in self.volumes}
        broken = (
            any(key.startswith(_OURS) for key in self.labels),
            not has_label_keys(self.labels),
            not has_label_keys(self.annotations),
            not has_label_keys(self.node_selector),
            "tmp" in volumes or any(mount.mount_path == "/tmp" for mount in self.volume_mounts),  # noqa: S108
            any(mount.name not in volumes for mount in self.volume_mounts),
        )
        for rule, breaks in zip(self.cel, broken, strict=True):
            if breaks:
                raise ValueError(rule.message)
        return self
