"""An action space as points for its drawing. Nothing here opens a network, so that pages may use it."""

from models.check_report import ActionSpaceShape, PlottedAction
from models.metadata import ActionRange, PolicyMetadata


def shape_of(description: PolicyMetadata) -> ActionSpaceShape:
    """Return the action space as points for its drawing."""
    space = description.action_space
    if isinstance(space, ActionRange):
        low = PlottedAction(space.steering_low_deg, space.speed_low_mps)
        high = PlottedAction(space.steering_high_deg, space.speed_high_mps)
        return ActionSpaceShape("continuous", (low, high))
    points = tuple(PlottedAction(action.steering_deg, action.speed_mps) for action in space)
    return ActionSpaceShape("discrete", points)
