"""Names and ids of documents: what users send, made safe to store, show and compare."""

from __future__ import annotations

import hashlib
import unicodedata

MAX_NAME_LENGTH = 255
MAX_EXTENSION_LENGTH = 16
UNNAMED = "document"
# Joins emoji into one; the other invisible format characters only disguise a name.
ZERO_WIDTH_JOINER = "\u200d"
# Control, format (bidi overrides and marks among them), surrogate, line and paragraph breaks.
REFUSED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def clean_name(name: str) -> str:
    """The last part of a path, without what could disguise it; 1 to 255 characters.

    A name that is too long loses its middle, never its extension.
    """
    visible = "".join(char for char in name if _is_visible(char))
    base = unicodedata.normalize("NFC", visible).replace("\\", "/").rsplit("/", 1)[-1].strip()
    if not base.strip("."):
        return UNNAMED
    suffix = extension(base)
    return base[: len(base) - len(suffix)][: MAX_NAME_LENGTH - len(suffix)].rstrip() + suffix


def extension(name: str) -> str:
    """`.pdf` of `Report.PDF` as it is written; empty where there is none worth the name."""
    stem, dot, suffix = name.rpartition(".")
    if not stem or not suffix or len(suffix) >= MAX_EXTENSION_LENGTH or " " in suffix:
        return ""
    return dot + suffix


def stable_id(name: str) -> str:
    """The same 32 hex digits for the same name: what is ingested again replaces itself."""
    # Names of folders that are not UTF-8 have surrogates in them.
    return hashlib.sha256(name.encode(errors="surrogatepass")).hexdigest()[:32]


def _is_visible(char: str) -> bool:
    return char == ZERO_WIDTH_JOINER or unicodedata.category(char) not in REFUSED_CATEGORIES
