"""`python -m bench`: every figure that Stagekeeper aims at, section by section, and whether it is kept."""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.document import Document, new_document, note_section, read_document, tables, write_document
from bench.figure import Figure, figures_table
from bench.sections import SCALES, SECTIONS, Section, SectionFailed, run_command


def main(arguments: Sequence[str] | None = None, sections: Mapping[str, Section] = SECTIONS) -> None:
    """Run the sections that are asked for, all by default; end with 1 if any failed. A missed aim is told, and is no failure."""
    about = "\n".join(f"  {name:12} {section.aims}" for name, section in sections.items())
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description=f"{__doc__}\n\nsections:\n{about}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--scale", choices=SCALES, default="small")
    parser.add_argument(
        "--section", nargs="+", choices=list(sections), metavar="NAME", help="only these; the file keeps the others"
    )
    parser.add_argument("--folder", type=Path, default=None, help="where to work (default: a temporary folder)")
    parser.add_argument("--json", type=Path, help="the file of the figures (default: build/bench-SCALE.json)")
    options = parser.parse_args(arguments)
    path: Path = options.json or Path("build", f"bench-{options.scale}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    document = new_document(options.scale) if options.section is None else read_document(path, options.scale)
    has_failed = False
    for name in options.section or sections:
        sys.stderr.write(f"section {name}\n")
        has_failed |= _run_section(name, sections[name], options.scale, options.folder, document)
        write_document(path, document)
    sys.stdout.write(f"{tables(document)}\n{path}\n")
    if has_failed:
        raise SystemExit(1)


def _run_section(name: str, section: Section, scale: str, folder: Path | None, document: Document) -> bool:
    """Run a section's commands, put what they found into the document, and return whether any failed."""
    figures: list[Figure] = []
    failures: list[str] = []
    load = os.getloadavg()[0]
    for command in section.commands:
        try:
            found, more = run_command(command, scale, folder)
        except SectionFailed as error:
            failures.append(str(error))
            continue
        figures += found
        document.update(more)
    note_section(document, name, figures, failures, load)
    sys.stdout.write(figures_table(figures) + "".join(f"FAILED: {failure}\n" for failure in failures))
    sys.stdout.flush()
    return bool(failures)


if __name__ == "__main__":
    main(sys.argv[1:])
