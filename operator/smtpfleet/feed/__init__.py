"""How agents get the routing table and show what they do: shared by relay and balancer."""
