"""Records that practitioners opened in an emergency: of one patient, by one account, until a time.

The time lies in the document, and old ones go by themselves.
"""

from __future__ import annotations

from datetime import datetime

from fhirserver.store.resources import Store
from fhirserver.store.schema import EMERGENCIES


async def begin(store: Store, account: str, patient: str, until: datetime) -> None:
    change = {"$max": {"until": until}}
    await store[EMERGENCIES].update_one({"_id": {"account": account, "patient": patient}}, change, upsert=True)


async def known(store: Store, account: str) -> dict[str, datetime]:
    """Until when the records of patients, by id, were or are open to an account."""
    found = store[EMERGENCIES].find({"_id.account": account}, session=store.session, comment=store.comment)
    return {each["_id"]["patient"]: each["until"] async for each in found}
