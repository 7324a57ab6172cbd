"""Narrative.div: a fragment of XHTML that a browser may show. https://hl7.org/fhir/R4/narrative.html#rules"""

from __future__ import annotations

from lxml import etree

from fhirserver.fhir.xml.names import DIV, XHTML
from fhirserver.validation.findings import Problem
from fhirserver.validation.words import kind, shown

# chapters 7 to 11 (but 9.4) and 15 of HTML 4, and links and images
_elements = """
    a abbr acronym address area b bdo big blockquote br caption center cite code col colgroup dd dfn div dl dt em
    font h1 h2 h3 h4 h5 h6 hr i img kbd li map ol p pre q s samp small span strike strong sub sup table tbody td tfoot
    th thead tr tt u ul var
"""
_attributes = """
    abbr accesskey align alt axis bgcolor border cellpadding cellspacing char charoff charset cite class clear color
    colspan compact coords datetime dir face frame headers height href hreflang hspace id ismap lang longdesc name
    nohref noshade nowrap rel rev rowspan rules scope shape size span src start style summary tabindex title type
    usemap valign value vspace width
    {http://www.w3.org/XML/1998/namespace}lang {http://www.w3.org/XML/1998/namespace}space
"""
ATTRIBUTES = frozenset(_attributes.split())
# what XML reads as text or comment, and a browser that is given it as HTML as the end of one
_misread = ("<!DOCTYPE", "<![CDATA[", "<!-->", "<!--->")
_links = frozenset(("href", "src", "cite", "longdesc"))
_harmless = ATTRIBUTES - _links - {"style"}
_schemes = ("javascript:", "vbscript:", "data:text/html")
_styles = ("javascript:", "expression(", "@import", "-moz-binding")

IMAGE = f"{{{XHTML}}}img"
_tags = frozenset(f"{{{XHTML}}}{name}" for name in _elements.split())
_parser = etree.XMLParser(
    resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_comments=False, remove_pis=False
)


def narrative(value: object) -> Problem | None:
    if type(value) is not str:
        return Problem("structure", f"expected a JSON string (xhtml), found {kind(value)}", "json-type")
    for mark in _misread:
        if mark in value:
            return _refused(f"a narrative may not hold {mark}")
    try:
        div = etree.fromstring(value.encode(), _parser)
    except etree.XMLSyntaxError as error:
        return _refused(f"the narrative is not well-formed XML: {str(error.msg)[:120]}")
    except UnicodeEncodeError:
        return _refused("the narrative holds characters that are none")
    if div.getprevious() is not None or div.getnext() is not None or value.lstrip().startswith("<?"):
        return _refused("a narrative is one <div> and nothing beside it")
    if div.tag != DIV:
        return _refused(f'a narrative is a <div xmlns="{XHTML}">, not {shown(str(div.tag))}')
    for node in div.iter():
        tag = node.tag
        if tag not in _tags:
            if tag is etree.Comment:
                continue
            what = f"<{etree.QName(tag).localname[:60]}>" if type(tag) is str else "entities and instructions"
            return _refused(f"a narrative may not hold {what}")
        for name, text in node.items():
            if name not in _harmless and (problem := _attribute(str(name), str(text))):
                return _refused(f"{problem}")
    if not "".join(map(str, div.itertext())).strip() and div.find(f".//{IMAGE}") is None:
        return Problem("invariant", "a narrative says or shows something (txt-2)", "narrative", "txt-2")
    return None


def _refused(said: str) -> Problem:
    return Problem("invariant", f"{said} (txt-1)", "narrative", "txt-1")


def _attribute(name: str, text: str) -> str | None:
    if name not in ATTRIBUTES:
        return f"a narrative may not hold the attribute {name[:60]}"
    plain = "".join(text.split()).lower() if name in _links or name == "style" else ""
    if name in _links and plain.startswith(_schemes):
        return f"{name} may not be {shown(text)}"
    if name == "style" and any(word in plain for word in _styles):
        return f"style may not be {shown(text)}"
    return None
