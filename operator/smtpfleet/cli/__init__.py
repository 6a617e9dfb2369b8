"""``kubectl smtp``: a plugin that reads pools through kubectl, with the rights and the context of whoever calls it."""
