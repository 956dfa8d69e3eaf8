"""Asking language models, faithfully accounted for: one client for rewriting and for raters.

``complete_all`` takes requests and gives every one of them back as exactly one ``Answer`` or ``Failure``; a ``Journal``
keeps what was paid for, ``Server`` runs a model server of one's own, ``fences`` keeps a page's text from giving orders.
"""
