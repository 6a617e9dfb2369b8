"""The last hop of a measurement: an SMTP server that records every message it takes, and misbehaves on demand.

Standard library only: it also runs in a pod from an image without any package.
"""
