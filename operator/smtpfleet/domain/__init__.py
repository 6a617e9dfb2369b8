"""The operator's decisions: pure functions from what was seen to what is to be done and said.

:func:`smtpfleet.domain.plan.plan` decides, :func:`smtpfleet.domain.status.report` tells. What must survive a
restart of the operator is in the pool's status or in the objects themselves, never in memory.
"""
