"""The disks are looked after by the clock too, when nobody asks for anything."""

from appliance.wiring import Appliance


def test_a_tick_makes_the_ballast_again_without_any_request(appliance: Appliance) -> None:
    ballast = appliance.plumbing.ballast
    for file in appliance.plumbing.root.path.rglob(".ballast"):
        file.unlink()
    assert ballast.is_given_up()
    appliance.scheduler.tick()
    assert not ballast.is_given_up() and ballast.held_bytes > 0
