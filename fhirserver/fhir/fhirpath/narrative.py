"""The XHTML of a narrative: basic formatting only, nothing active, and something to read.

https://hl7.org/fhir/R4/narrative.html (txt-1 and txt-2)
"""

from __future__ import annotations

import re
from functools import lru_cache

from lxml import etree

XHTML = "http://www.w3.org/1999/xhtml"
# chapters 7-11 (except section 4 of chapter 9) and 15 of HTML 4.0, plus <a>, <img> and inline style
_ELEMENTS = """
a abbr acronym address b bdo big blockquote br caption center cite code col colgroup dd del dfn div dl dt em
font h1 h2 h3 h4 h5 h6 hr i img ins kbd li map ol p pre q s samp small span strike strong sub sup table tbody td
tfoot th thead tr tt u ul var
"""
ELEMENTS = frozenset(_ELEMENTS.split())
_ATTRIBUTES = """
abbr accesskey align alt axis bgcolor border cellhalign cellpadding cellspacing cellvalign char charoff charset
cite class clear colspan color coords dir face frame halign headers height href hreflang hspace id lang longdesc
name nowrap rel rev rowspan rules scope shape size span src start style summary tabindex title type usemap
valign value vspace width xml:lang noshade compact
"""
ATTRIBUTES = frozenset(_ATTRIBUTES.split())
_ACTIVE = re.compile(r"\s*(?:javascript|vbscript|data\s*:\s*text/html)\s*:?", re.IGNORECASE)


@lru_cache(256)
def html_checks(text: str) -> bool:
    """Whether the text is a narrative's `div`. No DTD, no entities, no network."""
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        return False
    try:
        root = etree.fromstring(text.encode("utf-8", "surrogatepass"), parser)
    except (etree.XMLSyntaxError, ValueError):
        return False
    if root.tag != f"{{{XHTML}}}div":
        return False
    return all(_allowed(element) for element in root.iter()) and _readable(root)


def _allowed(element: etree._Element) -> bool:
    if not isinstance(element.tag, str):  # a comment is harmless, a processing instruction or entity is not
        return element.tag is etree.Comment
    name = etree.QName(element)
    if name.namespace != XHTML or name.localname not in ELEMENTS:
        return False
    for key, value in element.attrib.items():
        attribute = str(key).replace("{http://www.w3.org/XML/1998/namespace}", "xml:")
        if attribute not in ATTRIBUTES or (attribute in ("href", "src") and _ACTIVE.match(str(value))):
            return False
    return True


def _readable(root: etree._Element) -> bool:
    if root.find(f".//{{{XHTML}}}img") is not None:
        return True
    return any(str(part).strip() for part in root.itertext(with_tail=True))
