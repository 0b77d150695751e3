"""A folder beside the one that was meant is named."""

import pytest
from etils import epath

from hierkeras._errors import UserError
from hierkeras.serving.local import base_path


def check_refused(folder, *named):
    with pytest.raises(UserError) as caught:
        base_path.check(str(folder))
    for name in (str(folder), *map(str, named)):
        assert name in str(caught.value)


@pytest.fixture
def workdir(tmp_path):
    workdir = tmp_path / "digits"
    version = workdir / "serving" / "2"
    version.mkdir(parents=True)
    (version / "saved_model.pb").touch()
    (workdir / "generations").mkdir()
    return workdir


def test_versions_are_found_by_number(workdir):
    serving = workdir / "serving"
    base_path.check(str(serving))
    for name in ("10", ".tmp-3", "3a", "-4", "9" * 20, "٣"):
        (serving / name).mkdir()
    (serving / "5").touch()
    assert base_path.find(epath.Path(serving)) == {
        2: str(serving / "2"),
        10: str(serving / "10"),
    }


def test_what_is_not_there_yet_is_waited_for(tmp_path):
    base_path.check(str(tmp_path))
    base_path.check(str(tmp_path / "later"))
    base_path.check(str(tmp_path / ("x" * 5000)))
    base_path.check("\0")


def test_a_version_is_not_a_folder_of_versions(workdir, monkeypatch):
    serving = workdir / "serving"
    meant = f"--model_base_path={serving}"
    check_refused(serving / "2", "is itself a version", meant)
    monkeypatch.chdir(serving / "2")
    check_refused(".", "is itself a version", meant)


def test_a_saved_model_without_a_number_is_told_to_move(tmp_path):
    (tmp_path / "saved_model.pb").touch()
    check_refused(tmp_path, "a folder named by a number", tmp_path / "1")


def test_a_work_directory_is_not_a_folder_of_versions(workdir):
    meant = f"--model_base_path={workdir / 'serving'}"
    check_refused(workdir, "is a work directory", meant)
    (workdir / "1").mkdir()  # unless it holds versions, too
    base_path.check(str(workdir))
