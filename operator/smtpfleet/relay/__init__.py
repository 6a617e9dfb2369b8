"""The agent of a relay: it renders, starts, watches and stops Postfix."""
