"""A transaction that nobody will finish is ended; a living one is not."""

from __future__ import annotations

import asyncio

from fhirserver.store.abandoned import end_abandoned
from fhirserver.store.connect import connect


def test_only_transactions_that_are_silent_are_ended(mongodb: str) -> None:
    async def story() -> None:
        dead, alive = await connect(mongodb), await connect(mongodb)
        things = alive["abandoned"]["things"]
        await things.insert_many([{"_id": 1}, {"_id": 2}])
        async with dead.start_session() as session:
            await session.start_transaction()
            await dead["abandoned"]["things"].update_one({"_id": 1}, {"$set": {"by": "the dead"}}, session=session)
            await asyncio.sleep(0.4)
            async with alive.start_session() as living, await living.start_transaction():
                await things.update_one({"_id": 2}, {"$set": {"by": "the living"}}, session=living)
                assert await end_abandoned(alive, 0.2) == 1
                assert await end_abandoned(alive, 0.2) == 0
            await things.update_one({"_id": 1}, {"$set": {"by": "the next"}})
        assert [thing["by"] async for thing in things.find(sort={"_id": 1})] == ["the next", "the living"]
        await dead.close()
        await alive.close()

    asyncio.run(story())
