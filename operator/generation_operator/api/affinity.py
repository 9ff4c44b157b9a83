"""Which nodes, and which neighbours, pods want: a typed part of what a Pod's affinity may say."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field, model_validator

from generation_operator.api.model import CelRule, Model
from generation_operator.api.text import LABEL_KEY, LabelKey, LabelValue, has_label_keys

Weight = Annotated[int, Field(ge=1, le=100)]


class SelectorOperator(StrEnum):
    """How the value of a label is compared."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class Requirement(Model):
    """What must be true of one label."""

    cel = (
        CelRule(
            rule="self.operator in ['In', 'NotIn'] ? self.values.size() > 0 : self.values.size() == 0",
            message="operators In and NotIn need values, Exists and DoesNotExist have none",
            field_path=".values",
        ),
    )
    key: LabelKey = Field(description="Key of the label.")
    operator: SelectorOperator = Field(strict=False, description="How the label is compared.")
    values: list[LabelValue] = Field([], max_length=16, description="Values to compare with.")

    @model_validator(mode="after")
    def _values_fit(self) -> "Requirement":
        needs_values = self.operator in {SelectorOperator.IN, SelectorOperator.NOT_IN}
        if needs_values != bool(self.values):
            raise ValueError(self.cel[0].message)
        return self


class NodeSelectorTerm(Model):
    """Requirements that a node must meet together."""

    match_expressions: list[Requirement] = Field(
        min_length=1, max_length=8, description="Requirements on the node's labels; all must be met."
    )


class NodeSelector(Model):
    """Terms of which a node must meet one."""

    node_selector_terms: list[NodeSelectorTerm] = Field(
        min_length=1, max_length=4, description="Terms; one must be met."
    )


class PreferredNode(Model):
    """A kind of node that is preferred."""

    weight: Weight = Field(description="How much it is preferred, from 1 to 100.")
    preference: NodeSelectorTerm = Field(description="Which nodes are meant.")


class NodeAffinity(Model):
    """Which nodes the pods want."""

    required_during_scheduling_ignored_during_execution: NodeSelector | None = Field(
        None, description="Nodes on which the pods may run at all."
    )
    preferred_during_scheduling_ignored_during_execution: list[PreferredNode] = Field(
        [], max_length=4, description="Nodes that are preferred."
    )


class LabelSelector(Model):
    """Pods that are meant."""

    cel = (
        CelRule(
            rule=f"self.matchLabels.all(key, key.matches('{LABEL_KEY}'))",
            message="a key of matchLabels is none that Kubernetes allows: write it like team or example.com/team",
            field_path=".matchLabels",
        ),
    )
    match_labels: dict[str, LabelValue] = Field({}, max_length=8, description="Labels that the pods have.")
    match_expressions: list[Requirement] = Field([], max_length=8, description="Requirements that the pods meet.")

    @model_validator(mode="after")
    def _keys_are_keys(self) -> "LabelSelector":
        if not has_label_keys(self.match_labels):
            raise ValueError(self.cel[0].message)
        return self


class PodAffinityTerm(Model):
    """Pods of the same namespace, and how near is near."""

    label_selector: LabelSelector = Field(LabelSelector(), description="Which pods are meant.")
    topology_key: LabelKey = Field(description="Label of nodes; nodes with the same value of it are one place.")


class PreferredNeighbours(Model):
    """A neighbourhood that is preferred, or avoided where that is possible."""

    weight: Weight = Field(description="How much it matters, from 1 to 100.")
    pod_affinity_term: PodAffinityTerm = Field(description="Which neighbours are meant.")


class PodAffinity(Model):
    """Which neighbours the pods want, or do not want."""

    required_during_scheduling_ignored_during_execution: list[PodAffinityTerm] = Field(
        [], max_length=4, description="What must hold for a pod to be placed."
    )
    preferred_during_scheduling_ignored_during_execution: list[PreferredNeighbours] = Field(
        [], max_length=4, description="What is preferred."
    )


class Affinity(Model):
    """Which nodes, and which neighbours, the pods want."""

    node_affinity: NodeAffinity | None = Field(None, description="Nodes that are wanted.")
    pod_affinity: PodAffinity | None = Field(None, description="Neighbours that are wanted.")
    pod_anti_affinity: PodAffinity | None = Field(None, description="Neighbours that are avoided.")
