"""The only code of the operator that talks to the API server: plain objects in, plain objects out.

Nothing is decided here. Every call ends within a bounded time, and fails with one of
:mod:`smtpfleet.cluster.errors`; every change carries what makes it safe to repeat.
"""
