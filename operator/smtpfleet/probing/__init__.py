"""Probes of relays by SMTP, run beside the control loop.

They only observe: what follows from their results is decided in :mod:`smtpfleet.domain`.
"""
