"""The indexes of the collections `auth.*`. What expires says when in `expires`, and MongoDB forgets it then."""

from __future__ import annotations

import asyncio

from pymongo import ASCENDING, IndexModel
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError
from pymongo.write_concern import WriteConcern

from smart_auth import users
from smart_auth.server import Document

NAMED = {"names": {"$exists": True}}
EXPIRES = IndexModel("expires", expireAfterSeconds=0, name="expires")

INDEXES: dict[str, tuple[IndexModel, ...]] = {
    "users": (
        IndexModel("login", unique=True, name="login"),
        IndexModel("names", unique=True, name="names", partialFilterExpression=NAMED),
        IndexModel([("created", ASCENDING), ("_id", ASCENDING)], name="created"),
    ),
    "sessions": (EXPIRES, IndexModel("user", name="user")),
    "throttle": (EXPIRES,),
    "failures": (EXPIRES,),
    "limits": (EXPIRES,),
    "approvals": (IndexModel("user", name="user"), IndexModel("client", name="client")),
    "passkeys": (IndexModel("user", name="user"),),
    "challenges": (EXPIRES,),
    "links": (EXPIRES, IndexModel("user", name="user")),
    "invitations": (EXPIRES,),
    "events": (
        IndexModel([("subject", ASCENDING), ("at", ASCENDING)], name="subject"),
        IndexModel([("kind", ASCENDING), ("at", ASCENDING)], name="kind"),
    ),
    "grants": (
        EXPIRES,
        IndexModel("client", name="client"),
        IndexModel("user", name="user"),
        IndexModel("session", name="session"),
        IndexModel([("issued", ASCENDING), ("_id", ASCENDING)], name="issued"),
    ),
    "tokens": (EXPIRES, IndexModel("grant", name="grant")),
    "codes": (EXPIRES,),
    "pushed": (EXPIRES,),
    "launches": (EXPIRES,),
    "keys": (EXPIRES,),
    "assertions": (EXPIRES,),
}


async def ensure(database: AsyncDatabase[Document]) -> None:
    """Make the indexes that are missing; harmless when they are there."""
    database = database.with_options(write_concern=WriteConcern(w=1))
    made = (database[f"auth.{name}"].create_indexes([*indexes]) for name, indexes in INDEXES.items())
    await asyncio.gather(*made)
    await _name(database["auth.users"])


async def _name(accounts: AsyncCollection[Document]) -> None:
    """What accounts of an earlier build are found by. An address that names another account finds that one."""
    async for each in accounts.find({"names": {"$exists": False}}):
        login, email = each["login"], each.get("email")
        if email and await accounts.find_one({"login": users.folded(email), "_id": {"$ne": each["_id"]}}) is not None:
            email = None
        try:
            await accounts.update_one({"_id": each["_id"]}, {"$set": {"names": users.names(login, email)}})
        except DuplicateKeyError:
            await accounts.update_one({"_id": each["_id"]}, {"$set": {"names": [login]}})
