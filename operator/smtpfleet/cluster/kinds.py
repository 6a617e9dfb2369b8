"""The kinds of objects the operator deals with, and where the API server serves them."""

from dataclasses import dataclass
from typing import Final

from smtpfleet.api import names


@dataclass(frozen=True, slots=True)
class Kind:
    """A namespaced kind. ``group`` is empty for the core group."""

    group: str
    version: str
    kind: str
    plural: str

    @property
    def api_version(self) -> str:
        """``group/version`` as objects carry it."""
        return f"{self.group}/{self.version}" if self.group else self.version

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """URL path of an object, or of all objects in a namespace, or (no namespace) in the cluster."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        scope = f"/namespaces/{namespace}" if namespace else ""
        return "/".join(filter(None, (f"{root}{scope}/{self.plural}", name, subresource)))


POOL: Final = Kind(names.GROUP, names.VERSION, names.KIND, names.PLURAL)
SERVICE_ACCOUNT: Final = Kind("", "v1", "ServiceAccount", "serviceaccounts")
CONFIG_MAP: Final = Kind("", "v1", "ConfigMap", "configmaps")
SECRET: Final = Kind("", "v1", "Secret", "secrets")
SERVICE: Final = Kind("", "v1", "Service", "services")
CLAIM: Final = Kind("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims")
POD: Final = Kind("", "v1", "Pod", "pods")
DEPLOYMENT: Final = Kind("apps", "v1", "Deployment", "deployments")
ROLE: Final = Kind("rbac.authorization.k8s.io", "v1", "Role", "roles")
ROLE_BINDING: Final = Kind("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings")
BUDGET: Final = Kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
POLICY: Final = Kind("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies")
LEASE: Final = Kind("coordination.k8s.io", "v1", "Lease", "leases")
EVENT: Final = Kind("events.k8s.io", "v1", "Event", "events")

APPLIED: Final = (
    SERVICE_ACCOUNT,
    ROLE,
    ROLE_BINDING,
    CONFIG_MAP,
    SECRET,
    SERVICE,
    CLAIM,
    DEPLOYMENT,
    BUDGET,
    POLICY,
)
"""Kinds that the operator writes for a pool, in the order in which one needs the other."""

CHILDREN: Final = (*APPLIED, POD)
"""Kinds that belong to a pool, whoever makes them."""

_BY_NAME: Final = {kind.kind: kind for kind in CHILDREN}


def kind_of(thing: dict[str, object]) -> Kind:
    """The kind of a child object."""
    return _BY_NAME[str(thing["kind"])]
