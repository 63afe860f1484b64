"""Steps of type ``archive``: zip and tar files."""

from __future__ import annotations

from dataclasses import asdict

from txdagu.execution.plan import StepEnd
from txdagu.execution.steps.archiving.options import ArchiveOptions
from txdagu.execution.steps.context import StepContext
from txdagu.execution.steps.programs import run_module, step_end
from txdagu.model.errors import DaguError


async def run_archive_step(context: StepContext) -> StepEnd:
    """Create, extract or list an archive, as ``command`` says, in a process; its summary is printed as JSON."""
    if not context.step.commands:
        raise DaguError("an archive step needs create, extract or list as command")
    words = (await context.evaluator.command(context.step.commands[0].text)).split()
    config = await context.config()
    options = ArchiveOptions(
        operation=words[0].lower() if words else "",
        source=config.text("source"),
        destination=config.text("destination"),
        format=config.text("format"),
        compression_level=config.number("compressionLevel", -1),
        password=config.text("password"),
        overwrite=config.flag("overwrite"),
        preserve_paths=config.flag("preservePaths", True),
        strip_components=config.number("stripComponents"),
        include=config.texts("include"),
        exclude=config.texts("exclude"),
        dry_run=config.flag("dryRun"),
        verbose=config.flag("verbose"),
        follow_symlinks=config.flag("followSymlinks"),
        verify_integrity=config.flag("verifyIntegrity"),
        continue_on_error=config.flag("continueOnError"),
    )
    if options.strip_components < 0:
        config.refuse("stripComponents", "must not be negative")
    config.check()
    end = await run_module(context, "txdagu.execution.steps.archiving", asdict(options))
    return await step_end(context, end)
