"""FHIR XML in and out, by the tables of the definitions. https://hl7.org/fhir/R4/xml.html"""

from fhirserver.fhir.xml.names import is_attribute
from fhirserver.fhir.xml.read import from_xml
from fhirserver.fhir.xml.write import to_xml

__all__ = ["from_xml", "is_attribute", "to_xml"]
