"""The translations of the client's texts, as ES modules: one per language, and the list of them.

They are those of the catalogue for the texts in the modules, and the markup in that language.
"""

from __future__ import annotations

import gettext
import json
import re
from collections.abc import Iterator
from pathlib import Path

from django.db.models import TextChoices
from django.utils import translation
from django.utils.translation import gettext_noop

import ingestion_progress
from ingestion_progress.exceptions.stored_sentences import stored_templates
from ingestion_progress.models.statuses import EventLevel
from ingestion_progress.web import formatting, names
from ingestion_progress.web.javascript import HEADER, LABELS, markup_parts, template_literal

APP = Path(ingestion_progress.__file__).parent
LOCALE = APP / "locale"
STRING = r'"(?:[^"\\]|\\.)*"'
CALL = re.compile(rf"\b([np]?gettext)\(\s*({STRING})(?:,\s*({STRING}))?")
# Between a context and its text.
CONTEXT_END = "\x04"
# The texts of `connection.js`, which does not translate them: other front ends use it.
CONNECTION_TEXTS = (
    gettext_noop("Connecting"),
    gettext_noop("Live"),
    gettext_noop("Connection lost"),
    gettext_noop("Too many open streams: updated every 15 s"),
    gettext_noop("You are logged out"),
    gettext_noop("You may no longer see this"),
    gettext_noop("Paused in the background"),
)


def languages() -> list[str]:
    return sorted(path.parent.parent.name for path in LOCALE.glob("*/LC_MESSAGES/django.mo"))


def languages_module() -> str:
    """The text of `words/languages.js`: how each language is loaded."""
    rows = "".join(f'  {name}: () => import("./{name}.js"),\n' for name in languages())
    return (
        HEADER.format(source="catalogues of translations")
        + '\n/** @import { Words } from "../gettext.js" */\n'
        "\n/** @type {Record<string, () => Promise<{ default: Words }>>} */\n"
        f"export const LANGUAGES = {{\n{rows}}};\n"
    )


def words_module(language: str) -> str:
    """The text of `words/de.js`, and so on."""
    with (LOCALE / language / "LC_MESSAGES" / "django.mo").open("rb") as file:
        catalogue = gettext.GNUTranslations(file)
    rule = catalogue.info()["plural-forms"].partition("plural=")[2].rstrip("; ")
    rows = [
        f"    {as_json(text)}: {as_json(found)},\n"
        for text, plural in sorted(set(client_texts()))
        if (found := translated(catalogue, text, plural, rule)) != text
    ]
    stored = [
        f"    {as_json(text)}: {as_json(catalogue.gettext(text))},\n" for text in stored_templates()
    ]
    with translation.override(language):
        parts = "".join(
            f"    {name}: {template_literal(html)},\n" for name, html in markup_parts().items()
        )
    return (
        HEADER.format(source="catalogue of translations")
        + '\n/** @import { Words } from "../gettext.js" */\n'
        + "\n/** @type {Words} */\nexport default {\n"
        f'  language: "{language}",\n'
        f"  plural: (n) => Number({rule}),\n"
        f"  messages: {{\n{''.join(rows)}  }},\n"
        f"  stored: {{\n{''.join(stored)}  }},\n"
        f"  markup: {{\n{parts}  }},\n"
        "};\n"
    )


def client_texts() -> Iterator[tuple[str, str]]:
    """Each text of the client, with its plural or an empty one; a context is before CONTEXT_END."""
    enums: list[type[TextChoices]] = [*(enum for enum, _ in LABELS.values()), EventLevel]
    yield from ((f"{context}{CONTEXT_END}{one}", many) for context, one, many in names.UNITS)
    with translation.override(None):
        for enum in enums:
            yield from ((str(label), "") for label in enum.labels)
        yield from ((str(text), "") for text in formatting.TROUBLES.values())
        yield from ((f"name{CONTEXT_END}{name}", "") for name in names.NAMES)
    yield from ((text, "") for text in CONNECTION_TEXTS)
    for path in sorted(APP.rglob("static/*/*.js")):
        yield from texts_in(path.read_text(encoding="utf-8"))


def texts_in(source: str) -> Iterator[tuple[str, str]]:
    for function, first, second in CALL.findall(source):
        text = json.loads(first)
        if function == "ngettext":
            yield text, json.loads(second)
        elif function == "pgettext":
            if second:  # otherwise the text is no literal
                yield f"{text}{CONTEXT_END}{json.loads(second)}", ""
        else:
            yield text, ""


def translated(
    catalogue: gettext.GNUTranslations, text: str, plural: str, rule: str
) -> str | list[str]:
    """The text in that language, or each of its forms in the order of the catalogue."""
    context, _, name = text.rpartition(CONTEXT_END)
    if plural:
        form_of = gettext.c2py(rule)
        forms = {
            form_of(number): catalogue.npgettext(context, name, plural, number)
            if context
            else catalogue.ngettext(name, plural, number)
            for number in range(200)
        }
        return [forms[index] for index in sorted(forms)]
    return catalogue.pgettext(context, name) if context else catalogue.gettext(text)


def as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\xa0", "\\u00a0")
