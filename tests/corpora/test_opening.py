import pytest

from leveret.corpora.corpus import CorpusError, TrainingCorpus
from leveret.corpora.opening import open_corpus
from leveret.manifests import ManifestError
from leveret.registry import UnknownNameError


def manifest(folder, *lines):
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return f"{folder / 'labels.csv'}"


def test_a_folder_is_all_its_audio_at_any_depth_without_labels(recordings):
    corpus = open_corpus(str(recordings()))
    assert [corpus.num_clips, corpus.labels, corpus.targets([0])] == [12, (), None]
    assert corpus.clips[0].id == "speaker0/000.wav"
    assert list(corpus.members_of_group(0)) == [0, 1, 2, 3]


def test_the_digest_knows_the_list_and_not_the_place(recordings, tmp_path):
    one, other = open_corpus(str(recordings())), open_corpus(str(recordings("elsewhere")))
    assert one.digest == other.digest
    (tmp_path / "elsewhere" / "speaker2" / "011.wav").rename(tmp_path / "elsewhere" / "speaker2" / "012.wav")
    assert open_corpus(str(tmp_path / "elsewhere")).digest != one.digest


def test_a_manifest_gives_its_train_rows_with_the_labels_of_every_task(tmp_path):
    spec = manifest(
        tmp_path,
        "task,split,label,file",
        "pitch,train,low,a.wav", "kind,train,horn|loud,a.wav", "pitch,test,high,b.wav", "kind,train,drum,b.wav",
        "pitch,train,high,c.wav",
    )  # fmt: skip
    corpus = open_corpus(spec)
    assert [clip.id for clip in corpus.clips] == ["a.wav", "c.wav"]  # b is scored on in another task
    assert corpus.labels == ("kind:horn", "kind:loud", "pitch:high", "pitch:low")
    assert corpus.targets([1, 0]).tolist() == [[0, 0, 1, 0], [1, 1, 0, 1]]


def test_a_manifest_to_train_on_needs_no_split_no_test_and_no_label(tmp_path):
    assert open_corpus(manifest(tmp_path, "file,label", "a.wav,x", "b.wav,")).labels == ("x",)
    bare = open_corpus("manifest:" + manifest(tmp_path, "file,start,end", "a.wav,0,1", "a.wav,1,2"))
    assert (bare.num_clips, bare.labels) == (2, ())


def test_slots_keep_their_labels_apart(tmp_path):
    spec = manifest(tmp_path, "file,label:object,label:place", "a.wav,lamp,none", "b.wav,none,hall")
    assert open_corpus(spec).labels == ("object:lamp", "object:none", "place:hall", "place:none")


def test_a_split_that_is_none_is_refused(tmp_path):
    with pytest.raises(ManifestError, match=r"row 2: the unknown split 'trian'"):
        open_corpus(manifest(tmp_path, "file,split", "a.wav,trian"))


def test_a_task_gives_its_training_clips_and_vocabulary(tone_manifest):
    corpus = open_corpus(f"task:manifest:{tone_manifest()}")
    assert corpus.labels == ("high", "low")
    assert 0 < corpus.num_clips < 60
    assert corpus.targets([0]).sum() == 1


def test_cross_validation_over_all_clips_trains_on_all_and_says_so(tmp_path, recordings):
    folder = recordings()
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.wav"))
    rows = [f"{file},{'a' if k % 2 else 'b'},{k % 3}" for k, file in enumerate(files)]
    corpus = open_corpus("task:manifest:" + manifest(folder, "file,label,fold", *rows))
    assert corpus.num_clips == 12
    assert "no score on it counts" in corpus.notes[0]


def test_content_digests_are_of_the_files_each_once(recordings):
    folder = recordings(seconds=(1.0, 2.0))
    (folder / "copy.wav").write_bytes((folder / "speaker0" / "000.wav").read_bytes())
    assert len(open_corpus(str(folder)).content_digests(1)) == 2


def test_tar_archives_without_an_index_are_read_in_place(recordings, tmp_path):
    import tarfile

    folder = recordings(seconds=(1.0, 1.0))
    (tmp_path / "tars").mkdir()
    with tarfile.open(tmp_path / "tars" / "one.tar", "w") as tar:
        tar.add(folder / "speaker0" / "000.wav", "a.wav")
    assert [clip.id for clip in open_corpus(str(tmp_path / "tars")).clips] == ["one.tar/a.wav"]


def test_published_corpora_that_are_not_there_say_where_to_get_them(tmp_path):
    from leveret.dataroots import DataRoots
    from leveret.published_audio import DatasetError

    with pytest.raises(DatasetError, match="no AudioSet"):
        open_corpus("audioset", DataRoots(root=tmp_path))
    with pytest.raises(DatasetError, match="no LibriSpeech"):
        open_corpus("librispeech", DataRoots(root=tmp_path))


def test_an_empty_folder_and_an_unknown_word_are_told(tmp_path):
    with pytest.raises(CorpusError, match=r"no audio below .*; expected audio files"):
        open_corpus(str(tmp_path))
    with pytest.raises(UnknownNameError, match="Did you mean 'librispeech'"):
        open_corpus("librispech")
    with pytest.raises(CorpusError, match="no clips in x"):
        TrainingCorpus("x", [])


def test_lengths_are_surveyed_and_say_which_crop_suits_all(recordings, tmp_path):
    corpus = open_corpus(str(recordings(seconds=(1.0, 1.5, 4.0))))
    lengths = corpus.lengths(1)
    assert (lengths.median, lengths.longest, lengths.surveyed) == (1.5, 4.0, 3)
    assert [lengths.common_crop(seconds) for seconds in (3.0, 0.5)] == [0.9, 0.5]
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.wav").write_bytes(b"nothing")
    with pytest.raises(CorpusError, match="none of 1 clips"):
        open_corpus(str(tmp_path / "bad")).lengths(1)


@pytest.mark.real
def test_of_the_development_audio_what_no_task_scores_is_trained_on(shared):
    corpus = open_corpus(f"manifest:{shared / 'data' / 'dev' / 'manifest.csv'}")
    assert corpus.num_clips == 5387  # as its README counts them
