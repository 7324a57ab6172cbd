"""Filters are judged by a real MongoDB."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bson.codec_options import CodecOptions
from pymongo import MongoClient
from pymongo.collection import Collection

Document = dict[str, Any]


@pytest.fixture(scope="module")
def collection(mongodb: str) -> Iterator[Collection[Document]]:
    options: CodecOptions[Document] = CodecOptions(tz_aware=True)
    with MongoClient[Document](mongodb) as client:
        yield client.search_laws.get_collection("documents", options)
        client.drop_database("search_laws")


@pytest.fixture(scope="module")
def fill(collection: Collection[Document]) -> Callable[[list[Document]], None]:
    """The collection then holds these documents and no others."""

    def fill(documents: list[Document]) -> None:
        collection.delete_many({})
        collection.insert_many(documents)

    return fill
