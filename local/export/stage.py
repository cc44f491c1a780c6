"""Stage 6: export the folds and seeds asked for.

    python -m local.export.stage OPTIONS [-- OVERRIDES]

writes each into `model` in its run folder.
"""

from __future__ import annotations

from local import markers
from local.errors import exits
from local.files import digest
from local.job import Job
from local.markers import Marker
from local.options import parse


@exits
def main() -> None:
    """Export job after job."""
    options = parse()
    print(f"== stage 6: export {options.experiment_folder}\n")
    for seed in options.seeds:
        for fold in options.chosen_folds():
            export(Job(options, fold, seed))


def export(job: Job) -> None:
    """Export a job that is trained, unless it is exported already."""
    trained = job.training().path
    markers.read(trained)
    out = job.folder / "model"
    marker = Marker(job.folder / "model.json", {"training": digest(trained)})
    if marker.done(f"export of {job.folder}", job.options.force, redo=True):
        print(f"{out} is exported already")
        return
    from local import logs
    from local.export import __main__  # which brings torch

    logs.log_to_stderr()
    __main__.export(job.folder, out)
    marker.write(path for path in out.rglob("*") if path.is_file())
    print(out)


if __name__ == "__main__":
    main()
