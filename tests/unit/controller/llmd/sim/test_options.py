"""Every flag type is used by the command, and says what it is for."""

import inspect
import typing

from controller.llmd.sim import options
from controller.llmd.sim.command import sim


def test_every_option_is_a_parameter_of_the_command():
    """None is left over, none is missing."""
    declared = {
        value for name, value in vars(options).items() if typing.get_origin(value) is typing.Annotated
    }
    used = set(inspect.get_annotations(sim, eval_str=True).values()) - {None}
    assert used == declared
