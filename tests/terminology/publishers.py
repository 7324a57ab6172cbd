"""Small releases in the shapes in which LOINC, RxNorm, ICD-10-CM and CVX are published. What they say is made up."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path


def loinc(folder: Path) -> Path:
    """Two glucose terms and a question with answers; parts, their hierarchy, a translation."""
    extra = folder / "AccessoryFiles"
    axes = "COMPONENT PROPERTY TIME_ASPCT SYSTEM SCALE_TYP METHOD_TYP CLASS VersionLastChanged DefinitionDescription"
    rest = "STATUS CONSUMER_NAME CLASSTYPE SHORTNAME ORDER_OBS EXTERNAL_COPYRIGHT_NOTICE LONG_COMMON_NAME"
    _csv(
        folder / "LoincTable" / "Loinc.csv",
        f"LOINC_NUM {axes} {rest}",
        [
            *("1-1", "Sugar", "MCnc", "Pt", "Bld", "Qn", "", "CHEM", "2.9", "Sugar in the\nblood, as said", "ACTIVE"),
            *("Sugar, blood", "1", "Sugar Bld", "Both", "", "Sugar [Mass/volume] in Blood"),
        ],
        [
            *("2-9", "Sugar", "MCnc", "Pt", "Urine", "Qn", "Strip", "CHEM", "2.10", "", "DEPRECATED"),
            *("", "1", "Sugar Ur", "Both", "", 'Sugar "sweet", in Urine'),
        ],
        [
            *("3-7", "Mood", "Find", "Pt", "^Patient", "Ord", "", "SURVEY", "2.10", "", "ACTIVE"),
            *("", "4", "Mood", "Observation", "© somebody", "How is the mood"),
        ],
    )
    _csv(
        extra / "PartFile" / "Part.csv",
        "PartNumber PartTypeName PartName PartDisplayName Status",
        ["LP10-1", "COMPONENT", "Sugar", "Sugar", "ACTIVE"],
        ["LP11-9", "SYSTEM", "Bld", "Blood", "ACTIVE"],
    )
    _csv(
        extra / "PartFile" / "LoincPartLink_Primary.csv",
        "LoincNumber LongCommonName PartNumber PartName PartCodeSystem PartTypeName LinkTypeName Property",
        ["1-1", "", "LP10-1", "Sugar", "", "COMPONENT", "Primary", "http://loinc.org/property/COMPONENT"],
        ["1-1", "", "LP11-9", "Blood", "", "SYSTEM", "Primary", "http://loinc.org/property/SYSTEM"],
        ["2-9", "", "LP10-1", "Sugar", "", "COMPONENT", "Primary", "http://loinc.org/property/COMPONENT"],
    )
    _csv(
        extra / "ComponentHierarchyBySystem" / "ComponentHierarchyBySystem.csv",
        "PATH_TO_ROOT SEQUENCE IMMEDIATE_PARENT CODE CODE_TEXT",
        ["", "1", "", "LP1-0", "Laboratory"],
        ["LP1-0", "1", "LP1-0", "LP10-1", "Sugar"],
        ["LP1-0.LP10-1", "1", "LP10-1", "1-1", "Sugar Bld"],
        ["LP1-0.LP10-1", "2", "LP10-1", "2-9", "Sugar Ur"],
    )
    _csv(
        extra / "AnswerFile" / "AnswerList.csv",
        "AnswerListId AnswerListName AnswerListOID ExtDefinedYN AnswerStringId SequenceNumber DisplayText",
        ["LL5-5", "Moods", "", "N", "LA7-2", "1", "Good"],
        ["LL5-5", "Moods", "", "N", "LA6-4", "2", "Bad"],
        ["LL6-3", "Elsewhere", "", "Y", "", "", ""],
    )
    _csv(
        extra / "AnswerFile" / "LoincAnswerListLink.csv",
        "LoincNumber LongCommonName AnswerListId AnswerListName AnswerListLinkType ApplicableContext",
        ["3-7", "", "LL5-5", "Moods", "NORMATIVE", ""],
    )
    _csv(
        extra / "LinguisticVariants" / "deDE15LinguisticVariant.csv",
        "LOINC_NUM COMPONENT PROPERTY TIME_ASPCT SYSTEM SCALE_TYP METHOD_TYP"
        " LONG_COMMON_NAME LinguisticVariantDisplayName",
        ["1-1", "Zucker", "MCnc", "Pt", "Blut", "Qn", "", "", ""],
        ["2-9", "Zucker", "MCnc", "Pt", "Urin", "Qn", "", "Zucker im Urin", ""],
        ["3-7", "Stimmung", "Find", "Pt", "", "Ord", "", "", "Stimmung"],
    )
    return folder


def rxnorm(folder: Path) -> Path:
    """An ingredient, a drug of it, an obsolete one, and what another vocabulary says of it."""
    _rrf(
        folder / "rrf" / "RXNCONSO.RRF",
        "100|ENG||||||1||||RXNORM|IN|100|sugarol||N||",
        "200|ENG||||||2||||RXNORM|SY|200|Sweet pill||N||",
        "200|ENG||||||3||||RXNORM|SCD|200|sugarol 5 MG Oral Tablet||N||",
        "200|ENG||||||4||||RXNORM|PSN|200|sugarol 5 MG Tablet||N||",
        "300|ENG||||||5||||RXNORM|SCD|300|sugarol 1 MG Oral Tablet||O||",
        "200|ENG||||||6||||MTHSPL|DP|X1|SUGAROL TABLET||N||",
        "400|ENG||||||7||||RXNORM|SCDF|400|sugarol Oral Tablet||N||",
        "900|ENG||||||8||||MTHSPL|DP|X9|NOT OURS||N||",
    )
    _rrf(folder / "prescribe" / "rrf" / "RXNCONSO.RRF", "100|ENG||||||1||||RXNORM|IN|100|sugarol||N||")
    _rrf(
        folder / "rrf" / "RXNREL.RRF",
        "100||CUI|RO|200||CUI|has_ingredient|1||RXNORM|||||",
        "400||CUI|RN|200||CUI|isa|2||RXNORM|||||",
        "200||CUI|RB|400||CUI|inverse_isa|3||RXNORM|||||",
        "|7|AUI|RO||8|AUI|has_ingredient|4||RXNORM|||||",
        "100||CUI|RO|300||CUI|has_ingredient|5||OTHER|||||",
    )
    _rrf(folder / "rrf" / "RXNSTY.RRF", "100|T121|A1.4.1.1.1|Pharmacologic Substance|AT1||")
    _rrf(folder / "rrf" / "RXNSAT.RRF", "200||||||||NDC|RXNORM|00000000001|N||", "200||||||||NDC|MTHSPL|9|N||")
    _rrf(folder / "rrf" / "RXNSAB.RRF", "C1||RXNORM_26AA_260105F|RXNORM|RxNorm|SF|26AA_260105F||||||||||||||||||")
    return folder


ICD10CM = """<?xml version="1.0" encoding="utf-8"?>
<ICD10CM.tabular>
  <version>2026</version><title>ICD-10-CM TABULAR LIST</title>
  <chapter>
    <name>1</name><desc>Sweet diseases (A00-A99)</desc>
    <sectionIndex><sectionRef first="A00" last="A09" id="A00-A09">Sugars</sectionRef></sectionIndex>
    <section id="A00-A09">
      <desc>Sugars (A00-A09)</desc>
      <diag><name>A00</name><desc>Sugar</desc><excludes1><note>salt (B00)</note></excludes1>
        <diag><name>A00.0</name><desc>White
           sugar</desc><inclusionTerm><note>Refined sugar</note></inclusionTerm></diag>
        <diag><name>A00.1</name><desc>Brown sugar</desc>
          <sevenChrDef><extension char="A">initial encounter</extension>
            <extension char="D">subsequent encounter</extension></sevenChrDef>
          <diag><name>A00.11</name><desc>Muscovado</desc></diag>
          <diag><name>A00.12</name><desc>Other</desc>
            <sevenChrDef><extension char="S">sequela</extension></sevenChrDef></diag>
        </diag>
      </diag>
      <diag><name>A02</name><desc>Syrup</desc>
        <sevenChrDef><extension char="A">initial encounter</extension>
          <extension char="D">subsequent encounter</extension><extension char="S">sequela</extension></sevenChrDef>
        <notes><note>7th characters D and S do not apply to codes in category A02 with 6th character 7 - sweet death, or
          8 - other death.</note></notes>
        <diag><name>A02.017</name><desc>Syrup, sweet death</desc></diag>
        <diag><name>A02.019</name><desc>Syrup, alive</desc></diag>
      </diag>
      <diag><name>A01</name><desc>Honey</desc>
        <sevenChrDef><extension char="A">initial encounter</extension></sevenChrDef></diag>
    </section>
  </chapter>
</ICD10CM.tabular>
"""

CVX = """\
01 |DTP|diphtheria, made up|| Inactive |False|2024/05/23
213|SARS|SARS, made up|Not for children.|Active|False|09/30/2025
998|no vaccine|no vaccine administered||Active|True|2025/01/01
"""


def icd10cm(folder: Path) -> Path:
    path = folder / "icd10cm-tabular-2026.xml"
    path.write_text(ICD10CM)
    return path


def cvx(folder: Path) -> Path:
    path = folder / "cvx.txt"
    path.write_text(CVX)
    return path


def _csv(path: Path, names: str, *rows: Sequence[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file, quoting=csv.QUOTE_ALL)
        writer.writerow(names.split())
        writer.writerows(rows)


def _rrf(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))
