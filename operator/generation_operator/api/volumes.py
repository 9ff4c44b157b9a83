"""Volumes of the service's pods and where they are mounted, a typed part of what a Pod may say."""

from enum import StrEnum
from typing import Final

from pydantic import Field, model_validator

from generation_operator.api.model import CelRule, Model, Quantity
from generation_operator.api.text import ObjectName, VolumeName

# No component is `..`, and none is empty.
_PART: Final = "[.]?[A-Za-z0-9_-][A-Za-z0-9._-]*"


class Medium(StrEnum):
    """What an emptyDir is kept in, apart from the node's disk."""

    MEMORY = "Memory"


class ConfigMapVolume(Model):
    """The keys of a ConfigMap as files."""

    name: ObjectName = Field(description="Name of the ConfigMap.")
    optional: bool | None = Field(None, description="Whether pods start without it.")


class SecretVolume(Model):
    """The keys of a Secret as files. The operator never reads it; the kubelet does."""

    secret_name: ObjectName = Field(description="Name of the Secret.")
    optional: bool | None = Field(None, description="Whether pods start without it.")


class EmptyDirVolume(Model):
    """A directory that lives as long as the pod."""

    medium: Medium | None = Field(None, strict=False, description="Memory: kept in memory, which counts as the pod's.")
    size_limit: Quantity | None = Field(None, description="Most that it may hold, in bytes.")


class ClaimVolume(Model):
    """A PersistentVolumeClaim that all replicas mount."""

    claim_name: ObjectName = Field(description="Name of the PersistentVolumeClaim.")
    read_only: bool | None = Field(None, description="Whether it is mounted read-only.")


class Volume(Model):
    """One volume, from one source."""

    cel = (
        CelRule(
            rule="[has(self.configMap), has(self.secret), has(self.emptyDir), has(self.persistentVolumeClaim)]"
            ".filter(given, given).size() == 1",
            message="a volume needs exactly one of configMap, secret, emptyDir and persistentVolumeClaim",
            field_path=".name",
        ),
    )
    name: VolumeName = Field(description="Name of the volume.")
    config_map: ConfigMapVolume | None = Field(None, description="A ConfigMap.")
    secret: SecretVolume | None = Field(None, description="A Secret.")
    empty_dir: EmptyDirVolume | None = Field(None, description="An empty directory.")
    persistent_volume_claim: ClaimVolume | None = Field(None, description="A PersistentVolumeClaim.")

    @model_validator(mode="after")
    def _one_source(self) -> "Volume":
        sources = (self.config_map, self.secret, self.empty_dir, self.persistent_volume_claim)
        if sum(source is not None for source in sources) != 1:
            raise ValueError(self.cel[0].message)
        return self


class VolumeMount(Model):
    """Where a volume appears in the service's container."""

    name: VolumeName = Field(description="Name of the volume.")
    mount_path: str = Field(
        pattern=r"^(/[A-Za-z0-9._-]+)+$", min_length=1, max_length=512, description="Absolute path of the directory."
    )
    sub_path: str | None = Field(
        None, pattern=f"^{_PART}(/{_PART})*$", max_length=512, description="Path within the volume; its root if unset."
    )
    read_only: bool | None = Field(None, description="Whether it is mounted read-only.")
