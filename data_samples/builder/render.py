"""A page of the samples as HTML."""

from __future__ import annotations

from data_samples.builder.odd_skins import ODD_SKINS
from data_samples.builder.pages import Page
from data_samples.builder.site import site_of
from data_samples.builder.skins import SKINS


def render(page: Page, related: list[str], date: str) -> str:
    """The page in its skin; what has the skin ``raw`` is its body as it stands.

    Args:
        related: titles of other pages, for its side bar.
        date: when it was fetched, ISO 8601.
    """
    if page.get("skin") == "raw":
        return page.body
    return (SKINS | ODD_SKINS)[page.get("skin", "magazine")](site_of(page, related, date))
