"""Code systems and value sets: which codes there are, which are below which, and which a value set holds.

Pure: what is present is given, and comes from the store or from the published definitions of FHIR R4.
https://hl7.org/fhir/R4/terminology-module.html
"""
