"""The second form of an internationalised domain: clients hand in either, and Postfix compares what it was given."""

import idna


def unicode_domain(domain: str) -> str:
    """The domain with its ``xn--`` labels as people write them (IDNA 2008), or empty if that is no other form.

    A leading dot stays. A label that is no valid one stands as it is, alone: nobody can hand in another form of it.
    """
    labels = domain.split(".")
    shown = ".".join(map(_label, labels))
    return "" if shown == domain else shown


def _label(label: str) -> str:
    try:
        return idna.ulabel(label) if label.startswith("xn--") else label
    except idna.IDNAError:
        return label
