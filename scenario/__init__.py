"""A pool, a recording receiver, load and faults on a real cluster: what demo, tests and benchmarks are made of."""
