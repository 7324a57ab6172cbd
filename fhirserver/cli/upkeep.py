"""Is everything in order: the database, its index values and the ledger."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from fhirserver.cli.running import (
    REASONS_SHOWN,
    data_option,
    kept_settings,
    record_settings,
    tenant_option,
    with_context,
)
from fhirserver.context import Context
from fhirserver.fhir.definitions import r4
from fhirserver.interactions import parameters
from fhirserver.interactions import reindex as reindexing
from fhirserver.store.check import findings
from fhirserver.store.seals import audit_key
from fhirserver.store.strands import verify as verified
from terminology.releases import releases

RESOURCE_TYPES = 146  # https://hl7.org/fhir/R4/resourcelist.html


@click.command()
@data_option
@tenant_option
def check(data: Path | None, tenant: str | None) -> None:
    """Check the database, its indexes and the definitions; exit code 1 when something is wrong."""

    async def run(ctx: Context) -> list[tuple[bool, str]]:
        found = [finding async for finding in findings(ctx.store)]
        found += [finding async for finding in parameters.findings(ctx)]
        found += [finding async for finding in reindexing.findings(ctx)]
        return found + [finding async for finding in releases.findings(ctx.store.database)]

    definitions = r4()
    results = [
        (
            len(definitions.resource_types) == RESOURCE_TYPES,
            f"definitions: {len(definitions.resource_types)} resource types",
        )
    ]
    results += with_context(record_settings(data, tenant), run)
    for good, sentence in results:
        click.echo(f"{'ok  ' if good else 'FAIL'}  {sentence}")
    sys.exit(0 if all(good for good, _ in results) else 1)


@click.command()
@data_option
@tenant_option
def reindex(data: Path | None, tenant: str | None) -> None:
    """Compute the index values of every stored resource again, beside a running server too."""
    receipts = with_context(kept_settings(data, tenant), _reindexed)
    failed = [item for receipt in receipts for item in receipt.failed.items()]
    click.echo(f"Reindexed {sum(receipt.done for receipt in receipts):,} resources.")
    for reference, reason in failed[:REASONS_SHOWN]:
        click.echo(f"not indexed: {reference}: {reason}", err=True)
    if failed:
        click.echo(f"{len(failed):,} were not indexed", err=True)
    sys.exit(1 if failed else 0)


async def _reindexed(ctx: Context) -> list[reindexing.Receipt]:
    return [await _reindexed_type(ctx, type_) for type_ in await ctx.store.types()]


async def _reindexed_type(ctx: Context, type_: str) -> reindexing.Receipt:
    with click.progressbar(length=0, label=type_) as bar:

        async def report(done: int, total: int | None = None, cursor: Any = None) -> None:
            bar.length = total or 0
            bar.update(done - bar.pos)

        return await reindexing.reindex(ctx, type_, report)


@click.group()
def audit() -> None:
    """The ledger of audit events."""


@audit.command()
@data_option
@tenant_option
def verify(data: Path | None, tenant: str | None) -> None:
    """Check that no audit event was changed, taken out or put in, and none is lacking; exit code 1 where one was.

    With the HEALTHMATE_SECRET that the server has; unset, it is kept in the database.
    """
    verdict = with_context(kept_settings(data, tenant), lambda ctx: verified(ctx.store, audit_key(ctx.secret)))
    for strand, number, reason in verdict.breaks:
        click.echo(f"FAIL  event {number:,} of strand {strand} {reason}", err=True)
    click.echo(f"{verdict.lines:,} audit events in {verdict.strands:,} strands are as they were written.")
    sys.exit(1 if verdict.breaks else 0)
