"""Completes the book that mdBook wrote, and checks its links.

    finish_book.py PAGES CHECKOUT

PAGES is the folder that mdBook wrote for CHECKOUT/docs. The program copies each file of the checkout that a page links to
to the same place beside PAGES. A link without a target, or to a heading that its page does not have, is an error.
"""

import html.parser
import pathlib
import shutil
import sys
import urllib.parse


class Page(html.parser.HTMLParser):
    """The ids and the relative links of a page."""

    def __init__(self, file):
        super().__init__()
        self.ids, self.links = set(), set()
        self.feed(file.read_text())

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.ids.add(attributes.get("id"))
        href = attributes.get("href") if tag == "a" else None
        if href and not urllib.parse.urlsplit(href).scheme:
            self.links.add(href)


def take_from_checkout(target, pages, checkout):
    """Copies a file or a folder of the checkout beside PAGES. Returns whether it exists."""
    source = checkout / target.relative_to(pages.parent)
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    elif source.is_file():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    return source.exists()


def correct(file, path, pages, checkout):
    """The path to what the author of the page linked to, or None if there is no such file."""
    # mdBook turns .md into .html in every link, and writes README.md as index.html.
    for wanted in (path, path.removesuffix(".html") + ".md", path.removesuffix("README.html") + "index.html"):
        target = (file.parent / wanted).resolve()
        if target.is_relative_to(pages):
            if target.is_file():
                return wanted
        elif pages.parent in target.parents and take_from_checkout(target, pages, checkout):
            return wanted
    return None


def problem(file, href, pages, checkout, parsed):
    """Corrects a link of a page. Returns what is wrong with it, or None."""
    path, mark, heading = href.partition("#")
    wanted = correct(file, urllib.parse.unquote(path), pages, checkout) if path else file.name
    if wanted is None:
        return "no such file"
    if path and wanted != urllib.parse.unquote(path):
        file.write_text(file.read_text().replace(f'href="{href}"', f'href="{wanted + mark + heading}"'))
    target = parsed.get((file.parent / wanted).resolve())
    is_missing = heading and target and urllib.parse.unquote(heading) not in target.ids
    return "no such heading" if is_missing else None


def main():
    pages, checkout = (pathlib.Path(argument).resolve() for argument in sys.argv[1:3])
    parsed = {file: Page(file) for file in sorted(pages.rglob("*.html")) if file.name not in ("404.html", "toc.html")}
    broken = 0
    for file, page in parsed.items():
        for href in sorted(page.links):
            if wrong := problem(file, href, pages, checkout, parsed):
                print(f"{file.relative_to(pages)}: {href}: {wrong}", file=sys.stderr)
                broken += 1
    sys.exit(1 if broken else 0)


if __name__ == "__main__":
    main()
