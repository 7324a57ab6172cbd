"""Whose record an app is let into: chosen from what the person may see, and from nothing else."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from apps import Smart
from people import Browser, inside, person

from fhirserver.interactions.choosing import called
from smart_auth import api_keys
from smart_auth.codes import challenge

BACK = "https://app.example/cb"
SCOPE = "launch/patient launch/encounter patient/Patient.rs patient/Observation.rs"


@pytest.fixture(scope="module")
def smart(serve: Any) -> Iterator[Smart]:
    served = serve(open=False, login_failures_per_address=10_000)
    admin = person(served.settings, "seeds", roles=["admin"]).id
    key = inside(served.settings, lambda auth: api_keys.make(auth, "seed", "system/*.cruds", 1, admin))["key"]
    served.client.http.headers["Authorization"] = f"Bearer {key}"
    names = {"ada": ("Ada", "Byron"), "grace": ("Grace", "Hopper"), "ada2": ("Ada", "Yonath")}
    for id_, (given, family) in names.items():
        identifier = [{"system": "urn:mrn", "value": f"mrn-{id_}"}]
        name = [{"given": [given], "family": family}, {"use": "old", "text": "Of Before"}]
        body = {"resourceType": "Patient", "id": id_, "name": name, "identifier": identifier, "birthDate": "1815-12-10"}
        assert served.client.put(f"Patient/{id_}", body).status_code == 201
    for id_, whose in (("e1", "ada"), ("e2", "grace")):
        visit = {"resourceType": "Encounter", "id": id_, "status": "finished", "class": {"code": "AMB"}}
        visit |= {"subject": {"reference": f"Patient/{whose}"}, "type": [{"text": "Check-up"}]}
        assert served.client.put(f"Encounter/{id_}", visit | {"period": {"start": "2024-05-01"}}).status_code == 201
    found = Smart(served)
    found.add("app", name="Growth <Chart>", redirect_uris=(BACK,))
    person(served.settings, "ada@example.org", patient="ada", fhir_user="Patient/ada")
    person(served.settings, "unlinked@example.org")
    person(served.settings, "keeper@example.org", roles=["proxy"], proxy_for=["ada", "grace", "gone"])
    person(served.settings, "doc@example.org", roles=["practitioner"], fhir_user="Practitioner/1")
    yield found
    found.http.close()


def browser(smart: Smart, login: str) -> Browser:
    found = Browser(smart.settings)
    assert found.log_in(login).status_code == 200
    return found


def request(smart: Smart, scope: str = SCOPE) -> dict[str, str]:
    return {
        "response_type": "code",
        "client_id": "app",
        "redirect_uri": BACK,
        "scope": scope,
        "state": "s",
        "aud": smart.settings.base_url,
        "code_challenge": challenge("v" * 43),
        "code_challenge_method": "S256",
    }


def page(found: Browser, smart: Smart, scope: str = SCOPE, **more: str) -> Any:
    """The page that an app's request leads to."""
    asked = request(smart, scope) | {"prompt": "consent"}
    to = found.get(f"/authorize?{urlencode(asked)}").headers["location"]
    return found.get(to + (f"&{urlencode(more)}" if more else ""))


def ticked(smart: Smart, scope: str = SCOPE, **fields: str) -> dict[str, str]:
    boxes = {f"scope.{number}": "on" for number in range(len(scope.split()))}
    return {"request": urlencode(request(smart, scope)), "decision": "allow", **boxes, **fields}


def token(smart: Smart, answer: Any) -> dict[str, Any]:
    """What the app gets for the code that the browser brought back."""
    code = parse_qs(urlsplit(answer.headers["location"]).query)["code"][0]
    form = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK, "client_id": "app"}
    said = smart.http.post("/token", data=form | {"code_verifier": "v" * 43})
    assert said.status_code == 200, said.text
    found: dict[str, Any] = said.json()
    return found


