"""Open a MongoDB and make sure that it can keep the promises of this server before anything is written.

https://pymongo.readthedocs.io/en/stable/api/pymongo/asynchronous/mongo_client.html
"""

from __future__ import annotations

from typing import Any

from pymongo import AsyncMongoClient
from pymongo.errors import ConfigurationError, InvalidURI, OperationFailure, PyMongoError, ServerSelectionTimeoutError

from fhirserver.settings import masked

OLDEST = (6, 0)

_AUTHENTICATION = (13, 18)  # Unauthorized, AuthenticationFailed


class DatabaseRefused(Exception):
    """There is no database this server can work with; the text says why and what to do about it."""


async def connect(
    url: str,
    *,
    timeout: float = 5.0,  # noqa: ASYNC109 - the driver keeps it
    connections: int = 100,
) -> AsyncMongoClient[dict[str, Any]]:
    """A client whose writes are journalled by a majority. Use one per event loop and process."""
    try:
        client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(
            url,
            appname="healthmate",
            tz_aware=True,
            uuidRepresentation="standard",
            w="majority",
            journal=True,
            serverSelectionTimeoutMS=int(timeout * 1000),
            connectTimeoutMS=int(timeout * 1000),
            timeoutMS=int(timeout * 1000),
            maxPoolSize=connections,
        )
    except (ConfigurationError, InvalidURI, ValueError) as error:
        raise DatabaseRefused(f"HEALTHMATE_MONGODB_URL is not a MongoDB URL: {error}") from error
    try:
        hello = await client.admin.command("hello")
        build = await client.admin.command("buildInfo")
        check(hello, build, url)
        await client.admin.command("listDatabases", nameOnly=True)
    except ServerSelectionTimeoutError as error:
        await client.close()
        raise DatabaseRefused(
            f"No MongoDB answers at {masked(url)} within {timeout:g} s. Is it running, and does the replica set have a"
            f" primary that is reachable under the name it was configured with? ({_short(error)})"
        ) from error
    except OperationFailure as error:
        await client.close()
        if error.code in _AUTHENTICATION:
            raise DatabaseRefused(
                f"MongoDB at {masked(url)} refuses these credentials: check user, password and authSource in"
                " HEALTHMATE_MONGODB_URL"
            ) from error
        raise DatabaseRefused(f"MongoDB at {masked(url)} refuses the connection: {_short(error)}") from error
    except PyMongoError as error:
        await client.close()
        raise DatabaseRefused(f"MongoDB at {masked(url)} cannot be used: {_short(error)}") from error
    except DatabaseRefused:
        await client.close()
        raise
    return client


def check(hello: dict[str, Any], build: dict[str, Any], url: str) -> None:
    """Raise DatabaseRefused unless these answers come from a replica set or sharded cluster that is new enough."""
    if "setName" not in hello and hello.get("msg") != "isdbgrid":
        raise DatabaseRefused(
            f"MongoDB at {masked(url)} is not a replica set, so it has neither transactions nor change streams. Start"
            " mongod with --replSet rs0, run rs.initiate() once in mongosh, and add ?replicaSet=rs0 to"
            " HEALTHMATE_MONGODB_URL"
        )
    if tuple(build["versionArray"][:2]) < OLDEST:
        raise DatabaseRefused(
            f"MongoDB at {masked(url)} is version {build['version']}; {OLDEST[0]}.{OLDEST[1]} or later is needed."
            " Upgrade it, or unset HEALTHMATE_MONGODB_URL to use the embedded one"
        )


def _short(error: PyMongoError) -> str:
    """The first clause: the rest repeats the topology and can be a page long."""
    return str(error).split(", Timeout:")[0].split(", full error:")[0]
