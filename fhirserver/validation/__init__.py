"""Whether a resource keeps the rules of FHIR."""