def test_who_is_related_has_no_choice_until_it_ends(smart: Smart) -> None:
    related = {"resourceType": "RelatedPerson", "id": "r", "active": True, "patient": {"reference": "Patient/grace"}}
    assert smart.fhir.put("RelatedPerson/r", related).status_code == 201
    person(smart.settings, "related@example.org", roles=["proxy"], fhir_user="RelatedPerson/r")
    found = browser(smart, "related@example.org")
    assert "Grace Hopper" in page(found, smart).text
    answer = found.submit("/consent", ticked(smart, patient="grace"), page="/account")
    body = token(smart, answer)
    assert body["patient"] == "grace"
    assert smart.get("Patient/grace", body["access_token"]).status_code == 200
    assert found.json("/launch", {"patient": "grace"}).status_code == 201
    assert smart.fhir.put("RelatedPerson/r", related | {"active": False}).status_code == 200
    assert smart.get("Patient/grace", body["access_token"]).status_code == 404
    assert found.json("/launch", {"patient": "grace"}).status_code == 403
    assert "Grace Hopper" not in page(found, smart).text
    assert found.submit("/consent", ticked(smart, patient="grace"), page="/account").status_code == 403


def test_a_patient_has_no_choice_and_is_called_by_name(smart: Smart) -> None:
    found = browser(smart, "ada@example.org")
    shown = page(found, smart).text
    assert "Ada Byron" in shown
    assert "born 1815-12-10" in shown
    assert "Growth &lt;Chart&gt;" in shown
    assert "Check-up" in shown
    answer = found.submit("/consent", ticked(smart, patient="ada", encounter="e1"), "/login")
    given = token(smart, answer)
    assert (given["patient"], given["encounter"]) == ("ada", "e1")
    assert smart.get("Patient/ada", given["access_token"]).status_code == 200
    assert smart.get("Patient/grace", given["access_token"]).status_code == 404


@pytest.mark.parametrize("login", ["unlinked@example.org", "doc@example.org"])
def test_who_finds_no_record_goes_back_and_the_app_is_told(smart: Smart, login: str) -> None:
    found = browser(smart, login)
    shown = page(found, smart)
    (form,) = re.findall(r'<form method="post".*?</form>', shown.text, re.DOTALL)
    fields = {name: html.unescape(value) for name, value in re.findall(r'name="(\w+)" value="([^"]*)"', form)}
    answer = found.http.post(f"{found.base}/consent", data=fields)
    to, _, said = answer.headers["location"].partition("?")
    told = parse_qs(said)
    assert (to, told["error"], told["state"]) == (BACK, ["access_denied"], ["s"])


@pytest.mark.parametrize("fields", [{"patient": "grace"}, {"patient": "none"}, {"encounter": "e2", "patient": "ada"}])
def test_nobody_lets_an_app_into_what_they_do_not_see(smart: Smart, fields: dict[str, str]) -> None:
    found = browser(smart, "ada@example.org")
    answer = found.submit("/consent", ticked(smart, **fields), "/login")
    assert answer.status_code == 400
    assert "location" not in answer.headers


def test_an_account_without_a_record_is_told_so(smart: Smart) -> None:
    found = browser(smart, "unlinked@example.org")
    shown = page(found, smart)
    assert shown.status_code == 403
    assert "not linked to a patient record" in shown.text
    assert page(found, smart, text="ada").text.count('name="patient"') == 0
    assert found.submit("/consent", ticked(smart, patient="ada"), "/login").status_code == 403


def test_who_keeps_several_records_chooses_one(smart: Smart) -> None:
    found = browser(smart, "keeper@example.org")
    shown = page(found, smart)
    assert [name in shown.text for name in ("Ada Byron", "Grace Hopper", "Yonath")] == [True, True, False]
    assert "Let Growth" in page(found, smart, patient="grace").text
    assert page(found, smart, patient="ada2").status_code == 400
    given = token(smart, found.submit("/consent", ticked(smart, patient="grace"), "/login"))
    assert given["patient"] == "grace"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("ada", ["Ada Byron", "Ada Yonath"]),
        ("byron ada", ["Ada Byron"]),
        ("ada 1815", ["Ada Byron", "Ada Yonath"]),
        ("mrn-grace", ["Grace Hopper"]),
        ("hopper 1906", []),
        ("*", []),
        ("a,b|c$d\\e", []),
        ("<script>", []),
        ("\u0000", []),
    ],
)
def test_a_practitioner_looks_patients_up(smart: Smart, text: str, names: list[str]) -> None:
    shown = page(browser(smart, "doc@example.org"), smart, text=text)
    assert shown.status_code == 200
    assert [name for name in ("Ada Byron", "Ada Yonath", "Grace Hopper") if name in shown.text] == names
    assert "<script>alert" not in shown.text


