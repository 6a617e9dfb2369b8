"""Users of a pool: their Secret, their passwords, and what they may send. Postfix asks, the relay's agent answers."""
