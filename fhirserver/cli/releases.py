"""Releases of code systems that are too large for a resource: docs/terminology.md."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click

from fhirserver.cli.running import data_option, kept_settings, record_settings, tenant_option, with_context
from fhirserver.interactions.releases import forget_release, listed_releases, load_release
from terminology.releases.files import NotARelease
from terminology.releases.kinds import KINDS


@click.command()
@click.argument("kind", type=click.Choice(sorted(KINDS)))
@click.argument("path", type=click.Path(exists=True, path_type=Path), metavar="FILE")
@click.option("--version", help="What the release is called.  [default: as its files say]")
@data_option
@tenant_option
def load_terminology(kind: str, path: Path, version: str | None, data: Path | None, tenant: str | None) -> None:
    """Keep a release of a code system as its publisher gives it out: a zip, its folder, or a file.

    Cut off, it is run again and goes on. docs/terminology.md says where to get each, and what its licence asks.
    """
    with _Bars() as bars:
        try:
            receipt = with_context(
                record_settings(data, tenant), lambda ctx: load_release(ctx, kind, path, version, bars.report)
            )
        except NotARelease as error:
            raise click.ClickException(str(error)) from error
    here = "was here already, unchanged; it is current now" if receipt.resumed is None else "is current now"
    after = f" ({receipt.resumed:,} of them by an earlier run)" if receipt.resumed else ""
    click.echo(f"{receipt.url}|{receipt.version} {here}: {receipt.concepts:,} concepts{after}.")
    if receipt.counted != receipt.concepts:
        click.echo(f"but the database holds {receipt.counted:,} of them, so it is not used; run it again", err=True)
        sys.exit(1)


@click.command()
@click.option("--remove", metavar="URL|VERSION", help="Remove this one, as the list names it.")
@data_option
@tenant_option
def terminology(remove: str | None, data: Path | None, tenant: str | None) -> None:
    """List the releases of code systems that are kept here."""
    record = kept_settings(data, tenant)
    if remove is not None:
        url, _, version = remove.partition("|")
        if not with_context(record, lambda ctx: forget_release(ctx, url, version)):
            raise click.ClickException(f"{remove} is not kept here")
    for each in with_context(record, listed_releases):
        state = "" if each.current else ", an earlier one"
        if not each.ready:
            state = f", of which {each.written:,} are loaded: run its load again"
        click.echo(f"{each.url}|{each.version}: {each.name}, {each.concepts:,} concepts{state}")


class _Bars:
    """A progress bar for one thing after the other."""

    def __init__(self) -> None:
        self._shown = ExitStack()
        self._what = ""
        self._bar: Any = None

    def __enter__(self) -> _Bars:
        return self

    def __exit__(self, *_: object) -> None:
        self._shown.close()

    def report(self, what: str, done: int, total: int) -> None:
        if what != self._what:
            self._shown.close()
            self._what = what
            self._bar = self._shown.enter_context(click.progressbar(length=total, label=what))
        self._bar.update(done - self._bar.pos)
