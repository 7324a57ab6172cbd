"""What is stored from files: resources, and the packages that hold definitions."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from fhirserver import files
from fhirserver.cli.running import REASONS_SHOWN, File, data_option, record_settings, tenant_option, with_context
from fhirserver.context import Context
from fhirserver.fhir.definitions import r4
from fhirserver.interactions.load import Receipt, load
from fhirserver.process import summary


@click.command(name="load")
@click.argument("paths", nargs=-1, required=True, type=File, metavar="FILE...")
@data_option
@tenant_option
def load_files(paths: tuple[Path, ...], data: Path | None, tenant: str | None) -> None:
    """Store the resources of Bundles, NDJSON or single resources, plain or gzip, under the ids they have."""
    unread: list[files.Unread] = []

    def resources() -> Iterator[files.Resource]:
        for path in paths:
            source = files.opened(path)
            with source.raw, click.progressbar(length=source.size, label=path.name) as bar:
                for resource in files.resources(source, r4(), unread.append):
                    bar.update(source.raw.tell() - bar.pos)
                    yield resource
                bar.update(source.size - bar.pos)

    _finish(with_context(record_settings(data, tenant), lambda ctx: load(ctx, resources())), unread)


@click.command()
@click.argument("path", type=File, metavar="FILE.tgz")
@click.option("--examples", is_flag=True, help="Its examples, too.")
@data_option
@tenant_option
def load_package(path: Path, examples: bool, data: Path | None, tenant: str | None) -> None:
    """Store the profiles, value sets, search parameters… of a FHIR package, which count from then on.

    Run again, it stores nothing anew.
    """
    unread: list[files.Unread] = []
    described = files.described(path)
    if not described.is_r4:
        said = f"{described.name} {described.version} is for FHIR {', '.join(described.fhir_versions)}, and this is R4"
        raise click.ClickException(said)

    def part(label: str, *, examples: bool) -> Iterator[files.Resource]:
        source = files.opened(path)
        with source.raw, click.progressbar(length=source.size, label=label) as bar:
            for resource in files.package(source, r4(), unread.append, examples=examples):
                bar.update(source.raw.tell() - bar.pos)
                yield resource
            bar.update(source.size - bar.pos)

    async def run(ctx: Context) -> Receipt:
        receipt = await load(ctx, part(f"{described.name} {described.version}", examples=False))
        # when these come, the profiles that they may have to keep are known
        return receipt.and_(await load(ctx, part("its examples", examples=True))) if examples else receipt

    receipt = with_context(record_settings(data, tenant), run)
    if described.needs:
        click.echo(
            f"{described.name} builds upon {', '.join(described.needs)}; what is missing of these is not checked."
        )
    _finish(receipt, unread)


def _finish(receipt: Receipt, unread: list[files.Unread]) -> None:
    """Print the receipt: what was stored, counted again in the database, and what was not, with its reason."""
    failed = [(part.place, part.reason) for part in unread] + list(receipt.failed)
    click.echo(summary(receipt))
    for place, reason in failed[:REASONS_SHOWN]:
        click.echo(f"not stored: {place}: {reason}", err=True)
    if len(failed) > REASONS_SHOWN:
        click.echo(f"… and {len(failed) - REASONS_SHOWN:,} more", err=True)
    if receipt.missing:
        click.echo(f"{receipt.missing:,} were written but are not in the database", err=True)
    if failed:
        click.echo(f"{len(failed):,} were not stored", err=True)
    sys.exit(1 if failed or receipt.missing else 0)
