"""The operator's process: watches, work queue, one reconcile per pool, leadership, and what it shows of itself.

Watch handlers only nudge; :mod:`smtpfleet.controller.reconcile` does the work, one step at a time; decisions
are made in :mod:`smtpfleet.domain`.
"""
