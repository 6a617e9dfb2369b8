"""The agent of a balancer: it turns the routing table into HAProxy configuration and runtime calls."""
