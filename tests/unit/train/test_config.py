from __future__ import annotations

import pytest

from onedc.errors import ConfigError
from onedc.train.config import apply_settings, differences, is_default
from onedc.train.recipes import RECIPES, find_recipe


def test_settings_change_fields_of_every_type() -> None:
    config = apply_settings(
        find_recipe("tiny-stage1"),
        [
            "optim.lr=1e-5",
            "data.batch=8",
            "run.recompute=true",
            "data.held_out=a, b",
            "optim.betas=0.5,0.9",
            "model.generator_unet.layers=2",
            "objective.weights.pixel=3",
        ],
    )
    assert (config.optim.lr, config.data.batch, config.run.recompute) == (1e-5, 8, True)
    assert (config.data.held_out, config.optim.betas) == (("a", "b"), (0.5, 0.9))
    assert (config.model.generator_unet.layers, config.objective.weights.pixel) == (2, 3.0)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("optim.speed=1", "no field 'speed'"),
        ("optim.lr=fast", "expected a finite number"),
        ("optim.lr=nan", "optim.lr: expected a finite number, got 'nan'"),
        ("optim.betas=0.9,inf", "expected a finite number"),
        ("optim.lr", "expected name=value"),
        ("data.batch=1.5", "expected int"),
        ("run.recompute=yes", "expected true or false"),
        ("optim.betas=0.9", "expected 2 values"),
        ("optim=1", "name one of its fields"),
        ("optim.lr.x=1", "has no fields"),
        ("data.crop_px=100", "not a multiple of 64"),
        ("data.batch=0", "must be above 0"),
        ("run.precision=int8", "none of"),
        ("run.seed=-1", "must not be negative"),
        ("data.workers=-1", "must not be negative"),
        ("optim.betas=0.9,1", "below 1"),
        ("objective.weights.rate_low=0", "above 0"),
        ("objective.gan_share=-1", "must not be negative"),
        ("objective.drop_y=2", "not a share"),
        ("model.y_channels=6", "multiple of 4"),
    ],
)
def test_bad_settings_are_named(setting: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        apply_settings(find_recipe("tiny-stage1"), [setting])


def test_fields_that_check_each_other_change_together() -> None:
    unet = "model.generator_unet."
    settings = [f"{unet}widths=32,32,64", f"{unet}attention=true,true,false", f"{unet}widths=64,64,64"]
    changed = apply_settings(find_recipe("tiny-stage1"), settings).model.generator_unet
    assert (changed.widths, changed.attention) == ((64, 64, 64), (True, True, False))


def test_unknown_recipe_lists_the_known() -> None:
    with pytest.raises(ConfigError, match="tiny-stage1"):
        find_recipe("stage9")


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_go_by_their_names(name: str) -> None:
    assert find_recipe(name).recipe == name


def test_differences_are_dotted_names() -> None:
    a = {"x": {"y": 1, "z": (1, 2)}, "w": 0}
    assert differences(a, {"x": {"y": 1, "z": [1, 2]}, "w": 0}) == []
    assert differences(a, {"x": {"y": 2, "z": (1, 2)}}) == ["w", "x.y"]


def test_fields_newer_than_a_run_have_their_default() -> None:
    config = find_recipe("tiny-stage1")
    assert is_default(config, "objective.inset")
    assert not is_default(apply_settings(config, ["objective.inset=false"]), "objective.inset")
    assert not is_default(config, "objective.nothing")
    assert not is_default(config, "recipe")
