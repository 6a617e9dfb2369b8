"""What can go wrong with the instruments themselves, as opposed to what they measure."""


class MailcheckError(Exception):
    """A measurement cannot be made or read; the message says what to do."""


class GeneratorExhaustedError(MailcheckError):
    """This process has no descriptor, port or buffer left, so its results would say nothing about the target."""


class SinkRestartedError(MailcheckError):
    """The sink has lost what it had recorded, so nothing can be said about lost mail."""
