"""Archives: what is created, listed and extracted, and what is refused."""

from __future__ import annotations

import io
import os
import tarfile
from contextlib import redirect_stderr
from dataclasses import replace
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from txdagu.execution.steps.archiving.__main__ import duration_text, perform
from txdagu.execution.steps.archiving.options import ArchiveError, ArchiveOptions
from txdagu.execution.steps.archiving.paths import matches

ENDINGS = ("zip", "tar", "tar.gz", "tgz", "tar.bz2", "tar.xz", "tar.zst")
GLOBS = (
    ("*.log", "a.log", True),
    ("*.log", "sub/a.log", False),
    ("**/*.log", "a.log", True),
    ("**/*.log", "x/y/a.log", True),
    ("src/**", "src/a/b", True),
    ("src/**", "src", True),
    ("src/**", "srcs", False),
    ("src/**/b", "src/b", True),
    ("a?c", "abc", True),
    ("a?c", "a/c", False),
    ("[ab].txt", "b.txt", True),
    ("[!ab].txt", "b.txt", False),
    ("*.{txt,md}", "x.md", True),
    ("a.b", "axb", False),
)


class ArchiveCase(SynchronousTestCase):
    def setUp(self) -> None:
        """A tree with files, an empty directory and two symbolic links, in a directory of its own."""
        self.top = Path(mkdtemp())
        self.addCleanup(rmtree, self.top)
        tree = self.top / "src"
        (tree / "sub").mkdir(parents=True)
        (tree / "empty").mkdir()
        (tree / "a.txt").write_text("hello\n")
        (tree / "a.txt").chmod(0o755)
        (tree / "sub" / "b.log").write_text("world\n" * 1000)
        (tree / "link").symlink_to("a.txt")
        (tree / "sub" / "up").symlink_to("../a.txt")

    def perform(self, operation: str, source: str, destination: str = "", **more: Any) -> dict[str, Any]:
        """Do it with paths below our directory."""
        options = ArchiveOptions(operation, str(self.top / source), **more)
        if destination:
            options = replace(options, destination=str(self.top / destination))
        with redirect_stderr(io.StringIO()) as told:
            summary = perform(options)
        self.told = told.getvalue().splitlines()
        return summary

    def refused(self, *words: str, **more: Any) -> str:
        return str(self.assertRaises(ArchiveError, self.perform, *words, **more))

    def names(self, where: str) -> list[str]:
        root = self.top / where
        return sorted(str(path.relative_to(root)) for path in root.rglob("*"))

    def crafted(self, *entries: tuple[str, bytes, str]) -> str:
        """A tar file with just these entries: name, type and what a link points to."""
        with tarfile.open(self.top / "crafted.tar", "w") as archive:
            for name, kind, target in entries:
                info = tarfile.TarInfo(name)
                info.type, info.linkname = kind, target
                content = b"evil" if kind == tarfile.REGTYPE else b""
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        return "crafted.tar"


