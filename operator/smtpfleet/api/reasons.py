"""One vocabulary of condition types, reasons and relay states, used by status, Events, metrics and logs."""

from enum import StrEnum


class ConditionType(StrEnum):
    """Condition types of an SmtpPool. Ready, Reconciling and Stalled follow kstatus."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    AVAILABLE = "Available"
    PROBES_HEALTHY = "ProbesHealthy"
    QUEUE_HEALTHY = "QueueHealthy"
    CERTIFICATE_VALID = "CertificateValid"
    PAUSED = "Paused"


class RelayState(StrEnum):
    """What a relay does for the pool now."""

    STARTING = "Starting"
    SLOW_START = "SlowStart"
    SERVING = "Serving"
    DEGRADED = "Degraded"
    EJECTED = "Ejected"
    DRAINING = "Draining"
    STRANDED = "Stranded"


class Reason(StrEnum):
    """CamelCase reasons; the same word stands in condition, Event, metric and log."""

    # the pool
    ALL_RELAYS_READY = "AllRelaysReady"
    RELAYS_NOT_READY = "RelaysNotReady"
    NO_RELAY_AVAILABLE = "NoRelayAvailable"
    RELAYS_AVAILABLE = "RelaysAvailable"
    BALANCERS_NOT_READY = "BalancersNotReady"
    PROGRESSING = "Progressing"
    ROLLING_OUT = "RollingOut"
    SCALING_UP = "ScalingUp"
    SCALING_DOWN = "ScalingDown"
    RECONCILED = "Reconciled"
    NAME_CONFLICT = "NameConflict"
    INVALID_SPEC = "InvalidSpec"
    REFUSED_BY_API = "RefusedByApi"
    TABLE_REFUSED = "TableRefused"
    PAUSED_BY_ANNOTATION = "PausedByAnnotation"
    NOT_PAUSED = "NotPaused"
    QUEUES_REPORTED = "QueuesReported"
    QUEUE_UNKNOWN = "QueueUnknown"
    QUEUE_EPHEMERAL = "QueueEphemeral"
    QUEUE_KEPT = "QueueKept"
    CERTIFICATE_VALID = "CertificateValid"
    CERTIFICATE_EXPIRES_SOON = "CertificateExpiresSoon"
    CERTIFICATE_EXPIRED = "CertificateExpired"
    CERTIFICATE_INVALID = "CertificateInvalid"
    CERTIFICATE_UNKNOWN = "CertificateUnknown"
    SECRET_MISSING = "SecretMissing"  # noqa: S105 - a reason, not a secret
    TLS_DISABLED = "TlsDisabled"
    PROBES_PASSED = "ProbesPassed"
    PROBES_PENDING = "ProbesPending"
    PROBES_MISSING = "ProbesMissing"
    RELAYS_EJECTED = "RelaysEjected"
    TOO_MANY_UNHEALTHY = "TooManyUnhealthy"
    # a relay
    POD_STARTING = "PodStarting"
    POD_READY = "PodReady"
    POD_NOT_READY = "PodNotReady"
    POD_UNSCHEDULABLE = "PodUnschedulable"
    POD_MISSING = "PodMissing"
    AGENT_SILENT = "AgentSilent"
    DRAIN_REQUESTED = "DrainRequested"
    SURPLUS = "Surplus"
    JOINED = "Joined"
    READMITTED = "Readmitted"
    # a relay, found by probes
    CONNECT_FAILED = "ConnectFailed"
    BANNER_FAILED = "BannerFailed"
    EHLO_FAILED = "EhloFailed"
    START_TLS_FAILED = "StartTlsFailed"
    SENDER_REFUSED = "SenderRefused"
    RECIPIENT_REFUSED = "RecipientRefused"
    RESET_FAILED = "ResetFailed"
    PROBE_SLOW = "ProbeSlow"
    # actions
    CREATED = "Created"
    RESTORED = "Restored"
    REMOVED = "Removed"
    CLAIM_DELETED = "ClaimDeleted"
    CLAIM_KEPT = "ClaimKept"
