"""Checks a work directory whole and says what to do; changes nothing.

python -m hierkeras.doctor --workdir=runs/digits [--format=json]

The exit status is 0 if nothing is damaged, else 1. With each damage stand the
shell commands that deal with it, in the order in which to run them.
"""

from __future__ import annotations

import dataclasses
import json
import sys

from absl import flags

from hierkeras import _format_flag, _main, _workdir_flag
from hierkeras._errors import UserError
from hierkeras.features.checks import check_features
from hierkeras.growth import checks as data_checks
from hierkeras.growth.summary import counted
from hierkeras.serving.checks import publication, published
from hierkeras.training import checks as job_checks
from hierkeras.tree import checks as tree_checks
from hierkeras.tree import names, sums
from hierkeras.tree.finding import Finding
from hierkeras.tree.store import Store

flags.adopt_module_key_flags(_format_flag)
flags.adopt_module_key_flags(_workdir_flag)


@dataclasses.dataclass(frozen=True)
class Examined:
    """A work directory and what is the matter with it.

    Args:
        workdir: The work directory.
        generations: How many it holds.
        jobs: How many are finished.
        versions: How many are exported.
        num_bytes: What all of it takes.
        damages: How many of the findings are damage.
        findings: What was found; damage first.
        verdict: All of it in a line.
    """

    workdir: str
    generations: int
    jobs: int
    versions: int
    num_bytes: int
    damages: int
    findings: tuple[Finding, ...]
    verdict: str


def main() -> None:
    """Prints what is the matter with a work directory."""
    examined = examine(_workdir_flag.store())
    if _format_flag.FORMAT.value == "json":
        print(json.dumps(dataclasses.asdict(examined), indent=1))
    else:
        print("\n".join(lines(examined)))
    sys.exit(1 if examined.damages else 0)


def examine(store: Store) -> Examined:
    """Checks a work directory.

    Raises:
        UserError: If there is none.
    """
    kept = (store.models, store.generations, store.checkpoints, store.serving)
    if not any(folder.exists() for folder in (*kept, store.root / "LATEST")):
        raise UserError(
            f"{store.root} holds no work directory; grow a tree there with "
            f"python -m hierkeras.increment --workdir={store.root}"
        )
    holder = tree_checks.holder(store)
    found = tree_checks.read_generations(store)
    readable, latest = found.readable, found.latest
    jobs = job_checks.read_jobs(store)
    lacking = jobs.lacking(readable)
    best = found.best(lacking)
    exportable = [
        n for n in readable if n not in lacking and best and n <= best
    ]
    findings = [
        *tree_checks.check_generations(store, found, lacking),
        *job_checks.check_jobs(store, jobs, readable, latest),
        *job_checks.check_checkpoints(store),
        *check_features(store, data_checks.trunks(readable.values())),
        *published.check_versions(store, readable, latest, exportable),
        *(data_checks.check_data(store, readable[best]) if best else []),
        *tree_checks.check_lock(store, holder),
        *tree_checks.check_debris(store, holder),
    ]
    # Sorting keeps what is equal in its order, that of the commands.
    findings.sort(key=lambda finding: finding.level != "damage")
    damages = sum(finding.level == "damage" for finding in findings)
    return Examined(
        workdir=str(store.root),
        generations=len(readable) + len(found.unreadable),
        jobs=len(jobs.whole) + len(jobs.damaged),
        versions=len(publication.versions(store.serving)),
        num_bytes=sums.size(store.root),
        damages=damages,
        findings=tuple(findings),
        verdict=_verdict(damages, holder),
    )


def lines(examined: Examined) -> list[str]:
    """What was found, in words."""
    text = [
        f"{examined.workdir}: {counted(examined.generations, 'generation')}, "
        f"{counted(examined.jobs, 'job')}, "
        f"{counted(examined.versions, 'version')}, "
        f"{examined.num_bytes / 1e6:.1f} MB"
    ]
    for finding in examined.findings:
        said = f"{finding.level}: {finding.place}: {finding.what}"
        text.append(names.printable(said))
        if finding.advice:
            text.append(f"  {names.printable(finding.advice)}")
        text += [f"    {command}" for command in finding.commands]
    return [*text, examined.verdict]


def _verdict(damages: int, holder: str) -> str:
    if not damages:
        return "nothing is damaged"
    first = f"wait until {holder} has ended, then " if holder else ""
    return (
        f"{counted(damages, 'damage')} found: {first}do what is written "
        "beside each, from the top"
    )


if __name__ == "__main__":
    _main.run(main)
