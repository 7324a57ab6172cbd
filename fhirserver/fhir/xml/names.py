"""What XML names differently: namespaces, and the elements that are attributes. https://hl7.org/fhir/R4/xml.html"""

from __future__ import annotations

from typing import Final

from lxml import etree

from fhirserver.fhir.definitions import Element, TypeDefinition

FHIR: Final = "http://hl7.org/fhir"
XHTML: Final = "http://www.w3.org/1999/xhtml"
DIV: Final = f"{{{XHTML}}}div"

# nothing is fetched and no entity resolved; who parses refuses a DOCTYPE before
PARSER: Final = etree.XMLParser(
    encoding="UTF-8", resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, remove_pis=True
)


def is_attribute(definition: TypeDefinition, element: Element) -> bool:
    """Element.id and Extension.url are XML attributes, and so cannot be extended."""
    if element.name == "url":
        return definition.name == "Extension"
    return element.name == "id" and definition.kind != "resource"
