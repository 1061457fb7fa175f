"""One self-contained HTML page of sections, that needs neither network nor script.

Belongs here: what every page has: title, mark of invented prices, headline, tiles, sections. Does
not belong here: what a page says (`reports.run_report`, `reports.optimisation`), how cells read
(`reports.tables`).

Text from data or files is escaped by the template.
"""

from dataclasses import dataclass

from jinja2 import Environment, PackageLoader, StrictUndefined

from sensequant.reports.sections import Section

__all__ = ["Headline", "Page", "Tile", "render_page"]


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure that is read first, with its interval and what it was measured on."""

    name: str
    value: str
    interval: str
    n: str


@dataclass(frozen=True, slots=True)
class Headline:
    """What the page comes to.

    Attributes
    ----------
    heading
        The question.
    kind
        Colour: approve, reject or open.
    word, headline, reasons
        The answer in a word, in a sentence, and why.
    """

    heading: str
    kind: str
    word: str
    headline: str
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Page:
    """A page ready to be laid out.

    Attributes
    ----------
    title
        Of the window, and of the page without a heading of its own.
    heading
        Markup of the heading.
    subtitle
        Below it.
    is_simulated
        Whether the bars were invented.
    verdict, tiles, sections
        What follows, in this order.
    """

    title: str
    subtitle: str
    is_simulated: bool
    verdict: Headline
    tiles: tuple[Tile, ...]
    sections: tuple[Section, ...]
    heading: str = ""


def render_page(page: Page) -> str:
    """Return a page as HTML."""
    environment = Environment(
        loader=PackageLoader("sensequant", "reports"),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template("page.html.j2").render(page=page)
