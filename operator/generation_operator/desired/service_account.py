"""The account that the service's pods run as: it has no rights, and no token is mounted.

An account of its own, so that whoever gives the service rights (to a cloud's storage, say) gives them to nobody else.
"""

from generation_operator.api.kinds import SERVICE_ACCOUNT, Manifest
from generation_operator.api.resource import GenerationService
from generation_operator.desired import names
from generation_operator.desired.names import Component


def service_account(service: GenerationService) -> Manifest:
    """The ServiceAccount."""
    account = names.child(SERVICE_ACCOUNT, service, names.service_account(service.key.name), Component.SERVICE)
    return account | {"automountServiceAccountToken": False}
