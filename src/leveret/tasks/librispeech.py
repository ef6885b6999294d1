"""LibriSpeech: 960 hours of read English, the corpus that the paper pretrains wav2vec 2.0 on.

Source: paper, table 4 ("trained on LibriSpeech"); Panayotov et al., ICASSP 2015. The paper does not say which part; the
960 hours are all three train subsets, as in wav2vec 2.0.
Layout: {train-clean-100,train-clean-360,train-other-500}/SPEAKER/CHAPTER/SPEAKER-CHAPTER-NNNN.flac with a transcript
SPEAKER-CHAPTER.trans.txt beside, also inside `LibriSpeech`. What a transcript names is a clip, whether or not its audio
is there; a chapter without a transcript has the clips that lie in its folder.
Groups: the speaker, none of whom is in two subsets.
"""

from collections.abc import Iterator
from pathlib import Path

from leveret.audio import SUFFIXES
from leveret.clips import Clip
from leveret.published_audio import Archive, Corpus, DataFolder, DatasetError, MissingDatasetError
from leveret.tasks.published_files import first_folder, read_lines, require_some

SOURCE = "https://www.openslr.org/12 (60 GB, CC BY 4.0)"
OFFICIAL_CLIPS = {"train-clean-100": 28_539, "train-clean-360": 104_014, "train-other-500": 148_688}


def librispeech_clips(folder: DataFolder) -> list[Clip]:
    """The clips of all three subsets, without labels.

    Raises:
        DatasetError: A subset is missing, or none of the audio is there.
    """
    root = first_folder(folder, ("LibriSpeech",), tuple(OFFICIAL_CLIPS))
    clips = {subset: list(_subset(root / subset)) for subset in OFFICIAL_CLIPS}
    missing = [subset for subset, found in clips.items() if not found]
    if len(missing) == len(clips):
        raise MissingDatasetError(
            f"no LibriSpeech at {root}: none of {', '.join(missing)} is there; they are to be had from {SOURCE}"
        )
    if missing:
        raise DatasetError(
            f"{root} lacks {', '.join(missing)}; the 960 hours are {', '.join(clips)}, all to be had from {SOURCE}"
        )
    found = [clip for part in clips.values() for clip in part]
    require_some([clip.path for clip in found], "LibriSpeech", SOURCE)
    return found


def _subset(folder: Path) -> Iterator[Clip]:
    """Chapter after chapter, in the order of their names."""
    for chapter in sorted(folder.glob("*/*/")):
        speaker = chapter.parent.name
        files = {path.stem: path for path in sorted(chapter.iterdir()) if path.suffix.lower() in SUFFIXES}
        transcript = chapter / f"{speaker}-{chapter.name}.trans.txt"
        named = [line.split()[0] for line in read_lines(transcript, SOURCE)] if transcript.is_file() else []
        for stem in sorted({*named, *files}):
            if "/" in stem:
                raise DatasetError(f"{transcript} names {stem!r}; expected names such as {speaker}-{chapter.name}-0000")
            path = files.get(stem, chapter / f"{stem}.flac")
            yield Clip(f"{folder.name}/{speaker}/{chapter.name}/{stem}.flac", path, (), speaker)


def _archive(subset: str, num_bytes: int, md5: str) -> Archive:
    hosts = ("https://www.openslr.org", "https://us.openslr.org", "https://openslr.elda.org")
    name = f"{subset}.tar.gz"
    return Archive(name, tuple(f"{host}/resources/12/{name}" for host in hosts), num_bytes, f"md5:{md5}")


CORPORA = {
    "librispeech": Corpus(
        name="librispeech", title="LibriSpeech", source=SOURCE, licence="CC BY 4.0", hours=960.9,
        num_bytes=60_030_288_990, clips=librispeech_clips,
        archives=(
            _archive("train-clean-100", 6_387_309_499, "2a93770f6d5c6c964bc36631d331a522"),
            _archive("train-clean-360", 23_049_477_885, "c0e676e450a7ff2f54aeade5171606fa"),
            _archive("train-other-500", 30_593_501_606, "d1a0fd59409feb2c614ce4d30c387708"),
        ),
    )
}  # fmt: skip
