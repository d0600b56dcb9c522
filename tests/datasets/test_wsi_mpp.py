"""Microns per pixel: the stated order, and an error rather than a guess."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from milsurv.datasets.slides.mpp import resolution
from milsurv.errors import DataError

VENDOR = {"openslide.vendor": "aperio", "openslide.mpp-x": "0.25", "openslide.mpp-y": "0.25"}
TIFF = {"tiff.XResolution": "40000", "tiff.YResolution": "40000", "tiff.ResolutionUnit": "centimeter"}
INCH = {"tiff.XResolution": "101600", "tiff.YResolution": "101600", "tiff.ResolutionUnit": "inch"}
POWER = {"openslide.objective-power": "40"}


@pytest.mark.parametrize(
    ("properties", "user_mpp", "mpp", "source"),
    [
        ({**VENDOR, **TIFF, **POWER}, None, 0.25, "vendor"),
        ({**TIFF, **POWER}, None, 0.25, "TIFF resolution"),
        (POWER, None, 0.25, "objective power"),
        ({}, 0.25, 0.25, "--mpp"),
        (POWER, 0.23, 0.23, "--mpp"),
        ({**TIFF, **INCH}, None, 0.25, "TIFF resolution"),
    ],
)  # fmt: skip
def test_statements_are_asked_in_their_order(properties, user_mpp, mpp, source):
    found = resolution(properties, user_mpp)
    assert (found.mpp, found.source) == (pytest.approx(mpp), source)


def test_a_slide_labelled_20x_at_023_microns_is_40x_and_that_is_said():
    found = resolution(
        {**VENDOR, "openslide.mpp-x": "0.23", "openslide.mpp-y": "0.23", "openslide.objective-power": "20"}
    )
    assert found.mpp == 0.23
    assert found.remarks == ("labelled 20x, but 0.23 um per pixel is 40x: taken as that",)


@pytest.mark.parametrize(
    ("properties", "user_mpp", "message"),
    [
        ({}, None, "neither um per pixel nor an objective power: give --mpp"),
        ({**VENDOR, **TIFF, "tiff.XResolution": "20000", "tiff.YResolution": "20000"}, None, "contradict each other"),
        ({**TIFF, "openslide.objective-power": "20"}, None, "contradicts its objective power"),
        (VENDOR, 0.5, "contradicts the file"),
        (POWER, 0.5, "contradicts the objective power"),
        ({**VENDOR, "openslide.mpp-y": "0.5"}, None, "not square"),
        ({**TIFF, "tiff.XResolution": "28.3", "tiff.YResolution": "28.3"}, None, "no microscope's"),
        ({"openslide.mpp-x": "nan", "openslide.mpp-y": "0"}, None, "give --mpp"),
    ],
)
def test_contradictions_and_silence_are_errors_that_name_the_remedy(properties, user_mpp, message):
    with pytest.raises(DataError, match=message):
        resolution(properties, user_mpp)


def test_the_user_decides_between_statements_that_contradict_each_other():
    contrary = {**VENDOR, **TIFF, "tiff.XResolution": "20000", "tiff.YResolution": "20000"}
    assert resolution(contrary, 0.5).mpp == pytest.approx(0.5)
    assert resolution(contrary, 0.25).source == "vendor"
    assert resolution({**TIFF, "openslide.objective-power": "20"}, 0.25).mpp == pytest.approx(0.25)


def test_a_default_resolution_in_the_tags_is_overruled_by_what_the_user_and_the_objective_say():
    default = {**TIFF, "tiff.XResolution": "1000", "tiff.YResolution": "1000", "openslide.objective-power": "20"}
    with pytest.raises(DataError, match="say which is right with --mpp"):
        resolution(default)
    here, general = resolution(default, 0.5), resolution(default, 0.5, for_this_slide=False)
    assert (here.mpp, here.source) == (0.5, "--mpp of this slide")
    assert (general.mpp, general.source) == (0.5, "--mpp")


def test_it_is_known_where_the_user_decided():
    contrary = {**VENDOR, **TIFF, "tiff.XResolution": "20000", "tiff.YResolution": "20000"}
    labelled = {**TIFF, "openslide.objective-power": "20"}
    for properties, user_mpp in (({}, 0.25), (contrary, 0.25), (labelled, 0.25), (labelled, 0.5), (POWER, 0.25)):
        assert resolution(properties, user_mpp).by_user
        assert resolution(properties, user_mpp, for_this_slide=False).by_user
    assert (
        not resolution(VENDOR, 0.25).by_user and not resolution({**VENDOR, **POWER}, 0.5, for_this_slide=False).by_user
    )


def test_one_number_for_all_is_for_those_that_say_nothing_or_contradict_themselves():
    assert resolution(VENDOR, 0.5, for_this_slide=False).source == "vendor"
    assert resolution({}, 0.5, for_this_slide=False).mpp == 0.5
    contrary = {**VENDOR, **TIFF, "tiff.XResolution": "20000", "tiff.YResolution": "20000"}
    assert resolution(contrary, 0.5, for_this_slide=False).mpp == pytest.approx(0.5)


@given(st.dictionaries(st.sampled_from([*VENDOR, *TIFF, *POWER]), st.text(max_size=8)), st.none() | st.just(0.5))
def test_whatever_a_file_says_gives_a_size_of_a_pixel_or_an_error(properties, user_mpp):
    try:
        found = resolution(properties, user_mpp)
    except DataError:
        return
    assert 0 < found.mpp < 1e12
