"""Every name that other programs see: the API group, labels, annotations and field managers.

They are contracts. A renamed field manager orphans the fields it owned; a renamed label orphans the pods.
"""

from typing import Final

GROUP: Final = "generation.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "GenerationService"
PLURAL: Final = "generationservices"
SINGULAR: Final = "generationservice"
SHORT_NAME: Final = "gensvc"

OPERATOR: Final = "generation-operator"

LABEL_NAME: Final = "app.kubernetes.io/name"
LABEL_INSTANCE: Final = "app.kubernetes.io/instance"
LABEL_COMPONENT: Final = "app.kubernetes.io/component"
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
LABEL_PART_OF: Final = "app.kubernetes.io/part-of"

ANNOTATION_HASH: Final = f"{GROUP}/applied-hash"
ANNOTATION_PAUSED: Final = f"{GROUP}/paused"

# Who writes what: docs/adr/0005. One manager per aspect, so that managedFields answers "who set this?".
MANAGER_OPERATOR: Final = "generation-operator"
MANAGER_BOOTSTRAP: Final = "generation-operator-bootstrap"
MANAGER_SCALER: Final = "generation-operator-scaler"
MANAGER_LEADER: Final = "generation-operator-leader"
MANAGER_FLOOR: Final = "generation-operator-floor"
