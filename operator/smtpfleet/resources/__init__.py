"""One pure builder per Kubernetes object of a pool, and the comparison of what is wanted with what is there.

Every builder returns a plain object as JSON knows it, complete except for what the API server fills in; equal
arguments give equal objects, so the same intent never causes a second write.
"""
