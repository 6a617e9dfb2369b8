"""Where pods run: spread over nodes and zones, softly, so that a small cluster still takes a whole pool.

Each relay is a Deployment of its own, so the spread counts all pods of the component by label. Anti-affinity
weighs more in the scheduler's score than a soft spread; zones have only the latter.
"""

from typing import Any

from smtpfleet.resources.marks import selector
from smtpfleet.resources.pool import Pool


def spread(pool: Pool, *, component: str) -> dict[str, Any]:
    """The fields of a pod spec that spread the pods of one component."""
    match = {"matchLabels": selector(pool, component=component)}
    return {
        "affinity": {
            "podAntiAffinity": {
                "preferredDuringSchedulingIgnoredDuringExecution": [
                    {
                        "weight": 100,
                        "podAffinityTerm": {"topologyKey": "kubernetes.io/hostname", "labelSelector": match},
                    }
                ]
            }
        },
        "topologySpreadConstraints": [
            {
                "maxSkew": 1,
                "topologyKey": key,
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": match,
            }
            for key in ("topology.kubernetes.io/zone", "kubernetes.io/hostname")
        ],
    }
