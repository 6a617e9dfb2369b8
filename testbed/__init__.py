"""A real Kubernetes cluster on one Linux machine, for tests, benchmarks and demonstrations.

The package is a command (`python -m testbed`), needs nothing but the standard library, and keeps everything that
belongs to a cluster in one state directory and in the namespaces of a few processes, so that taking a cluster down is
ending those processes and removing that directory.
"""