class RoundTripTests(ArchiveCase):
    def test_every_format(self) -> None:
        """What goes into an archive of any format comes out again: content, modes, links and empty directories."""
        for ending in ENDINGS:
            made = self.perform("create", "src", f"o.{ending}", verify_integrity=True)
            self.assertEqual((made["filesAdded"], made["verifyPerformed"]), (7, True), ending)
            got = self.perform("extract", f"o.{ending}", f"x.{ending}", verify_integrity=True)
            self.assertEqual((got["filesExtracted"], got["filesSkipped"]), (4, 0), ending)
            self.assertEqual(self.names(f"x.{ending}/src"), self.names("src"), ending)
            out = self.top / f"x.{ending}" / "src"
            self.assertEqual((out / "sub" / "b.log").read_text(), "world\n" * 1000)
            self.assertEqual((out / "a.txt").stat().st_mode & 0o777, 0o755)
            self.assertEqual(str((out / "sub" / "up").readlink()), "../a.txt")

    def test_summary(self) -> None:
        """The summaries have the reference's keys, in its order."""
        made = self.perform("create", "src", "o.zip")
        self.assertEqual(
            list(made),
            ["operation", "source", "destination", "filesAdded", "bytesArchived", "duration", "verifyPerformed"],
        )
        sizes = sum(path.lstat().st_size for path in [self.top / "src", *(self.top / "src").rglob("*")])
        self.assertEqual(made["bytesArchived"], sizes)
        listed = self.perform("list", "o.zip")
        self.assertEqual(
            list(listed), ["operation", "source", "totalFiles", "totalSize", "files", "verified", "duration"]
        )
        self.assertEqual(
            [(entry["path"], entry["size"], entry["mode"], entry["isDir"]) for entry in listed["files"]][:3],
            [
                ("src", 0, "drwxr-xr-x", True),
                ("src/a.txt", 6, "-rwxr-xr-x", False),
                ("src/empty", 0, "drwxr-xr-x", True),
            ],
        )
        self.assertRegex(listed["files"][0]["modTime"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        self.assertEqual(
            list(self.perform("extract", "o.zip", "x"))[3:6], ["filesExtracted", "bytesExtracted", "filesSkipped"]
        )

    def test_chosen(self) -> None:
        """Patterns choose by the whole inner path, when creating, listing and extracting."""
        made = self.perform("create", "src", "o.tar", exclude=("**/*.log", "**/up"))
        self.assertEqual(made["filesAdded"], 5)
        self.assertEqual(self.perform("create", "src", "i.tar", include=("src/**/*.txt",))["filesAdded"], 1)
        self.assertEqual(self.perform("list", "o.tar", include=("*.txt",))["totalFiles"], 0)
        got = self.perform("extract", "o.tar", "x", include=("**/a.txt",))
        self.assertEqual((got["filesExtracted"], got["filesSkipped"], self.names("x")), (1, 4, ["src", "src/a.txt"]))

    def test_follow(self) -> None:
        """Links can be followed; what they lead to is archived, and a circle of them ends."""
        (self.top / "src" / "sub" / "round").symlink_to("..")
        self.perform("create", "src", "o.tar", follow_symlinks=True)
        entries = {entry["path"]: entry["mode"] for entry in self.perform("list", "o.tar")["files"]}
        self.assertEqual(entries["src/link"], "-rwxr-xr-x")
        self.assertNotIn("src/sub/round", entries)

    def test_not_itself(self) -> None:
        """An archive inside of its own source does not take itself in, also when it is there from before."""
        for _ in range(2):
            self.assertEqual(self.perform("create", "src", "src/o.tar")["filesAdded"], 7)

    def test_here(self) -> None:
        """The source ``.`` puts what is in it at the top of the archive."""
        self.addCleanup(os.chdir, Path.cwd())
        os.chdir(self.top / "src")
        perform(ArchiveOptions("create", ".", str(self.top / "o.tar")))
        self.assertEqual(self.perform("list", "o.tar")["files"][0]["path"], "a.txt")

    def test_dry(self) -> None:
        """A dry run counts and names, and leaves nothing behind."""
        self.assertEqual(self.perform("create", "src", "o.tar", dry_run=True, verbose=True)["filesAdded"], 7)
        self.assertIn("src/sub/b.log", self.told)
        self.assertFalse((self.top / "o.tar").exists())
        self.perform("create", "src", "o.tar")
        self.assertEqual(self.perform("extract", "o.tar", "x", dry_run=True)["filesExtracted"], 4)
        self.assertFalse((self.top / "x").exists())

    def test_paths(self) -> None:
        """Leading directories can be dropped; what has no name left is skipped. All of them can be dropped."""
        self.perform("create", "src", "o.tar", exclude=("**/up",))
        self.assertEqual(self.perform("extract", "o.tar", "x", strip_components=1)["filesExtracted"], 3)
        self.assertEqual(self.names("x"), ["a.txt", "empty", "link", "sub", "sub/b.log"])
        self.assertEqual(self.perform("extract", "o.tar", "y", strip_components=3)["filesSkipped"], 3)
        self.perform("extract", "o.tar", "z", preserve_paths=False, include=("*.*",))
        self.assertEqual(self.names("z"), ["a.txt", "b.log"])

    def test_chosen_of_the_rest(self) -> None:
        """When extracting, patterns are held against what is left of a path."""
        self.perform("create", "src", "o.tar")
        got = self.perform("extract", "o.tar", "x", strip_components=1, include=("sub/**",), exclude=("**/up",))
        self.assertEqual((got["filesExtracted"], self.names("x")), (1, ["sub", "sub/b.log"]))
        self.assertEqual(
            self.perform("extract", "o.tar", "y", strip_components=1, include=("src/**",))["filesExtracted"], 0
        )

    def test_format(self) -> None:
        """A format can be named; a file with an ending that says nothing is looked into."""
        self.perform("create", "src", "o.bin", format="tar.gz")
        self.assertEqual(self.perform("list", "o.bin")["totalFiles"], 7)
        self.perform("create", "src", "p.bin", format="zip")
        self.assertEqual(self.perform("list", "p.bin")["totalFiles"], 7)

    def test_overwrite(self) -> None:
        """What exists is kept, unless it may be overwritten; then also a link is replaced and not written through."""
        self.perform("create", "src", "o.tar")
        self.perform("extract", "o.tar", "x")
        self.assertIn('a.txt" exists (overwrite disabled)', self.refused("extract", "o.tar", "x"))
        outside = self.top / "outside"
        outside.write_text("mine")
        (self.top / "x/src/a.txt").unlink()
        (self.top / "x/src/a.txt").symlink_to(outside)
        self.assertEqual(self.perform("extract", "o.tar", "x", overwrite=True)["filesExtracted"], 4)
        self.assertEqual(outside.read_text(), "mine")
        got = self.perform("extract", "o.tar", "x", continue_on_error=True)
        self.assertEqual((got["filesExtracted"], len(got["errors"]), len(self.told)), (0, 4, 4))


class RefusalTests(ArchiveCase):
    def test_escapes(self) -> None:
        """Nothing is put outside of the destination: not by name, by link, or through a link."""
        file, link = tarfile.REGTYPE, tarfile.SYMTYPE
        for entries, expected in (
            ([("../esc", file, "")], 'target "../esc" escapes destination'),
            ([("a/../../esc", file, "")], "escapes destination"),
            ([("d", link, "/etc")], 'symlink target "/etc" is absolute'),
            ([("d", link, "../..")], 'symlink target "../.." escapes destination'),
            ([("d", link, "."), ("e", link, "d/../..")], "escapes destination"),
        ):
            self.assertIn(expected, self.refused("extract", self.crafted(*entries), "x"))
        (self.top / "x" / "way").symlink_to(self.top)
        self.assertIn("behind a symlink", self.refused("extract", self.crafted(("way/esc", file, "")), "x"))
        self.assertFalse((self.top / "esc").exists())
        got = self.perform("extract", self.crafted(("ok", file, ""), ("../esc", file, "")), "x", continue_on_error=True)
        self.assertEqual(
            (got["filesExtracted"], got["errors"]),
            (1, ['archive: corrupted archive: target "../esc" escapes destination']),
        )

    def test_absolute_names(self) -> None:
        """A slash at the front of a name does not count, as with tar."""
        self.perform("extract", self.crafted(("/abs.txt", tarfile.REGTYPE, "")), "x")
        self.assertEqual(self.names("x"), ["abs.txt"])

    def test_special_files(self) -> None:
        """Devices and pipes are not made."""
        self.assertIn("is neither file", self.refused("extract", self.crafted(("p", tarfile.FIFOTYPE, "")), "x"))

    def test_hard_links(self) -> None:
        """A hard link becomes a file with that content; one that leads nowhere is an error."""
        self.perform("extract", self.crafted(("a", tarfile.REGTYPE, ""), ("h", tarfile.LNKTYPE, "a")), "x")
        self.assertEqual((self.top / "x" / "h").read_text(), "evil")
        self.assertIn("cannot be read", self.refused("extract", self.crafted(("h", tarfile.LNKTYPE, "none")), "y"))

    def test_damaged(self) -> None:
        """A cut archive is told as such; what cannot be an archive, too. A failed creation leaves nothing."""
        self.perform("create", "src", "o.tar.gz")
        data = (self.top / "o.tar.gz").read_bytes()
        (self.top / "o.tar.gz").write_bytes(data[: len(data) // 2])
        for operation in ("list", "extract"):
            self.assertIn("corrupted archive", self.refused(operation, "o.tar.gz", "x"))
        self.assertIn("no formats matched", self.refused("list", "src/a.txt"))
        (self.top / "src" / "a.txt").chmod(0o000)
        if os.geteuid():  # root reads it all the same
            self.refused("create", "src", "n.tar")
            self.assertEqual([name for name in self.names(".") if "n.tar" in name], [])

    def test_requests(self) -> None:
        """Requests that make no sense are refused with what to write instead."""
        self.assertIn('unsupported archive operation "explode"', self.refused("explode", "src"))
        self.assertIn("destination is required for create", self.refused("create", "src"))
        self.assertIn("source not found", self.refused("create", "nope", "o.zip"))
        self.assertIn("specify config.format", self.refused("create", "src", "o.weird"))
        self.assertIn("use one of zip, tar", self.refused("create", "src", "o.zip", format="rar"))
        self.assertIn("only supported for extract/list", self.refused("create", "src", "o.zip", password="x"))
        self.assertIn("invalid compression level: 99", self.refused("create", "src", "o.tgz", compression_level=99))
        error = self.assertRaises(ArchiveError, perform, ArchiveOptions("list"))
        self.assertEqual(str(error), "configuration error: source is required for list")


class TextTests(SynchronousTestCase):
    def test_globs(self) -> None:
        """What each pattern matches."""
        self.assertEqual([(glob, name, matches(name, glob)) for glob, name, _ in GLOBS], list(GLOBS))
        self.assertRaises(ArchiveError, matches, "a", "[z-a]")

    def test_durations(self) -> None:
        """Durations have the unit that fits."""
        self.assertEqual(
            [duration_text(s) for s in (2.5, 0.0085, 0.000731126, 5e-9)], ["2.5s", "8.5ms", "731.126µs", "5ns"]
        )
