"""Finds what a reader sees in the tree of an HTML page, in linear time."""

from __future__ import annotations

import re
from collections.abc import Iterator

from selectolax.lexbor import LexborHTMLParser, LexborNode

UNSEEN = {"script", "style", "noscript", "template", "head", "svg", "iframe", "object", "nav"}
HIDDEN_STYLE = re.compile(r"(?:display\s*:\s*none|visibility\s*:\s*hidden)\b", re.IGNORECASE)
LINK_MARKS = {"¶", "#", "§"}
MIN_SHARE_OF_MAIN = 0.5
SPACE = re.compile(r"\s+")


def walk(root: LexborNode | None) -> Iterator[tuple[LexborNode, bool]]:
    """What a reader sees below `root`, in its order; each element a second time at its end."""
    if root is None:
        return
    root_id = root.mem_id  # comparing nodes would compare all that is below them
    waiting = [(root, False)]
    while waiting:
        node, is_end = waiting.pop()
        if is_end:
            yield node, True
            continue
        if node.next is not None and node.mem_id != root_id:
            waiting.append((node.next, False))
        if not _is_seen(node):
            continue
        yield node, False
        if str(node.tag) != "-text":
            waiting.append((node, True))
            if node.child is not None:
                waiting.append((node.child, False))


def _is_seen(node: LexborNode) -> bool:
    tag = str(node.tag)
    if tag.startswith(("-", "!")):
        return tag == "-text"  # not comments and declarations
    if tag in UNSEEN:
        return False
    attributes = node.attributes
    if "hidden" in attributes or attributes.get("role") == "navigation":
        return False
    if HIDDEN_STYLE.search(str(attributes.get("style") or "")):
        return False
    return not (tag == "a" and str(node.text() or "").strip() in LINK_MARKS)


def main_elements(tree: LexborHTMLParser) -> list[LexborNode]:
    body = tree.body
    found = [node for node in tree.css("main, [role=main]") if not _is_inside_main(node)]
    if body is None or not found:
        return [body] if body is not None else []
    length = sum(len(text_of(node)) for node in found)
    return found if length >= MIN_SHARE_OF_MAIN * len(text_of(body)) else [body]


def _is_inside_main(node: LexborNode) -> bool:
    parent = node.parent
    while parent is not None and parent.tag != "main" and parent.attributes.get("role") != "main":
        parent = parent.parent
    return parent is not None


def text_of(root: LexborNode) -> str:
    texts = (node.text_content or "" for node, _ in walk(root) if str(node.tag) == "-text")
    return SPACE.sub(" ", "".join(texts)).strip()


def title_of(tree: LexborHTMLParser) -> str:
    title = tree.css_first("head > title")
    return str(title.text() or "") if title is not None else ""


def next_element(node: LexborNode) -> str:
    following = node.next
    while following is not None and str(following.tag).startswith("-"):
        following = following.next
    return str(following.tag) if following is not None else ""
