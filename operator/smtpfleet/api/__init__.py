"""The contract: what users write, what they see, and what operator and agents tell each other.

Everything in this package is a value: models, names, reasons, and the generator of the
CustomResourceDefinition. Nothing here does I/O, so every other package may import it.
"""
