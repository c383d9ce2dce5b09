"""Who works at the desk."""

from livekit.agents import Agent


class Desk(Agent):
    def __init__(self, task: str) -> None:
        super().__init__(instructions=task)