def test_who_looks_a_patient_up_is_recorded(smart: Smart) -> None:
    found = browser(smart, "doc@example.org")
    before = smart.fhir.bundle("AuditEvent?patient=ada2&_summary=count")["total"]
    page(found, smart, text="yonath")
    events = smart.fhir.bundle("AuditEvent?patient=ada2&_sort=-date")
    assert events["total"] == before + 2  # and who counted them
    (agent,) = (a for a in events["entry"][0]["resource"]["agent"] if a["requestor"])
    assert agent["who"]["reference"] == "Practitioner/1"


def test_a_decision_is_remembered_for_no_more_than_was_asked(smart: Smart) -> None:
    found = browser(smart, "ada@example.org")
    smart.add("known", name="Known", method="client_secret_post", secret="x", redirect_uris=(BACK,))
    scope = "launch/patient patient/Observation.rs patient/Condition.rs"
    asked = request(smart, scope) | {"client_id": "known"}
    fields = ticked(smart, scope, patient="ada", request=urlencode(asked))
    del fields["scope.2"]
    assert "code=" in found.submit("/consent", fields, "/login").headers["location"]
    assert "code=" in found.get(f"/authorize?{urlencode(asked)}").headers["location"]
    more = asked | {"scope": scope + " patient/Goal.rs"}
    assert "/consent?" in found.get(f"/authorize?{urlencode(more)}").headers["location"]
    again = asked | {"prompt": "consent"}
    assert "/consent?" in found.get(f"/authorize?{urlencode(again)}").headers["location"]
    other = browser(smart, "keeper@example.org")
    assert "/consent?" in other.get(f"/authorize?{urlencode(asked)}").headers["location"]
    assert found.submit("/account/apps/end", {"client": "known"}, "/account").status_code == 303
    assert "/consent?" in found.get(f"/authorize?{urlencode(asked)}").headers["location"]


def test_which_visit_it_is_about_is_asked_each_time(smart: Smart) -> None:
    found = browser(smart, "ada@example.org")
    smart.add("visits", name="Visits", method="client_secret_post", secret="x", redirect_uris=(BACK,))
    scope = "launch/encounter patient/Observation.rs"
    asked = request(smart, scope) | {"client_id": "visits"}
    fields = ticked(smart, scope, patient="ada", encounter="e1", request=urlencode(asked))
    assert "code=" in found.submit("/consent", fields, "/login").headers["location"]
    to = found.get(f"/authorize?{urlencode(asked)}").headers["location"]
    assert "Check-up" in found.get(to).text


def test_a_visit_is_one_of_a_patient_whatever_else_is_asked(smart: Smart) -> None:
    """https://hl7.org/fhir/smart-app-launch/scopes-and-launch-context.html#requesting-context-with-scopes"""
    found, scope = browser(smart, "keeper@example.org"), "launch/encounter user/Observation.rs"
    shown = page(found, smart, scope)
    assert [name in shown.text for name in ("Ada Byron", "Grace Hopper", "Check-up")] == [True, True, False]
    assert "Check-up" in page(found, smart, scope, patient="ada").text
    given = token(smart, found.submit("/consent", ticked(smart, scope, patient="ada", encounter="e1"), "/login"))
    assert (given["patient"], given["encounter"]) == ("ada", "e1")


def test_no_is_an_answer(smart: Smart) -> None:
    found = browser(smart, "ada@example.org")
    answer = found.submit("/consent", ticked(smart, patient="ada") | {"decision": "deny"}, "/login")
    assert "error=access_denied" in answer.headers["location"]
    nothing = {"request": urlencode(request(smart)), "decision": "allow", "patient": "ada"}
    assert "error=access_denied" in found.submit("/consent", nothing, "/login").headers["location"]


def test_who_was_logged_out_meanwhile_logs_in_and_comes_back(smart: Smart) -> None:
    found = browser(smart, "ada@example.org")
    shown = page(found, smart)
    found.http.cookies.delete("session-auth")
    answer = found.submit("/consent", ticked(smart, patient="ada"), "/login")
    assert answer.headers["location"].startswith(f"{found.base}/login?next=%2Fauthorize%3F")
    assert shown.status_code == 200


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], ""),
        ([{"family": "Byron"}], "Byron"),
        ([{"use": "maiden", "text": "Ada Byron"}, {"given": ["Ada"], "family": "King"}], "Ada King"),
        ([{"use": "usual", "text": "Ada"}, {"use": "official", "given": ["Augusta", "Ada"]}], "Augusta Ada"),
        ([{"use": "official"}, {"text": "Ada"}], "Ada"),
    ],
)
def test_how_a_person_is_called(names: list[dict[str, Any]], said: str) -> None:
    assert called(names) == said
