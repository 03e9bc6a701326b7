"""Removes secrets, server paths and what varies between items from texts of errors."""

from __future__ import annotations

import re

from ingestion_progress.tracker.plan import clean_text

# Longer texts are cut first, which bounds the time of the expressions below.
MAX_READ_LENGTH = 4000
HIDDEN = "***"

_QUOTED_OR_LINE = r"(?:\"[^\"\r\n]*\"?|'[^'\r\n]*'?|[^\r\n]+)"
_QUOTED_OR_WORD = r"(?:\"[^\"\r\n]*\"?|'[^'\r\n]*'?|[^\s,;&'\"]+)"
_NAMES_OF_SECRETS = (
    r"pass(?:word|wd|phrase|code)|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key"
    r"|account[_-]?key|credentials?|signature|\bsig|\bkey(?==)|\bauth|session[_-]?id"
)
SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END[^-]*-----|\Z)", re.DOTALL),
        HIDDEN,
    ),
    (re.compile(r"(?<=://)[^\s'\"<>]*@"), f"{HIDDEN}@"),
    (
        re.compile(
            rf"\b((?:proxy-)?authorization|(?:set-)?cookie)(['\"]?\s*[:=]\s*){_QUOTED_OR_LINE}",
            re.IGNORECASE,
        ),
        rf"\1\2{HIDDEN}",
    ),
    (
        re.compile(
            rf"({_NAMES_OF_SECRETS})([\w-]{{0,40}}['\"]?\s*[:=]\s*){_QUOTED_OR_WORD}", re.IGNORECASE
        ),
        rf"\1\2{HIDDEN}",
    ),
    (re.compile(r"\b(bearer\s+)[\w.~+/=-]{8,}", re.IGNORECASE), rf"\1{HIDDEN}"),
    (re.compile(r"\b(Basic\s+)(?=\S{0,200}[A-Z0-9=])[\w+/-]{8,}=*"), rf"\1{HIDDEN}"),
    (
        re.compile(
            r"\b(?:eyJ[\w-]+\.[\w-]+\.[\w-]*|[srp]k[-_][\w-]{16,}|gh[opsru]_\w{20,}"
            r"|github_pat_\w{20,}|glpat-[\w-]{16,}|A(?:KIA|SIA)[0-9A-Z]{16}|AIza[\w-]{30,}"
            r"|xox[a-z]-[\w-]{10,}|hf_\w{20,})"
        ),
        HIDDEN,
    ),
)
# The folders of an absolute path, but not of a URL; within quotes they may have spaces.
FOLDERS = re.compile(
    r"(?<=['\"])(?:[A-Za-z]:)?[/\\](?:[^/\\'\"\r\n]+[/\\])+"
    r"|(?<![\w/\\:.])(?:[A-Za-z]:)?[/\\](?:[^/\\\s'\"<>]+[/\\])+"
    r"|\bfile://(?:[^/\s'\"]*/)+"
)
# Placeholders for variable parts of a message, applied in this order.
VARIABLES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"\b[A-Za-z][A-Za-z0-9+.]{0,30}://[^\s'\"<>]+"), "<url>"),
    (re.compile(rf"(?:{FOLDERS.pattern})[^/\\\s'\"<>,;:)]*"), "<path>"),
    (
        re.compile(r"(?<!\w)(?:'[^'\r\n]*'|\"[^\"\r\n]*\"|`[^`\r\n]*`|“[^”]*”|«[^»]*»)(?!\w)"),
        "<name>",
    ),
    (re.compile(r"(?<![\w.-])[\w-]+\.[A-Za-z][A-Za-z0-9]{1,4}(?!\w|\.\w)"), "<file>"),
    (re.compile(r"(?<![\w.-])[+-]?\d+(?:[.,:]\d+)*(?![\w-]|\.\w)"), "<n>"),
    (re.compile(r"(?<![\w.-])[\w.-]*\d[\w.-]*(?<![.])"), "<id>"),
    (re.compile(r"(<[a-z]+>)(?:,? \1)+"), r"\1"),
    (re.compile(r"\s+"), " "),
)
WORDS_OF_CLASSES = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z0-9]+|[A-Z0-9]+")


def without_secrets(text: str) -> str:
    """The text without passwords, tokens and keys, as far as they can be recognised."""
    text = clean_text(text, MAX_READ_LENGTH)
    for pattern, replacement in SECRETS:
        text = pattern.sub(replacement, text)
    return text


def without_folders(text: str) -> str:
    """Paths of the server become names of files."""
    return FOLDERS.sub("", text)


def pattern_of(text: str) -> str:
    """What messages about different items have in common: `Page <n> has no text layer`."""
    for pattern, replacement in VARIABLES:
        text = pattern.sub(replacement, text)
    return text.strip()


def kind_of(error: BaseException) -> str:
    """The name of the exception's class in words: `json decode error`."""
    return " ".join(WORDS_OF_CLASSES.findall(type(error).__name__)).lower()
