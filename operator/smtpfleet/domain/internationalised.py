"""The second form of an internationalised domain: clients hand in either, and Postfix compares what it was given."""

import idna


def unicode_domain(domain: str) -> str:
    """The domain in lower case with its ``xn--`` labels as people write them, or empty if that is no other form.

    A leading dot stays. A label that is no valid one stands as it is, alone: nobody can hand in another form of it.
    """
    lower = domain.lower()
    shown = ".".join(map(_label, lower.split(".")))
    return "" if shown == lower else shown


def _label(label: str) -> str:
    try:
        return idna.ulabel(label) if label.startswith("xn--") else label
    except idna.IDNAError:
        return _label_of_2003(label)


def _label_of_2003(label: str) -> str:
    """Labels that IDNA 2008 forbids, as those of symbols, are registered here and there, and clients know them."""
    try:
        shown = label.encode("ascii").decode("idna")
    except UnicodeError:
        return label
    return shown if shown.isprintable() else label
