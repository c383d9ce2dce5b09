"""Reads HTML pages as a browser would: what they fetch, where they lead, what they show."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

FETCHING = {"src", "srcset", "data", "poster", "background", "action"}


class Page(HTMLParser):
    """One page.

    Attributes:
        fetched: What the browser loads by itself.
        links: Where a click leads.
        ids: Anchors on the page.
        images: ``alt`` of every image.
        open_code: Number of code blocks that are not folded.
        folded: Number of folded code blocks.
    """

    def __init__(self, path: Path):
        super().__init__()
        self.path = path
        self.fetched: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.images: list[str | None] = []
        self.folded = self.open_code = 0
        self.text = path.read_text(encoding="utf-8")
        self.words: list[str] = []
        self._skip = 0
        self.feed(self.text)
        styles = " ".join(re.findall(r"<style.*?</style>", self.text, re.DOTALL))
        self.fetched += re.findall(r"url\(\s*['\"]?([^'\")]+)", styles)
        self.fetched += re.findall(r"@import\s+['\"]?([^'\";]+)", styles)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self._skip += tag in ("style", "script")
        if "id" in found:
            self.ids.add(found["id"])
        self.fetched += [v for k, v in attrs if k in FETCHING and v]
        if tag == "link":
            self.fetched.append(found.get("href") or "")
        elif "href" in found:
            self.links.append(found["href"] or "")
        if tag == "img":
            self.images.append(found.get("alt"))
        if tag == "details" and found.get("class") == "code":
            self.folded += "open" not in found
            self.open_code += "open" in found

    def handle_endtag(self, tag):
        self._skip -= tag in ("style", "script")

    def handle_data(self, data):
        if not self._skip:
            self.words.append(data)

    @property
    def shown(self) -> str:
        """The page's text, its spaces collapsed."""
        return " ".join(" ".join(self.words).split())

    def fetched_from_elsewhere(self) -> list[str]:
        return [u for u in self.fetched if u and not _is_here(u)]

    def broken(self) -> list[str]:
        """Local links and images that lead nowhere."""
        wrong = []
        for url in (*self.links, *self.fetched):
            parts = urlsplit(url)
            if parts.scheme or parts.netloc:
                continue
            target = self.path.parent / unquote(parts.path) if parts.path else self.path
            inside = target == self.path and bool(parts.fragment)
            if not target.is_file() or (inside and parts.fragment not in self.ids):
                wrong.append(url)
        return wrong


def _is_here(url: str) -> bool:
    parts = urlsplit(url)
    return parts.scheme == "data" or not (parts.scheme or parts.netloc)
