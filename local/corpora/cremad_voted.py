"""CREMA-D with the emotion that most raters heard in the audio alone as the label: 6,794 of its 7,442 utterances.

A corpus of its own, `cremad-voted`, in every path and table; the folder, the licence and the traps are those of
`./run.sh --corpus cremad --help`. It needs `processedResults/tabulatedVotes.csv` of the release (plain text, not in
Git LFS; the mirror at GitLab lacks it), which has 4 to 12 votes on the audio of each file.

- Emotions: anger 986, disgust 546, fear 645, happiness 353, neutral 3,894, sadness 370. More than half is neutral:
  raters who only hear the actors take much of what was meant as an emotion for none. WA alone tells little here.
- Ties are left out and counted in a note: 644 files, for which two emotions or more have the most votes.
- Four files more are left out with a note: one has no speech, and of three the raters heard another recording.
- All votes are in the column `votes`: `neu 6 sad 3`.
"""

from dataclasses import replace

from local.corpora import cremad

__all__ = ["ABOUT", "read"]

ABOUT = replace(
    cremad.ABOUT,
    source="CREMA-D under its raters' votes, acted emotional speech in English (Cao et al. 2014, ODbL 1.0)",
    facts="91 actors speak twelve sentences in English, in an emotion that was asked for. The label is the emotion "
    "that most of some nine raters heard in the audio alone; ties are left out.",
)
VOTED = cremad.Labels("cremad-voted", ABOUT, voted=True)
read = VOTED.read
