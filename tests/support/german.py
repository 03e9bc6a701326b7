"""What people read in a German page: no English is left, apart from data.

A text is English if it has one of the WORDS, if it is a text of the catalogue that has another
German one, or if it contains a part of a longer one.
"""

from __future__ import annotations

import gettext
import re
from functools import cache
from html.parser import HTMLParser

from ingestion_progress.web.client_words import CONTEXT_END, LOCALE

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
pages page mentions unit units size percent chart replay pause
"""
ENGLISH = frozenset(WORDS.split())
# Of other packages, which have no German for them: Django 6.1 has new texts.
FOREIGN = re.compile(
    r"Search( \w+)?|Task Results|- Select an option -|Run|Are you sure you want to delete the .*"
)
# Names of documents, permissions and programs, extensions of files, options of commands.
NAMES = re.compile(r"„[^“]*“|\.\w+|--[\w-]+|Pages, Numbers")
BETWEEN = re.compile(r"%\(\w+\)s|<[^>]+>|[“”]")
PHRASE = re.compile(r"[A-Za-z]{2,} [A-Za-z]{3,}")
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
    """The texts that are English."""
    own = [text for text in texts if not FOREIGN.fullmatch(text)]
    return [text for text in own if has_english_word(text) or is_untranslated(text)]


def has_english_word(text: str) -> bool:
    return bool(ENGLISH & set(re.findall(r"[a-z0-9]+", NAMES.sub("", text).lower())))


def is_untranslated(text: str) -> bool:
    whole, parts = catalogue()
    text = " ".join(text.split())
    return text in whole or any(part in text for part in parts)


@cache
def catalogue() -> tuple[frozenset[str], frozenset[str]]:
    """English texts that have another German one, and parts of at least two words of these:
    between placeholders and tags.
    """
    with (LOCALE / "de" / "LC_MESSAGES" / "django.mo").open("rb") as file:
        found = vars(gettext.GNUTranslations(file))["_catalog"].items()
    german = {" ".join(str(text).split()) for _, text in found}
    whole, parts = set(), set()
    for key, translation in found:
        text = (key if isinstance(key, str) else key[0]).rpartition(CONTEXT_END)[2]
        if text and text != translation:
            whole.add(" ".join(text.split()))
            parts |= {" ".join(part.split()) for part in BETWEEN.split(text)}
    long = {part for part in parts if PHRASE.search(part)}
    is_german = {part for part in long if any(part in text for text in german)}
    return frozenset(whole - german), frozenset(long - is_german)


def english_of_page(html: str) -> list[str]:
    return english_in(VisibleTexts(html).texts)
