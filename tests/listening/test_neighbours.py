import numpy as np
import pytest
import soundfile

from leveret.audio import AudioError
from leveret.bad_files import TooManyBadFilesError
from leveret.listening.neighbours import Sounds, is_within
from leveret.loading import load_encoder
from leveret.runner import Compute, runners_of

RATE = 16_000


def tone(pitch, seconds=0.4):
    time = np.arange(round(RATE * seconds)) / RATE
    return 0.3 * np.sin(2 * np.pi * pitch * time)


@pytest.fixture
def runner():
    return runners_of([load_encoder("melstats")], Compute(device="cpu", threads=1))[0]


@pytest.fixture
def folder(tmp_path):
    """Twelve tones, each a tenth higher than the one before."""
    there = tmp_path / "sounds"
    (there / "within").mkdir(parents=True)
    for k in range(12):
        soundfile.write(there / "within" / f"{k:02d}.wav", tone(300 * 1.2**k), RATE)
    return there


def test_the_nearest_tones_are_the_nearest_in_pitch(folder, runner):
    sounds = Sounds.of_folder(folder, runner)
    assert sounds.names == [f"within/{k:02d}.wav" for k in range(12)]
    found = sounds.nearest(sounds.vectors[5], 2, but=5)
    assert {k for k, _ in found} == {4, 6}
    (first, similarity), *_ = sounds.nearest(sounds.vectors[5], 3)
    assert (first, similarity) == (5, pytest.approx(1, abs=1e-5))


def test_a_clip_from_elsewhere_has_the_vector_that_it_has_in_the_folder(folder, runner):
    sounds = Sounds.of_folder(folder, runner)
    vector = sounds.embed((folder / "within" / "03.wav").read_bytes())
    np.testing.assert_allclose(vector, sounds.vectors[3], atol=1e-5)


@pytest.mark.parametrize("content", [b"", b"not audio", b"RIFF" + bytes(40)])
def test_what_is_no_audio_is_refused_without_the_name_of_our_file(folder, runner, content):
    with pytest.raises(AudioError) as caught:
        Sounds.of_folder(folder, runner).embed(content)
    assert str(caught.value).startswith("the clip ")
    assert "leveret-listen" not in str(caught.value).partition("Error opening")[0]


def test_vectors_come_out_of_the_cache_the_second_time(folder, runner):
    first = Sounds.of_folder(folder, runner)
    embedded = runner.network.audio_seconds
    again = Sounds.of_folder(folder, runner)
    assert runner.network.audio_seconds == embedded
    np.testing.assert_array_equal(first.vectors, again.vectors)


def test_links_that_lead_out_and_files_that_are_no_audio_are_left_out_and_named(folder, runner, tmp_path):
    secret = tmp_path / "secret.wav"
    soundfile.write(secret, tone(440), RATE)
    (folder / "out.wav").symlink_to(secret)
    (folder / "alias.wav").symlink_to(folder / "within" / "00.wav")
    (folder / "bad.wav").write_text("not audio")
    sounds = Sounds.of_folder(folder, runner)
    assert len(sounds.paths) == 13
    assert {name.rpartition("/")[2]: why.partition(" is ")[2][:20] for name, why in sounds.skipped.items()} == {
        "out.wav": "a link that leads ou", "bad.wav": "not audio that libsn"
    }  # fmt: skip


def test_the_map_has_a_place_for_each_and_few_sounds_share_one(folder, runner):
    places = Sounds.of_folder(folder, runner).map()
    assert places.shape == (12, 2)
    assert (places.min(), places.max()) == (0, 1)
    for path in sorted((folder / "within").iterdir())[2:]:
        path.unlink()
    few = Sounds.of_folder(folder, runner)
    assert few.map().tolist() == [[0.5, 0.5]] * 2
    assert few.nearest(few.vectors[0], 24, but=0)[0][0] == 1


def test_an_empty_folder_and_one_of_nothing_but_links_or_noise_are_refused(tmp_path, runner):
    there = tmp_path / "sounds"
    with pytest.raises(AudioError, match=r"no folder .*sounds"):
        Sounds.of_folder(there, runner)
    there.mkdir()
    with pytest.raises(AudioError, match=r"no audio at .*sounds"):
        Sounds.of_folder(there, runner)
    soundfile.write(tmp_path / "secret.wav", tone(440), RATE)
    (there / "out.wav").symlink_to(tmp_path / "secret.wav")
    with pytest.raises(AudioError, match="nothing but links that lead out"):
        Sounds.of_folder(there, runner)
    (there / "out.wav").unlink()
    (there / "bad.wav").write_text("not audio")
    with pytest.raises(TooManyBadFilesError, match=r"bad.wav"):
        Sounds.of_folder(there, runner)


def test_what_is_within_a_folder_is_told_through_links(tmp_path):
    root = (tmp_path / "sounds").resolve()
    root.mkdir()
    (root / "a").write_text("a")
    (tmp_path / "b").write_text("b")
    (root / "b").symlink_to(tmp_path / "b")
    (root / "up").symlink_to(tmp_path)
    (root / "loop").symlink_to(root / "loop")
    names = ("a", "b", "up/b", "up/sounds/a", "loop", "none", "../b", ".")
    assert [name for name in names if is_within(root, root / name)] == ["a", "up/sounds/a"]
