import json
from pathlib import Path

import pytest

from sentinel.errors import JournalError, ModelError
from sentinel.host.store.run_files import load_run_model, save_run_files
from sentinel.host.store.run_settings import config_path, load_run_config
from sentinel.model.artifact import load_model
from tests.host.plain_config import plain_config


def test_settings_and_model_come_back_as_they_were(tmp_path: Path) -> None:
    config, model = plain_config(tmp_path, risk={"max_order_notional": "1234.56789"}), load_model("default")
    save_run_files(tmp_path, config, model)
    assert load_run_config(tmp_path, config.digest()) == config
    assert load_run_model(tmp_path, model.crc).crc == model.crc


def test_other_settings_get_a_file_of_their_own(tmp_path: Path) -> None:
    first, second = plain_config(tmp_path), plain_config(tmp_path, risk={"max_open_orders": 3})
    for config in (first, second, first):
        save_run_files(tmp_path, config, load_model("default"))
    assert load_run_config(tmp_path, first.digest()) == first
    assert load_run_config(tmp_path, second.digest()) == second
    assert len(list(tmp_path.glob("config-*.json"))) == 2


def test_settings_that_were_changed_afterwards_are_refused(tmp_path: Path) -> None:
    config = plain_config(tmp_path)
    save_run_files(tmp_path, config, load_model("default"))
    path = next(tmp_path.glob("config-*.json"))
    data = json.loads(path.read_text())
    data["risk"]["max_open_orders"] = 7
    path.write_text(json.dumps(data))
    with pytest.raises(JournalError, match="digest"):
        load_run_config(tmp_path, config.digest())
    path.write_text("{")
    with pytest.raises(JournalError, match="journal settings"):
        load_run_config(tmp_path, config.digest())


def test_settings_of_another_version_are_called_that(tmp_path: Path) -> None:
    config = plain_config(tmp_path)
    save_run_files(tmp_path, config, load_model("default"))
    path = next(tmp_path.glob("config-*.json"))
    whole = json.loads(path.read_text())
    older = {**whole, "risk": {key: value for key, value in whole["risk"].items() if key != "max_open_orders"}}
    newer = {**whole, "risk": {**whole["risk"], "limit_of_tomorrow": 3}}
    written_by_older = "0" * 64  # another digest, for another version has other settings to take it of
    config_path(tmp_path, written_by_older).write_text(json.dumps(older))
    path.write_text(json.dumps(newer))
    for digest, said in ((written_by_older, "every setting this version has"), (config.digest(), "limit_of_tomorrow")):
        with pytest.raises(JournalError, match="the version that wrote the journal") as raised:
            load_run_config(tmp_path, digest)
        assert said in str(raised.value)


def test_a_missing_or_damaged_model_is_refused(tmp_path: Path) -> None:
    model = load_model("default")
    save_run_files(tmp_path, plain_config(tmp_path), model)
    path = next(tmp_path.glob("model-*.stl"))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelError):
        load_run_model(tmp_path, model.crc)
    path.unlink()
    with pytest.raises(ModelError):
        load_run_model(tmp_path, model.crc)


def test_a_directory_that_cannot_be_written_is_a_journal_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(JournalError, match="writable directory"):
        save_run_files(tmp_path / "file" / "store", plain_config(tmp_path), load_model("default"))
