"""FHIR XML. https://hl7.org/fhir/R4/xml.html"""

from __future__ import annotations

from fhirserver.fhir.definitions import Element, TypeDefinition


def is_attribute(definition: TypeDefinition, element: Element) -> bool:
    """Element.id and Extension.url are XML attributes, and so cannot be extended. https://hl7.org/fhir/R4/xml.html"""
    if element.name == "url":
        return definition.name == "Extension"
    return element.name == "id" and definition.kind != "resource"
