"""What people read in a German page: no English is left, apart from data."""

from __future__ import annotations

import re
from html.parser import HTMLParser

# Of sentences and labels; none of them is a German word as well.
WORDS = """
the and of is are has have been not no with by from this its it will to you your for on at as
all show newest oldest newer older ended started finished elapsed remaining expected usually
waiting queued running succeeded failed cancelled lost pending completed skipped stopped idle
processing error errors warning stages workers stage batch batches search more clear download
log level retry cancel delete document owner created about now trying again overall progress
metrics images entities relations earlier attempt attempts examples resolved open mark only any
select add change view history action actions run go home today past days month year value
results record records found file type
"""
ENGLISH = frozenset(WORDS.split())
# Of other packages, which have no German for them: Django 6.1 has new texts.
FOREIGN = re.compile(r"Search( \w+)?|Task Results|- Select an option -|Run")
# Names of documents and permissions, extensions of files, options of commands.
NAMES = re.compile(r"„[^“]*“|\.\w+|--[\w-]+")
DATA = {"bdi", "code", "script", "style"}
ATTRIBUTES = ("aria-label", "placeholder", "title", "alt")


class VisibleTexts(HTMLParser):
    """Texts and labels, without those of DATA."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._within: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        if tag in DATA:
            self._within.append(tag)
        if not self._within:
            self.texts += [value for name, value in attrs if name in ATTRIBUTES and value]

    def handle_endtag(self, tag):
        if self._within and self._within[-1] == tag:
            self._within.pop()

    def handle_data(self, data):
        if not self._within and data.strip():
            self.texts.append(data.strip())


def english_in(texts: list[str]) -> list[str]:
    """The texts that have an English word."""
    own = [text for text in texts if not FOREIGN.fullmatch(text)]
    return [
        text for text in own if ENGLISH & set(re.findall(r"[a-z]+", NAMES.sub("", text).lower()))
    ]


def english_of_page(html: str) -> list[str]:
    return english_in(VisibleTexts(html).texts)
