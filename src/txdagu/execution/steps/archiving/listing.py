"""Listing an archive."""

from __future__ import annotations

from txdagu.execution.steps.archiving.formats import format_to_read
from txdagu.execution.steps.archiving.members import Kind
from txdagu.execution.steps.archiving.options import ArchiveOptions
from txdagu.execution.steps.archiving.paths import takes_part
from txdagu.execution.steps.archiving.reading import opened, verify

Summary = dict[str, object]


def list_members(options: ArchiveOptions) -> Summary:
    """Say what is in the archive."""
    form = format_to_read(options.source, options.format)
    if options.verify_integrity:
        verify(options.source, form, options.password)
    with opened(options.source, form, options.password) as members:
        chosen = [member for member in members if takes_part(member.name, options.include, options.exclude)]
    return {
        "totalFiles": len(chosen),
        "totalSize": sum(member.size for member in chosen),
        "files": [
            {
                "path": member.name,
                "size": member.size,
                "mode": member.mode_text,
                "modTime": member.modified.strftime("%Y-%m-%dT%H:%M:%SZ"),
                "isDir": member.kind is Kind.DIRECTORY,
            }
            for member in chosen
        ],
        "verified": options.verify_integrity,
    }
