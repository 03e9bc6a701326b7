"""Writes equations of Office documents in one line, such as `(a+b)/2` for a fraction."""

from __future__ import annotations

import re

SIMPLE = re.compile(r"\w*|.", re.DOTALL)
# The parts of a structure, each of which is a formula.
ROLES = {"m:e", "m:num", "m:den", "m:sup", "m:sub", "m:deg", "m:fName", "m:lim"}
STRUCTURES = {
    "m:f": "{num}/{den}",
    "m:sSup": "{e}^{sup}",
    "m:sSub": "{e}_{sub}",
    "m:sSubSup": "{e}_{sub}^{sup}",
    "m:sPre": "_{sub}^{sup}{e}",
    "m:rad": "{deg}√{e}",
    "m:nary": "{chr}_{sub}^{sup} {all}",
    "m:func": "{fName} {all}",
    "m:limLow": "{e}_{lim}",
    "m:limUpp": "{e}^{lim}",
    "m:d": "{begChr}{list}{endChr}",
    "m:mr": "{list}",
    "m:m": "[{rows}]",
    "m:eqArr": "{rows}",
    "m:acc": "{all}{chr}",
}
ABSENT = re.compile(r"[_^](?=[_^ ]|$)")
MAX_DEPTH = 40
DEFAULTS = {"begChr": "(", "endChr": ")"}


class Equation:
    """Follows the events within one `m:oMath` element."""

    def __init__(self) -> None:
        self._texts: list[list[str]] = [[]]
        """The texts of the open roles, the innermost last."""
        self._structures: list[dict[str, list[str]]] = []
        self._too_deep = 0

    @property
    def result(self) -> str:
        return "".join(self._texts[0])

    def start(self, tag: str, value: str | None) -> None:
        """`value`: of the attribute `m:val`."""
        if self._too_deep or len(self._structures) >= MAX_DEPTH:
            self._too_deep += tag in STRUCTURES
        elif tag in STRUCTURES:
            self._structures.append({})
        elif tag in ROLES:
            self._texts.append([])
        elif tag in {"m:chr", "m:begChr", "m:endChr"} and self._structures:
            self._structures[-1].setdefault(tag[2:], [value or ""])

    def end(self, tag: str) -> None:
        if self._too_deep:
            self._too_deep -= tag in STRUCTURES
        elif tag in STRUCTURES and self._structures:
            parts = self._structures.pop()
            text = _written(tag, parts)
            if tag == "m:mr" and self._structures:
                self._structures[-1].setdefault("e", []).append(text)
            else:
                self._texts[-1].append(text)
        elif tag in ROLES and len(self._texts) > 1:
            text = "".join(self._texts.pop())
            if self._structures:
                self._structures[-1].setdefault(tag[2:], []).append(text)
            else:
                self._texts[-1].append(text)

    def text(self, text: str) -> None:
        self._texts[-1].append(text)


def _written(tag: str, parts: dict[str, list[str]]) -> str:
    elements = parts.get("e", [])
    default = {"m:nary": "∫", "m:acc": "\u0302"}.get(tag, "")
    values = {role[2:]: _grouped("".join(parts.get(role[2:], []))) for role in ROLES}
    values |= {"all": "".join(elements), "list": ", ".join(elements), "rows": "; ".join(elements)}
    values |= {"chr": "".join(parts.get("chr", [default]))}
    values |= {name: "".join(parts.get(name, [mark])) for name, mark in DEFAULTS.items()}
    return ABSENT.sub("", STRUCTURES[tag].format_map(values))


def _grouped(text: str) -> str:
    return text if SIMPLE.fullmatch(text) else f"({text})"
